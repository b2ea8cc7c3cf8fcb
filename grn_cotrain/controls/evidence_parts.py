r"""A channel of evidence in three parts: the TF's mean, the target's mean, and what is left, the pair's.

A score table of a control mixes them: of kernel ridge's variance on unseen targets 97 % is the TF's mean. Standardised
as a whole, such a channel competes with the TF's bias, and its weight is not the pair's. Here each part has its
own scale and its own weight (docs/decisions/0013-pair-evidence.md).

Dimension letters: G genes, F features (two a channel), M pairs, N reference genes, R reference rows, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, ndtri

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.metrics.links import per_tf

__all__ = [
    "STRENGTHS",
    "Parts",
    "fit_weights",
    "pair_strength",
    "reference",
    "split_log_odds",
    "split_scores",
    "training_sample",
    "trust",
]

_RIDGE = 1e-3  # penalty per squared weight of the logistic fit, against a mean loss of order 1
_FEWEST = 30  # held-out genes or TFs; fewer are too few for means and ranks of their own
_MOST_NEGATIVES = 300_000
_DOUBT = 30  # training targets at which a TF's pair part has half the variance that it has with many
_COST = 0.015  # macro AUROC out of fold; on validation targets it is a fifth of that
STRENGTHS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Candidates of the factor on the pair parts; see :func:`pair_strength`."""


@dataclass(frozen=True)
class Parts:
    """Parts of a score table, each of standard deviation 1 over the reference, or on the scale of log-odds.

    Attributes
    ----------
    source_S
        Mean of each TF over the reference genes, centred.
    target_G
        Mean over the reference TFs of the scores, which are standardised within each TF, centred.
    pair_SG
        float32; what neither mean explains, centred within each TF. 0 for a TF whose scores are all equal.
    """

    source_S: np.ndarray
    target_G: np.ndarray
    pair_SG: np.ndarray


