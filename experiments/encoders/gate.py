"""The quality gate: which claims about a form hold, from paired replicates of its held-out R2.

A ratio is claimed for a decoder only where, on real cells, its held-out gene-standardised masked-value R2 is above 0
and, by the whole paired interval over at least three seeds, at most 0.005 below form A's after equally many steps. The
same paired intervals serve every study that compares rows with one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.records import RECORDS, read_records
from grn_cotrain.present import bounds, measured, number

__all__ = [
    "PUBLISHED_FLOPS",
    "RECORD",
    "SEEDS",
    "TOLERANCE",
    "Verdict",
    "claims",
    "gate",
    "gate_note",
    "replicates_of",
    "without_replicates",
]

PUBLISHED_FLOPS = 3.35e11
"""Forward and backward of one sample at 9.8 million parameters: xTrimoGene, table 1."""

TOLERANCE = 0.005
SEEDS = 3
"""Fewest seeds of a claim."""

RECORD = "decoders"
_REFERENCE = "A"
_REPLICATES = "r2_replicates"


@dataclass(frozen=True)
class Verdict:
    """A form compared with the reference: its R2 and the difference, each with a 95 % interval over held-out cells."""

    form: str
    r2: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    num_seeds: int

    @property
    def passes(self) -> bool:
        """R2 above 0 and at most 0.005 below the reference's (the gate: form A's) by the whole interval, at 3 seeds."""
        return self.r2 > 0 and self.difference_low >= -TOLERANCE and self.num_seeds >= SEEDS

    @property
    def texts(self) -> tuple[str, str]:
        """R2 and its difference to the reference, each with its interval, for a table."""
        change = measured(self.difference, self.difference_low, self.difference_high, sign=True)
        return measured(self.r2, self.low, self.high), change


def gate(replicates: Mapping[str, Sequence[Sequence[float]]], *, reference: str = _REFERENCE) -> dict[str, Verdict]:
    """Verdict of every form from the paired replicates of R2 of its seeds (the first entry is the sample itself).

    A form is compared with the reference (A) under the same seeds; where that is missing there are no verdicts.
    """
    if not replicates.get(reference):
        return {}
    found = {}
    for form, runs in replicates.items():
        if not runs:
            continue
        both = min(len(runs), len(replicates[reference]))
        mine_B = np.mean([np.asarray(run) for run in runs], axis=0)
        paired_B = np.mean([np.asarray(runs[i]) - np.asarray(replicates[reference][i]) for i in range(both)], axis=0)
        found[form] = Verdict(form, *_interval(mine_B), *_interval(paired_B), num_seeds=len(runs))
    return found


def replicates_of(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Sequence[float]]]:
    """Replicates of R2 of the rows that have them, by form."""
    return {form: [row[_REPLICATES] for row in found if _REPLICATES in row] for form, found in rows.items()}


def without_replicates(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a record keeps them: hundreds of replicates a row are for intervals alone."""
    return [{key: value for key, value in row.items() if key != _REPLICATES} for row in rows]


def _interval(values_B: np.ndarray) -> tuple[float, float, float]:
    tail = values_B[1:] if len(values_B) > 1 else values_B
    return float(values_B[0]), float(np.quantile(tail, 0.025)), float(np.quantile(tail, 0.975))


def claims(verdicts: Mapping[str, Verdict], flops: Mapping[str, float]) -> list[str]:
    """Claims that hold: a ratio for each form that passes, and whether ten times fewer is among them."""
    passing = {form: PUBLISHED_FLOPS / flops[form] for form, v in verdicts.items() if v.passes and form in flops}
    lines = [
        f"{form}: {ratio:.1f}x fewer FLOPs a cell than xTrimoGene's published {PUBLISHED_FLOPS:.2e} (a shape"
        f" calculation at 19,264 genes); R2 {number(verdicts[form].r2)},"
        f" {number(verdicts[form].difference, 4, sign=True)} of A's"
        for form, ratio in sorted(passing.items(), key=lambda item: -item[1])
        if ratio > 1
    ]
    best = max(passing.values(), default=0.0)
    if best >= 10:
        names = ", ".join(form for form, ratio in passing.items() if ratio >= 10)
        lines.insert(0, f"10x fewer FLOPs than xTrimoGene at the quality gate: {names}")
    else:
        said = f"the best that passes is {best:.1f}x" if best else "no form passes"
        lines.insert(0, f"no claim of 10x fewer FLOPs: {said}")
    return lines


def gate_note(form: str, folder: Path = RECORDS) -> str:
    """The recorded study's verdict on a form, for a benchmark's row."""
    record = next((one for one in read_records(folder) if one["name"] == RECORD), None) if folder.is_dir() else None
    if record is None:
        return "equal quality not shown: no record of the study of decoders, so no claim"
    row = next((row for row in record["body"]["verdicts"] if row["form"] == form), None)
    if row is None:
        return "equal quality not shown: the study of decoders holds no such form, so no claim"
    verdict = Verdict(**row)
    if verdict.form == _REFERENCE and verdict.passes:
        return f"the gate's reference, R2 {number(verdict.r2)}"
    spread = bounds(verdict.difference_low, verdict.difference_high, 4, sign=True)
    found = f"R2 {number(verdict.r2)}, {number(verdict.difference, 4, sign=True)} of A's {spread}"
    return f"at the quality gate: {found}" if verdict.passes else f"fails the quality gate, no claim: {found}"
