"""Tables of the study of encoders, from what its rows found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.encoders.worlds import World
from grn_cotrain.commandline import console
from grn_cotrain.present import measured, number, table
from grn_cotrain.present.terminal import plain_lines, print_lines

__all__ = ["figure", "published_table", "r2_controls", "say_table", "table_of"]

_BASELINES = {"gene_mean": "gene mean", "gene_and_cell": "gene and cell mean", "factor_analysis": "factor analysis"}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def figure(result: dict[str, Any], metric: str) -> float | None:
    """One number of a row's result: ``r2``, ``macro_auroc``, ``accuracy`` or ``macro_f1`` of the cell's own state."""
    if metric == "r2":
        cells = result.get("cells", {})
        mine = [value for name, value in cells.items() if name not in _BASELINES]
        return mine[0]["value"] if mine else None
    if metric in result:
        return result[metric]["value"]
    scorer, _, name = metric.rpartition(":")
    return next(
        (r["value"] for r in result.get("probe", []) if r["scorer"] == (scorer or "cell") and r["metric"] == name), None
    )


def r2_controls(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Title and R2 with its interval of what needs no deep model, on the hidden values that ``rows`` were judged on."""
    cells: Mapping[str, Any] = next((row["cells"] for row in rows if "cells" in row), {})
    found = []
    for name, title in _BASELINES.items():
        if name in cells:
            figures = (cells[name][key] for key in ("value", "low", "high"))
            found.append((f"{title} (control)", measured(*figures)))
    return found


def _columns(worlds: Sequence[World]) -> list[tuple[str, str, str]]:
    """Heading, world, metric."""
    found = []
    for world in worlds:
        if world.kind == "links":
            found += [(f"{world.name} R2", world.name, "r2"), (f"{world.name} links", world.name, "macro_auroc")]
        else:
            found += [
                (f"{world.name} R2", world.name, "r2"),
                (f"{world.name} accuracy", world.name, "accuracy"),
                (f"{world.name} F1", world.name, "macro_f1"),
                (f"{world.name} F1, mean state", world.name, "mean:macro_f1"),
            ]
    return found


def table_of(
    rows: Sequence[dict[str, Any]], controls: Sequence[dict[str, Any]], worlds: Sequence[World], objective: str
) -> tuple[list[str], list[list[str]]]:
    """Header and text rows: a line a system and graph (means over seeds), then the controls."""
    columns = _columns(worlds)
    header = ["system", "graph", "parameters", *(heading for heading, _, _ in columns)]
    header += ["learning rate", "s / 1,000 cells", "peak MB", "FLOPs / cell"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["spec"].get("objective") == objective:
            groups.setdefault((row["spec"]["system"], row["spec"]["arm"]), []).append(row)
    lines = []
    for (system, arm), members in groups.items():
        done = [row for row in members if "error" not in row]
        figures = [
            _mean(figure(row, metric) for row in done if row["spec"]["world"] == world) for _, world, metric in columns
        ]
        cost = [row for row in done if row["spec"]["world"] == worlds[0].name]
        parameters = sorted({int(row["parameters"]["cell_encoder"]) for row in cost})
        errors = sorted({str(row["error"]) for row in members if "error" in row})
        lines.append(
            [
                system,
                arm,
                " / ".join(f"{count:,}" for count in parameters) or "-",
                *(number(value) for value in figures),
                " / ".join(f"{rate:g}" for rate in sorted({row["learning_rate"] for row in cost})) or "-",
                _cost(cost, "seconds_per_1000_cells", "{:.1f}"),
                _cost(cost, "peak_memory_mb", "{:.0f}"),
                _cost(cost, "flops_per_cell", "{:.2e}"),
            ]
        )
        if errors:
            lines.append([f"{system}: failed", arm, *[""] * (len(header) - 3), "; ".join(errors)])
    return header, lines + _control_lines(controls, columns, len(header))


def _cost(rows: Sequence[dict[str, Any]], key: str, form: str) -> str:
    value = _mean(row[key] for row in rows)
    return "-" if value is None else form.format(value)


def _control_lines(
    controls: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, str]], width: int
) -> list[list[str]]:
    by_world = {control["spec"]["world"]: control for control in controls if "error" not in control}
    scorers = {
        **{title: ("cells", name) for name, title in _BASELINES.items()},
        "boosting_all": ("links", "boosting_all"),
        "kernel_ridge": ("links", "kernel_ridge"),
        "target_degree": ("links", "target_degree"),
        "logistic regression on PCA": ("probe", "pca"),
        "logistic regression on HVGs": ("probe", "hvg"),
        "majority": ("probe", "majority"),
    }
    lines = []
    for name, (kind, scorer) in scorers.items():
        values: list[float | None] = []
        for _, world, metric in columns:
            found = by_world.get(world, {})
            wanted = {"r2": "cells", "macro_auroc": "links"}.get(metric, "probe")
            if wanted != kind or metric.startswith("mean:"):
                values.append(None)
            elif kind == "probe":
                values.append(figure(found, f"{scorer}:{metric}"))
            else:
                values.append(found.get(kind, {}).get(scorer, {}).get("value"))
        if any(value is not None for value in values):
            shown = [name, "control", "", *(number(value) for value in values)]
            lines.append([*shown, *[""] * (width - len(shown))])
    return lines


def published_table(steps: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and text rows of the published sizes."""
    header = ["size", "encoder", "table", "genes", "tokens a cell", "seconds a step", "peak MB", "FLOPs / cell"]
    lines = []
    for step in steps:
        name = step["spec"].get("size", step["spec"]["name"])
        if "error" in step:
            lines.append([f"{name}: failed", *[""] * (len(header) - 2), step["error"]])
            continue
        counts = step["parameters"]
        lines.append(
            [
                name,
                f"{counts['cell_encoder']:,}",
                f"{counts['table']:,}",
                f"{step['num_genes']:,}",
                f"{step['tokens_per_cell']:,.0f}",
                f"{step['seconds_per_step']:.2f}",
                f"{step['peak_memory_mb']:.0f}",
                f"{step['flops_per_cell']:.2e}",
            ]
        )
    return header, lines


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain, aligned lines."""
    print_lines(console(), *plain_lines(table(header, rows)))
