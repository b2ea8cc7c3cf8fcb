"""The tables of ``grn-cotrain evaluate attention``, as plain lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from grn_cotrain.evaluate.attention_run import AttentionReport

__all__ = ["print_report"]

_METRICS = (
    ("macro_auroc", "macro AUROC", True),
    ("macro_ap", "macro AP", True),
    ("auroc", "AUROC", True),
    ("auprc", "AUPRC", False),
    ("degree_matched_auroc", "matched", False),
    ("residual_auroc", "residual", False),
)
# Measure, against, statistic; how the heading says the last two.
_CENTRALITY = (
    ("expression", "TF or not", "Spearman", "TF or not", "rho detection"),
    ("received", "TF or not", "Spearman", "", "rho"),
    ("received", "TF or not", "partial Spearman", "", "partial"),
    ("expression", "TF or not", "AUROC", "", "AUROC expression"),
    ("received", "TF or not", "AUROC gained", "", "gained"),
    ("expression", "out-degree", "Spearman", "out-degree of TFs", "rho detection"),
    ("received", "out-degree", "Spearman", "", "rho"),
    ("received", "out-degree", "partial Spearman", "", "partial"),
)


def print_report(report: AttentionReport, say: Callable[[str], None]) -> None:
    """Print scores by cell type, differences, centrality and notes."""
    rows: list[Any] = list(report.rows.itertuples())
    beside: dict[tuple[str, str, bool], str] = {}
    differences: list[Any] = list(report.differences.itertuples())
    for one in differences:
        bounds = _bounds(one.low, one.high, signed=True)
        beside[one.group, one.scorer, one.minus == "co-expression"] = f"{_signed(one.value)} {bounds}"
    say(f"attention on the test pairs of {report.table.headline_split}: {rows[0].num_pairs:,} pairs")
    headings = [heading for _, heading, _ in _METRICS]
    lines = [["cell type", "cells", "pairs seen", "scorer", *headings, "- co-expression", "- untrained"]]
    before = None
    for row in rows:
        new = row.group != before
        before = row.group
        name = (row.group or "any") if new else ""
        cells = f"{row.num_cells:,} of {row.cells_in_group:,}" if new and row.group else ""
        seen = f"{row.pairs_seen:.1%}" if new and row.group else ""
        scorer = row.scorer if row.kind == "control" else f"{row.scorer} ({row.kind})"
        values = [_value(row, metric, both) for metric, _, both in _METRICS]
        minus = [beside.get((row.group, row.scorer, plain), "") for plain in (True, False)]
        lines.append([name, cells, seen, scorer, *values, *minus])
    _aligned(lines, say, left=(0, 3))
    say("pairs seen: test pairs that are tokens of one cell at least; the others have the expected weight")
    say("corrected: less what the read gene gets from all its readers; matched, residual: beyond degree")
    say("- co-expression, - untrained: paired differences in macro AUROC")
    say("")
    _centrality(report.centrality, say)
    say("intervals: 95 %, bootstrap over TFs above, over genes here; PageRank stands in attention_centrality.parquet")
    for note in [*report.notes, *report.table.audits.values(), *report.table.notes]:
        say(f"note: {note}")
    for warning in report.table.warnings():
        say(f"warning: {warning}")


def _centrality(table: pd.DataFrame, say: Callable[[str], None]) -> None:
    """One line a cell type and encoder."""
    say("centrality: the attention that a gene receives, against what the network says of it")
    headings = [f"{against}: {words}" if against else words for *_, against, words in _CENTRALITY]
    lines = [["cell type", "encoder", "genes", "TFs", *headings]]
    for key, part in table.groupby(["group", "encoder"], sort=False):
        found: dict[tuple[str, str, str], Any] = {
            (str(one.measure), str(one.against), str(one.statistic)): one for one in part.itertuples()
        }
        sizes = [f"{found['received', against, 'Spearman'].num_genes:,}" for against in ("TF or not", "out-degree")]
        shown = []
        for measure, against, statistic, _, _ in _CENTRALITY:
            one = found[measure, against, statistic]
            shown.append(f"{_number(one.value)} {_bounds(one.low, one.high)}".strip())
        lines.append([str(key[0]), str(key[1]), *sizes, *shown])
    _aligned(lines, say, left=(0, 1))
    say("rho: Spearman's; partial: given detection rate and mean expression; AUROC of TF or not: cross-validated")
    say("  logistic regression on detection and mean, and what centrality adds to it")


def _aligned(lines: Sequence[Sequence[str]], say: Callable[[str], None], *, left: tuple[int, ...]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())


def _value(row: Any, metric: str, with_interval: bool) -> str:
    text = _number(getattr(row, metric))
    if not with_interval:
        return text
    return f"{text} {_bounds(getattr(row, f'{metric}_low'), getattr(row, f'{metric}_high'))}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}" if math.isfinite(value) else "-"


def _bounds(low: float, high: float, *, signed: bool = False) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    say = _signed if signed else _number
    return f"[{say(low)}, {say(high)}]"
