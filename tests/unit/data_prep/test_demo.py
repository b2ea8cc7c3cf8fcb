"""The demo's data: counts recovered from scanpy's PBMCs, and the literature network."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import data_prep.demo as demo
from grn_cotrain.errors import UserError


@pytest.fixture(scope="module")
def counts() -> anndata.AnnData:
    return demo.pbmc_counts()


def test_counts_are_integers_below_the_cells_total(counts: anndata.AnnData) -> None:
    assert counts.shape == (700, 765)
    assert sparse.isspmatrix_csr(counts.X) or isinstance(counts.X, sparse.csr_array)
    assert counts.X.dtype == np.float32
    assert counts.X.data.min() == 1
    assert np.array_equal(counts.X.data, np.rint(counts.X.data))
    totals = np.asarray(counts.X.sum(axis=1)).ravel()
    assert (totals < counts.obs["size_factor"]).all(), "765 genes cannot hold more than the whole transcriptome"
    assert 0.15 < (totals / counts.obs["size_factor"]).mean() < 0.25


def test_counts_give_back_the_normalised_values(counts: anndata.AnnData) -> None:
    import scanpy

    raw = scanpy.datasets.pbmc68k_reduced().raw.X.toarray()
    size = counts.obs["size_factor"].to_numpy()[:, None]
    again = np.log1p(counts.X.toarray() / size * 1e4)
    assert np.abs(again - raw).max() < 0.05
    assert np.array_equal(again > 0, raw > 0)


def test_a_wrong_size_factor_is_refused() -> None:
    with pytest.raises(UserError, match="off an integer"):
        demo._near_integers(sparse.csr_matrix(np.array([[1.0, 2.4]])))


def test_network_is_clean_and_inside_the_genes(counts: anndata.AnnData) -> None:
    network = demo.blood_network()
    assert list(network.columns) == ["source", "target", "sign", "reference"]
    assert not network.isna().any().any()
    assert not network.duplicated(["source", "target"]).any()
    assert (network["source"] != network["target"]).all()
    assert set(network["sign"]) <= {-1, 0, 1}
    assert network["reference"].str.fullmatch(r"[A-Z][\w' -]+ (19|20)\d\d [A-Z][\w ]+").all()
    assert set(network["source"]) | set(network["target"]) <= set(counts.var_names)
    assert (network["source"].value_counts() >= demo.MIN_TARGETS).sum() >= 8


def test_prepare_demo_writes_files_a_user_could_have(tmp_path: Path) -> None:
    cells, edges = demo.prepare_demo(tmp_path / "raw")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["counts.h5ad", "edges.tsv"]
    assert anndata.read_h5ad(cells).obs["cell_type"].nunique() == 10
    frame = pd.read_csv(edges, sep="\t")
    assert list(frame.columns) == ["source", "target", "sign", "evidence"]
    assert len(frame) == len(demo.blood_network())
