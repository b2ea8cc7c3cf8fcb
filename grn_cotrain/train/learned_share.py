"""How much of a decoder's learned part counts, next to the closed-form evidence that it starts from.

A learned part can only be worth its noise where it ranks validation pairs better than the evidence alone. Otherwise a
model would lose to the baseline that it holds.

Dimension letters: M pairs, S TFs.
"""

from __future__ import annotations

import math

import numpy as np

from grn_cotrain.metrics.links import per_tf

__all__ = ["SHARES", "choose_share"]

SHARES = (0.25, 0.5, 1.0)
"""Candidates in addition to 0."""
_ERRORS = 1.96  # standard errors that a gain must exceed: the 95 % interval of the link table
_FEWEST = 10  # TFs; with fewer, a standard error over them means nothing


def choose_share(
    evidence_M: np.ndarray, learned_M: np.ndarray, labels_M: np.ndarray, sources_M: np.ndarray
) -> float | None:
    """Return the share of the learned part with the best macro AUROC, if its gain's interval is above zero; else 0.

    Parameters
    ----------
    evidence_M, learned_M
        Logits of validation pairs without the learned part, and with all of it.
    labels_M, sources_M
        Labels, and gene indices of the TFs.

    Returns
    -------
    float or None
        None if fewer than ten TFs have enough validation positives: the pairs cannot choose.
    """
    start_S = per_tf(evidence_M, labels_M, sources_M).auroc_S
    if len(start_S) < _FEWEST:
        return None
    best, best_gain = 0.0, 0.0
    for share in SHARES:
        gain_S = per_tf(evidence_M + share * (learned_M - evidence_M), labels_M, sources_M).auroc_S - start_S
        gain = float(gain_S.mean())
        if gain > best_gain and gain > _ERRORS * float(gain_S.std(ddof=1)) / math.sqrt(len(gain_S)):
            best, best_gain = share, gain
    return best
