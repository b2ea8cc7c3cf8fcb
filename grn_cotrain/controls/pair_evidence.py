"""Closed-form evidence of links: what a decoder starts from, assembled from scores of controls.

Dimension letters: F features (two a channel), G genes, K evidence channels, M pairs, S sources; 2 before K: TF, target.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from grn_cotrain.controls.evidence_parts import (
    Parts,
    fit_weights,
    pair_strength,
    reference,
    split_log_odds,
    split_scores,
    training_sample,
    trust,
)
from grn_cotrain.data.edge_split import EdgeSplit, Side

__all__ = ["EvidenceMeans", "PairEvidence", "assemble_evidence", "degree_logits"]

_HELD_OUT: tuple[Side, ...] = get_args(Side)  # a saved file holds the position
_ARRAYS = ("sources_S", "train_KSG", "full_KSG", "source_logit_G", "target_logit_G")
_MEANS = ("train_source_KS", "full_source_KS", "train_target_KG", "full_target_KG", "weight_2K")


@dataclass(frozen=True)
class EvidenceMeans:
    """The parts of the channels that are not a pair's: one number a TF, and one a target.

    Attributes
    ----------
    train_source_KS, full_source_KS
        float32; TF means of the out-of-fold scores and of the full fit.
    train_target_KG, full_target_KG
        float32; target means of both.
    weight_2K
        Weights of the TF means and of the target means. Those of a TF mean are 0 where the decoder has a bias for each
        TF, which holds all that one number a TF can.
    """

    train_source_KS: np.ndarray
    full_source_KS: np.ndarray
    train_target_KG: np.ndarray
    full_target_KG: np.ndarray
    weight_2K: np.ndarray


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
    means
        The other parts of the channels, so that ``train_KSG`` and ``full_KSG`` hold the pair's part alone, with
        ``weight_K`` as its weights. None: these hold whole scores, as version 0.1 wrote them.
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
    means: EvidenceMeans | None = None

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
        if self.means is not None:
            sizes = dict(zip(_MEANS, (shape[:2], shape[:2], shape[::2], shape[::2], (2, shape[0])), strict=True))
            for name, size in sizes.items():
                array = getattr(self.means, name)
                if array.shape != size or not np.isfinite(array).all():
                    raise ValueError(f"{name}: needs finite values of shape {size}")

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
            means=None if self.means is None else _padded(self.means, num_new),
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
        if self.means is not None:
            arrays |= {f"means.{name}": np.ascontiguousarray(getattr(self.means, name)) for name in _MEANS}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, names: tuple[str, ...]) -> PairEvidence:
        """Inverse of :meth:`to_arrays`."""
        return cls(
            names=names,
            held_out=_HELD_OUT[int(arrays["held_out"][0])],
            weight_K=np.asarray(arrays["weight_K"]) if "weight_K" in arrays else None,
            num_centred=int(arrays["num_centred"][0]) if "num_centred" in arrays else None,
            means=(
                EvidenceMeans(**{name: np.asarray(arrays[f"means.{name}"]) for name in _MEANS})
                if f"means.{_MEANS[0]}" in arrays
                else None
            ),
            **{name: np.asarray(arrays[name]) for name in _ARRAYS},
        )


def _padded(means: EvidenceMeans, num_new: int) -> EvidenceMeans:
    """Target means of 0, the average, for genes that are new."""
    return replace(
        means,
        train_target_KG=np.pad(means.train_target_KG, ((0, 0), (0, num_new))),
        full_target_KG=np.pad(means.full_target_KG, ((0, 0), (0, num_new))),
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
    split: EdgeSplit,
    channels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    log_odds: Collection[str] = (),
    target_prior: bool = True,
    fit: bool = True,
) -> PairEvidence:
    """Split channels into their TF, target and pair parts, add degree priors, and fit a weight for each part.

    Parameters
    ----------
    split
        Its training part alone is read.
    channels
        Channel -> ``(sources_S, train_SG, full_SG)``: rows, out-of-fold scores, scores of the full fit. Rows may differ
        between channels; a source without a row in one has evidence 0, the mean, there.
    log_odds
        Channels that hold log-odds of a classifier. Their target and pair parts keep one scale and have one weight, and
        the factor on pair parts stays 1: it was made for scores that hold little about pairs.
    target_prior
        Give each target the log-odds of its in-degree. False where a channel knows in-degrees already: the prior of a
        training pair holds the pair itself, so the fit would trust it more than the channel.
    fit
        Start from the non-negative weights of a class-balanced logistic regression of the training labels on the
        out-of-fold parts, together with the degree priors that the decoder will use: a part that adds nothing starts at
        0. The pair parts are then made stronger, as far as that costs little
        (:func:`~grn_cotrain.controls.evidence_parts.pair_strength`). Otherwise ``weight_K`` is None.

    Returns
    -------
    PairEvidence
        Every part has standard deviation 1 over the pairs that its own fit never saw: the training candidates of the
        out-of-fold scores, the held-out genes or TFs of the full fit. So what training weighs is what testing adds.

    Raises
    ------
    ValueError
        A channel's arrays do not fit each other or the split, or hold values that are not finite.
    """
    rows = [np.asarray(sources_S) for sources_S, _, _ in channels.values()]
    sources_S = np.unique(np.concatenate(rows)) if rows else np.unique(split.pairs("train").pairs_2M[0])
    number, num_sources, num_genes = len(channels), len(sources_S), split.num_genes
    pair_KSG = {what: np.zeros((number, num_sources, num_genes), dtype=np.float32) for what in _FITS}
    source_KS = {what: np.zeros((number, num_sources), dtype=np.float32) for what in _FITS}
    target_KG = {what: np.zeros((number, num_genes), dtype=np.float32) for what in _FITS}
    for k, (name, (given_S, *tables)) in enumerate(channels.items()):
        at_S = np.searchsorted(sources_S, given_S)
        for what, scores_SG in zip(_FITS, tables, strict=True):
            parts = _parts(name, what, split, np.asarray(given_S), scores_SG, log_odds=name in log_odds)
            pair_KSG[what][k, at_S] = parts.pair_SG
            source_KS[what][k, at_S], target_KG[what][k] = parts.source_S, parts.target_G
    for k in range(number):
        # A part that is constant in training carries no information, whatever its values later.
        for part in (pair_KSG, source_KS, target_KG):
            if not part["train"][k].any():
                part["full"][k] = 0
    source_logit_G, target_logit_G = degree_logits(split)
    if not target_prior:
        target_logit_G = np.zeros_like(target_logit_G)
    evidence = PairEvidence(
        names=tuple(channels),
        sources_S=sources_S,
        train_KSG=pair_KSG["train"],
        full_KSG=pair_KSG["full"],
        source_logit_G=source_logit_G,
        target_logit_G=target_logit_G,
        held_out=split.held_out,
        means=EvidenceMeans(
            source_KS["train"], source_KS["full"], target_KG["train"], target_KG["full"], np.zeros((2, number))
        ),
    )
    is_odds_K = np.array([name in log_odds for name in channels], dtype=bool)
    return _weighted(evidence, split, is_odds_K) if fit and channels else evidence


_FITS = ("train", "full")


def _parts(
    name: str, what: str, split: EdgeSplit, sources_S: np.ndarray, scores_SG: np.ndarray, *, log_odds: bool
) -> Parts:
    expected = (len(sources_S), split.num_genes)
    if scores_SG.shape != expected or not np.isfinite(scores_SG).all():
        raise ValueError(f"evidence '{name}': {what} scores must be finite, of shape {expected}")
    among = reference(split, sources_S, full=what == "full")
    if log_odds:
        return split_log_odds(scores_SG, *among)
    return split_scores(scores_SG, *among, trust(split, sources_S))


def _weighted(evidence: PairEvidence, split: EdgeSplit, is_odds_K: np.ndarray) -> PairEvidence:
    """Fit the weights of all parts on out-of-fold training scores; log-odds have one weight for target and pair."""
    means = evidence.means
    assert means is not None
    (sources_M, targets_M), labels_M = training_sample(split)
    row_G = np.full(split.num_genes, -1)
    row_G[evidence.sources_S] = np.arange(len(evidence.sources_S))
    row_M = row_G[sources_M]
    known_M, row_M = row_M >= 0, np.maximum(row_M, 0)
    pair_MK = (evidence.train_KSG[:, row_M, targets_M] * known_M).T
    target_MK = means.train_target_KG[:, targets_M].T
    target_MK, pair_MK = target_MK + pair_MK * is_odds_K, pair_MK * ~is_odds_K
    source_MK = (means.train_source_KS[:, row_M] * known_M).T
    offset_M = np.zeros(len(sources_M))
    if evidence.held_out in ("source", "both"):
        base_MF = np.concatenate([source_MK, target_MK], axis=1)
    else:
        offset_M += evidence.source_logit_G[sources_M]
        base_MF = target_MK  # the TF's bias holds all that one number a TF can
    if evidence.held_out not in ("target", "both"):
        offset_M += evidence.target_logit_G[targets_M]
    number = pair_MK.shape[1]
    fitted_F = fit_weights(np.concatenate([base_MF, pair_MK], axis=1), labels_M, offset_M)
    weight_F, pair_K = fitted_F[:-number], fitted_F[-number:]
    strength = 1.0
    if not is_odds_K.any():
        strength = pair_strength(offset_M + base_MF @ weight_F, pair_MK @ pair_K, labels_M, sources_M)
    weight_2K = np.stack([np.zeros(number) if len(weight_F) == number else weight_F[:number], weight_F[-number:]])
    weight_K = np.where(is_odds_K, weight_2K[1], strength * pair_K)
    return replace(evidence, weight_K=weight_K, means=replace(means, weight_2K=weight_2K))
