"""``--controls default|all|a,b,c`` -> controls, and what the costly ones will cost."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.controls import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["cost_estimate", "parse_controls"]


def parse_controls(text: str, *, seed: int = 0) -> list[Control]:
    """Build the controls that ``text`` names.

    Parameters
    ----------
    text
        ``default`` (all but the costly ones), ``all``, ``none``, or names separated by commas.
    seed
        Seed of controls that draw. Keep it equal between runs: controls are computed once per split and seed.

    Raises
    ------
    UserError
        A name is unknown, given twice, or missing.
    """
    words = [word.strip() for word in text.split(",")]
    if words == ["none"]:
        return []
    if words in (["default"], ["all"]):
        names = [c.name for c in CONTROLS.components() if words == ["all"] or c.cls.cost == "default"]
    else:
        if not all(words):
            raise UserError(f"--controls '{text}': a name is missing; write default, all, none, or names with commas")
        names = [word.lower().replace("-", "_") for word in words]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"--controls '{text}': {', '.join(twice)} is given twice; name each control once")
    controls = [CONTROLS.build(name, seed=seed) for name in names]
    for name, control in zip(names, controls, strict=True):
        control.name = name
    return controls


def cost_estimate(
    controls: Sequence[Control], splits: Sequence[EdgeSplit], cells: CellStore | None = None
) -> str | None:
    """One line to print before costly controls run, or None if there is none: name and rough minutes of each."""
    costly = [control for control in controls if control.cost == "costly"]
    if not costly:
        return None
    parts, total = [], 0.0
    for control in costly:
        seconds = [control.estimate_seconds(split, cells) for split in splits]
        known = [value for value in seconds if value is not None]
        total += sum(known)
        parts.append(f"{control.name} {_minutes(sum(known))}" if len(known) == len(seconds) else f"{control.name} ?")
    return f"costly controls, if not cached: {', '.join(parts)}; together about {_minutes(total)}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
