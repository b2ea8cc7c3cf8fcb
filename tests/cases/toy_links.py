"""A small network with structure, its cells, and its splits: shared by the tests of controls and of the evaluator."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.gene_features import GeneFeatures, SetRows
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.splits import make_split
from grn_cotrain.data.vocab import FeatureVocab

NUM_GENES, NUM_TFS = 80, 20

__all__ = ["NUM_GENES", "NUM_TFS", "toy_cells", "toy_grn", "toy_known_cells", "toy_split", "toy_splits", "toy_vocab"]


@cache
def toy_vocab() -> FeatureVocab:
    """80 features, the first 20 of which are TFs."""
    return FeatureVocab.from_symbols([f"GENE{i}" for i in range(NUM_GENES)], species="human")


@cache
def toy_grn() -> GRN:
    """TFs of two families prefer two halves of the genes; degrees differ; ten genes have no regulator."""
    rng = np.random.default_rng(7)
    family_S, half_G = np.arange(NUM_TFS) % 2, np.arange(NUM_GENES) % 2
    rate_SG = np.where(family_S[:, None] == half_G[None, :], 0.35, 0.08) * rng.uniform(0.4, 1.6, NUM_GENES)[None, :]
    rate_SG[:, -10:] = 0
    edge_SG = rng.random(rate_SG.shape) < rate_SG
    edge_SG[np.arange(NUM_TFS), np.arange(NUM_TFS)] = False
    source_E, target_E = np.nonzero(edge_SG)
    names = np.array(toy_vocab().symbols)
    return GRN.from_frame(pd.DataFrame({"source": names[source_E], "target": names[target_E]}), toy_vocab())


@cache
def toy_cells() -> MemoryStore:
    """60 cells of counts; genes of one half share a programme; one gene is never seen."""
    rng = np.random.default_rng(8)
    programme_C2 = rng.gamma(1.0, 1.0, size=(60, 2))
    rate_CG = programme_C2[:, np.arange(NUM_GENES) % 2] * rng.uniform(0.3, 3.0, NUM_GENES)
    values_CG = rng.poisson(rate_CG).astype(np.float32)
    values_CG[:, 33] = 0
    return MemoryStore.build(toy_vocab(), values_CG, kind="counts")


@cache
def toy_known_cells() -> MemoryStore:
    """The toy cells with rows of another data set, motifs of all TFs but one, and five outdated symbols."""
    cells, rng = toy_cells(), np.random.default_rng(9)
    present_G = np.arange(NUM_GENES) % 5 > 0
    summary_G3 = rng.random((NUM_GENES, 3)).astype(np.float32) * present_G[:, None]
    loadings_GR = rng.standard_normal((NUM_GENES, 4)).astype(np.float32) * present_G[:, None]
    similarity_TT = np.eye(NUM_TFS - 1, dtype=np.float32)
    similarity_TT[0, 2] = similarity_TT[2, 0] = 0.9
    similarity_TT[1, 3] = similarity_TT[3, 1] = 0.4
    symbols = cells.vocab.symbols
    rows = {"other": SetRows(summary_G3, loadings_GR, present_G)}
    features = GeneFeatures(symbols, rows, symbols[: NUM_TFS - 1], similarity_TT)
    return cells.with_vocab(replace(cells.vocab, features=features, outdated=frozenset(symbols[70:75])))


@cache
def toy_splits(kind: str, seed: int = 0, track: str = "visible") -> tuple[EdgeSplit, ...]:
    """All folds of a kind."""
    return tuple(make_split(toy_grn(), kind, seed=seed, track=track))  # type: ignore[arg-type]


def toy_split(kind: str = "random", seed: int = 0) -> EdgeSplit:
    """The first fold of a kind."""
    return toy_splits(kind, seed)[0]
