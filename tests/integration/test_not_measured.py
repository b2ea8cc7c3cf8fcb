"""Nothing depends on what is stored for an assay that a cell lacks: bit for bit, in memory and on disk.

Dimension letters: C cells, B some of them, F features of one assay.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.rows import StoredRows
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_sketch import FeatureValues, PooledValues
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork
from tests.multiome import multiome_vocab
from tests.unit.test_model_encoders import BOTH, ONE, model_of

C = 45
HAS = {"rna": np.arange(C) % 3 != 1, "atac": np.arange(C) % 3 != 2}
KINDS = {"rna": "counts", "atac": "counts"}
COLUMNS = {"rna": slice(0, 24), "atac": slice(24, 36)}
COUNTS = np.random.default_rng(7).poisson(1.3, (C, 36)) + (np.arange(36) % 12 == 0)
for _name, _columns in COLUMNS.items():
    COUNTS[~HAS[_name], _columns] = 0
DEPTHS = {name: COUNTS[:, columns].sum(axis=1).astype(float) for name, columns in COLUMNS.items()}
OBJECTIVES: dict[str, Any] = {"masked_value": {"mask_zeros": True}, "modality": {}}
ENCODERS: dict[str, dict[str, Any]] = {
    "one that reads all": {"cell_encoder": ONE},
    "one for each assay": {"encoders": BOTH},
}


def in_memory(folder: Path, values: Any, depths: dict[str, np.ndarray]) -> CellStore:
    del folder
    return MemoryStore.build(multiome_vocab(), values, kind=KINDS, size_factor_C=depths, present=HAS)


def on_disk(folder: Path, values: Any, depths: dict[str, np.ndarray]) -> CellStore:
    anndata.AnnData(sparse.csr_matrix(values, dtype=np.float32)).write_h5ad(folder / "x.h5ad")
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(C)])
    rows = StoredRows(folder / "x.h5ad", (C, 36))
    return BackedStore.build(multiome_vocab(), rows, kinds=KINDS, obs=obs, size_factors=depths, present=HAS)


STORES: dict[str, Callable[..., CellStore]] = {"memory": in_memory, "disk": on_disk}


def with_explicit_zeros() -> sparse.csr_matrix:
    """The same counts with an entry, 0, for each feature that was not measured."""
    cell_N, feature_N = np.nonzero((COUNTS > 0) | ~measured())
    values = sparse.csr_matrix((COUNTS[cell_N, feature_N].astype(np.float32), (cell_N, feature_N)), shape=(C, 36))
    assert values.nnz == (COUNTS > 0).sum() + (~measured()).sum()
    return values


def measured() -> np.ndarray:
    """bool ``[C, 36]``."""
    return np.concatenate([np.repeat(HAS["rna"][:, None], 24, 1), np.repeat(HAS["atac"][:, None], 12, 1)], axis=1)


def other_depths(number: float) -> dict[str, np.ndarray]:
    """Depths with ``number`` in the cells that lack the assay."""
    return {name: np.where(HAS[name], depth_C, number) for name, depth_C in DEPTHS.items()}


def everything(cells: CellStore, encoders: dict[str, Any]) -> dict[str, Any]:
    """Statistics, tokens, states and losses of all cells, after the model has read the statistics."""
    statistics = Statistics(cells)
    moments = statistics[Moments()]
    found: dict[str, Any] = {name: getattr(moments, name) for name in ("count_G", "mean_G", "square_G", "num_cells_G")}
    found["values"] = statistics[FeatureValues()].quantiles(np.array([0.25, 0.5, 0.75]), 3)
    found["pooled"] = statistics[PooledValues()].quantiles(np.array([0.25, 0.5, 0.75]), 1)
    found["loadings"] = gene_loadings(statistics, rank=4)
    found["size factors"] = np.stack([assay.size_factor_C for assay in cells.assays.values()])
    found["hash"] = cells.content_hash
    tokens = {"max_tokens": 24, "zeros_per_cell": 6}
    model = model_of({**encoders, "tokens": tokens}, OBJECTIVES)
    model.prepare(statistics)
    batch = model.tokenizer(cells).batch(np.arange(C), np.random.default_rng(0)).pack()
    found |= {name: getattr(batch, name) for name in ("feature_ids_T", "values_T", "bins_T", "cu_lens", "total_B")}
    found |= states_and_losses(model, batch)
    return found


@torch.no_grad()
def states_and_losses(model: CoTrainNetwork, batch: Any) -> dict[str, Any]:
    genes = model.encode_graph()
    found: dict[str, Any] = {"states": model.encode_cells(batch, genes).cells_BD}
    for name in OBJECTIVES:
        out = model.objective(name).on_cells(model, genes, batch, torch.Generator().manual_seed(3))
        found |= {f"{name}/{part}": torch.as_tensor(one.sum) for part, one in out.parts.items()}
    return found


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert set(first) == set(second)
    for name, value in first.items():
        other = second[name]
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else np.array_equal(value, other)
        assert same, name


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("encoders", ENCODERS)
def test_zeros_and_depths_of_what_was_not_measured_change_nothing(tmp_path: Path, store: str, encoders: str) -> None:
    plain = everything(in_memory(tmp_path, COUNTS, DEPTHS), ENCODERS[encoders])
    make = STORES[store]
    assert_same(plain, everything(make(tmp_path, COUNTS, DEPTHS), ENCODERS[encoders]))
    assert_same(plain, everything(make(tmp_path, with_explicit_zeros(), DEPTHS), ENCODERS[encoders]))
    for number in (0.0, -7.0, 1e6, np.nan, np.inf):
        assert_same(plain, everything(make(tmp_path, COUNTS, other_depths(number)), ENCODERS[encoders]))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("assay", COLUMNS)
def test_values_of_an_assay_that_a_cell_lacks_are_refused(tmp_path: Path, store: str, assay: str) -> None:
    values = COUNTS.copy()
    values[np.flatnonzero(~HAS[assay])[0], COLUMNS[assay].start + 2] = 99
    with pytest.raises(UserError, match=rf"present_{assay} is False in cells with (genes|peaks); mend the column"):
        STORES[store](tmp_path, values, DEPTHS)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("encoders", ENCODERS)
@pytest.mark.parametrize(("assay", "other"), [("rna", "atac"), ("atac", "rna")])
def test_an_assay_is_described_by_the_cells_that_have_it_alone(
    tmp_path: Path, store: str, encoders: str, assay: str, other: str
) -> None:
    """New values of the other assay, and cells that lack this one, leave its statistics and its own cells alone."""
    changed = COUNTS.copy()
    there = np.ix_(np.flatnonzero(HAS[other]), np.arange(36)[COLUMNS[other]])
    changed[there] = np.random.default_rng(9).poisson(4.0, changed[there].shape)
    depths = {**DEPTHS, other: changed[:, COLUMNS[other]].sum(axis=1) + 1.0}
    first = STORES[store](tmp_path, COUNTS, DEPTHS)
    second = in_memory(tmp_path, changed, depths)
    alone = first.only(assay)
    for need in (Moments(), FeatureValues()):
        a, b, c = (Statistics(cells)[need] for cells in (first, second, alone))
        for feature in range(COLUMNS[assay].start, COLUMNS[assay].stop):
            own = feature - COLUMNS[assay].start
            if isinstance(need, Moments):
                values = [
                    (s.count_G[i], s.mean_G[i], s.square_G[i], s.detected_G[i], s.num_cells_G[i])  # type: ignore[attr-defined]
                    for s, i in ((a, feature), (b, feature), (c, own))
                ]
            else:
                share = np.array([0.1, 0.5, 0.9])
                values = [tuple(s.quantiles(share, i)) for s, i in ((a, feature), (b, feature), (c, own))]  # type: ignore[attr-defined]
            assert values[0] == values[1] == values[2]
    lonely_B = np.flatnonzero(HAS[assay] & ~HAS[other])
    model = model_of(ENCODERS[encoders], OBJECTIVES)
    batches = [model.tokenizer(cells).batch(lonely_B).pack() for cells in (first, second)]
    found = [states_and_losses(model, batch) for batch in batches]
    assert_same(found[0], found[1])
    # Cells with the other assay stand in the same batch, and change no state.
    whole = model.tokenizer(second).batch(np.arange(C)).pack()
    with torch.no_grad():
        states_BD = model.encode_cells(whole, model.encode_graph()).cells_BD[lonely_B]
    torch.testing.assert_close(states_BD, found[0]["states"], atol=1e-6, rtol=1e-6)
