"""Splits that cannot be judged on are refused or named, with counts and the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.splits import prepare_splits
from grn_cotrain.data.prep import write_prep
from grn_cotrain.data.split_checks import density_note, refuse_one_class, split_warnings
from grn_cotrain.data.splits import make_split
from grn_cotrain.errors import UserError
from tests.cases.networks import grn_of, labelled_split, random_grn
from tests.cases.toy_links import toy_cells


def complete(num_tfs: int = 5, num_genes: int = 40) -> np.ndarray:
    return np.array([(s, t) for s in range(num_tfs) for t in range(num_genes) if s != t]).T


def test_a_complete_network_has_no_negative() -> None:
    with pytest.raises(UserError, match=r"test part has no negative, all [\d,]+ candidate pairs are edges"):
        refuse_one_class(make_split(grn_of(complete(), 40), "random"))
    refuse_one_class(make_split(random_grn(), "random"))
    refuse_one_class([labelled_split()])


def test_nothing_is_written_where_a_split_is_refused(tmp_path: Path) -> None:
    cells = toy_cells()
    grn = grn_of(complete(5, cells.num_features), cells.num_features)
    grn = type(grn).from_frame(
        grn.edges.assign(
            source=[cells.vocab.symbols[i] for i in grn.pairs_2E[0]],
            target=[cells.vocab.symbols[i] for i in grn.pairs_2E[1]],
        ),
        cells.vocab,
    )
    prep = write_prep(tmp_path / "prep", cells.vocab, cells, grn=grn)
    with pytest.raises(UserError, match="no negative"):
        prepare_splits(prep.folder, "random")
    assert prep.split_names() == []


def test_few_validation_positives_are_named_with_counts_and_the_fix() -> None:
    few = make_split(grn_of(complete(5, 40)[:, ::19], 40), "random")[0]
    positives = few.counts("validation")[0]
    assert positives < 5
    (line,) = [text for text in split_warnings(few) if "validation positives" in text]
    total = few.all_positives().shape[1]
    assert line.startswith(f"split 'random-seed0': {positives} validation positives of {total} edges")
    assert "grn-prep splits --seed" in line
    assert split_warnings(make_split(random_grn(), "random")[0]) == ()


def test_density_is_the_share_of_positives_of_each_part() -> None:
    split = make_split(random_grn(), "unseen-target")[0]
    text = density_note(split)
    for part in ("train", "validation", "test"):
        positives, pairs = split.counts(part)  # type: ignore[arg-type]
        assert f"{part} {100 * positives / pairs:.3f}%" in text
