"""Every registered feature source under the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.errors import UserError
from grn_cotrain.nn.features import FEATURE_SOURCES
from tests.cases.features import SYMBOLS, FeatureSourceCases, make_context


class TestExpression(FeatureSourceCases):
    name = "expression"
    options = {"rank": 5}

    def test_loadings_mean_and_detection(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        assert context.statistics is not None
        values_GF = self.features(context)
        loadings_GR = gene_loadings(context.statistics, rank=5)
        assert values_GF.shape == (len(SYMBOLS), 7)
        scale = np.sqrt(np.square(loadings_GR).sum(1).mean())
        np.testing.assert_allclose(values_GF[:, :5] * scale, loadings_GR, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.square(values_GF[:, 5:]).sum(1).mean(), 1, rtol=1e-4)
        expression_CG = context.statistics.cells.normalised().toarray()
        assert np.corrcoef(values_GF[:, 5], expression_CG.mean(0))[0, 1] == pytest.approx(1, abs=1e-5)
        assert np.corrcoef(values_GF[:, 6], (expression_CG > 0).mean(0))[0, 1] == pytest.approx(1, abs=1e-5)

    def test_without_cells(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="inductive 'expression': there are no cells"):
            self.features(replace(make_context(tmp_path), statistics=None))


class TestTFFamily(FeatureSourceCases):
    name = "tf_family"

    def test_relatives_share_a_row_and_strangers_do_not(self, tmp_path: Path) -> None:
        values_GF = self.features(make_context(tmp_path))
        row = {symbol: values_GF[i] for i, symbol in enumerate(SYMBOLS)}
        np.testing.assert_array_equal(row["STAT1"], row["STAT3"])
        np.testing.assert_array_equal(row["GATA1"], row["GATA3"])
        assert not np.array_equal(row["STAT1"], row["GATA1"])
        np.testing.assert_array_equal(np.abs(values_GF).sum(1), 1)

    def test_no_relative_is_marked(self, tmp_path: Path) -> None:
        values_GF = self.features(make_context(tmp_path))
        assert values_GF[SYMBOLS.index("PPBP"), -1] == 1
        assert values_GF[SYMBOLS.index("GATA1"), -1] == 0

    def test_column_does_not_depend_on_the_vocabulary(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        fewer = replace(context, vocab=context.vocab.select([2, 3, 4]), statistics=None)
        np.testing.assert_array_equal(self.features(fewer), self.features(context)[2:5])


class TestMatrix(FeatureSourceCases):
    name = "matrix"

    def test_standardised_and_missing_genes_marked(self, tmp_path: Path) -> None:
        values_GF = self.features(make_context(tmp_path))
        assert values_GF.shape == (len(SYMBOLS), 5)
        np.testing.assert_array_equal(values_GF[:, -1], np.arange(len(SYMBOLS)) >= 15)
        np.testing.assert_array_equal(values_GF[15:, :-1], 0)
        np.testing.assert_allclose(values_GF[:15, :-1].mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(values_GF[:15, :-1].std(0), values_GF[:15, 0].std(), rtol=1e-5)

    def test_without_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="feature_matrix is not set"):
            self.features(replace(make_context(tmp_path), feature_matrix=None))


def test_every_component_is_covered() -> None:
    assert {case.name for case in FeatureSourceCases.__subclasses__()} == set(FEATURE_SOURCES.names())
