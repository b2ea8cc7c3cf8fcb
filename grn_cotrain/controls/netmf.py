"""Random-walk embedding of the training graph: what node2vec factorises, in closed form.

Dimension letters: G genes, A genes with an edge, R rank, M pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from grn_cotrain.config import require
from grn_cotrain.controls._boosting import training_entries
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["NetMF"]


@CONTROLS.register(
    "netmf", paper="Qiu et al. 2018 (NetMF: DeepWalk, i.e. node2vec with p = q = 1), 10.1145/3159652.3159706"
)
class NetMF(Control):
    r"""Embeddings of DeepWalk (node2vec at p = q = 1) in closed form, and logistic regression on their products.

    Skip-gram with b negative samples over random walks of window T on the undirected training graph factorises

    .. math:: \log \max(1, \frac{vol}{b T} \sum_{r=1}^{T} (D^{-1} A)^r D^{-1})

    implicitly; here its leading singular vectors are taken. It stands where node2vec would: no walks are drawn, so
    nothing is sampled and p, q are 1. Pairs are scored by logistic regression on the products of coordinates, fitted to
    training positives and sampled negatives. A gene without an edge has coordinates 0.

    Config
    ------
    dimensions, window, negatives
        Options of the embedding.
    """

    name = "netmf"
    cost = "costly"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`NetMF`.

        Attributes
        ----------
        dimensions
            Coordinates of a gene.
        window
            Steps T of a walk that count as context.
        negatives
            Negative samples b of the skip-gram that is factorised.
        C
            Inverse strength of the penalty of the logistic regression.
        max_negatives
            Training negatives, drawn evenly.
        """

        dimensions: int = 64
        window: int = 5
        negatives: int = 1
        C: float = 0.1
        max_negatives: int = 100_000

        def __post_init__(self) -> None:
            for name in ("dimensions", "window", "negatives", "C", "max_negatives"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")

    table: EdgeTable
    embedding_GR: np.ndarray
    model: Any

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Embed the training graph; without two classes of training pairs, scores are 0."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.table = EdgeTable.of(split)
        self.embedding_GR = self._embed()
        generator = np.random.default_rng([self.seed, 15])
        rows_M, columns_M, labels_M = training_entries(self.table, self.config.max_negatives, generator)
        self.model = None
        if labels_M.any() and not labels_M.all():
            self.model = make_pipeline(StandardScaler(), LogisticRegression(C=self.config.C, max_iter=1000))
            self.model.fit(self._features(self.table.sources_S[rows_M], columns_M), labels_M)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Log-odds ``[M]``."""
        if self.model is None:
            return np.zeros(pairs_2M.shape[1])
        blocks = np.array_split(np.arange(pairs_2M.shape[1]), max(1, pairs_2M.shape[1] // 200_000))
        return np.concatenate([self.model.decision_function(self._features(*pairs_2M[:, block])) for block in blocks])

    def _features(self, sources_M: np.ndarray, targets_M: np.ndarray) -> np.ndarray:
        return self.embedding_GR[sources_M] * self.embedding_GR[targets_M]

    def _embed(self) -> np.ndarray:
        directed = self.table.adjacency_GG
        graph = sparse.csr_array(((directed + directed.T) > 0).astype(np.float64))
        embedding_GR = np.zeros((self.table.num_genes, self.config.dimensions))
        degree_G = np.asarray(graph.sum(axis=0)).ravel()
        nodes_A = np.flatnonzero(degree_G)
        if len(nodes_A) < 2:
            return embedding_GR
        step_AA = (graph[nodes_A][:, nodes_A] / degree_G[nodes_A][:, None]).toarray()
        walk_AA, total_AA = step_AA.copy(), step_AA.copy()
        for _ in range(self.config.window - 1):
            walk_AA = walk_AA @ step_AA
            total_AA += walk_AA
        total_AA *= degree_G.sum() / (self.config.negatives * self.config.window) / degree_G[nodes_A]
        # Symmetric up to rounding, so its singular vectors are eigenvectors.
        value_A, vector_AA = np.linalg.eigh(np.log(np.maximum(total_AA + total_AA.T, 2.0) / 2))
        rank = min(self.config.dimensions, len(nodes_A))
        best_R = np.argsort(-np.abs(value_A), kind="stable")[:rank]
        embedding_GR[nodes_A, :rank] = vector_AA[:, best_R] * np.sqrt(np.abs(value_A[best_R]))
        return embedding_GR
