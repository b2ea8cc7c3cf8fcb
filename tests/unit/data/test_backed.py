"""Cells on disk are those in memory, read by rows; memory does not grow with them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.data.rows import StoredRows
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

C, F = 40, 25
VALUES = sparse.random(C, F, 0.3, format="csr", dtype=np.float32, random_state=0)
ORDERS = {
    "sorted": np.arange(C),
    "reversed": np.arange(C)[::-1],
    "some, twice": np.array([7, 3, 3, 39, 0, 7]),
    "one": np.array([5]),
    "none": np.array([], dtype=np.int64),
}


def stored(folder: Path, form: str) -> StoredRows:
    matrix = VALUES.toarray() if form == "dense" else VALUES
    data = anndata.AnnData(matrix)
    if form == "zarr":
        data.write_zarr(folder / "x.zarr")
        return StoredRows(folder / "x.zarr", (C, F))
    if form == "h5mu":
        import mudata

        mudata.MuData({"rna": data}).write(folder / "x.h5mu")
        return StoredRows(folder / "x.h5mu", (C, F), "mod/rna/X")
    data.write_h5ad(folder / "x.h5ad", compression="gzip")
    return StoredRows(folder / "x.h5ad", (C, F))


@pytest.mark.parametrize("form", ["h5ad", "dense", "zarr", "h5mu"])
def test_rows_come_in_the_order_asked_for(tmp_path: Path, form: str) -> None:
    rows = stored(tmp_path, form)
    for index_B in ORDERS.values():
        assert np.array_equal(rows.read(index_B).toarray(), VALUES[index_B].toarray())
    assert rows.num_values().tolist() == np.diff(VALUES.indptr).tolist()
    some = rows.take(np.array([9, 2, 4]))
    assert np.array_equal(some.read(np.array([1, 0])).toarray(), VALUES[[2, 9]].toarray())


def test_cells_without_a_stored_row_are_empty(tmp_path: Path) -> None:
    rows = StoredRows(stored(tmp_path, "h5ad").path, (4, F), row_C=np.array([3, -1, 0, -1]))
    expected = np.zeros((4, F), dtype=np.float32)
    expected[[0, 2]] = VALUES[[3, 0]].toarray()
    assert np.array_equal(rows.read(np.arange(4)).toarray(), expected)
    assert rows.num_values().tolist() == (expected > 0).sum(axis=1).tolist()


def test_a_matrix_of_another_shape_or_layout_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, "h5ad").path
    with pytest.raises(UserError, match=r"X is 40 x 25, expected 41 x 25"):
        StoredRows(path, (C + 1, F)).read(np.arange(2))
    anndata.AnnData(VALUES.tocsc()).write_h5ad(tmp_path / "csc.h5ad")
    with pytest.raises(UserError, match=r"X is csc_matrix; store it as CSR"):
        StoredRows(tmp_path / "csc.h5ad", (C, F)).read(np.arange(2))


@pytest.fixture
def both(tiny_world: Path) -> tuple[CellStore, CellStore]:
    prep = Prep.open(tiny_world)
    memory, backed = prep.store("memory"), prep.store("backed")
    assert isinstance(memory, MemoryStore)
    assert isinstance(backed, BackedStore)
    return memory, backed


def test_a_backed_store_is_the_same_cells(both: tuple[CellStore, CellStore]) -> None:
    memory, backed = both
    assert isinstance(backed, CellStore)
    assert backed.content_hash == memory.content_hash
    rows = np.array([9, 4, 4, 100])
    assert (backed.normalised(rows) != memory.normalised(rows)).nnz == 0
    assert (backed.normalised() != memory.normalised()).nnz == 0
    assert backed.num_values("rna", tokens=True).tolist() == memory.num_values("rna", tokens=True).tolist()
    for (mine, a), (other, b) in zip(backed.blocks(rows, size=3), memory.blocks(rows, size=3), strict=True):
        assert mine.tolist() == other.tolist()
        assert (a != b).nnz == 0
    assert (backed.take(rows).values_CG != memory.take(rows).values_CG).nnz == 0
    tf_index = np.arange(5)
    assert backed.permuted_genes(tf_index, 0).content_hash == memory.permuted_genes(tf_index, 0).content_hash


def test_token_batches_are_equal_to_the_bit(both: tuple[CellStore, CellStore]) -> None:
    config = TokenConfig(max_tokens=30, zeros_per_cell=5)
    streams = [CellStream(Tokenizer(cells, config), np.arange(100), tokens_per_batch=300, seed=3) for cells in both]
    for _ in range(12):
        one, other = (next(stream).pack() for stream in streams)
        for name in ("feature_ids_T", "values_T", "bins_T", "cu_lens", "cell_index_B", "total_B"):
            assert np.array_equal(getattr(one, name).numpy(), getattr(other, name).numpy())


def test_training_from_disk_has_the_same_losses(tiny_world: Path, tmp_path: Path) -> None:
    losses = []
    for how in ("memory", "backed"):
        recipe = tiny_recipe(tiny_world, train={"max_steps": 3})
        result = train(replace(recipe, data=replace(recipe.data, store=how)), tmp_path / how)
        lines = pd.read_json(result.folder / "metrics.jsonl", lines=True)
        losses.append(lines.filter(like="loss").to_numpy(dtype=np.float64))
    np.testing.assert_array_equal(losses[0], losses[1])


def test_large_cells_stay_on_disk_and_nothing_is_read_whole(tiny_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grn_cotrain.data.prep.IN_MEMORY_VALUES", 10)
    monkeypatch.setattr("grn_cotrain.data.prep.sha256_file", lambda path: pytest.fail("a file was hashed"))
    cells = Prep.open(tiny_world).cells
    assert isinstance(cells, BackedStore)
    assert cells.normalised(np.array([3])).shape == (1, cells.num_features)


@pytest.mark.parametrize("how", ["memory", "backed"])
def test_memory_of_batches(tmp_path: Path, how: str) -> None:
    """Batches from disk cost the same for ten times the cells; from memory, nothing is kept beside the matrix."""
    genes = [f"GENE{i}" for i in range(400)]
    peaks = []
    for number in (300, 3000):
        values = sparse.random(number, 400, 0.5, format="csr", random_state=0)
        values.data = np.ceil(values.data * 9)
        vocab = FeatureVocab.from_symbols(genes, species="human")
        folder = tmp_path / f"{how}{number}"
        write_prep(folder, vocab, MemoryStore.build(vocab, values, kind="counts"))
        cells = Prep.open(folder).store(how)
        tracemalloc.start()
        tokenizer = Tokenizer(cells, TokenConfig())
        for start in range(0, number, 100):
            tokenizer.batch(np.arange(start, min(start + 100, number)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 16 * 3000 * 200, "at most 16 bytes per stored value"
    if how == "backed":
        assert peaks[1] < 1.5 * peaks[0]
