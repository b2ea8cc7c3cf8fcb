"""The rows of a printed link table: their order, their names, and which of them are one row.

The command line and the report print the rows that :func:`link_rows` returns, so both fold the same controls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["PRINTED", "TITLES", "LinkRow", "digits", "link_rows", "printed_metrics"]

#: Columns that are printed for a set of candidates: metric, heading, whether its interval is printed too. What is known
#: beyond degree is printed next to the headline, where no page or terminal cuts it off.
PRINTED = {
    "all": (
        ("macro_auroc", "macro AUROC", True),
        ("degree_matched_auroc", "matched", False),
        ("residual_auroc", "residual", False),
        ("macro_ap", "macro AP", True),
        ("auroc", "AUROC", True),
        ("auprc", "AUPRC", True),
        ("auprc_ratio", "AUPRC/prev", False),
        ("epr", "EPR", False),
        ("mrr_adjusted", "adj. MRR", False),
        ("brier", "Brier", False),
    ),
    "matched": (("auroc", "AUROC", True),),
    "known_regulator": (
        ("macro_auroc", "macro AUROC", True),
        ("degree_matched_auroc", "matched", False),
        ("residual_auroc", "residual", False),
        ("macro_ap", "macro AP", True),
        ("auroc", "AUROC", True),
        ("auprc", "AUPRC", True),
    ),
}
TITLES = {
    "all": "all candidates",
    "matched": "degree-matched 1:1 candidates (.5: nothing but degree)",
    "known_regulator": "genes with a known regulator only",
}
_KINDS = ("model", "ablation", "read-out", "control")  # order of print
_FEW_DIGITS = {"epr": 1, "auprc_ratio": 1}


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
    def label(self) -> str:
        """Label of the row: every name, and their number."""
        if len(self.names) > 1:
            return f"{', '.join(self.names)} ({len(self.names)} equal)"
        return self.names[0] if self.kind == "control" else f"{self.names[0]} ({self.kind})"


def digits(metric: str) -> int:
    """Return the decimals with which a metric is printed."""
    return _FEW_DIGITS.get(metric, 3)


def printed_metrics(parts: Iterable[pd.DataFrame], candidates: str) -> list[tuple[str, str, bool]]:
    """Return the entries of :data:`PRINTED` that some part of a table has."""
    present = {metric for part in parts for metric in part["metric"]}
    return [entry for entry in PRINTED[candidates] if entry[0] in present]


def link_rows(parts: Sequence[tuple[str, pd.DataFrame]], candidates: str) -> list[LinkRow]:
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
    """
    printed = printed_metrics((part for _, part in parts), candidates)
    names: set[str] = set()
    found: dict[Any, LinkRow] = {}
    for label, part in parts:
        by_key: dict[tuple[str, str], Any] = {(row.scorer, row.metric): row for row in _records(part)}
        for scorer, kind in part.drop_duplicates("scorer")[["scorer", "kind"]].itertuples(index=False, name=None):
            name = f"{label}: {scorer}" if label and kind != "control" else str(scorer)
            if name in names:
                continue
            names.add(name)
            records = {metric: by_key[scorer, metric] for metric, _, _ in printed if (scorer, metric) in by_key}
            shown = _as_printed(records, printed) if kind == "control" else name
            first = found.get(shown)
            found[shown] = LinkRow((*(first.names if first else ()), name), kind, first.records if first else records)
    return sorted(found.values(), key=lambda row: _place(row, printed[0][0]))


def _records(part: pd.DataFrame) -> Iterable[Any]:
    yield from part.itertuples(index=False)


def _as_printed(records: Mapping[str, Any], printed: Sequence[tuple[str, str, bool]]) -> tuple[str, ...]:
    """Every number of a row as it is printed: rows that a reader cannot distinguish have equal ones."""
    shown = []
    for metric, _, with_interval in printed:
        record = records.get(metric)
        numbers = [] if record is None else [record.value, *((record.low, record.high) if with_interval else ())]
        shown.append(" ".join(f"{number + 0.0:.{digits(metric)}f}" for number in numbers))
    return tuple(shown)


def _place(row: LinkRow, metric: str) -> tuple[int, float]:
    record = row.records.get(metric)
    value = -math.inf if record is None or not math.isfinite(record.value) else float(record.value)
    return _KINDS.index(row.kind) if row.kind in _KINDS else 1, -value
