"""How training went: losses, weights, speed, memory, the step that was kept."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from grn_cotrain.present import Cell, figure, number, table, whole
from grn_cotrain.report.blocks import Block, Details, Facts, Missing, Section, Text
from grn_cotrain.report.figures import draw
from grn_cotrain.report.inputs import ReportInputs, RunInputs
from grn_cotrain.report.sections.beside import beside

__all__ = ["section"]


def section(report: ReportInputs) -> Section:
    """Training of each run."""
    return Section("training", "Training", "Training", tuple(beside(report, _of_run)))


def _of_run(run: RunInputs) -> list[Block]:
    blocks: list[Block] = []
    facts = _facts(run)
    if facts:
        blocks.append(Facts(facts))
    if not run.is_finished:
        reason = "training has not ended; what follows is what was recorded so far"
        blocks.append(Missing(reason, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume"))
    metrics = run.metrics.value
    if metrics is None:
        return [*blocks, Missing(run.metrics.problem, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume")]
    blocks += _figures(run, metrics)
    blocks += _weights(metrics)
    blocks += _tables(run, metrics)
    return blocks


def _facts(run: RunInputs) -> list[tuple[str, str | Markup]]:
    record = run.record
    facts: list[tuple[str, str | Markup]] = []
    if run.kept is not None:
        facts.append(("Model kept", str(run.kept)))
    if record.get("steps") is not None:
        facts.append(("Steps", f"{record['steps']:,} of at most {run.recipe.train.max_steps:,}"))
    if record.get("seconds") is not None:
        facts.append(("Time", f"{record['seconds']:,.0f} s"))
    if record.get("peak_memory_mb") is not None:
        facts.append(("Peak memory", f"{record['peak_memory_mb']:,.0f} MiB"))
    parameters = record.get("parameters", {})
    if parameters.get("total"):
        facts.append(("Parameters", f"{parameters['total']:,}"))
    if record.get("resumed"):
        facts.append(("Resumed", "yes"))
    return facts


def _figures(run: RunInputs, metrics: pd.DataFrame) -> list[Block]:
    if not any(name.startswith("loss/") for name in metrics.columns):
        return []
    from grn_cotrain import pl

    ends = []
    for name in sorted(name for name in metrics.columns if name.startswith("loss/")):
        values = metrics[name].dropna()
        if len(values):
            shown = name.removeprefix("loss/").replace("_", " ")
            ends.append(f"{shown} from {number(values.iloc[0])} to {number(values.iloc[-1])}")
    drawn = draw(
        lambda ax: pl.losses(run.run.folder, ax=ax),
        size=(4.6, 3.7),
        name=run.slug("losses"),
        title=f"Losses of run {run.label}" if run.label else "Losses in training and validation",
        description=f"Training losses: {'; '.join(ends)}.",
        caption="Losses in training (lines) and validation (open marks). The dotted line and the diamond on it mark "
        "the step whose model was kept; test links had no part in choosing it.",
    )
    return [drawn]


def _weights(metrics: pd.DataFrame) -> list[Block]:
    """Loss weights in words: constant ones need no curve."""
    found = []
    for column in sorted(name for name in metrics.columns if name.startswith("weight/")):
        values = metrics[column].dropna()
        if values.empty:
            continue
        name = column.removeprefix("weight/").replace("_", " ")
        changed = values.max() - values.min() > 1e-9
        found.append(f"{name} {values.iloc[0]:g}" + (f" to {values.iloc[-1]:.3g}" if changed else ""))
    return [Text(f"Weights of the losses: {', '.join(found)}.", tone="note")] if found else []


def _tables(run: RunInputs, metrics: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = []
    for kind, title in (("validation", "Records of validation"), ("train", "Records of training steps")):
        part = metrics[metrics["kind"] == kind].dropna(axis=1, how="all")
        if part.empty:
            continue
        names = [name for name in part.columns if name not in ("step", "kind")]
        header = ["step", *map(_short, names)]
        rows = [[whole(row["step"]), *(_cell(row[name]) for name in names)] for row in part.to_dict("records")]
        caption = f"{title}: what the program wrote to metrics.jsonl."
        stem = run.slug(f"{kind}-records")
        numeric = range(len(header))
        shown = table(header, rows, numeric=numeric, name=stem, caption=caption, sorted_by=(0, "ascending"))
        blocks.append(Details(title, (shown,)))
    parameters = run.record.get("parameters")
    if parameters:
        rows = [[Cell(name.replace("_", " ")), whole(value)] for name, value in parameters.items() if name != "total"]
        caption = "Trained numbers of each part of the model."
        shown = table(("part", "parameters"), rows, numeric=(1,), name=run.slug("parameters"), caption=caption)
        blocks.append(Details("Parameters of each part", (shown,)))
    return blocks


def _short(name: str) -> str:
    return name.removeprefix("validation/").replace("_", " ")


def _cell(value: object) -> Cell:
    if not isinstance(value, (int, float)):
        return Cell(str(value))
    if isinstance(value, float) and value == value and value != 0 and abs(value) < 1e-3:
        return Cell(f"{value:.2e}", value)
    return figure(float(value), digits=0 if abs(value) >= 1000 else 4)
