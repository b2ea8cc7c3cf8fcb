"""The rows of a printed link table: their order, their names, which of them are one row, and the table they make.

The command line, the report, the model card and RESULTS.md draw the table that :func:`links_table` returns, so all of
them fold the same controls and spell the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grn_cotrain.present import Cell, Column, Row, Table, bounds, count, figure, metric, number

__all__ = ["HEADLINE", "PRINTED", "SUMMARY", "TITLES", "LinkRow", "facts", "link_rows", "links_table", "records"]

HEADLINE = "macro_auroc"
"""Metric by which models and controls are compared first."""

#: Columns that are printed for a set of candidates: metric, and whether its interval is printed too. What is known
#: beyond degree is printed next to the headline, where no page or terminal cuts it off.
PRINTED: Mapping[str, Mapping[str, bool]] = {
    "all": {
        "macro_auroc": True,
        "degree_matched_auroc": False,
        "residual_auroc": False,
        "macro_ap": True,
        "auroc": True,
        "auprc": True,
        "auprc_ratio": False,
        "epr": False,
        "mrr_adjusted": False,
        "pair_share": False,
        "own_minus_other": True,
        "brier": False,
    },
    "matched": {"auroc": True},
    "known_regulator": {
        "macro_auroc": True,
        "degree_matched_auroc": False,
        "residual_auroc": False,
        "macro_ap": True,
        "auroc": True,
        "auprc": True,
    },
}
#: The short form of documents: every metric with its interval.
SUMMARY: Mapping[str, bool] = dict.fromkeys(("macro_auroc", "macro_ap", "auroc", "auprc", "degree_matched_auroc"), True)
TITLES = {
    "all": "all candidates",
    "matched": "degree-matched 1:1 candidates (0.5: nothing but degree)",
    "known_regulator": "genes with a known regulator only",
}
_KINDS = ("model", "ablation", "read-out", "control")  # order of print
_NAME_WIDTH = 32  # characters of a column of scorers whose names are folded


@dataclass(frozen=True)
class LinkRow:
    """One printed row.

    Attributes
    ----------
    names
        Scorers of this row: one, or the controls whose printed values are equal.
    kind
        ``model``, ``ablation``, ``read-out`` or ``control``.
    records
        Metric -> its row of the link table's frame (``value``, ``low``, ``high``), for the metrics that the scorer has.
    """

    names: tuple[str, ...]
    kind: str
    records: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Every name, and how many there are."""
        return f"{', '.join(self.names)} ({len(self.names)} equal)" if len(self.names) > 1 else self.names[0]

    @property
    def label(self) -> str:
        """Name of the row where most rows are controls: the others state their kind."""
        return self.name if self.kind == "control" else f"{self.name} ({self.kind})"

    @property
    def short_label(self) -> str:
        """Name of the row where the model stands out by itself: the others state their kind."""
        return self.name if self.kind == "model" else f"{self.name} ({self.kind})"


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows of a frame by name; their types are the frame's, which type checkers cannot know."""
    yield from frame.itertuples(index=False)


def links_table(
    parts: Sequence[tuple[str, pd.DataFrame]],
    candidates: str,
    *,
    best: Callable[[str], str | None] = lambda metric: None,
    printed: Mapping[str, bool] | None = None,
    controls: int | None = None,
    label: Callable[[LinkRow], str] = lambda row: row.label,
    **options: Any,
) -> Table:
    """Make the table of models and controls.

    Parameters
    ----------
    parts
        As in :func:`link_rows`.
    candidates
        Key of :data:`PRINTED`.
    best
        Metric -> its best control, which carries a star.
    printed
        Metrics in order, and whether their intervals are shown; default: those of the candidates.
    controls
        Rows of controls to show, the best ones; default: all.
    label
        Row -> what it is called.
    options
        Further fields of :class:`~grn_cotrain.present.table.Table`.
    """
    shown = _present(printed or PRINTED[candidates], (part for _, part in parts))
    stars = {name: best(name) for name in shown}
    found = link_rows(parts, candidates, printed=shown)
    if controls is not None:
        left_out = [row for row in found if row.kind == "control"][controls:]
        found = [row for row in found if row not in left_out]
    rows = []
    for row in found:
        cells = [Cell(label(row))]
        cells += [_cell(row, name, interval, starred=stars[name] in row.names) for name, interval in shown.items()]
        rows.append(Row(cells, tone="" if row.kind == "control" else "model"))
    columns = [Column("scorer", numeric=False)]
    columns += [Column(metric(name).heading, title=f"{metric(name).words}: {metric(name).sentence}") for name in shown]
    fold = max([_NAME_WIDTH, *(len(label(row)) for row in found if len(row.names) == 1)])
    return Table(columns, rows, fold=fold, **options)


