"""kNN of training targets by symbol: a TF's rate among the genes whose symbols share the target's stem.

Dimension letters: G genes, R rows, N columns, T stems, M pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import sparse

from grn_cotrain.config import require
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._smoothing import relative_rate, shrink, smooth_targets, vote_shares
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.families import symbol_stem
from grn_cotrain.data.store import CellStore

__all__ = ["STEM_FEATURES", "KnnTargetStem", "stem_features", "stem_matrix"]

STEM_FEATURES = ("in_rate", "size")
_PRIOR = 1.0  # genes at the mean rate, in the rate of a stem
_LETTERS = 3


def stem_matrix(symbols: Sequence[str], *, stem: float = 1.0, prefix: float = 0.0) -> sparse.csr_array:
    """Rows whose inner products are the weights between genes: float32 ``[G, T]``.

    Parameters
    ----------
    symbols
        Names of the G genes.
    stem, prefix
        Weight of two genes with one stem (CXCL9 and CXCL10), and of two whose stems share their first three letters
        (PSMA1 and PSMB1); both add up.
    """
    stems = [symbol_stem(symbol) for symbol in symbols]
    parts = []
    for names, weight in ((stems, stem), ([name[:_LETTERS] for name in stems], prefix)):
        if weight > 0:
            _, group_G = np.unique(names, return_inverse=True)
            weight_G = np.full(len(names), np.sqrt(weight), dtype=np.float32)
            parts.append(sparse.csr_array((weight_G, (np.arange(len(names)), group_G))))
    return parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr")


def stem_features(table: EdgeTable, stem_GT: sparse.csr_array) -> np.ndarray:
    """Weighted mean in-rate of the seen genes alike to each gene, itself left out, and their weight: ``[G, 2]``."""
    positive_G = np.asarray(table.labels_SG.sum(axis=0))
    known_G = np.asarray(table.known_SG.sum(axis=0), dtype=np.float64)
    rate_G = positive_G / np.maximum(known_G, 1)
    seen_G = table.seen_G.astype(np.float64)
    own_G = _own_weight(stem_GT)
    total_G = stem_GT @ (stem_GT.T @ (rate_G * seen_G)) - own_G * rate_G * seen_G
    size_G = np.maximum(stem_GT @ (stem_GT.T @ seen_G) - own_G * seen_G, 0.0)
    return np.stack([(total_G + _PRIOR * table.mean_rate) / (size_G + _PRIOR), size_G], axis=1).astype(np.float32)


def _own_weight(stem_GT: sparse.csr_array) -> np.ndarray:
    return np.asarray(stem_GT.power(2).sum(axis=1), dtype=np.float64)


@CONTROLS.register("knn_target_stem", paper="-")
class KnnTargetStem(TableControl):
    r"""A TF's rate among the training genes of the target's stem, shrunk to the TF's rate among all genes.

    .. math:: z_{st} = \rho_t \frac{\sum_g w_{tg}\, y_{sg} + \lambda\, p_{st}}{n_t + \lambda}, \qquad
        p_{st} = \frac{p_s}{\bar p} \cdot \frac{\sum_g w_{tg}\, p_g + \bar p}{n_t + 1}

    with :math:`y` the training labels, sums over the training genes other than the target, :math:`w` 1 for genes whose
    symbols share its stem (CXCL9 and CXCL10) and :math:`\eta` more for those whose stems share three letters (PSMA1 and
    PSMB1), :math:`n_t` their sum, :math:`p_s` and :math:`p_g` the rates of the TF and of these genes, and
    :math:`\bar p` the mean rate: a stem that many TFs regulate is likely to be regulated by one more. :math:`\lambda`
    and :math:`\eta` are chosen out of fold inside training. Where targets are not held out, scores are multiplied by
    the target's own rate over the mean.

    Config
    ------
    prior_weights
        Candidates for :math:`\lambda`, in genes.
    prefix_weights
        Candidates for :math:`\eta`, at least 0.
    """

    name = "knn_target_stem"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`KnnTargetStem`."""

        prior_weights: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0)
        prefix_weights: tuple[float, ...] = (0.1, 0.0, 0.3)

        def __post_init__(self) -> None:
            require_candidates(self, "prior_weights")
            given = list(self.prefix_weights)
            require(bool(given) and min(given) >= 0, f"prefix_weights: got {given}; give one or more numbers from 0 up")

    stems: dict[float, sparse.csr_array]

    def options(self) -> Sequence[tuple[float, float]]:
        """Weights of the prior x weights of the prefix."""
        return list(product(self.config.prior_weights, self.config.prefix_weights))

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Stems of symbols."""
        assert cells is not None
        symbols = cells.vocab.symbols[: self.table.num_genes]
        self.stems = {weight: stem_matrix(symbols, prefix=weight) for weight in self.config.prefix_weights}

    def predict(
        self,
        table: EdgeTable,
        option: tuple[float, float],
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        prior_weight, prefix_weight = option
        stem_GT = self.stems[prefix_weight]
        rows = slice(None) if rows_R is None else rows_R
        columns_N = np.arange(table.num_genes) if columns_N is None else columns_N
        positive_RN, weight_RN = smooth_targets(table, _weights(table, stem_GT, columns_N), rows)
        rate_N = stem_features(table, stem_GT)[columns_N, 0].astype(np.float64)
        relative_N = rate_N / table.mean_rate if table.mean_rate > 0 else np.ones(len(columns_N))
        prior_RN = table.source_rate_S[rows][:, None] * relative_N
        rate_RN = shrink(positive_RN, np.maximum(weight_RN, 0), prior_RN, prior_weight)
        return rate_RN * relative_rate(table, of="target")[columns_N]

    def voters(self, columns_N: np.ndarray) -> sparse.csr_array:
        """Weight of each training gene in the rates of the columns, over all weights and the prior: ``[N, G]``."""
        prior_weight, prefix_weight = self.option
        return vote_shares(_weights(self.table, self.stems[prefix_weight], columns_N), prior_weight)


def _weights(table: EdgeTable, stem_GT: sparse.csr_array, columns_N: np.ndarray) -> sparse.csr_array:
    """Weights of the seen genes other than the column itself, ``[N, G]``."""
    together_NG = stem_GT[columns_N] @ stem_GT.T
    own_N = _own_weight(stem_GT)[columns_N].astype(np.float32)
    own = sparse.csr_array((own_N, (np.arange(len(columns_N)), columns_N)), together_NG.shape)
    return ((together_NG - own) @ sparse.diags_array(table.seen_G.astype(np.float32))).tocsr()
