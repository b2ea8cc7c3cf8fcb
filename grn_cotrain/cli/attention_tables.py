"""The tables of ``grn-cotrain evaluate attention``, as plain lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from grn_cotrain.present import Cell, Table, figure, metric, percent, table, whole
from grn_cotrain.present.terminal import plain_lines

if TYPE_CHECKING:
    import pandas as pd

    from grn_cotrain.evaluate.attention_run import AttentionReport

__all__ = ["print_report"]

# Metric, and whether its interval is shown.
_METRICS = {
    "macro_auroc": True,
    "macro_ap": True,
    "auroc": True,
    "auprc": False,
    "degree_matched_auroc": False,
    "residual_auroc": False,
}
# Measure, against, statistic; words of the heading for the last two.
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
    differences: list[Any] = list(report.differences.itertuples())
    changes = {
        (one.group, one.scorer, one.minus == "co-expression"): figure(one.value, one.low, one.high, sign=True)
        for one in differences
    }
    header = ["cell type", "cells", "pairs seen", "scorer", *(metric(name).heading for name in _METRICS)]
    lines = []
    before = None
    for row in rows:
        new = row.group != before
        before = row.group
        scorer = row.scorer if row.kind == "control" else f"{row.scorer} ({row.kind})"
        lines.append(
            [
                (row.group or "any") if new else "",
                f"{row.num_cells:,} of {row.cells_in_group:,}" if new and row.group else "",
                percent(row.pairs_seen) if new and row.group else "",
                scorer,
                *(_value(row, name, interval) for name, interval in _METRICS.items()),
                *(changes.get((row.group, row.scorer, plain), Cell("")) for plain in (True, False)),
            ]
        )
    caption = f"attention on the test pairs of {report.table.headline_split}: {rows[0].num_pairs:,} pairs"
    numeric = {*range(12)} - {0, 3}
    header += ["- co-expression", "- untrained"]
    _say(table(header, lines, numeric=numeric, caption=caption), say)
    say("pairs seen: test pairs whose genes are tokens of the same cell at least once; others have the expected weight")
    say("corrected: the mean over all readers of a gene is subtracted; matched, residual: degree is controlled for")
    say("- co-expression, - untrained: paired differences in macro AUROC")
    say("")
    _centrality(report.centrality, say)
    say("intervals: 95 %, bootstrap over TFs above, over genes here; PageRank is in attention_centrality.parquet")
    for note in [*report.notes, *report.table.audits.values(), *report.table.notes]:
        say(f"note: {note}")
    for warning in report.table.warnings():
        say(f"warning: {warning}")


def _centrality(measured: pd.DataFrame, say: Callable[[str], None]) -> None:
    """One line a cell type and encoder."""
    headings = [f"{against}: {words}" if against else words for *_, against, words in _CENTRALITY]
    lines = []
    for key, part in measured.groupby(["group", "encoder"], sort=False):
        found: dict[tuple[str, str, str], Any] = {
            (str(one.measure), str(one.against), str(one.statistic)): one for one in part.itertuples()
        }
        sizes = [whole(found["received", against, "Spearman"].num_genes) for against in ("TF or not", "out-degree")]
        shown = [found[measure, against, statistic] for measure, against, statistic, _, _ in _CENTRALITY]
        lines.append([*map(str, key), *sizes, *(figure(one.value, one.low, one.high) for one in shown)])
    caption = "centrality: the attention that a gene receives, compared with its place in the network"
    header = ["cell type", "encoder", "genes", "TFs", *headings]
    _say(table(header, lines, numeric=range(2, len(header)), caption=caption), say)
    say("rho: Spearman's correlation; partial: given detection rate and mean; AUROC of TF or not: cross-validated")
    say("  logistic regression on detection and mean; gained: the increase when centrality is added")


def _say(shown: Table, say: Callable[[str], None]) -> None:
    for line in plain_lines(shown):
        say(line)


def _value(row: Any, name: str, interval: bool) -> Cell:
    low, high = (getattr(row, f"{name}_{end}") if interval else None for end in ("low", "high"))
    return figure(getattr(row, name), low, high)
