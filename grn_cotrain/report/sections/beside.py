"""Blocks of several runs, next to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grn_cotrain.report.blocks import Block, Columns
from grn_cotrain.report.inputs import ReportInputs, RunInputs

__all__ = ["beside"]


def beside(report: ReportInputs, make: Callable[[RunInputs], Sequence[Block]]) -> list[Block]:
    """Blocks of each run: as they are for one run, in columns for several."""
    if not report.is_comparison:
        return list(make(report.runs[0]))
    return [Columns([(run.title, tuple(make(run))) for run in report.runs])]
