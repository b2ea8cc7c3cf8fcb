"""Differences."""

from __future__ import annotations

from grn_cotrain.report.blocks import Section
from grn_cotrain.report.inputs import ReportInputs

__all__ = ["section"]


def section(report: ReportInputs) -> Section:
    """Section."""
    del report
    return Section("comparison", "Differences", "Differences", ())
