"""Closed-form evidence of links: what a decoder starts from, assembled from scores of controls.

Dimension letters: G genes, K evidence channels, M pairs, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from grn_cotrain.data.edge_split import EdgeSplit, Side

__all__ = ["PairEvidence", "assemble_evidence", "degree_logits"]

_RIDGE = 1e-3  # penalty per squared weight of the logistic fit, against a mean loss of order 1
_HELD_OUT: tuple[Side, ...] = get_args(Side)  # a saved file holds the position
_ARRAYS = ("sources_S", "train_KSG", "full_KSG", "source_logit_G", "target_logit_G")


@dataclass(frozen=True)
class PairEvidence:
    """Closed-form evidence per (TF, gene), standardised; computed from training positives and expression alone.

    Attributes
    ----------
    names
        One name per channel, for example ``("kernel_ridge", "knn_family")``.
    sources_S
        Gene indices of the rows; pairs of other sources have evidence 0.
    train_KSG
        float32, out-of-fold (each row or column scored by a fit that never saw it, folds as in the split's regime):
        used while training.
    full_KSG
        float32, fitted on all training positives: used for validation, test and export.
    source_logit_G, target_logit_G
        Smoothed log-odds of being a source / target among training positives (the prior mean for unseen genes).
    held_out
        The side whose genes are new at test time. Its degree prior carries no information there, so a decoder must not
        lean on it in training either: it would explain away what the evidence has to explain about an unseen gene.
    weight_K
        Starting weight of each channel, for example from a logistic fit; None leaves the start to the decoder.
    num_centred
        Leading genes whose target log-odds are centred; None: all. A vocabulary that was extended keeps its old centre,
        so that no logit moves.
    """

    names: tuple[str, ...]
    sources_S: np.ndarray
    train_KSG: np.ndarray
    full_KSG: np.ndarray
    source_logit_G: np.ndarray
    target_logit_G: np.ndarray
    held_out: Side = "none"
    weight_K: np.ndarray | None = None
    num_centred: int | None = None

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.sources_S), len(self.target_logit_G))
        for name in ("train_KSG", "full_KSG"):
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name}: shape {array.shape}; names, sources and genes make {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name}: holds values that are not finite")
        if self.source_logit_G.shape != self.target_logit_G.shape:
            raise ValueError(f"source_logit_G: shape {self.source_logit_G.shape}, target_logit_G {shape[2:]}")
        if self.held_out not in _HELD_OUT:
            raise ValueError(f"held_out: got {self.held_out!r}; choose from {', '.join(_HELD_OUT)}")
        if self.weight_K is not None and self.weight_K.shape != (shape[0],):
            raise ValueError(f"weight_K: shape {self.weight_K.shape}; {shape[0]} channels make ({shape[0]},)")

    def extended(self, num_new: int) -> PairEvidence:
        """The same with ``num_new`` more genes, of which nothing is known: evidence 0, average log-odds."""
        old = self.num_centred or len(self.target_logit_G)
        logits = {}
        for name, kept in (("source_logit_G", self.sources_S), ("target_logit_G", slice(old))):
            logit_G = np.asarray(getattr(self, name))
            known = logit_G[kept] if len(logit_G[kept]) else logit_G
            logits[name] = np.append(logit_G, np.full(num_new, known.mean(), logit_G.dtype))
        empty_KSG = ((0, 0), (0, 0), (0, num_new))
        return replace(
            self,
            train_KSG=np.pad(self.train_KSG, empty_KSG),
            full_KSG=np.pad(self.full_KSG, empty_KSG),
            num_centred=old,
            source_logit_G=logits["source_logit_G"],
            target_logit_G=logits["target_logit_G"],
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, as safetensors holds them; ``names`` are text and travel apart, in a JSON file."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        arrays["held_out"] = np.array([_HELD_OUT.index(self.held_out)], dtype=np.int64)
        if self.weight_K is not None:
            arrays["weight_K"] = np.ascontiguousarray(self.weight_K)
        if self.num_centred is not None:
            arrays["num_centred"] = np.array([self.num_centred], dtype=np.int64)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, names: tuple[str, ...]) -> PairEvidence:
        """Inverse of :meth:`to_arrays`."""
        return cls(
            names=names,
            held_out=_HELD_OUT[int(arrays["held_out"][0])],
            weight_K=np.asarray(arrays["weight_K"]) if "weight_K" in arrays else None,
            num_centred=int(arrays["num_centred"][0]) if "num_centred" in arrays else None,
            **{name: np.asarray(arrays[name]) for name in _ARRAYS},
        )


def degree_logits(split: EdgeSplit) -> tuple[np.ndarray, np.ndarray]:
    r"""Smoothed log-odds ``[G]`` of being a source and a target, among the training candidates.

    .. math:: \log \frac{k_g + 1}{n_g - k_g + (1 - p) / p}

    with ``k`` positives among ``n`` candidates of the gene, and ``p`` the training prevalence: one positive's worth of
    prior. A gene that is not a training candidate, or is held out, has the log-odds of ``p``, not those of degree 0.
    """
    pairs = split.pairs("train")
    prevalence = float(np.clip(pairs.prevalence, 1e-9, 1 - 1e-9))
    logits = []
    for gene_M, hidden in zip(pairs.pairs_2M, (split.hidden_sources_S, split.hidden_targets_N), strict=True):
        candidates_G = np.bincount(gene_M, minlength=split.num_genes)
        positives_G = np.bincount(gene_M[pairs.labels_M], minlength=split.num_genes)
        candidates_G[hidden] = positives_G[hidden] = 0
        negatives_G = candidates_G - positives_G
        logits.append(np.log(positives_G + 1.0) - np.log(negatives_G + (1 - prevalence) / prevalence))
    return logits[0], logits[1]


def assemble_evidence(
    split: EdgeSplit, channels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, fit: bool = True
) -> PairEvidence:
    """Standardise channels, add degree priors, and fit the starting weights.

    Parameters
    ----------
    split
        Its training part alone is read.
    channels
        Channel -> ``(sources_S, train_SG, full_SG)``: rows, out-of-fold scores, scores of the full fit. Rows may differ
        between channels; a source without a row in one has evidence 0, the mean, there.
    fit
        Start from the non-negative weights of a class-balanced logistic regression of the training labels on the
        out-of-fold evidence, together with the degree priors that the decoder will use: a channel that adds nothing
        starts at 0. Otherwise ``weight_K`` is None.

    Returns
    -------
    PairEvidence
        Mean 0 and standard deviation 1 over the training candidates of the out-of-fold scores; the full fit is moved
        by the same constants, for weights are learned on the former and used on the latter.

    Raises
    ------
    ValueError
        A channel's arrays do not fit each other or the split, or hold values that are not finite.
    """
    pairs = split.pairs("train")
    sources_M, targets_M = pairs.pairs_2M
    rows = [np.asarray(sources_S) for sources_S, _, _ in channels.values()]
    sources_S = np.unique(np.concatenate(rows)) if rows else np.unique(sources_M)
    shape = (len(channels), len(sources_S), split.num_genes)
    train_KSG, full_KSG = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for k, (name, (given_S, train_SG, full_SG)) in enumerate(channels.items()):
        expected = (len(given_S), split.num_genes)
        for what, array in (("train", train_SG), ("full", full_SG)):
            if array.shape != expected or not np.isfinite(array).all():
                raise ValueError(f"evidence '{name}': {what} scores must be finite, of shape {expected}")
        row_G = np.full(split.num_genes, -1)
        row_G[given_S] = np.arange(len(given_S))
        known_M = row_G[sources_M] >= 0
        seen_M = train_SG[row_G[sources_M[known_M]], targets_M[known_M]].astype(np.float64)
        mean, std = (float(seen_M.mean()), float(seen_M.std())) if seen_M.size else (0.0, 0.0)
        at_S = np.searchsorted(sources_S, given_S)
        # A channel that is constant in training carries no information, whatever its values later.
        scale = 1 / std if std > 1e-12 * max(1.0, abs(mean)) else 0.0
        train_KSG[k, at_S] = (train_SG - mean) * scale
        full_KSG[k, at_S] = (full_SG - mean) * scale
    source_logit_G, target_logit_G = degree_logits(split)
    held_out = split.held_out
    weight_K = None
    if fit and channels:
        row_G = np.full(split.num_genes, -1)
        row_G[sources_S] = np.arange(len(sources_S))
        row_M = row_G[sources_M]
        evidence_MK = (train_KSG[:, np.maximum(row_M, 0), targets_M] * (row_M >= 0)).T
        offset_M = np.zeros(len(sources_M))
        if held_out not in ("source", "both"):
            offset_M += source_logit_G[sources_M]
        if held_out not in ("target", "both"):
            offset_M += target_logit_G[targets_M]
        weight_K = _fit_weights(evidence_MK, pairs.labels_M, offset_M)
    return PairEvidence(
        names=tuple(channels),
        sources_S=sources_S,
        train_KSG=train_KSG,
        full_KSG=full_KSG,
        source_logit_G=source_logit_G,
        target_logit_G=target_logit_G,
        held_out=held_out,
        weight_K=weight_K,
    )


def _fit_weights(evidence_MK: np.ndarray, labels_M: np.ndarray, offset_M: np.ndarray) -> np.ndarray:
    """Non-negative weights and a free intercept of a class-balanced logistic regression with an offset."""
    num_positives, num_negatives = int(labels_M.sum()), int((~labels_M).sum())
    weight_M = np.where(labels_M, 0.5 / max(1, num_positives), 0.5 / max(1, num_negatives))
    sign_M = np.where(labels_M, 1.0, -1.0)
    # Start at the intercept that balances the offset, which is at the log-odds of a rare edge.
    offset_M = offset_M - float(np.average(offset_M, weights=weight_M))

    def loss_and_slope(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin_M = sign_M * (evidence_MK @ parameters[:-1] + parameters[-1] + offset_M)
        slope_M = -weight_M * sign_M * expit(-margin_M)
        penalised = np.append(parameters[:-1], 0.0)
        loss = float(weight_M @ np.logaddexp(0.0, -margin_M)) + _RIDGE * float(penalised @ penalised)
        return loss, np.append(slope_M @ evidence_MK, slope_M.sum()) + 2 * _RIDGE * penalised

    channels = evidence_MK.shape[1]
    start = np.append(np.full(channels, 1.0 / channels), 0.0)
    bounds = [(0.0, None)] * channels + [(None, None)]
    found = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x[:-1], dtype=np.float64)
