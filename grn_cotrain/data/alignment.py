"""Outcome of aligning names to a vocabulary: mapped, renamed and why, duplicated, lost, absent; all by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

__all__ = ["Alignment", "AlignmentReport", "name_some"]


def name_some(names: Sequence[str], limit: int = 5) -> str:
    """``a, b, c and 12 more``: how reports and errors name what they count."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


@dataclass
class AlignmentReport:
    """Outcome of aligning names to a vocabulary; nothing is lost without its name.

    Attributes
    ----------
    num_given
        Names given.
    mapped
        Names that received a feature.
    renamed
        ``(given, feature)`` where they differ.
    duplicated
        Names whose feature an earlier name had taken already.
    lost
        Names that no feature has.
    reasons
        Why, one for each entry of ``renamed``: ``case``, ``version``, ``Ensembl id``, ``alias``, ``ortholog``, ...;
        several are joined by `` + ``. Empty in reports of earlier versions.
    absent
        Features that no name has: their values are zero in every cell of this file.
    files
        The same for each of several files, by its label; the numbers above are then those of all features together.
    """

    num_given: int = 0
    mapped: int = 0
    renamed: list[tuple[str, str]] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    files: dict[str, AlignmentReport] = field(default_factory=dict)

    def rename(self, given: str, feature: str, reason: str) -> None:
        """Note one changed name and why it changed."""
        self.renamed.append((given, feature))
        self.reasons.append(reason)

    @property
    def share_mapped(self) -> float:
        """Share of the given names that some feature has."""
        return 1 - len(self.lost) / self.num_given if self.num_given else 0.0

    def summary(self) -> str:
        """One line with counts, and some names of each kind of trouble."""
        parts = [f"{self.mapped:,} of {self.num_given:,} mapped"]
        if self.renamed:
            why = ", ".join(f"{n:,} by {reason}" for reason, n in Counter(self.reasons).most_common())
            shown = name_some([f"{a} -> {b}" for a, b in self.renamed], 3)
            parts.append(f"{len(self.renamed):,} renamed ({shown}{'; ' + why if why else ''})")
        for kind in ("duplicated", "lost"):
            names = getattr(self, kind)
            if names:
                parts.append(f"{len(names):,} {kind} ({name_some(names, 3)})")
        if self.absent:
            parts.append(f"{len(self.absent):,} absent, so zero ({name_some(self.absent, 3)})")
        return "; ".join(parts)

    def lines(self) -> list[str]:
        """The summary, and one line for each of several files."""
        return [self.summary(), *(f"{label}: {report.summary()}" for label, report in self.files.items())]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, every name included."""
        return {
            "num_given": self.num_given,
            "mapped": self.mapped,
            "renamed": [list(pair) for pair in self.renamed],
            "reasons": list(self.reasons),
            "duplicated": list(self.duplicated),
            "lost": list(self.lost),
            "absent": list(self.absent),
            "files": {label: report.to_dict() for label, report in self.files.items()},
        }

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> AlignmentReport:
        """Inverse of :meth:`to_dict`; keys of other versions are left out."""
        known = {entry.name: mapping[entry.name] for entry in fields(cls) if entry.name in mapping}
        known["renamed"] = [(given, feature) for given, feature in known.get("renamed", [])]
        known["files"] = {label: cls.from_dict(report) for label, report in known.get("files", {}).items()}
        return cls(**known)


REPORT_SHAPE: dict[Any, Any] = {
    "num_given?": int,
    "mapped?": int,
    "renamed?": [[str]],
    **{f"{name}?": [str] for name in ("duplicated", "lost", "reasons", "absent")},
}
"""Content of :meth:`AlignmentReport.to_dict`, as files are checked for it."""
REPORT_SHAPE["files?"] = {str: dict(REPORT_SHAPE)}


@dataclass(frozen=True)
class Alignment:
    """``index_N``: int64 gene index of each given name, -1 where it has none; and the report."""

    index_N: np.ndarray
    report: AlignmentReport
