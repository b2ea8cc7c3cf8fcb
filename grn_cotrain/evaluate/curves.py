"""Behind the numbers of a link table: the score of each TF, and ROC, precision-recall and calibration curves.

All of them concern *all* candidates. Curves come from the tie blocks that the metrics rest on: exact, then thinned to
at most 200 points whose area is that of the whole curve. Several folds together have

- the rows of all TFs of all folds, as macro metrics are means over these;
- the mean of the folds' curves at equal x, as metrics of one ranked list are averaged over folds (scores of two models
  are on no common scale);
- calibration over the pairs of all folds, as probabilities are on a common scale.

Dimension letters: M pairs, K tie blocks, V vertices of a curve, S TFs, N bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grn_cotrain.metrics.blocks import Ranking, block_auroc, block_average_precision, tie_blocks
from grn_cotrain.metrics.links import MIN_POSITIVES, reliability

__all__ = [
    "CURVE_COLUMNS",
    "MAX_POINTS",
    "PER_TF_COLUMNS",
    "Curve",
    "Curves",
    "mean_curve",
    "merge_bins",
    "pool_curves",
    "pr_curve",
    "roc_curve",
    "scorer_curves",
    "scores_of_tfs",
    "thin",
]

PER_TF_COLUMNS = ("split", "scorer", "kind", "tf", "num_targets", "num_pairs", "auroc", "ap")
CURVE_COLUMNS = ("split", "scorer", "kind", "curve", "x", "y", "n")
MAX_POINTS = 200
_FINE_BINS = 100
_BINS = 10
_EXPECTED = 5.0
_PHASES = 16


@dataclass(frozen=True, eq=False)
class Curve:
    """Vertices in drawing order, joined by straight lines.

    Attributes
    ----------
    x_V, y_V
        ROC: false and true positive rate. Precision-recall: recall and precision.
    n_V
        Pairs scored at least as high, of which this is the rate or precision.
    """

    x_V: np.ndarray
    y_V: np.ndarray
    n_V: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve by the trapezoid rule, which is exact for these."""
        return float(np.trapezoid(self.y_V, self.x_V))


@dataclass(frozen=True, eq=False)
class Curves:
    """ROC and precision-recall, already thinned, and fine calibration bins where the scorer gives probabilities."""

    roc: Curve
    pr: Curve
    bins: pd.DataFrame | None

    def frame(self, *, split: str, scorer: str, kind: str) -> pd.DataFrame:
        """Rows of ``links_curves.parquet``.

        For ``calibration``, x is the mean probability of a bin, y the share of positives and n its pairs.
        """
        parts = {"roc": self.roc, "pr": self.pr}
        frames = [pd.DataFrame({"curve": k, "x": c.x_V, "y": c.y_V, "n": c.n_V}) for k, c in parts.items()]
        if self.bins is not None:
            bins = merge_bins([self.bins])
            frames.append(
                pd.DataFrame(
                    {"curve": "calibration", "x": bins["probability"], "y": bins["observed"], "n": bins["num_pairs"]}
                )
            )
        frame = pd.concat(frames, ignore_index=True).assign(split=split, scorer=scorer, kind=kind)
        frame["n"] = frame["n"].round().astype(np.int64)  # points between two vertices have a share of a pair
        return frame[list(CURVE_COLUMNS)]


def scores_of_tfs(
    ranking: Ranking,
    labels_M: np.ndarray,
    sources_M: np.ndarray,
    *,
    min_positives: int = MIN_POSITIVES,
) -> pd.DataFrame:
    """AUROC and average precision of each TF: columns ``source, num_targets, num_pairs, auroc, ap``.

    Every TF with a candidate has a row; its scores are NaN with fewer than ``min_positives`` positives or no negative,
    so that the mean of the others is the macro metric of the table.
    """
    source_S = np.unique(sources_M)
    blocks = tie_blocks(ranking, labels_M, sources_M, min_positives=min_positives)
    positive_1K, negative_1K = blocks.positive_K[None], blocks.negative_K[None]
    auroc_S, ap_S = np.full((2, len(source_S)), np.nan)
    if len(blocks.first_R):
        place_R = np.searchsorted(source_S, blocks.group_R)
        auroc_S[place_R] = block_auroc(positive_1K, negative_1K, blocks.first_R)[0]
        ap_S[place_R] = block_average_precision(positive_1K, negative_1K, blocks.first_R)[0]
    return pd.DataFrame(
        {
            "source": source_S,
            "num_targets": np.bincount(sources_M[labels_M], minlength=int(source_S.max(initial=-1)) + 1)[source_S],
            "num_pairs": np.bincount(sources_M)[source_S],
            "auroc": auroc_S,
            "ap": ap_S,
        }
    )


def roc_curve(positive_K: np.ndarray, negative_K: np.ndarray) -> Curve:
    """Whole ROC curve from the counts of tie blocks in falling order of score; ties are a slanted piece."""
    true_V = np.append(0.0, np.cumsum(positive_K))
    false_V = np.append(0.0, np.cumsum(negative_K))
    return Curve(false_V / false_V[-1], true_V / true_V[-1], true_V + false_V)


def pr_curve(positive_K: np.ndarray, negative_K: np.ndarray) -> Curve:
    """Whole precision-recall curve as the steps whose area is average precision; it ends at the first full recall."""
    true_K, called_K = np.cumsum(positive_K), np.cumsum(positive_K + negative_K)
    rises_K = positive_K > 0
    recall_K, precision_K, called_K = (true_K / true_K[-1])[rises_K], (true_K / called_K)[rises_K], called_K[rises_K]
    # Each threshold is a horizontal piece at its precision, from the recall before to its own.
    before_K = np.append(0.0, recall_K[:-1])
    return Curve(np.stack([before_K, recall_K], axis=1).ravel(), np.repeat(precision_K, 2), np.repeat(called_K, 2))


