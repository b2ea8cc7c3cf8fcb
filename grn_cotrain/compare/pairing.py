"""Differences between two arms, paired over seeds, and means over seeds.

Link metrics are compared over bootstrap draws of TFs that all runs of a split share; what is better is decided by
:func:`~grn_cotrain.evaluate.bootstrap.beats`. The explained variance of cells is compared over seeds alone.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grn_cotrain.evaluate.bootstrap import SeedResult, beats, interval

__all__ = ["finite", "mean_with_interval", "seed_differences", "spread", "verdict"]

MIN_SEEDS = 3


def verdict(mine: Sequence[SeedResult], theirs: Sequence[SeedResult]) -> dict[str, Any] | None:
    """Compare one arm with another over the seeds that both have.

    Returns
    -------
    dict or None
        ``beats, difference, low, high, num_seeds, num_tfs, reason``; None without a common seed, and where a seed was
        tested on other TFs or genes, so that nothing pairs.
    """
    other = {result.seed: result for result in theirs}
    pairs = [(result, other[result.seed]) for result in mine if result.seed in other]
    if not pairs or not all(_paired(a, b) for a, b in pairs):
        return None
    answer = beats([a for a, _ in pairs], [b for _, b in pairs])
    return {key: finite(value) for key, value in dataclasses.asdict(answer).items()}


def _paired(a: SeedResult, b: SeedResult) -> bool:
    return a.key == b.key and a.replicates_B.shape == b.replicates_B.shape


def mean_with_interval(results: Sequence[SeedResult]) -> dict[str, Any]:
    """Mean over seeds with its 95 % interval over TFs; without bounds where the seeds were tested on different TFs."""
    summary = spread([finite(result.value) for result in results])
    low = high = None
    if results and all(_paired(results[0], result) for result in results) and summary["mean"] is not None:
        replicates_B = np.mean([result.replicates_B for result in results], axis=0)
        low, high = (finite(bound) for bound in interval(summary["mean"], replicates_B)[1:])
    return {**summary, "low": low, "high": high}


def seed_differences(mine: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> dict[str, Any] | None:
    """Mean difference over common seeds with its 95 % interval (Student's t over seeds).

    Returns
    -------
    dict or None
        ``difference, low, high, num_seeds``, without bounds below 3 seeds; None without a common seed.
    """
    changes = [
        value - other for seed, value in mine.items() if value is not None and (other := theirs.get(seed)) is not None
    ]
    if not changes:
        return None
    mean, low, high = statistics.fmean(changes), None, None
    if len(changes) >= MIN_SEEDS:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(changes) - 1)) * statistics.stdev(changes) / math.sqrt(len(changes))
        low, high = mean - half, mean + half
    return {"difference": mean, "low": low, "high": high, "num_seeds": len(changes)}


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean of the values that are known, and all values by seed."""
    known = [value for value in values if value is not None]
    return {"mean": statistics.fmean(known) if known else None, "by_seed": list(values)}


def finite(value: Any) -> Any:
    """Return the value; None for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
