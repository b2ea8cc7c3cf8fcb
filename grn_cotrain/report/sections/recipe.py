"""The recipe, key by key: what departs from the defaults stands out, and so does what differs between runs."""

from __future__ import annotations

from typing import Any

import yaml

from grn_cotrain.config import to_dict
from grn_cotrain.present import Cell, Column, Row, Table
from grn_cotrain.present.numbers import MISSING
from grn_cotrain.recipe import DataConfig, Recipe
from grn_cotrain.report.blocks import Block, Code, Details, Section, Text
from grn_cotrain.report.inputs import ReportInputs, RunInputs, without_paths

__all__ = ["flatten", "section"]


def section(report: ReportInputs) -> Section:
    """One column a run."""
    flat = [flatten(to_dict(run.recipe)) for run in report.runs]
    defaults = flatten(to_dict(Recipe(name="", data=DataConfig(prep="", split=""))))
    keys = list(dict.fromkeys(key for mapping in flat for key in mapping))
    rows = [_row(key, flat, defaults) for key in keys]
    columns = [Column("key", numeric=False)]
    columns += [Column(run.title if run.label else "value", numeric=False) for run in report.runs]
    columns.append(Column("default", numeric=False))
    differing = sum(len({_shown(mapping.get(key, MISSING)) for mapping in flat}) > 1 for key in keys)
    blocks: list[Block] = [Text("The resolved recipe. Keys left at their default are dimmed.")]
    if report.is_comparison:
        told = f"{differing:,} keys differ between the runs; they are marked and begin with ≠." if differing else None
        blocks.append(Text(told or "The recipes of the runs are the same."))
    caption = "Every key of the recipe; absolute paths are shortened to their last part."
    blocks.append(Table(columns, rows, name="recipe", caption=caption, filter="Show keys that contain", sortable=False))
    blocks += [Details(_yaml_title(run), (Code(_yaml(run), label="recipe as YAML"),)) for run in report.runs]
    return Section("recipe", "Recipe", "Recipe", tuple(blocks))


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings -> dotted keys; a list of plain values is one value, a list of mappings is numbered."""
    if isinstance(value, dict) and value:
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found.update(flatten(item, key))
    return found


def _row(key: str, flat: list[dict[str, Any]], defaults: dict[str, Any]) -> Row:
    values = [_shown(mapping[key]) if key in mapping else MISSING for mapping in flat]
    default = _shown(defaults[key]) if key in defaults and defaults[key] != "" else MISSING
    differs = len(set(values)) > 1
    cells = [Cell(f"≠ {key}" if differs else key)]
    cells += [Cell(value, tone="differs" if differs else "") for value in values]
    cells.append(Cell(default, tone="dim"))
    is_default = not differs and key in defaults and values[0] == default
    return Row(cells, tone="dim" if is_default else "")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return "as by default" if not value else str(value)
    return without_paths(str(value))


def _yaml_title(run: RunInputs) -> str:
    return f"Recipe of run {run.label} as YAML" if run.label else "The recipe as YAML"


def _yaml(run: RunInputs) -> str:
    return yaml.safe_dump(_without_paths(to_dict(run.recipe)), sort_keys=False, allow_unicode=True)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return without_paths(value) if isinstance(value, str) else value
