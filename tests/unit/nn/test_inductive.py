"""Features by name, and files of features that users bring: good ones in every format, bad ones with one line each."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.nn.features.matrix import align_feature_matrix, read_feature_matrix
from grn_cotrain.nn.inductive import inductive_features
from tests.cases.features import SYMBOLS, make_context


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        np.random.default_rng(0).normal(size=(4, 3)), index=["STAT1", "GATA1", "NAN", "LYZ"], columns=["a", "b", "c"]
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".npy":
        np.save(path, frame.to_numpy())
        path.with_suffix(".genes.txt").write_text("\n".join(frame.index) + "\n", encoding="utf-8")
    else:
        frame.to_csv(path, sep="," if ".csv" in path.name else "\t")
    return path


@pytest.mark.parametrize("name", ["f.tsv", "f.csv", "f.txt", "f.tsv.gz", "f.csv.gz", "f.parquet", "f.npy"])
def test_every_format_reads_the_same(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    read = read_feature_matrix(write(frame, tmp_path / name))
    assert [str(gene) for gene in read.index] == list(frame.index)  # a gene may be called NAN
    np.testing.assert_allclose(read.to_numpy(), frame.to_numpy())


def test_parquet_with_names_in_a_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.rename_axis("gene").reset_index().to_parquet(tmp_path / "f.parquet")
    read = read_feature_matrix(tmp_path / "f.parquet")
    assert list(read.index) == list(frame.index)
    np.testing.assert_allclose(read.to_numpy(), frame.to_numpy())


def test_rows_find_their_genes_and_losses_are_named(frame: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    vocab = FeatureVocab.from_symbols(["GATA1", "SOX2", "STAT1", "FOXP3"], species="human")
    frame = pd.concat([frame, frame.iloc[:1]])  # STAT1 twice
    with caplog.at_level(logging.WARNING):
        values_GF, report = align_feature_matrix(frame, vocab)
    assert values_GF.shape == (4, 4)
    np.testing.assert_array_equal(values_GF[:, -1], [0, 1, 0, 1])
    first, second = frame.loc["GATA1"].to_numpy(), frame.iloc[0].to_numpy()
    np.testing.assert_array_equal(np.sign(values_GF[0, :3] - values_GF[2, :3]), np.sign(first - second))
    assert report.lost == ["NAN", "LYZ"]
    assert report.duplicated == ["STAT1"]
    assert "2 of 4 genes have no features (SOX2, FOXP3)" in caplog.text


def test_no_missing_gene_no_extra_column(frame: pd.DataFrame) -> None:
    vocab = FeatureVocab.from_symbols(["GATA1", "STAT1"], species="human")
    values_GF, _ = align_feature_matrix(frame, vocab)
    assert values_GF.shape == (2, 3)


def test_constant_column_is_zero_not_nan(frame: pd.DataFrame) -> None:
    frame["b"] = 1e6
    vocab = FeatureVocab.from_symbols(list(frame.index), species="human")
    values_GF, _ = align_feature_matrix(frame, vocab)
    np.testing.assert_array_equal(values_GF[:, 1], 0)


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"feature_matrix '.*none.tsv': no such file"):
            read_feature_matrix(tmp_path / "none.tsv")

    def test_unknown_ending(self, tmp_path: Path) -> None:
        (tmp_path / "f.xlsx").write_bytes(b"x")
        with pytest.raises(UserError, match=r"ending '\.xlsx' is not read"):
            read_feature_matrix(tmp_path / "f.xlsx")

    @pytest.mark.parametrize("name", ["f.parquet", "f.npy", "f.tsv.gz", "f.csv"])
    def test_damaged(self, name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
        path = write(frame, tmp_path / name)
        path.write_bytes(b"" if name == "f.csv" else path.read_bytes()[:-20])
        with pytest.raises(UserError, match="cannot be read"):
            read_feature_matrix(path)

    def test_pickles_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "f.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(UserError, match="cannot be read"):
            read_feature_matrix(tmp_path / "f.npy")

    def test_text_column(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame["family"] = "zinc finger"
        with pytest.raises(UserError, match="columns that are not numbers: family"):
            read_feature_matrix(write(frame, tmp_path / "f.tsv"))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, bad: float, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame.iloc[1, 1] = bad
        with pytest.raises(UserError, match=r"NaN or infinity in 1 rows \(GATA1\)"):
            read_feature_matrix(write(frame, tmp_path / "f.tsv"))

    def test_npy_without_names(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        path = write(frame, tmp_path / "f.npy")
        path.with_suffix(".genes.txt").write_text("STAT1\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"shape \(4, 3\) for 1 names"):
            read_feature_matrix(path)
        path.with_suffix(".genes.txt").unlink()
        with pytest.raises(UserError, match="it holds no gene names"):
            read_feature_matrix(path)

    def test_no_columns(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="4 rows and 0 columns"):
            read_feature_matrix(write(frame[[]], tmp_path / "f.parquet"))

    def test_genes_of_another_world(self, frame: pd.DataFrame) -> None:
        vocab = FeatureVocab.from_symbols(["ABC1", "ABC2"], species="human")
        with pytest.raises(UserError, match="none of 4 names"):
            align_feature_matrix(frame, vocab)


class TestByName:
    def test_sources_in_order(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        features = inductive_features(
            ("tf_family", "expression"), context.vocab, context.statistics, feature_matrix=context.feature_matrix
        )
        assert list(features) == ["tf_family", "expression", "matrix"]
        assert all(values_GF.shape[0] == len(SYMBOLS) for values_GF in features.values())

    def test_none(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        assert inductive_features((), context.vocab, None) == {}

    def test_rows_reach_the_source(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        whole, part = (
            inductive_features(("expression",), context.vocab, Statistics(context.statistics.cells, rows))["expression"]
            for rows in (None, np.arange(30))
        )
        assert not np.allclose(whole, part)

    def test_unknown_and_repeated(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        with pytest.raises(UserError, match=r"unknown 'tf_famly' for inductive.*did you mean 'tf_family'"):
            inductive_features(("tf_famly",), context.vocab, context.statistics)
        with pytest.raises(UserError, match="'expression' is named more than once"):
            inductive_features(("expression", "expression"), context.vocab, context.statistics)
