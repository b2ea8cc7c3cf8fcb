"""Counts, logs of every base, and what is neither: told on evidence, of whole matrices and of a selection of genes."""

from __future__ import annotations

import re

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.io.value_kind import detect_value_kind, kind_and_reason
from grn_cotrain.errors import UserError


def counts(num_cells: int = 60, num_genes: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mean_G = rng.lognormal(-1.0, 1.5, num_genes)
    depth_C = rng.lognormal(0.0, 0.4, num_cells)
    return rng.poisson(np.outer(depth_C, mean_G)).astype(np.float64)


def per_cell(total: float) -> np.ndarray:
    X = counts()
    return X * (total / X.sum(axis=1, keepdims=True))


LOGS = {
    "log1p of counts per 10k": (np.log1p(per_cell(1e4)), r"log1p of normalised counts \(every cell sums to 10,000\)"),
    "log1p of CPM": (np.log1p(per_cell(1e6)), "log1p of normalised counts"),
    "log2 of counts per 10k": (np.log2(per_cell(1e4) + 1), r"log2\(x \+ 1\) of normalised counts"),
    "log10 of CPM": (np.log10(per_cell(1e6) + 1), r"log10\(x \+ 1\) of normalised counts"),
    "log1p of raw counts": (np.log1p(counts()), "log1p of raw counts"),
    "log2 of raw counts": (np.log2(counts() + 1), r"log2\(x \+ 1\) of raw counts"),
    "a selection of genes": (np.log1p(per_cell(1e4))[:, 100:300], "log1p of counts divided by a size factor"),
    "single precision": (np.log1p(per_cell(1e4)).astype(np.float32), "log1p of normalised counts"),
    "of no known kind": (np.random.default_rng(0).gamma(2.0, 2.0, (60, 300)), "of no normalisation known here"),
}


@pytest.mark.parametrize("case", LOGS)
@pytest.mark.parametrize("as_sparse", [True, False])
def test_logs_of_every_base_are_told(case: str, as_sparse: bool) -> None:
    X, reason = LOGS[case]
    kind, said = kind_and_reason(sparse.csr_matrix(X) if as_sparse else X, "cells")
    assert kind == "log"
    assert re.search(reason, said), said


@pytest.mark.parametrize(
    ("X", "reason"),
    [
        (counts(), "whole numbers up to"),
        (counts().astype(np.float32), "whole numbers up to"),
        (counts().astype(np.int64), "whole numbers up to"),
        ((counts() > 0).astype(float), "only 0 and 1"),
    ],
)
def test_whole_numbers_of_any_type_are_counts(X: np.ndarray, reason: str) -> None:
    kind, said = kind_and_reason(X, "cells")
    assert kind == "counts"
    assert reason in said


def _ambient() -> np.ndarray:
    """Counts of which some lost a little, as SoupX and multi-mapping make them."""
    X = counts()
    touched = np.random.default_rng(1).random(X.shape) < 0.4
    return np.where(touched & (X > 0), X - 0.37, X)


NEITHER = {
    "CPM": (per_cell(1e6), "CPM or TPM: every cell sums to 1e+06"),
    "counts per 10k": (per_cell(1e4), "counts per ten thousand: every cell sums to 10,000"),
    "proportions": (per_cell(1.0), "proportions: every cell sums to 1;"),
    "to the median": (per_cell(float(np.median(counts().sum(axis=1)))), "normalised: every cell sums to"),
    "a selection of CPM": (per_cell(1e6)[:, 100:300], "counts divided by a size factor"),
    "a selection of small values": (per_cell(300.0)[:, 100:300], "counts divided by a size factor"),
    "fractional counts": (_ambient(), "round them (adata.X = adata.X.round())"),
    "fractional counts of shallow cells": (np.minimum(_ambient(), 9.5), "counts with fractions"),
    "large fractions": (np.random.default_rng(0).gamma(2.0, 200.0, (60, 300)), "give raw counts, or log1p"),
}


@pytest.mark.parametrize("case", NEITHER)
def test_what_is_neither_is_refused_with_a_fix(case: str) -> None:
    X, message = NEITHER[case]
    with pytest.raises(UserError) as caught:
        detect_value_kind(X, "cells")
    assert "cells: values are neither raw counts nor on a log scale" in str(caught.value)
    assert message in str(caught.value)


def adata(X: np.ndarray, **layers: np.ndarray) -> anndata.AnnData:
    names = [f"GENE{i}" for i in range(X.shape[1])]
    return anndata.AnnData(X, var=pd.DataFrame(index=names), layers=layers)


@pytest.mark.parametrize(
    "X", [(counts() - counts().mean(axis=0)) / (counts().std(axis=0) + 1e-9), per_cell(1e4), _ambient()]
)
def test_a_refusal_names_the_layer_that_holds_the_counts(X: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"raw counts: layer='counts'"):
        counts_from_anndata(adata(X, counts=counts()))


def test_cells_in_memory_are_validated_alike_and_never_changed() -> None:
    X = sparse.csr_matrix(counts().astype(np.float32))
    X.data[:3] = 0.0  # stored zeros, which validation removes from its own copy
    data = adata(X)
    data.obs["size"] = 1.0
    before = data.copy()
    read = counts_from_anndata(data)
    assert read.kind == "counts"
    assert read.adata.X.nnz == X.nnz - 3
    assert data.X.nnz == X.nnz
    assert not np.shares_memory(read.adata.X.data, data.X.data)
    read.adata.obs["size"] = 2.0
    assert (data.X != before.X).nnz == 0
    assert data.obs.equals(before.obs)
    assert data.var.equals(before.var)
    with pytest.raises(UserError, match="layer='x': cells of mine has no such layer; choose from none"):
        counts_from_anndata(data, "x", what="cells of mine")
