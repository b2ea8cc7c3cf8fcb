"""Link-prediction metrics of one scored list of pairs: pooled, per TF, at the top, and beyond degree.

These are the plain values; :mod:`grn_cotrain.evaluate.measure` gives the same values with bootstrap replicates. They
rest on tie blocks (one sort), take 5M pairs without a Python loop per pair, and give a constant scorer .5, or chance.

Dimension letters: M pairs, S TFs, Q strata, G genes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.metrics.blocks import (
    block_auroc,
    block_average_precision,
    block_precision_at,
    rank_scores,
    tie_blocks,
)

__all__ = [
    "MIN_POSITIVES",
    "PerTF",
    "auroc",
    "average_precision",
    "brier_score",
    "degree_matched_groups",
    "degree_strata",
    "leave_one_out_degree",
    "logit_strata",
    "per_tf",
    "precision_at_k",
    "reliability",
]

MIN_POSITIVES = 3
"""TFs with fewer test positives have no macro metrics."""

_EXACT_DEGREES = 16
_DEGREE_GROWTH = 1.1
_MAX_STRATA = 50
_POSITIVES_PER_STRATUM = 10


def auroc(scores_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN where a class is missing."""
    blocks = tie_blocks(rank_scores(scores_M), labels_M)
    value_BR = block_auroc(blocks.positive_K[None], blocks.negative_K[None], blocks.first_R)
    return float(value_BR[0, 0]) if value_BR.size else float("nan")


