"""Controls are computed once per split; a damaged entry is computed again, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls.base import Control, EmptyConfig
from grn_cotrain.evaluate.control_cache import ControlCache
from tests.cases.toy_links import toy_cells, toy_split


class Counting(Control):
    """Counts its fits; its scores hold a value that float32 rounds."""

    name = "counting"
    fits = 0

    def fit(self, split, cells) -> Self:  # type: ignore[no-untyped-def]
        type(self).fits += 1
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        return pairs_2M[0] + pairs_2M[1] / 3.0


@pytest.fixture
def control() -> Counting:
    Counting.fits = 0
    return Counting(EmptyConfig())


def only_file(folder: Path) -> Path:
    (path,) = folder.rglob("*.npz")
    return path


def test_second_time_comes_from_the_folder(tmp_path: Path, control: Counting) -> None:
    split, pairs = toy_split(), toy_split().pairs("test").pairs_2M
    first = ControlCache(tmp_path).scores(control, split, None, pairs)
    second = ControlCache(tmp_path).scores(control, split, None, pairs)
    assert (first.from_cache, second.from_cache, Counting.fits) == (False, True, 1)
    assert first.scores_M.dtype == np.float32
    np.testing.assert_array_equal(first.scores_M, second.scores_M)
    assert second.seconds == first.seconds
    # Without a folder the scores are the same, to the last bit.
    np.testing.assert_array_equal(ControlCache(None).scores(control, split, None, pairs).scores_M, first.scores_M)


def test_key_covers_what_scores_depend_on() -> None:
    split, other = toy_split(), toy_split(seed=1)
    cache = ControlCache("folder")
    seeds = [CONTROLS.build("random", seed=seed) for seed in (0, 1)]
    penalties = [CONTROLS.build("additive_logistic", {"C": C}) for C in (1.0, 2.0)]
    pearson, degree = CONTROLS.build("pearson"), CONTROLS.build("target_degree")
    cells = toy_cells()
    permuted = cells.permuted_cells(0)
    paths = {
        cache.path(c, s, x, p)
        for c, s, x, p in [
            *((c, split, cells, "p") for c in (*seeds, *penalties, pearson, degree)),
            (degree, other, cells, "p"),
            (degree, split, cells, "q"),
            (pearson, split, permuted, "p"),
        ]
    }
    assert len(paths) == 9
    # A control that does not read cells is not computed again for other cells.
    assert cache.path(degree, split, permuted, "p") == cache.path(degree, split, None, "p")


@pytest.mark.parametrize("damage", ["truncated", "not an archive", "other scores", "empty"])
def test_damaged_entry_is_computed_anew_and_said(tmp_path: Path, control: Counting, damage: str) -> None:
    split, pairs = toy_split(), toy_split().pairs("test").pairs_2M
    expected = ControlCache(tmp_path).scores(control, split, None, pairs).scores_M
    path = only_file(tmp_path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "not an archive":
        path.write_text("no archive")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with np.load(path) as stored:
            values = dict(stored)
        values["scores_M"] = values["scores_M"] + 1
        np.savez(path, **values)
    cache = ControlCache(tmp_path)
    found = cache.scores(control, split, None, pairs)
    assert not found.from_cache
    np.testing.assert_array_equal(found.scores_M, expected)
    assert len(cache.messages) == 1
    assert "computed again" in cache.messages[0]
    assert path.name in cache.messages[0]
    assert ControlCache(tmp_path).scores(control, split, None, pairs).from_cache


def test_pickles_are_not_read(tmp_path: Path, control: Counting) -> None:
    split, pairs = toy_split(), toy_split().pairs("test").pairs_2M
    ControlCache(tmp_path).scores(control, split, None, pairs)
    np.savez(only_file(tmp_path), scores_M=np.array([{"a": 1}], dtype=object), seconds=0.0, checksum="x")
    cache = ControlCache(tmp_path)
    assert not cache.scores(control, split, None, pairs).from_cache
    assert cache.messages
