"""The table of a comparison: a row for each arm with means over seeds, intervals and paired differences.

Every difference is to the first arm or to the best control of the same split. Controls do not depend on the arm: they
are fitted once for each split. What "better" means is defined by :func:`grn_cotrain.evaluate.bootstrap.beats`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from grn_cotrain.compare.grid import CellResult
from grn_cotrain.compare.pairing import finite, mean_with_interval, seed_differences, spread, verdict
from grn_cotrain.evaluate.bootstrap import SeedResult
from grn_cotrain.evaluate.link_rows import SUMMARY
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.files import atomic_file, write_json
from grn_cotrain.present import Cell, Table, figure, metric, number, table, whole
from grn_cotrain.present.terminal import plain_lines

__all__ = ["METRICS", "Comparison", "change", "label_of", "tabulate"]

#: Link metrics of the table; the first decides which arm is better.
METRICS = tuple(SUMMARY)
_LEGEND = (
    "Differences are of macro AUROC, paired over seeds, with 95 % intervals over TFs (and held-out genes, where there"
    " are any). * is better: at least 3 seeds and an interval above zero. R2 differences have intervals over seeds."
)


@dataclass(frozen=True)
class Comparison:
    """The table of a comparison.

    Attributes
    ----------
    rows
        One dictionary for each arm, then one for the best control of each split: ``arm``, ``settings`` (key -> value),
        ``scorer`` (its name in the link table, with a probe marked), ``kind, split, seeds, error``, ``run`` (place of
        the run of the first seed, below the folder of the grid); for each link metric
        ``mean, low, high, by_seed``; ``cells_r2`` (``mean, by_seed``); ``against_first`` and ``against_control``
        (differences of the first metric: ``difference, low, high, beats, reason``) and ``cells_r2_against_first``.
    keys
        Keys of the recipe that vary.
    reference
        Name of the first arm.
    split, num_tfs, prevalence, warnings, notes
        Facts to be read with the rows. Several splits are joined by commas; the counts are those of the first.
    seconds
        Duration of the grid, controls included.
    command
        The command that made it; empty where it was called from Python.
    """

    rows: list[dict[str, Any]]
    keys: list[str]
    reference: str
    split: str
    num_tfs: int
    prevalence: float
    warnings: list[str]
    notes: list[str]
    seconds: float = 0.0
    command: str = ""

    def write(self, folder: Path) -> None:
        """Write ``compare.parquet`` (one row per arm, seed and metric) and ``compare.json``."""
        with atomic_file(folder / "compare.parquet") as temporary:
            self.long().to_parquet(temporary, index=False)
        write_json(folder / "compare.json", self.to_dict())

    def long(self) -> pd.DataFrame:
        """One row per arm, seed and metric: columns arm, kind, split, seed, metric, value, error."""
        rows = [
            (row["arm"], row["kind"], row["split"], seed, name, value, row["error"])
            for row in self.rows
            for name in (*METRICS, "cells_r2")
            for seed, value in zip(row["seeds"], row[name]["by_seed"], strict=True)
        ]
        frame = pd.DataFrame(rows, columns=["arm", "kind", "split", "seed", "metric", "value", "error"])
        return frame.astype({"value": "float64", "error": "string"})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)

    def table(self) -> Table:
        """The table that people read, with its legend."""
        header = ["arm", "seeds", *(metric(name).heading for name in METRICS), "R2 of cells"]
        header += ["minus the first", "R2 minus the first", "minus best control"]
        caption = f"{self.split}: {self.num_tfs} TFs, prevalence {number(self.prevalence, 4)}; means over seeds"
        return table(header, [self._cells(row) for row in self.rows], caption=caption, note=_LEGEND)

    def lines(self) -> list[str]:
        """Plain, aligned lines with their legend."""
        lines = plain_lines(self.table())
        lines += [f"failed: {row['arm']}: {row['error']}" for row in self.rows if row["error"]]
        lines += [f"note: {note}" for note in self.notes] + [f"warning: {warning}" for warning in self.warnings]
        return lines

    @staticmethod
    def _cells(row: Mapping[str, Any]) -> list[Cell]:
        first, *others = (row[name] for name in METRICS)
        return [
            *(Cell(label_of(row)), whole(len(row["seeds"]))),
            figure(first["mean"], first.get("low"), first.get("high")),
            *(figure(other["mean"]) for other in others),
            figure(row["cells_r2"]["mean"]),
            *(change(row[key]) for key in ("against_first", "cells_r2_against_first", "against_control")),
        ]


def label_of(row: Mapping[str, Any]) -> str:
    """Name of a row for people: a probe and the best control are named so."""
    if row["kind"] == "control":
        return f"{row['arm']} (best control)"
    return f"{row['arm']} (probe)" if row["scorer"].endswith(" probe") else row["arm"]


def change(difference: Mapping[str, Any] | None) -> Cell:
    """Cell of a difference with its interval; a star marks one that is better."""
    if difference is None:
        return figure(None)
    star = "better: at least 3 seeds and an interval above zero" if difference.get("beats") else ""
    return figure(difference["difference"], difference["low"], difference["high"], sign=True, star=star)


def tabulate(results: Sequence[CellResult], controls: Mapping[str, LinkTable], *, command: str = "") -> Comparison:
    """Put finished cells next to the best control of their split; failed cells keep their row.

    Parameters
    ----------
    results
        Cells, those of the first arm first.
    controls
        Content hash of a split -> table of its controls.
    command
        The command that made them.
    """
    by_arm: dict[str, list[CellResult]] = {}
    for result in results:
        by_arm.setdefault(result.cell.arm.name, []).append(result)
    reference = next(iter(by_arm))
    first = by_arm[reference]
    rows, notes = [], []
    for name, members in by_arm.items():
        rows.append(_arm_row(members, [] if name == reference else first, controls[members[0].cell.split_hash]))
        if name != reference and members[0].cell.split_hash != first[0].cell.split_hash:
            notes.append(f"'{name}' has another split than '{reference}': their difference is not paired, so not shown")
    for split_hash, links in controls.items():
        best = links.best_control(METRICS[0])
        if best is None:
            continue
        same = [result for result in results if result.cell.split_hash == split_hash]
        rows.append(_control_row(best, links, first if first[0].cell.split_hash == split_hash else [], same))
        where = f" of {links.headline_split}" if len(controls) > 1 else ""
        notes.append(f"best control{where} by macro AUROC on the test set, in the controls' favour: {best}")
    links = next(iter(controls.values()))
    headline = links.frame[(links.frame["metric"] == METRICS[0]) & (links.frame["candidates"] == "all")]
    return Comparison(
        rows=rows,
        keys=list(first[0].cell.arm.settings),
        reference=reference,
        split=", ".join(dict.fromkeys(one.headline_split for one in controls.values())),
        num_tfs=int(headline["num_tfs"].max()),
        prevalence=float(links.frame.loc[links.frame["metric"] == "auroc", "prevalence"].iloc[0]),
        warnings=list(dict.fromkeys(warning for one in controls.values() for warning in one.warnings())),
        notes=notes,
        command=command,
    )


def _done(members: Sequence[CellResult]) -> list[CellResult]:
    return [member for member in members if member.table is not None and member.facts is not None]


def _arm_row(members: Sequence[CellResult], first: Sequence[CellResult], controls: LinkTable) -> dict[str, Any]:
    arm, done, others = members[0].cell.arm, _done(members), _done(first)
    errors = [f"seed {member.cell.seed}: {member.error}" for member in members if member.error]
    best = controls.best_control(METRICS[0])
    row: dict[str, Any] = {
        "arm": arm.name,
        "settings": dict(arm.settings),
        "scorer": str((done[0].facts or {})["scorer"]) if done else arm.name,
        "kind": str((done[0].facts or {})["kind"]) if done else "failed",
        "split": controls.headline_split,
        "seeds": [member.cell.seed for member in done],
        "error": "; ".join(errors) or None,
        "run": f"cells/{done[0].cell.folder.name}/run" if done else None,
    }
    for name in METRICS:
        row[name] = mean_with_interval([_result(member, name) for member in done])
    row["cells_r2"] = spread([_r2(member) for member in done])
    mine = [_result(member, METRICS[0]) for member in done]
    same_split = bool(others) and others[0].cell.split_hash == members[0].cell.split_hash
    row["against_first"] = verdict(mine, [_result(other, METRICS[0]) for other in others]) if same_split else None
    row["cells_r2_against_first"] = seed_differences(_r2_by_seed(done), _r2_by_seed(others)) if same_split else None
    row["against_control"] = verdict(
        mine, [_of_control(best, controls, result.seed) for result in mine] if best else []
    )
    row["train_seconds"] = spread([float((member.facts or {})["train_seconds"]) for member in done])
    row["memory_mb"] = spread([float((member.facts or {})["memory_mb"]) for member in done])
    return row


def _control_row(
    best: str, controls: LinkTable, first: Sequence[CellResult], same_split: Sequence[CellResult]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "arm": best,
        "settings": {},
        "scorer": best,
        "kind": "control",
        "split": controls.headline_split,
        "seeds": [0],
        "error": None,
    }
    for name in METRICS:
        row[name] = mean_with_interval([controls.result(best, name)])
    factor = next((_cells(member).get("factor_analysis_r2") for member in _done(same_split)), None)
    row["cells_r2"] = spread([finite(factor)])
    mine = [_result(member, METRICS[0]) for member in _done(first)]
    row["against_first"] = verdict([_of_control(best, controls, result.seed) for result in mine], mine)
    row["against_control"] = row["cells_r2_against_first"] = None
    row["train_seconds"] = row["memory_mb"] = spread([None])
    return row


def _result(member: CellResult, metric: str) -> SeedResult:
    assert member.table is not None
    result = member.table.result(str((member.facts or {})["scorer"]), metric)
    return dataclasses.replace(result, seed=member.cell.seed)


def _of_control(best: str, controls: LinkTable, seed: int) -> SeedResult:
    return dataclasses.replace(controls.result(best, METRICS[0]), seed=seed)


def _cells(member: CellResult) -> dict[str, Any]:
    return (member.facts or {}).get("cells") or {}


def _r2(member: CellResult) -> float | None:
    """Held-out R2 of masked values; None if no step trained them."""
    return finite(_cells(member).get("r2"))


def _r2_by_seed(members: Sequence[CellResult]) -> dict[int, float | None]:
    return {member.cell.seed: _r2(member) for member in members}