def average_precision(scores_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Average precision (AUPRC); a run of equal scores is one threshold. NaN where a class is missing."""
    blocks = tie_blocks(rank_scores(scores_M), labels_M)
    value_BR = block_average_precision(blocks.positive_K[None], blocks.negative_K[None], blocks.first_R)
    return float(value_BR[0, 0]) if value_BR.size else float("nan")


def precision_at_k(scores_M: np.ndarray, labels_M: np.ndarray, k: int) -> float:
    """Share of positives among the ``k`` best pairs; pairs tied at the cut count with their expected share."""
    blocks = tie_blocks(rank_scores(scores_M), labels_M)
    if not len(blocks.start_K):
        return float("nan")
    value_B = block_precision_at(blocks.positive_K[None], blocks.negative_K[None], np.array([float(k)]))
    return float(value_B[0])


@dataclass(frozen=True)
class PerTF:
    """AUROC and average precision of each TF with enough positives and a negative.

    Attributes
    ----------
    source_S
        The TFs.
    auroc_S, average_precision_S
        float64.
    positives_S, negatives_S
        Counts.
    """

    source_S: np.ndarray
    auroc_S: np.ndarray
    average_precision_S: np.ndarray
    positives_S: np.ndarray
    negatives_S: np.ndarray

    @property
    def num_tfs(self) -> int:
        """Number of TFs S."""
        return len(self.source_S)

    @property
    def macro_auroc(self) -> float:
        """Mean AUROC over TFs; NaN without TFs."""
        return float(self.auroc_S.mean()) if self.num_tfs else float("nan")

    @property
    def macro_ap(self) -> float:
        """Mean average precision over TFs; NaN without TFs."""
        return float(self.average_precision_S.mean()) if self.num_tfs else float("nan")


def per_tf(
    scores_M: np.ndarray, labels_M: np.ndarray, sources_M: np.ndarray, *, min_positives: int = MIN_POSITIVES
) -> PerTF:
    """Metrics within each TF, so that neither TF degree nor calibration between TFs matters."""
    blocks = tie_blocks(rank_scores(scores_M), labels_M, sources_M, min_positives=min_positives)
    if not len(blocks.first_R):
        none = np.zeros(0)
        return PerTF(blocks.group_R, none, none, blocks.group_R, blocks.group_R)
    positive_1K, negative_1K = blocks.positive_K[None], blocks.negative_K[None]
    return PerTF(
        source_S=blocks.group_R,
        auroc_S=block_auroc(positive_1K, negative_1K, blocks.first_R)[0],
        average_precision_S=block_average_precision(positive_1K, negative_1K, blocks.first_R)[0],
        positives_S=np.add.reduceat(blocks.positive_K, blocks.first_R).astype(np.int64),
        negatives_S=np.add.reduceat(blocks.negative_K, blocks.first_R).astype(np.int64),
    )


def logit_strata(logits_M: np.ndarray, labels_M: np.ndarray) -> np.ndarray:
    """Strata of a reference score that hold equal numbers of positives: int64 ``[M]``, 0 the lowest.

    At most 50, with about 10 positives each: fine where the positives are, so that little of the reference is left
    within a stratum.
    """
    positives = logits_M[labels_M]
    num_strata = int(np.clip(len(positives) // _POSITIVES_PER_STRATUM, 1, _MAX_STRATA))
    if num_strata == 1:
        return np.zeros(len(logits_M), dtype=np.int64)
    edges_Q = np.unique(np.quantile(positives, np.arange(1, num_strata) / num_strata))
    return np.searchsorted(edges_Q, logits_M, side="right")


def leave_one_out_degree(
    pairs_2M: np.ndarray, labels_M: np.ndarray, known_2E: np.ndarray, num_genes: int
) -> np.ndarray:
    """Number of *other* known regulators of each pair's target: int64 ``[M]``.

    ``known_2E`` is the full network, held-out edges included: this is a ruler for strata, never a feature. Without the
    pair's own edge positives would sit one degree above the negatives they are compared with.
    """
    in_degree_G = np.bincount(known_2E[1], minlength=num_genes)
    return in_degree_G[pairs_2M[1]] - labels_M


def degree_strata(degree_M: np.ndarray) -> np.ndarray:
    """Strata of in-degree: exact up to 16, then steps of a tenth (exact strata of hubs would hold no negative)."""
    large_M = np.maximum(degree_M, _EXACT_DEGREES) / _EXACT_DEGREES
    return np.minimum(degree_M, _EXACT_DEGREES) + np.floor(np.log(large_M) / np.log(_DEGREE_GROWTH)).astype(np.int64)


def degree_matched_groups(sources_M: np.ndarray, degree_M: np.ndarray) -> np.ndarray:
    """One number per TF x degree stratum: ``[M]``."""
    strata_M = degree_strata(degree_M)
    return sources_M.astype(np.int64) * (int(strata_M.max(initial=0)) + 1) + strata_M


def brier_score(probability_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Mean squared error of probabilities."""
    _check_probability(probability_M)
    return float(np.mean((probability_M - labels_M) ** 2))


def reliability(
    probability_M: np.ndarray,
    labels_M: np.ndarray,
    *,
    num_bins: int = 10,
    equal: Literal["count", "expected"] = "count",
) -> pd.DataFrame:
    """Mean probability and observed share in bins (columns low, high, probability, observed, num_pairs).

    Bins of equal width would put nearly all pairs of a sparse network in the first: bins hold equally many pairs
    (``count``), or expect equally many positives (``expected``), which resolves the few pairs with a high probability.
    """
    _check_probability(probability_M)
    shares = np.arange(1, num_bins) / num_bins
    if equal == "count":
        edges = np.unique(np.quantile(probability_M, shares))
    else:
        sorted_M = np.sort(probability_M)
        expected_M = np.cumsum(sorted_M)
        edges = np.unique(sorted_M[np.minimum(np.searchsorted(expected_M, shares * expected_M[-1]), len(sorted_M) - 1)])
    bin_M = np.searchsorted(edges, probability_M, side="right")
    frame = pd.DataFrame({"bin": bin_M, "probability": probability_M, "observed": labels_M.astype(np.float64)})
    grouped = frame.groupby("bin")
    return pd.DataFrame(
        {
            "low": grouped["probability"].min(),
            "high": grouped["probability"].max(),
            "probability": grouped["probability"].mean(),
            "observed": grouped["observed"].mean(),
            "num_pairs": grouped.size(),
        }
    ).reset_index(drop=True)


def _check_probability(probability_M: np.ndarray) -> None:
    if not bool(((probability_M >= 0) & (probability_M <= 1)).all()):
        raise UserError(
            "probability: some values are outside [0, 1]; pass scores through Calibration.probability first"
        )
