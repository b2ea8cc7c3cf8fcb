"""Highly variable genes are scanpy's, chosen block by block."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

from data_prep.selection import parse_selection, select_genes
from grn_cotrain.data import store
from tests.cases.toy_cells import toy_cells


@pytest.mark.parametrize("kind", ["counts", "log"])
@pytest.mark.parametrize(
    ("num_cells", "density", "number"), [(80, 0.4, 10), (80, 0.4, 57), (30, 0.02, 25), (9, 0.3, 1)]
)
def test_they_are_scanpys(
    kind: str, num_cells: int, density: float, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where genes are never seen, or are alone among those of like mean."""
    import scanpy

    cells = toy_cells(num_cells, 60, kind=kind, density=density, seed=3)  # type: ignore[arg-type]
    adata = anndata.AnnData(cells.normalised()[:, :58])
    scanpy.pp.highly_variable_genes(adata, n_top_genes=number, flavor="seurat")
    monkeypatch.setattr(store, "BLOCK_VALUES", 50)
    kept, _ = select_genes(cells, parse_selection(f"hvg:{number}"), tf_index=np.array([]), target_index=np.array([]))
    assert kept.tolist() == np.flatnonzero(adata.var["highly_variable"]).tolist()