def reference(split: EdgeSplit, sources_S: np.ndarray, *, full: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows and genes over which means and scales are taken, so that both fits are on one scale.

    An out-of-fold score was predicted without the labels of its gene (TF), as the full fit predicts those of held-out
    genes alone. Its scores of other genes are fitted values, on another scale.

    Returns
    -------
    rows_R, genes_N
        Positions in ``sources_S``, and gene indices.
    """
    seen_R = np.flatnonzero(np.isin(sources_S, split.train_sources_S))
    genes_N = np.asarray(split.train_targets_N)
    if full:
        held_R = np.flatnonzero(np.isin(sources_S, split.hidden_sources_S))
        if split.held_out in ("source", "both") and len(held_R) >= _FEWEST:
            seen_R = held_R
        if split.held_out in ("target", "both") and len(split.hidden_targets_N) >= _FEWEST:
            genes_N = np.asarray(split.hidden_targets_N)
    return seen_R if len(seen_R) else np.arange(len(sources_S)), genes_N


def trust(split: EdgeSplit, sources_S: np.ndarray) -> np.ndarray:
    """Share of its standard deviation that the pair part of each TF keeps: little for a TF with few training targets.

    Ranks put every TF on one scale, and what a handful of targets shows about others is mostly noise. TFs that are
    held out have no target at all, and all weigh the same.
    """
    if split.held_out in ("source", "both"):
        return np.ones(len(sources_S))
    targets_S = np.bincount(split.train_2E[0], minlength=split.num_genes)[sources_S]
    return np.sqrt(targets_S / (targets_S + _DOUBT))


def split_scores(scores_SG: np.ndarray, rows_R: np.ndarray, genes_N: np.ndarray, trust_S: np.ndarray) -> Parts:
    """Split a table of scores; within a TF, scores become normal scores of their rank among the reference genes.

    ``trust_S`` (:func:`trust`) multiplies the pair part of each TF.

    A rank makes TFs alike: a TF with few targets has scores on a smaller scale, and a rate among neighbours has a long
    tail that no linear weight fits.
    """
    mean_S = scores_SG[:, genes_N].mean(axis=1, dtype=np.float64)
    normal_SG = np.zeros(scores_SG.shape, dtype=np.float32)
    varies_S = np.zeros(len(scores_SG), dtype=bool)
    for row, score_G in enumerate(scores_SG):
        sorted_N = np.sort(score_G[genes_N])
        if not len(sorted_N) or sorted_N[-1] - sorted_N[0] <= 1e-6 * max(1e-12, abs(mean_S[row])):
            continue
        rank_G = np.searchsorted(sorted_N, score_G, "left") + np.searchsorted(sorted_N, score_G, "right")
        normal_G = ndtri((rank_G / 2 + 0.5) / (len(sorted_N) + 1))
        normal_SG[row], varies_S[row] = normal_G - normal_G[genes_N].mean(), True
    rows_R = rows_R[varies_S[rows_R]]
    target_G = normal_SG[rows_R].mean(axis=0, dtype=np.float64) if len(rows_R) else np.zeros(scores_SG.shape[1])
    trust_S1 = (trust_S * varies_S).astype(np.float32)[:, None]
    pair_SG = (normal_SG - target_G.astype(np.float32)) * trust_S1
    spread = float(pair_SG[np.ix_(rows_R, genes_N)].std()) if len(rows_R) else 0.0
    return Parts(
        _standardised(mean_S, slice(None)),
        _standardised(target_G, genes_N),
        pair_SG / np.float32(spread) if spread > 1e-6 else np.zeros_like(pair_SG),
    )


def split_log_odds(scores_SG: np.ndarray, rows_R: np.ndarray, genes_N: np.ndarray) -> Parts:
    """Split log-odds of a classifier, whose scale is that of the logits: the target and pair parts keep it.

    The mean of the reference genes is taken from each TF, then the mean of the reference TFs from each gene. Trees that
    were fitted on pairs weigh what is the target's against what is the pair's, so the two have one weight
    (:func:`~grn_cotrain.controls.pair_evidence.assemble_evidence`).
    """
    mean_S = scores_SG[:, genes_N].mean(axis=1, dtype=np.float64) if len(genes_N) else np.zeros(len(scores_SG))
    centred_SG = (scores_SG - mean_S[:, None]).astype(np.float32)
    target_G = centred_SG[rows_R].mean(axis=0, dtype=np.float64) if len(rows_R) else np.zeros(scores_SG.shape[1])
    return Parts(_standardised(mean_S, slice(None)), target_G, centred_SG - target_G.astype(np.float32))


def _standardised(values: np.ndarray, among: np.ndarray | slice) -> np.ndarray:
    """Mean 0 and standard deviation 1 among some entries; a constant carries no information."""
    known = values[among]
    mean, std = (float(known.mean()), float(known.std())) if known.size else (0.0, 0.0)
    return (values - mean) * (1 / std if std > 1e-9 * max(1.0, abs(mean)) else 0.0)


def training_sample(split: EdgeSplit, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Training candidates and labels: all positives, and at most 300,000 of the others."""
    pairs = split.pairs("train")
    others = np.flatnonzero(~pairs.labels_M)
    if len(others) <= _MOST_NEGATIVES:
        return pairs.pairs_2M, pairs.labels_M
    drawn = np.random.default_rng([seed, 13]).choice(others, _MOST_NEGATIVES, replace=False)
    kept_M = np.sort(np.concatenate([np.flatnonzero(pairs.labels_M), drawn]))
    return pairs.pairs_2M[:, kept_M], pairs.labels_M[kept_M]


def fit_weights(features_MF: np.ndarray, labels_M: np.ndarray, offset_M: np.ndarray) -> np.ndarray:
    """Non-negative weights and a free intercept of a class-balanced logistic regression with an offset."""
    num_positives, num_negatives = int(labels_M.sum()), int((~labels_M).sum())
    weight_M = np.where(labels_M, 0.5 / max(1, num_positives), 0.5 / max(1, num_negatives))
    sign_M = np.where(labels_M, 1.0, -1.0)
    # Start at the intercept that balances the offset, which is at the log-odds of a rare edge.
    offset_M = offset_M - float(np.average(offset_M, weights=weight_M))

    def loss_and_slope(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin_M = sign_M * (features_MF @ parameters[:-1] + parameters[-1] + offset_M)
        slope_M = -weight_M * sign_M * expit(-margin_M)
        penalised = np.append(parameters[:-1], 0.0)
        loss = float(weight_M @ np.logaddexp(0.0, -margin_M)) + _RIDGE * float(penalised @ penalised)
        return loss, np.append(slope_M @ features_MF, slope_M.sum()) + 2 * _RIDGE * penalised

    number = features_MF.shape[1]
    start = np.append(np.full(number, 1.0 / max(1, number)), 0.0)
    bounds = [(0.0, None)] * number + [(None, None)]
    found = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x[:-1], dtype=np.float64)


def pair_strength(base_M: np.ndarray, pair_M: np.ndarray, labels_M: np.ndarray, sources_M: np.ndarray) -> float:
    """Largest factor on the pair parts that costs little macro AUROC, out of fold.

    The logistic fit weighs all pairs alike, so its pair parts are weak, and the lists of all TFs hold the same popular
    targets. A list whose top is a TF's own has stronger pair parts, at a small cost further down the list.
    """
    quality = [per_tf(base_M + factor * pair_M, labels_M, sources_M).macro_auroc for factor in STRENGTHS]
    good = [factor for factor, one in zip(STRENGTHS, quality, strict=True) if one >= quality[0] - _COST]
    return max(good, default=1.0)
