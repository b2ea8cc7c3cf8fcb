"""Comparison of predicted probabilities with observed shares, in one sentence.

Dimension letters: N bins.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["calibration_sentence", "wilson"]

_Z = 1.96


def wilson(share_N: np.ndarray, count_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share (Wilson 1927), which is sound for few positives."""
    centre_N = share_N + _Z**2 / (2 * count_N)
    half_N = _Z * np.sqrt(share_N * (1 - share_N) / count_N + _Z**2 / (4 * count_N**2))
    scale_N = 1 + _Z**2 / count_N
    return np.clip((centre_N - half_N) / scale_N, 0, 1), np.clip((centre_N + half_N) / scale_N, 0, 1)


def calibration_sentence(bins: pd.DataFrame, scorer: str = "") -> str:
    """State whether probabilities are above or below what is seen, in how many bins, and by how much.

    Parameters
    ----------
    bins
        ``x`` (mean probability of a bin), ``y`` (share of true links in it) and ``n`` (its pairs), one row a bin.
    scorer
        Whose probabilities they are; "probabilities" alone where empty.

    Returns
    -------
    str
        A bin differs by more than chance where its mean probability is outside the 95 % interval of the share that
        is seen. Empty without bins.
    """
    bins = bins[bins["n"] > 0].sort_values("x", kind="stable")
    if bins.empty:
        return ""
    promised_N, seen_N, count_N = (bins[name].to_numpy(np.float64) for name in ("x", "y", "n"))
    low_N, high_N = wilson(seen_N, count_N)
    number = len(bins)
    above, below = int((promised_N > seen_N).sum()), int((promised_N < seen_N).sum())
    far_above, far_below = int((promised_N > high_N).sum()), int((promised_N < low_N).sum())
    who = f"Probabilities of {scorer}" if scorer else "Probabilities"
    promised, seen = (float((share_N * count_N).sum() / count_N.sum()) for share_N in (promised_N, seen_N))
    total = (
        f"Over all pairs {_share(promised)} is promised and {_share(seen)} is seen; in the highest bin"
        f" {_share(promised_N[-1])} is promised and {_share(seen_N[-1])} is seen."
    )
    sides = ((above, far_above, far_below, "above", "too high"), (below, far_below, far_above, "below", "too low"))
    for count, far, opposite, where, verdict in sides:
        if count == number or (far > number / 2 and not opposite):
            which = "in every bin" if count == number else f"in {count} of {number} bins"
            beyond = f"{far} of the {number} bins differ by more than chance"
            if not far and not _beyond_chance(promised, seen, float(count_N.sum())):
                return f"{who} are {where} what is seen {which}, but by no more than chance explains. {total}"
            return f"{who} are {where} what is seen {which}: they are {verdict}. {total} {beyond} (95 % intervals)."
    agreeing = number - far_above - far_below
    if agreeing == number:
        return f"{who} agree with what is seen: no bin differs by more than chance (95 % intervals). {total}"
    return (
        f"{who} agree with what is seen in {agreeing} of {number} bins; they are too high in {far_above} and too low in"
        f" {far_below} (95 % intervals). {total}"
    )


def _beyond_chance(promised: float, seen: float, count: float) -> bool:
    (low,), (high,) = wilson(np.array([seen]), np.array([count]))
    return bool(promised < low or promised > high)


def _share(value: float) -> str:
    """Two digits that mean something, without an exponent."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")
