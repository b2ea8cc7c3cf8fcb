"""Paired bootstrap over TFs, over TFs x held-out genes, and over cells; and what "A beats B" means.

The units that would differ in another experiment are TFs (and held-out genes), not pairs and not seeds: intervals over
seeds are 3-10 times narrower and mislead. Every scorer is resampled with the same draws, so differences are paired,
also between runs: draws depend on the units, the number of replicates and the seed alone (:attr:`Bootstrap.key`).

Dimension letters: S TFs, N held-out genes, B replicates, C columns (C = B + 1: column 0 holds the sample itself).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from grn_cotrain.errors import UserError

__all__ = [
    "Bootstrap",
    "Interval",
    "Sample",
    "SeedResult",
    "Verdict",
    "beats",
    "cell_draws",
    "difference",
    "interval",
]

LEVEL = 0.95
MIN_SEEDS = 3
MIN_TFS = 10
"""Fewer resampled TFs support no claim: a percentile interval over so few units is too narrow."""


class Interval(NamedTuple):
    """A value and its percentile interval; the bounds are NaN where no interval can be had.

    The interval is not moved onto the value: replicates of average precision are a little above it where genes are
    drawn twice, and in simulations the plain percentiles hold the truth as often as shifted ones
    (docs/reading-the-table.md).
    """

    value: float
    low: float
    high: float


class Bootstrap:
    """Multinomial draws of TFs and, with ``targets``, independent draws of held-out genes (two-way).

    Parameters
    ----------
    sources
        TFs that are tested, in any order, with repeats.
    targets
        Held-out genes, or None to resample TFs only.
    replicates
        Number of replicates B; 0 gives values without intervals.
    seed
        Seed of the draws. Keep it equal between runs that are to be compared.
    """

    def __init__(
        self, sources: np.ndarray, targets: np.ndarray | None = None, *, replicates: int = 1000, seed: int = 0
    ) -> None:
        if replicates < 0:
            raise UserError(f"bootstrap: got {replicates}; give 0 (no intervals) or a positive number of replicates")
        rng = np.random.default_rng(seed)
        self.replicates = replicates
        self.sources_S = np.unique(sources)
        self.targets_N = None if targets is None else np.unique(targets)
        self.source_weight_SC = _draws(len(self.sources_S), replicates, rng)
        self.target_weight_NC = None if self.targets_N is None else _draws(len(self.targets_N), replicates, rng)
        self.key = self._key(seed)

    def _key(self, seed: int) -> str:
        digest = hashlib.sha256(f"bootstrap-1:{seed}:{self.replicates}".encode())
        for units in (self.sources_S, self.targets_N):
            digest.update(b"-" if units is None else np.ascontiguousarray(units, dtype="<i8").tobytes() + b"|")
        return digest.hexdigest()[:16]

    @property
    def two_way(self) -> bool:
        """Whether held-out genes are resampled too."""
        return self.target_weight_NC is not None

    @property
    def num_columns(self) -> int:
        """Number of columns C."""
        return self.replicates + 1

    def chunks(self, width: int) -> Iterator[slice]:
        """Column ranges of at most ``width``, the sample's own column first."""
        for start in range(0, self.num_columns, width):
            yield slice(start, min(start + width, self.num_columns))