def thin(curve: Curve, max_points: int = MAX_POINTS) -> Curve:
    """At most ``max_points`` points of the curve, both ends among them, with the area of the whole.

    Points are spaced evenly along a mean of width and length, so that a noisy start takes no more than half of
    them. The set whose area is nearest is kept: a regular staircase could fall in step with one of them.
    """
    if len(curve.x_V) <= max_points:
        return curve
    dx_V, dy_V = np.abs(np.diff(curve.x_V)), np.abs(np.diff(curve.y_V))
    length_V = dx_V / (dx_V.sum() or 1.0) + (dx_V + dy_V) / ((dx_V + dy_V).sum() or 1.0)
    along_V = np.append(0.0, np.cumsum(length_V))
    kept_V = np.append(True, length_V > 0)
    along_V, x_V, y_V, n_V = (array[kept_V] for array in (along_V, curve.x_V, curve.y_V, curve.n_V))
    best, least = curve, np.inf
    for phase in range(_PHASES):
        inner = (np.arange(max_points - 2) + (phase + 0.5) / _PHASES) / (max_points - 2) * along_V[-1]
        at = np.concatenate([[0.0], inner, [along_V[-1]]])
        found = Curve(*(np.interp(at, along_V, values_V) for values_V in (x_V, y_V, n_V)))
        error = abs(found.area - curve.area)
        if error < least:
            best, least = found, error
    return best


def scorer_curves(ranking: Ranking, labels_M: np.ndarray, probability_M: np.ndarray | None = None) -> Curves:
    """Curves of one ranked list with both classes; probabilities (of pairs that have one) add calibration."""
    blocks = tie_blocks(ranking, labels_M)
    bins = None
    if probability_M is not None:
        given_M = np.isfinite(probability_M)
        bins = reliability(probability_M[given_M], labels_M[given_M], num_bins=_FINE_BINS, equal="expected")
    return Curves(
        roc=thin(roc_curve(blocks.positive_K, blocks.negative_K)),
        pr=thin(pr_curve(blocks.positive_K, blocks.negative_K)),
        bins=bins,
    )


def mean_curve(curves: Sequence[Curve], max_points: int = MAX_POINTS) -> Curve:
    """Mean of y at equal x; the area is the mean of the areas. ``n`` is summed.

    A vertical piece becomes a point at either side of its x, so that it stays vertical.
    """
    x_V = np.unique(np.concatenate([curve.x_V for curve in curves]))
    sides = [_both_sides(curve, x_V) for curve in curves]
    y_V, n_V = (np.stack([side[index] for side in sides]) for index in (0, 1))
    return thin(Curve(np.repeat(x_V, 2), y_V.mean(axis=0), n_V.sum(axis=0)), max_points)


def _both_sides(curve: Curve, x_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y and n just before and just after each x, the two interleaved."""
    first_V = np.searchsorted(curve.x_V, x_V, side="left")
    last_V = np.searchsorted(curve.x_V, x_V, side="right") - 1
    inside_V = first_V <= last_V  # x is a vertex of this curve
    sides = []
    for values_V in (curve.y_V, curve.n_V):
        between_V = np.interp(x_V, curve.x_V, values_V)
        before_V = np.where(inside_V, values_V[np.minimum(first_V, len(values_V) - 1)], between_V)
        after_V = np.where(inside_V, values_V[last_V], between_V)
        sides.append(np.stack([before_V, after_V], axis=1).ravel())
    return sides[0], sides[1]


def merge_bins(bins: Sequence[pd.DataFrame], num_bins: int = _BINS) -> pd.DataFrame:
    """Merge fine calibration bins, of one split or of several, into few that expect equally many positives each.

    There are fewer than ``num_bins`` where each would expect less than five: their shares would be noise.
    """
    fine = pd.concat(bins, ignore_index=True).sort_values("probability", kind="stable", ignore_index=True)
    expected_N = (fine["probability"] * fine["num_pairs"]).to_numpy()
    total = float(expected_N.sum())
    num_bins = int(np.clip(total // _EXPECTED, min(2, num_bins), num_bins))
    middle_N = np.cumsum(expected_N) - expected_N / 2
    group_N = np.minimum((middle_N / total * num_bins).astype(np.int64), num_bins - 1) if total > 0 else 0
    sums = (
        pd.DataFrame(
            {
                "group": group_N,
                "expected": expected_N,
                "positives": fine["observed"] * fine["num_pairs"],
                "num_pairs": fine["num_pairs"],
            }
        )
        .groupby("group")
        .sum()
    )
    return pd.DataFrame(
        {
            "probability": sums["expected"] / sums["num_pairs"],
            "observed": sums["positives"] / sums["num_pairs"],
            "num_pairs": sums["num_pairs"],
        }
    ).reset_index(drop=True)


def pool_curves(folds: Sequence[Curves]) -> Curves:
    """Curves of several folds together: see the module's text."""
    bins = [one.bins for one in folds if one.bins is not None]
    return Curves(
        roc=mean_curve([one.roc for one in folds]),
        pr=mean_curve([one.pr for one in folds]),
        bins=pd.concat(bins, ignore_index=True) if len(bins) == len(folds) else None,
    )
