"""Compare arms of co-training: one table, arm x metric, with intervals over TFs against joint and the best control.

Every arm has the same data, splits, penalties, step count and initialisation; only what its name says differs. Controls
do not depend on the arm and are scored once. ``beats`` has the meaning of :func:`grn_cotrain.evaluate.bootstrap.beats`.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.arms import Arm
from experiments.grid import CellResult, make_cells, run_cells
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import SeedResult, Verdict, beats
from grn_cotrain.evaluate.link_rows import SUMMARY
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.files import atomic_file, write_json
from grn_cotrain.present import Cell, Table, figure, metric, number, table, whole
from grn_cotrain.present.terminal import plain_lines

__all__ = ["METRICS", "Comparison", "compare", "tabulate"]

#: Link metrics of the table; the first decides who beats whom.
METRICS = tuple(SUMMARY)
_REFERENCE = "joint"


@dataclass(frozen=True)
class Comparison:
    """The table of a comparison.

    Attributes
    ----------
    rows
        One dictionary per arm, then the best control: ``arm``, ``scorer`` (what the link table calls it: a probe says
        so), ``kind, seeds, error``, for each metric its mean and values per seed, ``cells_r2``, and ``against_joint``
        and ``against_control`` (difference, low, high, reason) of the first metric.
    split, num_tfs, prevalence, warnings, notes
        What has to be read beside the rows.
    """

    rows: list[dict[str, Any]]
    split: str
    num_tfs: int
    prevalence: float
    warnings: list[str]
    notes: list[str]
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        """Write ``compare.parquet`` (one row per arm, seed and metric) and ``compare.json``."""
        long = [
            (row["arm"], row["kind"], seed, metric, value, row["error"])
            for row in self.rows
            for metric in (*METRICS, "cells_r2")
            for seed, value in zip(row["seeds"], row[metric]["by_seed"], strict=True)
        ]
        frame = pd.DataFrame(long, columns=["arm", "kind", "seed", "metric", "value", "error"])
        with atomic_file(folder / "compare.parquet") as temporary:
            frame.astype({"value": "float64", "error": "string"}).to_parquet(temporary, index=False)
        write_json(folder / "compare.json", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)

    def table(self) -> Table:
        """Means over seeds, and the differences to the joint arm and to the best control."""
        header = ["arm", "seeds", *(metric(name).heading for name in METRICS), "R2 of cells"]
        rows = [
            [
                *(row["scorer"], whole(len(row["seeds"]))),
                *(figure(row[name]["mean"]) for name in (*METRICS, "cells_r2")),
                *(change(row["against_joint"]), change(row["against_control"])),
            ]
            for row in self.rows
        ]
        facts = f"{self.split}: {self.num_tfs} TFs, prevalence {number(self.prevalence, 4)}; means over seeds"
        note = (
            "Differences are of macro AUROC, with 95 % intervals over TFs (and held-out genes, where there are any); "
            "* beats: at least 3 seeds, the interval above zero."
        )
        return table([*header, "minus joint", "minus best control"], rows, caption=facts, note=note)

    def lines(self) -> list[str]:
        """Plain, aligned lines."""
        lines = plain_lines(self.table())
        lines += [f"failed: {row['arm']}: {row['error']}" for row in self.rows if row["error"]]
        lines += [f"note: {note}" for note in self.notes] + [f"warning: {warning}" for warning in self.warnings]
        return lines


def change(verdict: dict[str, Any] | None) -> Cell:
    """Cell of a difference with its interval; a star says that it beats."""
    if verdict is None:
        return figure(None)
    star = "beats: at least 3 seeds, the interval above zero" if verdict["beats"] else ""
    return figure(verdict["difference"], verdict["low"], verdict["high"], sign=True, star=star)


def compare(
    recipe: str | Path,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    overrides: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Comparison:
    """Run the grid, score the controls once, and write the table into ``out``.

    Raises
    ------
    UserError
        The recipe or an override is wrong: nothing is run then.
    """
    from grn_cotrain.data.prep_hook import open_prepared
    from grn_cotrain.evaluate.run import evaluate_prep
    from grn_cotrain.recipe import load_recipe

    if len(set(seeds)) != len(seeds):
        raise UserError(f"--seeds '{','.join(map(str, seeds))}': a seed is given twice; name each seed once")
    start = time.perf_counter()
    base = load_recipe(recipe, overrides)
    for arm in arms:
        load_recipe(recipe, [*overrides, *arm.overrides])
    prep = open_prepared(base)
    split = prep.split(base.data.split)
    cells = make_cells(recipe, arms, seeds, out, overrides=overrides, data=split.content_hash)
    results = run_cells(cells, jobs=jobs, say=say)
    say(f"controls on {split.name}")
    controls = evaluate_prep(
        prep.folder,
        split=split.name,
        controls=base.evaluate.controls,
        out=out / f"controls-{split.content_hash[:8]}",
        bootstrap=base.evaluate.bootstrap,
    )
    comparison = dataclasses.replace(tabulate(results, controls), seconds=time.perf_counter() - start)
    comparison.write(out)
    return comparison


def tabulate(results: Sequence[CellResult], controls: LinkTable) -> Comparison:
    """Put finished cells beside the best control; failed cells keep their row."""
    by_arm: dict[str, list[CellResult]] = {}
    for result in results:
        by_arm.setdefault(result.cell.arm.name, []).append(result)
    best = controls.best_control(METRICS[0])
    joint = by_arm.get(_REFERENCE, [])
    rows, notes = [], []
    for name, members in by_arm.items():
        rows.append(_arm_row(members, joint if name != _REFERENCE else [], controls, best))
    if best is not None:
        rows.append(_control_row(best, controls, joint))
        notes.append(f"best control by macro AUROC on the test set, in the controls' favour: {best}")
    if not joint:
        notes.append("no arm 'joint': differences to it are missing")
    reference = controls.frame[(controls.frame["metric"] == METRICS[0]) & (controls.frame["candidates"] == "all")]
    return Comparison(
        rows=rows,
        split=controls.headline_split,
        num_tfs=int(reference["num_tfs"].max()),
        prevalence=float(controls.frame.loc[controls.frame["metric"] == "auroc", "prevalence"].iloc[0]),
        warnings=controls.warnings(),
        notes=notes,
    )


def _arm_row(
    members: Sequence[CellResult], joint: Sequence[CellResult], controls: LinkTable, best: str | None
) -> dict[str, Any]:
    arm = members[0].cell.arm
    done = [member for member in members if member.table is not None and member.facts is not None]
    errors = [f"seed {member.cell.seed}: {member.error}" for member in members if member.error]
    row: dict[str, Any] = {
        "arm": arm.name,
        "scorer": str((done[0].facts or {})["scorer"]) if done else arm.name,
        "kind": str((done[0].facts or {})["kind"]) if done else "failed",
        "seeds": [member.cell.seed for member in done],
        "error": "; ".join(errors) or None,
    }
    for name in METRICS:
        row[name] = _spread([_value(member, name) for member in done])
    row["cells_r2"] = _spread([_r2(member) for member in done])
    mine = [_seed_result(member) for member in done]
    theirs = {member.cell.seed: _seed_result(member) for member in joint if member.table is not None}
    row["against_joint"] = _verdict(
        [result for result in mine if result.seed in theirs], [theirs[r.seed] for r in mine if r.seed in theirs]
    )
    row["against_control"] = _verdict(mine, [_control_result(best, controls, r.seed) for r in mine] if best else [])
    row["train_seconds"] = _spread([float((member.facts or {})["train_seconds"]) for member in done])
    row["memory_mb"] = _spread([float((member.facts or {})["memory_mb"]) for member in done])
    return row


def _control_row(best: str, controls: LinkTable, joint: Sequence[CellResult]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "arm": best,
        "scorer": f"{best} (best control)",
        "kind": "control",
        "seeds": [0],
        "error": None,
    }
    for name in METRICS:
        row[name] = _spread([_finite(float(controls.frame["value"].iloc[controls.row(best, name)]))])
    factor = next((_cells(member).get("factor_analysis_r2") for member in joint if member.facts is not None), None)
    row["cells_r2"] = _spread([factor])
    mine = [_seed_result(member) for member in joint if member.table is not None]
    row["against_joint"] = _verdict([_control_result(best, controls, result.seed) for result in mine], mine)
    row["against_control"] = None
    row["train_seconds"] = row["memory_mb"] = _spread([None])
    return row


def _seed_result(member: CellResult) -> SeedResult:
    assert member.table is not None
    result = member.table.result(str((member.facts or {})["scorer"]), METRICS[0])
    return dataclasses.replace(result, seed=member.cell.seed)


def _control_result(best: str, controls: LinkTable, seed: int) -> SeedResult:
    return dataclasses.replace(controls.result(best, METRICS[0]), seed=seed)


def _verdict(mine: Sequence[SeedResult], theirs: Sequence[SeedResult]) -> dict[str, Any] | None:
    if not mine or not theirs:
        return None
    verdict: Verdict = beats(mine, theirs)
    return {key: _finite(value) for key, value in dataclasses.asdict(verdict).items()}


def _value(member: CellResult, metric: str) -> float | None:
    assert member.table is not None
    row = member.table.row(str((member.facts or {})["scorer"]), metric)
    return _finite(float(member.table.frame["value"].iloc[row]))


def _cells(member: CellResult) -> dict[str, Any]:
    return (member.facts or {}).get("cells") or {}


def _r2(member: CellResult) -> float | None:
    """Held-out R2 of masked values; none where no step trained them."""
    return _finite(_cells(member).get("r2")) if member.cell.arm.trains_cells else None


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {"mean": statistics.fmean(known) if known else None, "by_seed": list(values)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
