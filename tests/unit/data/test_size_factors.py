"""A column called size_factor is judged by its values: taken, put on the scale of the totals, or left out."""

from __future__ import annotations

from collections.abc import Callable

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.merge import merge_counts
from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.io.size_factors import size_factors
from grn_cotrain.errors import UserError

C, G = 60, 200
RANDOM = np.random.default_rng(0)
DEPTH = RANDOM.gamma(4, 0.5, (C, 1))
X = RANDOM.poisson(DEPTH * RANDOM.gamma(0.5, 2, (1, G))).astype(np.float32)
TOTALS = X.sum(axis=1).astype(np.float64)


def found(column: object, values: np.ndarray = X) -> tuple[np.ndarray, list[str]]:
    obs = pd.DataFrame({"size_factor": column}, index=[f"cell{i}" for i in range(C)])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(values.shape[1])])
    depth, notes = size_factors(counts_from_anndata(anndata.AnnData(values, obs=obs, var=var)))
    return depth["rna"], notes


NOISE = RANDOM.lognormal(0, 0.1, C)
TAKEN: dict[str, Callable[[], np.ndarray]] = {
    "totals": lambda: TOTALS,
    "totals over more genes": lambda: TOTALS * 7,
    "whole transcriptome beside a panel": lambda: TOTALS + RANDOM.poisson(3000, C),
    "whole transcriptome beside few genes": lambda: TOTALS * 40 * RANDOM.lognormal(0, 0.6, C),
    "without mitochondrial genes": lambda: np.round(TOTALS * 0.8),
    "text": lambda: TOTALS.astype(str),
}
RELATIVE: dict[str, Callable[[], np.ndarray]] = {
    "divided by the mean": lambda: TOTALS / TOTALS.mean(),
    "divided by the median": lambda: TOTALS / np.median(TOTALS),
    "scran": lambda: TOTALS / TOTALS.mean() * NOISE,
    "per ten thousand": lambda: TOTALS / 1e4,
}
NEITHER: dict[str, Callable[[], np.ndarray]] = {
    "reciprocals": lambda: TOTALS.mean() / TOTALS,
    "logarithms": lambda: np.log1p(TOTALS),
    "ones": lambda: np.ones(C),
    "noise near 1": lambda: RANDOM.lognormal(0, 0.5, C),
    "far from the totals": lambda: RANDOM.random(C) * 1e6 + 5e4,
    "one number for all": lambda: np.full(C, 1e5),
    "two scales in one column": lambda: np.where(np.arange(C) % 2, TOTALS, TOTALS / TOTALS.mean()),
}


@pytest.mark.parametrize("name", TAKEN)
def test_totals_are_taken_as_they_are(name: str) -> None:
    given = TAKEN[name]()
    values, notes = found(given)
    np.testing.assert_allclose(values, np.asarray(given, dtype=np.float64))
    mean = np.asarray(given, dtype=np.float64).mean()
    beside = f"(mean {mean:,.4g}) compared with total counts (mean {TOTALS.mean():,.4g})"
    assert notes == [f"size factors: taken from obs['size_factor'] {beside}"]


@pytest.mark.parametrize("name", RELATIVE)
def test_relative_factors_are_put_on_the_scale_of_the_totals(name: str) -> None:
    given = RELATIVE[name]()
    values, notes = found(given)
    np.testing.assert_allclose(values, given * TOTALS.mean() / given.mean())
    assert "relative factors, multiplied by" in notes[0]
    assert f"mean {TOTALS.mean():,.4g}" in notes[0]


@pytest.mark.parametrize("name", NEITHER)
def test_what_is_neither_is_not_used_and_said(name: str) -> None:
    values, notes = found(NEITHER[name]())
    np.testing.assert_allclose(values, TOTALS)
    assert "is neither totals nor proportional to them, and is not used" in notes[0]


@pytest.mark.parametrize("bad", [0.0, -1.5, np.nan, np.inf])
def test_cells_without_a_positive_factor_are_named(bad: float) -> None:
    given = TOTALS.copy()
    given[[3, 8]] = bad
    with pytest.raises(UserError, match=rf"2 cells: cell3 \({bad}\), cell8 \({bad}\)"):
        found(given)
    with pytest.raises(UserError, match=r"1 cells: cell0 \(many\)"):
        found(["many", *TOTALS[1:]])


def test_log_values_have_no_use_for_it_and_other_names_are_not_asked() -> None:
    normalised = np.log1p(X / TOTALS[:, None] * 1e4)
    values, notes = found(TOTALS, normalised)
    assert (values == 1).all()
    assert notes == ["size factors: obs['size_factor'] is not used, values are on a log scale"]
    obs = pd.DataFrame({"size_factors": 1.0, "n_counts": 5.0, "total_counts": 7.0}, index=[f"c{i}" for i in range(C)])
    data = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(G)]))
    depth, notes = size_factors(counts_from_anndata(data))
    np.testing.assert_allclose(depth["rna"], TOTALS)
    assert notes == []


def test_scales_are_never_mixed_by_joining_files() -> None:
    parts = []
    for label, column in (("a", None), ("b", TOTALS / TOTALS.mean()), ("c", TOTALS)):
        obs = pd.DataFrame({} if column is None else {"size_factor": column}, index=[f"{label}{i}" for i in range(C)])
        data = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(G)]))
        parts.append((label, counts_from_anndata(data)))
    merged = merge_counts(parts)
    assert merged.size_factors is not None
    np.testing.assert_allclose(merged.size_factors["rna"], np.tile(TOTALS, 3))
    assert any(note.startswith("b: size factors:") and "relative" in note for note in merged.notes)