def facts(part: pd.DataFrame, split: str, candidates: str) -> str:
    """Describe the data of a link table: split, candidates, pairs, prevalence, TFs."""
    pooled = part[part["metric"] == "auroc"].iloc[0]
    macro = part.loc[part["metric"] == HEADLINE, "num_tfs"]
    in_macro = f" ({count(macro.max())} in macro)" if len(macro) else ""
    return (
        f"{split}, {TITLES[candidates]}: {count(pooled['num_pairs'])} pairs, prevalence "
        f"{number(pooled['prevalence'], 4)}, {count(pooled['num_tfs'])} TFs{in_macro}"
    )


def _present(printed: Mapping[str, bool], parts: Iterable[pd.DataFrame]) -> dict[str, bool]:
    """Return the printed metrics that some part has."""
    present = {name for part in parts for name in part["metric"]}
    return {name: interval for name, interval in printed.items() if name in present}


def _cell(row: LinkRow, name: str, interval: bool, *, starred: bool) -> Cell:
    record = row.records.get(name)
    low, high = (record.low, record.high) if record is not None and interval else (None, None)
    value = None if record is None else record.value
    return figure(value, low, high, metric(name).digits, star="best control" if starred else "")


def link_rows(
    parts: Sequence[tuple[str, pd.DataFrame]], candidates: str, *, printed: Mapping[str, bool] | None = None
) -> list[LinkRow]:
    """Return the rows to print: models first, then controls from best to worst by the first metric.

    Controls that would print the same row become one row that names them all. Models, ablations and read-outs always
    have a row of their own.

    Parameters
    ----------
    parts
        A label and the rows of one split and candidate set, for each run. Models carry the label of their run;
        controls of several runs on one split are equal and appear once.
    candidates
        Key of :data:`PRINTED`.
    printed
        Metrics in order, and whether their intervals are shown; default: those of the candidates.
    """
    shown = _present(printed or PRINTED[candidates], (part for _, part in parts))
    names: set[str] = set()
    found: dict[Any, LinkRow] = {}
    for label, part in parts:
        by_key: dict[tuple[str, str], Any] = {(row.scorer, row.metric): row for row in records(part)}
        for scorer, kind in part.drop_duplicates("scorer")[["scorer", "kind"]].itertuples(index=False, name=None):
            name = f"{label}: {scorer}" if label and kind != "control" else str(scorer)
            if name in names:
                continue
            names.add(name)
            mine = {key: by_key[scorer, key] for key in shown if (scorer, key) in by_key}
            key = _as_printed(mine, shown) if kind == "control" else name
            first = found.get(key)
            found[key] = LinkRow((*(first.names if first else ()), name), kind, first.records if first else mine)
    first_metric = next(iter(shown), HEADLINE)
    return sorted(found.values(), key=lambda row: _place(row, first_metric))


def _as_printed(mine: Mapping[str, Any], printed: Mapping[str, bool]) -> tuple[str, ...]:
    """Every number of a row as it is printed: rows that a reader cannot distinguish have equal ones."""
    shown = []
    for name, interval in printed.items():
        record, digits = mine.get(name), metric(name).digits
        if record is None:
            shown.append("")
        else:
            shown.append(f"{number(record.value, digits)} {bounds(record.low, record.high, digits) * interval}")
    return tuple(shown)


def _place(row: LinkRow, name: str) -> tuple[int, float]:
    record = row.records.get(name)
    value = -math.inf if record is None or not _is_number(record.value) else float(record.value)
    return _KINDS.index(row.kind) if row.kind in _KINDS else 1, -value


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)
