"""Presentation: one glossary of metrics, one spelling of numbers, one table with four renderers.

:mod:`~grn_cotrain.present.metrics` names and explains every metric, :mod:`~grn_cotrain.present.numbers` writes numbers,
and a :class:`~grn_cotrain.present.table.Table` becomes plain lines, a terminal's table, Markdown or HTML. This room
imports nothing of the project, so that every other room may use it.
"""

from __future__ import annotations

from grn_cotrain.present.metrics import CELL_METRICS, CLASS_METRICS, LINK_METRICS, Metric, metric
from grn_cotrain.present.numbers import bounds, count, measured, number, percent
from grn_cotrain.present.table import Cell, Column, Row, Table, figure, table, whole

__all__ = [
    "CELL_METRICS",
    "CLASS_METRICS",
    "LINK_METRICS",
    "Cell",
    "Column",
    "Metric",
    "Row",
    "Table",
    "bounds",
    "count",
    "figure",
    "measured",
    "metric",
    "number",
    "percent",
    "table",
    "whole",
]
