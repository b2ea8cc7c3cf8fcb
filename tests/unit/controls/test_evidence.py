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
    prep = prepared(tmp_path / "prep", 200)
    found = [build_evidence(NAMES, toy_split(), prep.store(how)).to_arrays() for how in ("memory", "backed")]
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, atol=2e-4)
    few = build_evidence(NAMES, toy_split(), prepared(tmp_path / "few", 50).store("memory")).to_arrays()
    assert not np.allclose(few["full_KSG"], found[0]["full_KSG"], atol=1e-2)  # the cells matter


@pytest.mark.parametrize("how", ["memory", "backed"])
def test_cached_evidence_reads_no_values(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prep = prepared(tmp_path / "prep", 60)
    first = build_evidence(NAMES, toy_split(), prep.store(how), cache=tmp_path).to_arrays()
    cells = Prep.open(tmp_path / "prep").store(how)
    for kind in (StoredRows, MemoryStore):
        for name in ("read", "rows", "normalised", "take", "part"):
            monkeypatch.setattr(kind, name, lambda *_: pytest.fail("values are read"), raising=False)
    monkeypatch.setattr("grn_cotrain.data.prep.sha256_file", lambda path: pytest.fail("a file is hashed"))
    again = build_evidence(NAMES, toy_split(), cells, cache=tmp_path).to_arrays()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert len(list(tmp_path.glob("evidence-*"))) == 1


def test_the_cache_knows_which_cells(tmp_path: Path) -> None:
    for number in (60, 59):
        cells = prepared(tmp_path / f"prep-{number}", number).store("backed")
        build_evidence(("target_knn",), toy_split(), cells, cache=tmp_path)
    assert len(list(tmp_path.glob("evidence-*"))) == 2


def test_memory_does_not_grow_with_the_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell costs its name, depth and pointers; its 32 values alone take 256 bytes in memory."""
    for module in (rows, store):
        monkeypatch.setattr(module, "BLOCK_VALUES", 20_000)
    sizes, peaks = (1_000, 10_000), []
    for number in (100, *sizes):  # the first imports what the others use
        cells = prepared(tmp_path / str(number), number).store("backed")
        tracemalloc.start()
        build_evidence(NAMES, toy_split(), cells)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    per_cell = (peaks[2] - peaks[1]) / (sizes[1] - sizes[0])
    assert per_cell < 150, (peaks, per_cell)