def _draws(num_units: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    weight_NC = np.ones((num_units, replicates + 1), dtype=np.float32)
    if num_units and replicates:
        weight_NC[:, 1:] = rng.multinomial(num_units, np.full(num_units, 1 / num_units), size=replicates).T
    return weight_NC


def cell_draws(num_cells: int, replicates: int, seed: int) -> np.ndarray:
    """How often each replicate draws each of so many held-out cells: whole numbers, float64 ``[B, cells]``.

    They depend on the arguments alone, the same for all scorers, so that these are paired.
    """
    shares = np.full(num_cells, 1 / num_cells)
    return np.random.default_rng((seed, 2)).multinomial(num_cells, shares, replicates).astype(np.float64)


@dataclass(frozen=True)
class Sample:
    """A metric on the sample and on each replicate, as numerator / denominator, so that folds can be put together.

    Attributes
    ----------
    numerator_C, denominator_C
        float64; column 0 is the sample itself.
    over_units
        The metric is a mean over units (TFs, positives): folds are pooled by adding. Otherwise it is a property of one
        ranked list, and folds are averaged.
    num_tfs, num_pairs, prevalence
        TFs and pairs that entered, and the share of positives among these pairs (macro metrics: mean over TFs).
    """

    numerator_C: np.ndarray
    denominator_C: np.ndarray
    over_units: bool
    num_tfs: int
    num_pairs: int
    prevalence: float

    @property
    def values_C(self) -> np.ndarray:
        """The metric, NaN where undefined."""
        return np.divide(
            self.numerator_C,
            self.denominator_C,
            out=np.full(self.numerator_C.shape, np.nan),
            where=np.isfinite(self.denominator_C) & (self.denominator_C != 0),
        )

    def interval(self, level: float = LEVEL) -> Interval:
        """Value and percentile interval."""
        values_C = self.values_C
        return interval(float(values_C[0]), values_C[1:], level)

    @staticmethod
    def combine(samples: Sequence[Sample]) -> Sample:
        """Put folds together; they must come from one :class:`Bootstrap`."""
        pairs = np.array([sample.num_pairs for sample in samples], dtype=np.float64)
        tfs = np.array([sample.num_tfs for sample in samples], dtype=np.float64)
        over_units = samples[0].over_units
        share = tfs if over_units else pairs
        prevalences = np.array([sample.prevalence for sample in samples])
        known = np.isfinite(prevalences) & (share > 0)
        prevalence = float(np.average(prevalences[known], weights=share[known])) if known.any() else float("nan")
        if over_units:
            numerator_C = np.sum([sample.numerator_C for sample in samples], axis=0)
            denominator_C = np.sum([sample.denominator_C for sample in samples], axis=0)
        else:
            values_FC = np.stack([sample.values_C for sample in samples])
            numerator_C = np.nansum(values_FC, axis=0)
            denominator_C = np.isfinite(values_FC).sum(axis=0).astype(np.float64)
        return Sample(numerator_C, denominator_C, over_units, int(tfs.sum()), int(pairs.sum()), prevalence)


def interval(value: float, replicates_B: np.ndarray, level: float = LEVEL) -> Interval:
    """Percentile interval of the defined replicates; there is none if fewer than half of them are defined."""
    defined_B = replicates_B[np.isfinite(replicates_B)]
    if not np.isfinite(value) or len(defined_B) < 2 or 2 * len(defined_B) < len(replicates_B):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined_B, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def difference(a: Sample, b: Sample, level: float = LEVEL) -> Interval:
    """Paired difference ``a - b`` with its interval; both samples must come from one :class:`Bootstrap`."""
    change_C = a.values_C - b.values_C
    return interval(float(change_C[0]), change_C[1:], level)


@dataclass(frozen=True)
class SeedResult:
    """One metric of one scorer in one run: what :func:`beats` compares.

    Attributes
    ----------
    seed
        Seed of the run.
    value, replicates_B
        The metric and its bootstrap replicates.
    key
        :attr:`Bootstrap.key`: replicates are paired only where keys are equal.
    num_tfs
        TFs that entered.
    """

    seed: int
    value: float
    replicates_B: np.ndarray
    key: str
    num_tfs: int


@dataclass(frozen=True)
class Verdict:
    """Answer of :func:`beats`; ``reason`` explains what decided it."""

    beats: bool
    difference: float
    low: float
    high: float
    num_seeds: int
    num_tfs: int
    reason: str

    def __bool__(self) -> bool:
        return self.beats


def beats(rows_a: Sequence[SeedResult], rows_b: Sequence[SeedResult], *, level: float = LEVEL) -> Verdict:
    """Decide "A beats B": over at least 3 seeds, the paired interval over TFs of the difference is above zero.

    Results are paired by seed, the difference is averaged over seeds and its interval is taken over resampled TFs.
    Where seeds were tested on different TFs or genes (split seeds), draws cannot be averaged: the bounds of the seeds'
    own intervals are averaged instead, which is the widest interval that any dependence between seeds allows.
    Fewer than 10 TFs support no claim either.

    Raises
    ------
    UserError
        A seed is given twice, A and B have different seeds, or a pair of results was resampled differently.
    """
    by_seed_a, by_seed_b = _by_seed(rows_a, "A"), _by_seed(rows_b, "B")
    if by_seed_a.keys() != by_seed_b.keys():
        raise UserError(
            f"beats: A has seeds {sorted(by_seed_a)}, B has seeds {sorted(by_seed_b)}; give both arms the same seeds"
        )
    if not by_seed_a:
        raise UserError("beats: no results; give at least one per arm")
    changes, keys = [], set()
    for seed, a in by_seed_a.items():
        b = by_seed_b[seed]
        if a.key != b.key or a.replicates_B.shape != b.replicates_B.shape:
            raise UserError(
                f"beats: seed {seed} of A and B was resampled over different TFs or with different draws; "
                "evaluate both on the same split with the same bootstrap"
            )
        changes.append((a.value - b.value, a.replicates_B - b.replicates_B))
        keys.add(a.key)
    value = float(np.mean([change for change, _ in changes]))
    if len(keys) == 1:
        low, high = interval(value, np.mean([replicates for _, replicates in changes], axis=0), level)[1:]
    else:
        bounds = np.array([interval(change, replicates, level)[1:] for change, replicates in changes])
        low, high = (float(bound) for bound in bounds.mean(axis=0))
    num_tfs = min(row.num_tfs for row in (*rows_a, *rows_b))
    reason = _reason(len(changes), num_tfs, low, high)
    return Verdict(reason.startswith("yes"), value, low, high, len(changes), num_tfs, reason)


def _reason(num_seeds: int, num_tfs: int, low: float, high: float) -> str:
    if num_seeds < MIN_SEEDS:
        return f"no: {num_seeds} of at least {MIN_SEEDS} seeds"
    if num_tfs < MIN_TFS:
        return f"no: {num_tfs} TFs support no claim (at least {MIN_TFS})"
    if not (np.isfinite(low) and np.isfinite(high)):
        return "no: the interval is undefined"
    if low > 0:
        return "yes: the paired interval is above zero"
    if high < 0:
        return "no: the paired interval is below zero"
    return "no: the paired interval holds zero"


def _by_seed(rows: Sequence[SeedResult], arm: str) -> Mapping[int, SeedResult]:
    by_seed: dict[int, SeedResult] = {}
    for row in rows:
        if row.seed in by_seed:
            raise UserError(f"beats: seed {row.seed} is given twice for {arm}; give one result a seed")
        by_seed[row.seed] = row
    return by_seed
