"""From scores to probabilities, by kind of pair: isotonic calibration, and Platt scaling in files of version 0.1.

Dimension letters: M pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.special import expit

from grn_cotrain.data.edge_split import EdgeSplit, LabelledPairs
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json
from grn_cotrain.metrics.calibration_check import CalibrationCheck, check_calibration
from grn_cotrain.metrics.isotonic import Isotonic

__all__ = ["KINDS", "PLATT_FILE", "Calibration", "Platt"]

PLATT_FILE = "platt.json"
"""Its name in a model folder."""

KINDS = ("seen", "unseen TF", "unseen target", "unseen TF and target")
"""Kinds of pairs by what training held out: bit 0 for the TF, bit 1 for the target."""


@dataclass(frozen=True)
class Platt:
    """``probability = sigmoid(slope * score + offset)`` (Platt 1999), read from models of version 0.1.

    Attributes
    ----------
    slope, offset
        Coefficients for the scores as given. A negative slope means that validation ranked negatives higher; it is
        kept, not hidden.
    num_pairs, prevalence
        Pairs that it was fitted on and their share of positives.
    """

    slope: float
    offset: float
    num_pairs: int
    prevalence: float

    def probability(self, scores_M: np.ndarray) -> np.ndarray:
        """Probabilities ``[M]``, float64 in [0, 1]."""
        return expit(self.slope * np.asarray(scores_M, dtype=np.float64) + self.offset)

    @classmethod
    def read(cls, loaded: Any, path: str | Path) -> Self:
        """Read the keys of a JSON object; another object is an error in one line."""
        try:
            platt = cls(
                float(loaded["slope"]), float(loaded["offset"]), int(loaded["num_pairs"]), float(loaded["prevalence"])
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"Platt scaling '{path}': keys are missing or not numbers; train the run again") from None
        if not (math.isfinite(platt.slope) and math.isfinite(platt.offset)):
            raise UserError(f"Platt scaling '{path}': slope or offset is not finite; train the run again")
        return platt


@dataclass(frozen=True, eq=False)
class Calibration:
    """One :class:`Isotonic` (or :class:`Platt`) for each kind of pair: which of its ends training held out.

    A model ranks pairs of held-out genes less well than pairs of genes that it was trained on, so what a score means
    depends on the kind. A kind without validation pairs of both classes has no probability (NaN): on a split of unseen
    targets, a pair of a seen target carries no probability, for no seen target was kept for validation.

    Attributes
    ----------
    by_kind
        Kind (a member of :data:`KINDS`) -> its scaling, at least one.
    hidden_sources_S, hidden_targets_N
        int64, sorted: held-out genes of the sides that make kinds; empty for a side that does not.
    checks
        Kind -> its check on validation pairs that the scaling was not fitted on; a kind with too few pairs, or of a
        model that was trained before there were checks, has none.
    """

    by_kind: Mapping[str, Isotonic | Platt]
    hidden_sources_S: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    hidden_targets_N: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    checks: Mapping[str, CalibrationCheck] = field(default_factory=dict)

    @classmethod
    def fit(cls, scores_M: np.ndarray, pairs: LabelledPairs, split: EdgeSplit, *, sampled: float = 1.0) -> Self | None:
        """Fit each kind of validation pair that has both classes; None if no kind has.

        Parameters
        ----------
        scores_M
            Scores of ``pairs``.
        pairs
            Validation pairs, or all positives and a sample of the others.
        split
            Split that defines which genes are held out; its pairs are not read.
        sampled
            Share of the negatives that are among ``pairs``, whatever their kind.
        """
        side = split.held_out
        given = (side not in ("target",), split.hidden_sources_S), (side not in ("source",), split.hidden_targets_N)
        sources_S, targets_N = (hidden if used else _none() for used, hidden in given)
        found: dict[str, Isotonic | Platt] = {}
        checks: dict[str, CalibrationCheck] = {}
        calibration = cls(found, sources_S, targets_N, checks)
        kind_M = calibration.kinds_of(pairs.pairs_2M)
        for kind in range(len(KINDS)):
            labels_M = pairs.labels_M[kind_M == kind]
            positives, negatives = int(labels_M.sum()), int((~labels_M).sum())
            if positives and negatives:
                share = positives / (positives + negatives / sampled) if sampled < 1 else None
                if split.kind == "unseen-target":
                    share = _drawn_share(positives, negatives / sampled, split)
                mine_M = scores_M[kind_M == kind]
                fitted = found[KINDS[kind]] = Isotonic.fit(mine_M, labels_M, prevalence=share)
                unit_M = pairs.pairs_2M[0 if KINDS[kind] == "unseen TF" else 1, kind_M == kind]
                check = check_calibration(mine_M, labels_M, unit_M, prevalence=fitted.prevalence, sampled=sampled)
                if check is not None:
                    checks[KINDS[kind]] = check
        return calibration if found else None

    @property
    def main(self) -> Isotonic | Platt:
        """The scaling of the kind with the most validation pairs."""
        return max(self.by_kind.values(), key=lambda platt: platt.num_pairs)

    @property
    def trusted(self) -> Self | None:
        """The scalings without those whose check failed; None if none is left."""
        kept = {kind: scaling for kind, scaling in self.by_kind.items() if kind not in self.failed}
        return replace(self, by_kind=kept) if kept else None

    @property
    def failed(self) -> dict[str, str]:
        """Kinds whose check failed, and the reason of each in a sentence."""
        return {kind: check.line(kind) for kind, check in self.checks.items() if not check.holds}

    def kinds_of(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Position of each pair's kind in :data:`KINDS`, int64 ``[M]``."""
        source_M, target_M = np.isin(pairs_2M[0], self.hidden_sources_S), np.isin(pairs_2M[1], self.hidden_targets_N)
        return source_M + 2 * target_M

    def probability(self, scores_M: np.ndarray, pairs_2M: np.ndarray) -> np.ndarray:
        """Probabilities ``[M]``, float64; NaN for pairs of a kind that has no scaling."""
        scores_M, kind_M = np.asarray(scores_M, dtype=np.float64), self.kinds_of(pairs_2M)
        found_M = np.full(scores_M.shape, np.nan)
        for kind, platt in self.by_kind.items():
            mine_M = kind_M == KINDS.index(kind)
            found_M[mine_M] = platt.probability(scores_M[mine_M])
        return found_M

    def missing(self, pairs_2M: np.ndarray) -> dict[str, int]:
        """Number of pairs by kind, for kinds that have no scaling."""
        count_K = np.bincount(self.kinds_of(pairs_2M), minlength=len(KINDS)).tolist()
        return {kind: count for kind, count in zip(KINDS, count_K, strict=True) if count and kind not in self.by_kind}

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically: the keys of :attr:`main` and, where there are several kinds, all of them."""
        content: dict[str, Any] = asdict(self.main)
        if self.hidden_sources_S.size or self.hidden_targets_N.size:
            content |= {
                "kinds": {kind: asdict(platt) for kind, platt in self.by_kind.items()},
                "hidden_sources": self.hidden_sources_S.tolist(),
                "hidden_targets": self.hidden_targets_N.tolist(),
            }
        if self.checks:
            content["checks"] = {kind: asdict(check) for kind, check in self.checks.items()}
        write_json(path, content)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; a file without kinds (of version 0.1) has one scaling for all pairs."""
        loaded = read_json(path, what="Platt scaling")
        main, checks = _scaling(loaded, path), _checks(loaded, path)
        if "kinds" not in loaded:
            return cls({KINDS[0]: main}, checks=checks)
        try:
            by_kind = {KINDS[KINDS.index(kind)]: _scaling(one, path) for kind, one in loaded["kinds"].items()}
            hidden = [
                np.unique(np.asarray(loaded[key], dtype=np.int64).reshape(-1))
                for key in ("hidden_sources", "hidden_targets")
            ]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise UserError(f"Platt scaling '{path}': kinds of pairs cannot be read; train the run again") from None
        if not by_kind:
            raise UserError(f"Platt scaling '{path}': holds no kind of pair; train the run again")
        return cls(by_kind, hidden[0], hidden[1], checks)


def _drawn_share(positives: int, negatives: float, split: EdgeSplit) -> float:
    """Prevalence among the pairs of genes that are drawn at random, as held-out targets are.

    A tenth of the genes has a quarter more or fewer edges than the next tenth by chance, which would move every
    probability. Training and validation genes together are a better sample of the genes of a test.
    """
    train = split.pairs("train").labels_M
    return float((positives + train.sum()) / (positives + negatives + len(train)))


def _scaling(loaded: Any, path: str | Path) -> Isotonic | Platt:
    if isinstance(loaded, Mapping) and "scores" in loaded:
        return Isotonic.read(loaded, f"calibration '{path}'")
    return Platt.read(loaded, path)


def _checks(loaded: Mapping[str, Any], path: str | Path) -> dict[str, CalibrationCheck]:
    found = loaded.get("checks", {})
    if not isinstance(found, Mapping) or not set(found) <= set(KINDS):
        raise UserError(f"calibration '{path}': its checks cannot be read; train the run again")
    return {kind: CalibrationCheck.read(one, f"calibration '{path}'") for kind, one in found.items()}


def _none() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)
