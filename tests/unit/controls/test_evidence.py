"""Evidence from cells on disk: no value is read where it is cached, and never many cells at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from grn_cotrain.controls.evidence import build_evidence
from grn_cotrain.data import rows, store
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.data.rows import StoredRows
from tests.cases.toy_links import NUM_GENES, toy_split, toy_vocab

NAMES = ("kernel_ridge", "knn_expression", "target_knn")


def prepared(folder: Path, num_cells: int) -> Prep:
    values = sparse.random(num_cells, NUM_GENES, 0.4, format="csr", random_state=1)
    values.data = np.ceil(values.data * 9)
    write_prep(folder, toy_vocab(), MemoryStore.build(toy_vocab(), values, kind="counts"))
    return Prep.open(folder)


def test_evidence_from_disk_equals_that_in_memory(tmp_path: Path) -> None:
    prep, chosen_C = prepared(tmp_path / "prep", 200), np.arange(200)[::-2]
    found = [build_evidence(NAMES, toy_split(), prep.store(how), chosen_C).to_arrays() for how in ("memory", "backed")]
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, atol=2e-4)
    few = build_evidence(NAMES, toy_split(), prep.store("memory"), chosen_C[:50]).to_arrays()
    assert not np.allclose(few["full_KSG"], found[0]["full_KSG"], atol=1e-2)  # the choice of cells matters


@pytest.mark.parametrize("how", ["memory", "backed"])
def test_cached_evidence_reads_no_values(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prep, chosen_C = prepared(tmp_path / "prep", 60), np.arange(40)
    first = build_evidence(NAMES, toy_split(), prep.store(how), chosen_C, cache=tmp_path).to_arrays()
    cells = Prep.open(tmp_path / "prep").store(how)
    for kind in (StoredRows, MemoryStore):
        for name in ("read", "rows", "normalised", "take", "part"):
            monkeypatch.setattr(kind, name, lambda *_: pytest.fail("values are read"), raising=False)
    monkeypatch.setattr("grn_cotrain.data.prep.sha256_file", lambda path: pytest.fail("a file is hashed"))
    again = build_evidence(NAMES, toy_split(), cells, chosen_C, cache=tmp_path).to_arrays()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert len(list(tmp_path.glob("evidence-*"))) == 1


@pytest.mark.parametrize("other", [np.arange(39), np.arange(40)[::-1], np.arange(1, 41), None])
def test_the_cache_knows_which_cells(tmp_path: Path, other: np.ndarray | None) -> None:
    cells = prepared(tmp_path / "prep", 60).store("backed")
    for rows_C in (np.arange(40), other):
        build_evidence(("target_knn",), toy_split(), cells, rows_C, cache=tmp_path)
    assert len(list(tmp_path.glob("evidence-*"))) == 2


def test_memory_does_not_grow_with_the_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell costs its name, depth and pointers; its 32 values alone take 256 bytes in memory."""
    for module in (rows, store):
        monkeypatch.setattr(module, "BLOCK_VALUES", 20_000)
    sizes, peaks = (1_000, 10_000), []
    for number in (100, *sizes):  # the first imports what the others use
        cells = prepared(tmp_path / str(number), number).store("backed")
        tracemalloc.start()
        build_evidence(NAMES, toy_split(), cells, np.arange(number))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    per_cell = (peaks[2] - peaks[1]) / (sizes[1] - sizes[0])
    assert per_cell < 150, (peaks, per_cell)
