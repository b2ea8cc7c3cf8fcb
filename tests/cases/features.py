"""Contract of inductive feature sources: what every registered one must do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.config import to_dict
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.nn.features import FEATURE_SOURCES, FeatureContext

SYMBOLS = (
    "STAT1", "STAT3", "GATA1", "GATA2", "GATA3", "FOXP3", "FOXO1", "SOX2", "SOX9", "CD3D",
    "CD3E", "LYZ", "NKG7", "GNLY", "PPBP", "MS4A1", "IL7R", "CCR7", "S100A8", "ERCC-00002",
)  # fmt: skip


def make_context(folder: Path, *, order_G: np.ndarray | None = None) -> FeatureContext:
    """Twenty genes (the last never expressed), 60 cells, a file that knows fifteen of the genes."""
    order_G = np.arange(len(SYMBOLS)) if order_G is None else order_G
    counts_CG = np.random.default_rng(0).poisson(np.linspace(0.2, 3, len(SYMBOLS)), size=(60, len(SYMBOLS)))
    counts_CG[:, -1] = 0
    vocab = FeatureVocab.from_symbols([SYMBOLS[i] for i in order_G], species="human")
    values_NF = np.random.default_rng(1).normal(loc=5, size=(15, 4))
    path = folder / "protein.tsv"
    pd.DataFrame(values_NF, index=list(SYMBOLS[:15]), columns=list("abcd")).to_csv(path, sep="\t")
    return FeatureContext(
        vocab=vocab,
        statistics=Statistics(MemoryStore.build(vocab, counts_CG[:, order_G], kind="counts")),
        feature_matrix=path,
    )


class FeatureSourceCases:
    """Subclass with ``name`` and ``options``."""

    name: str
    options: dict[str, Any] = {}

    def features(self, context: FeatureContext) -> np.ndarray:
        return FEATURE_SOURCES.build(self.name, self.options).features(context)

    def test_one_finite_row_a_gene(self, tmp_path: Path) -> None:
        values_GF = self.features(make_context(tmp_path))
        assert values_GF.dtype == np.float32
        assert values_GF.shape[0] == len(SYMBOLS)
        assert values_GF.shape[1] >= 1
        assert np.isfinite(values_GF).all()
        assert values_GF.std(axis=0).max() > 0

    def test_no_silent_zero_row(self, tmp_path: Path) -> None:
        values_GF = self.features(make_context(tmp_path))
        assert (np.abs(values_GF).max(axis=1) > 0).all()

    def test_same_input_same_features(self, tmp_path: Path) -> None:
        first_GF, second_GF = (self.features(make_context(tmp_path)) for _ in range(2))
        np.testing.assert_array_equal(first_GF, second_GF)

    def test_follows_the_order_of_the_genes(self, tmp_path: Path) -> None:
        order_G = np.random.default_rng(2).permutation(len(SYMBOLS))
        plain_GF = self.features(make_context(tmp_path))
        permuted_GF = self.features(make_context(tmp_path, order_G=order_G))
        np.testing.assert_allclose(np.abs(permuted_GF), np.abs(plain_GF[order_G]), rtol=1e-3, atol=1e-4)

    def test_held_out_cells_are_not_read(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        assert context.statistics is not None
        rows, cells = np.arange(40), context.statistics.cells
        values_CG = cells.values_CG.toarray()
        values_CG[40:] = values_CG[40:][:, ::-1]
        other = MemoryStore.build(context.vocab, values_CG, kind="counts")
        np.testing.assert_array_equal(
            self.features(replace(context, statistics=Statistics(cells, rows))),
            self.features(replace(context, statistics=Statistics(other, rows))),
        )

    def test_config_round_trips(self) -> None:
        config = FEATURE_SOURCES.config(self.name, self.options)
        assert FEATURE_SOURCES.config(self.name, to_dict(config)) == config

    def test_has_a_paper_or_says_whose_it_is(self) -> None:
        (component,) = [c for c in FEATURE_SOURCES.components() if c.name == self.name]
        assert component.paper
        assert component.summary
