"""Several files: one matrix, checked against pandas; one report; mixtures refused in one line."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from data_prep.merge import labels_of, merge_counts
from grn_cotrain.data.io.counts import CountsFile, counts_from_anndata
from grn_cotrain.errors import UserError


def table(genes: list[str], cells: list[str], seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).poisson(1.5, (len(cells), len(genes))) + np.eye(len(cells), len(genes))
    return pd.DataFrame(values.astype(np.float32), index=cells, columns=genes)


def counts(frame: pd.DataFrame, *, ids: list[str] | None = None, types: list[str] | None = None, **obs) -> CountsFile:
    data = anndata.AnnData(
        frame.to_numpy(), obs=pd.DataFrame(obs, index=frame.index), var=pd.DataFrame(index=frame.columns)
    )
    if ids is not None:
        data.var["gene_ids"] = ids
    if types is not None:
        data.var["feature_types"] = types
    return counts_from_anndata(data)


A = table(["AA", "BB", "CC"], ["c1", "c2"], 1)
B = table(["CC", "DD", "AA"], ["c3", "c4", "c5"], 2)
C = table(["EE", "AA"], ["c6"], 3)


def frame_of(merged: CountsFile) -> pd.DataFrame:
    return pd.DataFrame(merged.adata.X.toarray(), index=merged.adata.obs_names, columns=merged.adata.var_names)


@pytest.mark.parametrize("join", ["outer", "inner"])
def test_cells_are_those_of_pandas(join: str) -> None:
    merged = merge_counts([("a", counts(A)), ("b", counts(B)), ("c", counts(C))], join=join)
    expected = pd.concat([A, B, C], join=join).fillna(0.0)
    pd.testing.assert_frame_equal(frame_of(merged)[expected.columns], expected, check_names=False)
    assert merged.adata.n_vars == expected.shape[1]
    assert merged.adata.obs["source_file"].tolist() == list("aabbbc")
    # A cell's total is that of its own file's genes, whichever the join keeps.
    assert np.allclose(merged.size_factors["rna"], [*A.sum(axis=1), *B.sum(axis=1), *C.sum(axis=1)])


def test_the_report_holds_every_file() -> None:
    merged = merge_counts([("a", counts(A)), ("b", counts(B)), ("c", counts(C))])
    parts = merged.report.files
    assert [parts[label].num_given for label in "abc"] == [3, 3, 2]
    assert [parts[label].mapped for label in "abc"] == [3, 3, 2]
    assert parts["a"].absent == ["DD", "EE"]
    assert parts["b"].absent == ["BB", "EE"]
    assert parts["c"].absent == ["BB", "CC", "DD"]
    assert (merged.report.num_given, merged.report.mapped, merged.report.lost) == (5, 5, [])
    inner = merge_counts([("a", counts(A)), ("b", counts(B))], join="inner").report
    assert inner.lost == ["BB", "DD"]
    assert inner.files["a"].lost == ["BB"]
    assert inner.files["a"].absent == []
    assert type(inner).from_dict(inner.to_dict()) == inner


def test_one_gene_under_another_case_version_or_symbol_is_one() -> None:
    first = counts(table(["C1orf1", "OLD", "ENSG00000000003.4"], ["c1"]), ids=["", "ENSG00000000002", ""])
    second = counts(table(["C1ORF1", "NEW", "ENSG00000000003.9"], ["c2"]), ids=["", "ENSG00000000002.1", ""])
    merged = merge_counts([("a", first), ("b", second)])
    assert list(merged.adata.var_names) == list(first.adata.var_names)
    assert merged.report.files["b"].renamed == [
        ("C1ORF1", "C1orf1"),
        ("ENSG00000000003.9", "ENSG00000000003.4"),
        ("NEW", "OLD"),
    ]
    assert merged.report.files["b"].reasons == ["case", "version", "Ensembl id"]


def test_clashing_barcodes_take_the_label_and_are_counted() -> None:
    again = table(["AA", "BB", "CC"], ["c2", "c9"], 5)
    merged = merge_counts([("a", counts(A)), ("b", counts(again))])
    assert list(merged.adata.obs_names) == ["c1", "c2-a", "c2-b", "c9"]
    assert any("1 cell names occur in several files" in note and "c2" in note for note in merged.notes)
    tricky = merge_counts([("a", counts(A)), ("b", counts(table(["AA"], ["c2", "c2-a"], 6)))])
    assert tricky.adata.obs_names.is_unique


def test_modalities_may_differ_and_every_cell_says_what_it_has() -> None:
    both = counts(table(["AA", "CD3"], ["c7", "c8"], 4), types=["gene", "protein"])
    merged = merge_counts([("a", counts(A, batch=["x", "y"])), ("b", both)], join="inner")
    assert list(zip(merged.adata.var_names, merged.adata.var["modality"], strict=True)) == [
        ("AA", "gene"),
        ("CD3", "protein"),
    ]
    assert merged.adata.obs["present_protein"].tolist() == [False, False, True, True]
    assert merged.adata.obs["present_rna"].all()
    assert "no proteins in a: present_protein is False there" in merged.notes
    assert merged.adata.obs["batch"].isna().tolist() == [False, False, True, True]
    peaks = counts(table(["chr1-1-9", "chr1-20-30"], ["c10"]))
    unpaired = merge_counts([("a", counts(A)), ("p", peaks)])
    assert unpaired.adata.obs["present_rna"].tolist() == [True, True, False]
    assert unpaired.adata.shape == (3, 5)


HUMAN = [f"GENE{i}" for i in range(30)]
MOUSE = [f"Gene{i}" for i in range(30)]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([A, np.log1p(B)], {}, r"raw counts and log-scale values cannot be merged \(f0: counts, f1: log\)"),
        ([A, table(["XX", "YY"], ["d1"])], {}, "f1 has no gene in common with f0"),
        ([table(HUMAN, ["c1"]), table(MOUSE, ["c2"])], {}, "differ in case"),
        ([table(["HLA-A", *HUMAN], ["c1"]), table(MOUSE, ["c2"])], {}, r"files of different species \(f0: human, f1"),
        ([A, B], {"join": "left"}, r"join='left': choose from outer, inner"),
        ([A, table(["AA"], ["d"])], {"join": "inner", "source_key": "batch"}, "source_key='batch': f0 has a column"),
    ],
)
def test_mixtures_are_refused(files: list[pd.DataFrame], options: dict, message: str) -> None:
    given = [(f"f{i}", counts(frame, batch=["x"] * len(frame))) for i, frame in enumerate(files)]
    with pytest.raises(UserError, match=message):
        merge_counts(given, **options)


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["x/a.h5ad", "y/b.csv.gz"], ["a", "b"]),
        (["/d/a/filtered.h5", "/d/b/filtered.h5"], ["a", "b"]),
        (["s1/outs/m", "s2/outs/m"], ["s1", "s2"]),
        (["s1/x/m.h5", "s2/x/m.h5", "s2/y/k.h5ad"], ["s1/x/m", "s2/x/m", "s2/y/k"]),
        (["https://host/a.h5ad", "b.h5ad"], ["a", "b"]),
    ],
)
def test_labels_are_short_and_distinct(paths: list[str], labels: list[str]) -> None:
    assert labels_of(paths) == labels


def test_a_file_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="is given twice"):
        labels_of(["a/b.h5ad", "a/b.h5ad"])


def test_prepared_from_several_files(tmp_path: Path) -> None:
    paths = []
    for name, frame in (("one", A), ("two", B)):
        anndata.AnnData(frame).write_h5ad(tmp_path / f"{name}.h5ad")
        paths.append(tmp_path / f"{name}.h5ad")
    prep = prepare_counts(paths, tmp_path / "prep", source_key="donor")
    assert prep.cells.obs["donor"].tolist() == ["one"] * 2 + ["two"] * 3
    assert prep.meta["source"]["counts"] == ["one.h5ad", "two.h5ad"]
    assert prep.alignment.files["two"].absent == ["BB"]
    assert np.allclose(prep.cells.size_factor_C, [*A.sum(axis=1), *B.sum(axis=1)])


def _with(label: str, values: dict[str, object], cells: int = 3) -> tuple[str, CountsFile]:
    obs = pd.DataFrame(values, index=[f"{label}{i}" for i in range(cells)])
    X = np.random.default_rng(0).poisson(3, (cells, 30)).astype(np.float32) + 1
    data = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(30)]))
    return label, counts_from_anndata(data)


@pytest.mark.parametrize(
    "columns",
    [
        ([0, 1, 1], [0.0, np.nan, 1.0], ["0", "1", "0"]),
        ([0, 1, 1], ["0.0", None, "1.0"], ["0", "1", "0"]),
        (["0", "1", "1"], ["0.0", "nan", "1.0"], ["0", "1", "0"]),
        (pd.Categorical(np.array([0, 1, 1], np.int8)), ["0", None, "1"], pd.Categorical([0.0, 1.0, 0.0])),
        (pd.array([0, 1, 1], "Int64"), pd.array([0, None, 1], "Int64"), ["0", "1", "0"]),
    ],
)
def test_a_batch_is_one_batch_however_the_files_write_it(columns: tuple) -> None:
    files = [_with(label, {"batch": column}) for label, column in zip("abc", columns, strict=True)]
    batch = merge_counts(files).adata.obs["batch"]
    assert batch.astype(object).where(batch.notna(), None).tolist() == ["0", "1", "1", "0", None, "1", "0", "1", "0"]


def test_numbers_stay_numbers_and_other_labels_stay_as_they_are() -> None:
    a, b = (
        _with("a", {"n": [1, 2, 3], "yes": [True, False, True], "id": ["01", "1", "x"]}),
        _with("b", {"n": [1.5, np.nan, 3], "yes": ["True", None, "False"], "id": ["1", "01", "y"]}),
    )
    obs = merge_counts([a, b]).adata.obs
    assert obs["n"].dtype == np.float64
    assert obs["n"].isna().sum() == 1
    assert obs["yes"].astype(object).where(obs["yes"].notna(), None).tolist() == [
        "True", "False", "True", "True", None, "False"
    ]  # fmt: skip
    assert obs["id"].tolist() == ["01", "1", "x", "1", "01", "y"]
