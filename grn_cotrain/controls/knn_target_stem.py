"""kNN of training targets by symbol: a TF's rate among the genes whose symbols share the target's stem.

Dimension letters: G genes, R rows, N columns, T stems, M pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._smoothing import relative_rate, shrink, smooth_targets
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.families import symbol_stem
from grn_cotrain.data.store import CellStore

__all__ = ["STEM_FEATURES", "KnnTargetStem", "stem_features", "stem_matrix"]

STEM_FEATURES = ("stem_in_rate", "stem_size")
_PRIOR = 1.0  # genes at the mean rate, in the rate of a stem


def stem_matrix(symbols: Sequence[str]) -> sparse.csr_array:
    """Which gene has which stem: float32 ``[G, T]``, one 1 a row."""
    stems = [symbol_stem(symbol) for symbol in symbols]
    _, stem_G = np.unique(stems, return_inverse=True)
    ones_G = np.ones(len(stems), dtype=np.float32)
    return sparse.csr_array((ones_G, (np.arange(len(stems)), stem_G)))


def stem_features(table: EdgeTable, stem_GT: sparse.csr_array) -> np.ndarray:
    """Mean in-rate of the seen genes of each gene's stem, itself left out, and their number: float32 ``[G, 2]``."""
    positive_G = np.asarray(table.labels_SG.sum(axis=0))
    known_G = np.asarray(table.known_SG.sum(axis=0), dtype=np.float64)
    rate_G = positive_G / np.maximum(known_G, 1)
    seen_G = table.seen_G.astype(np.float64)
    total_G = stem_GT @ (stem_GT.T @ (rate_G * seen_G)) - rate_G * seen_G
    size_G = stem_GT @ (stem_GT.T @ seen_G) - seen_G
    return np.stack([(total_G + _PRIOR * table.mean_rate) / (size_G + _PRIOR), size_G], axis=1).astype(np.float32)


@CONTROLS.register("knn_target_stem", paper="-")
class KnnTargetStem(TableControl):
    r"""A TF's rate among the training genes of the target's stem, shrunk to the TF's rate among all genes.

    .. math:: z_{st} = \rho_t \frac{\sum_{g \sim t} y_{sg} + \lambda\, p_{st}}{n_t + \lambda}, \qquad
        p_{st} = \frac{p_s}{\bar p} \cdot \frac{\sum_{g \sim t} p_g + \bar p}{n_t + 1}

    with :math:`y` the training labels, sums over the :math:`n_t` training genes other than the target whose symbols
    share its stem (CXCL9 and CXCL10), :math:`p_s` and :math:`p_g` the rates of the TF and of these genes, and
    :math:`\bar p` the mean rate: a stem that many TFs regulate is likely to be regulated by one more. :math:`\lambda`
    is chosen out of fold inside training. Where targets are not held out, scores are multiplied by the target's own
    rate over the mean.

    Config
    ------
    prior_weights
        Candidates for :math:`\lambda`, in genes.
    """

    name = "knn_target_stem"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`KnnTargetStem`."""

        prior_weights: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0)

        def __post_init__(self) -> None:
            require_candidates(self, "prior_weights")

    stem_GT: sparse.csr_array

    def options(self) -> Sequence[float]:
        """Weights of the prior."""
        return self.config.prior_weights

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Stems of symbols."""
        assert cells is not None
        self.stem_GT = stem_matrix(cells.vocab.symbols[: self.table.num_genes])

    def predict(
        self,
        table: EdgeTable,
        option: float,
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        rows = slice(None) if rows_R is None else rows_R
        columns_N = np.arange(table.num_genes) if columns_N is None else columns_N
        together_NG = self.stem_GT[columns_N] @ self.stem_GT.T
        own = sparse.csr_array(
            (np.ones(len(columns_N), dtype=np.float32), (np.arange(len(columns_N)), columns_N)), together_NG.shape
        )
        weights_NG = (together_NG - own) @ sparse.diags_array(table.seen_G.astype(np.float32))
        positive_RN, weight_RN = smooth_targets(table, weights_NG.tocsr(), rows)
        rate_N = stem_features(table, self.stem_GT)[columns_N, 0].astype(np.float64)
        relative_N = rate_N / table.mean_rate if table.mean_rate > 0 else np.ones(len(columns_N))
        prior_RN = table.source_rate_S[rows][:, None] * relative_N
        return shrink(positive_RN, weight_RN, prior_RN, option) * relative_rate(table, of="target")[columns_N]
