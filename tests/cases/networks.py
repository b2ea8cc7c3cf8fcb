"""Small networks for tests: a vocabulary of n genes, a GRN of given pairs, and hypothesis strategies for both."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["grn_of", "labelled_split", "random_grn", "simple_graphs", "vocab_of"]


def vocab_of(num_genes: int, *, prefix: str = "GENE") -> FeatureVocab:
    """``GENE0``, ``GENE1``, ... of a simulated species."""
    return FeatureVocab(
        symbols=tuple(f"{prefix}{i}" for i in range(num_genes)),
        ids=("",) * num_genes,
        modality=("gene",) * num_genes,
        is_token=(True,) * num_genes,
        species="simulated",
    )


def grn_of(pairs_2E: np.ndarray, num_genes: int) -> GRN:
    """A network of the given gene indices."""
    vocab = vocab_of(num_genes)
    symbols = np.array(vocab.symbols)
    return GRN.from_frame(pd.DataFrame({"source": symbols[pairs_2E[0]], "target": symbols[pairs_2E[1]]}), vocab)


def random_grn(
    *, num_genes: int = 60, num_tfs: int = 15, density: float = 0.2, seed: int = 0, undirected: bool = False
) -> GRN:
    """Random edges from the first ``num_tfs`` genes; at least 6 targets each; TF-TF edges both ways if wanted."""
    rng = np.random.default_rng(seed)
    adjacency = rng.random((num_genes, num_genes)) < density
    adjacency[num_tfs:] = False
    for tf in range(num_tfs):
        adjacency[tf, num_tfs + rng.choice(num_genes - num_tfs, 6, replace=False)] = True
    if undirected:
        adjacency[:num_tfs, :num_tfs] |= adjacency[:num_tfs, :num_tfs].T.copy()
    np.fill_diagonal(adjacency, False)
    return grn_of(np.stack(np.nonzero(adjacency)), num_genes)


def labelled_split() -> EdgeSplit:
    """TFs 0 and 1, genes 2 to 7; every pair of a TF and a gene is labelled once."""
    parts = {
        "train": ([[0, 0, 1], [2, 3, 4]], [[0, 1, 1], [4, 2, 3]]),
        "validation": ([[0], [5]], [[1], [5]]),
        "test": ([[0, 1], [6, 7]], [[0, 1], [7, 6]]),
    }
    none = np.empty(0, dtype=np.int64)
    return EdgeSplit(
        name="published",
        kind="published",
        track="visible",
        seed=0,
        fold=None,
        num_genes=8,
        vocab_hash="vocab",
        grn_hash="grn",
        **{f"{part}_2E": np.array(positive) for part, (positive, _) in parts.items()},
        **{f"{part}_negatives_2N": np.array(negative) for part, (_, negative) in parts.items()},
        **{f"{part}_sources_S": np.array([0, 1]) for part in parts},
        **{f"{part}_targets_N": np.arange(2, 8) for part in parts},
        hidden_sources_S=none,
        hidden_targets_N=none,
        withheld_2E=np.empty((2, 0), dtype=np.int64),
    )


@st.composite
def simple_graphs(draw: st.DrawFn, *, max_genes: int = 12) -> tuple[int, np.ndarray]:
    """A number of genes and distinct directed edges between them, without self-loops, at least one, in any order."""
    num_genes = draw(st.integers(3, max_genes))
    cells = st.tuples(st.integers(0, num_genes - 1), st.integers(0, num_genes - 1)).filter(lambda p: p[0] != p[1])
    edges = draw(st.lists(cells, min_size=1, max_size=40, unique=True))
    return num_genes, np.array(edges, dtype=np.int64).T
