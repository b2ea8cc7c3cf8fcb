"""Do links and expression help each other through regulon factors? The loop and its baselines in simulated worlds.

``python -m experiments.studies.regulon --out DIR [--worlds 0,1,2] [--record]``

Controls alone, no deep model: boosted trees without the factors, with them (one pass), and in a loop; and the loop on
the log-odds alone, without edges, with rewired edges, and with permuted cells. Worlds with signal, and one without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.records import make_study_record, write_record
from experiments.studies.simulated_world import SPLITS
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.controls import CONTROLS, Control
from grn_cotrain.data.prep import Prep
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.files import read_json, write_json
from grn_cotrain.present import number
from grn_cotrain.present.metrics import metric

__all__ = ["ARMS", "main"]

ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "links alone": ("boosting_all", {}),
    "factors alone": ("regulon_factor", {}),
    "one pass": ("boosting_regulon", {}),
    "loop": ("regulon_loop", {}),
    "loop, log p alone": ("regulon_loop", {"reads": "log_p"}),
    "loop, no edges": ("regulon_loop", {"reads": "no_edges"}),
    "loop, rewired edges": ("regulon_loop", {"reads": "rewired_edges"}),
    "loop, permuted cells": ("regulon_loop", {"reads": "permuted_cells"}),
}
_HEADER = ["world", "arm", "split", "macro AUROC", metric("macro_ap").heading, "less links alone", "low", "high"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def world_of(folder: Path, seed: int, *, signal: bool) -> Prep:
    """A prepared world with both splits; made once."""
    from data_prep.simulate import simulate
    from data_prep.splits import prepare_splits

    if not (folder / "prep.json").is_file():
        simulate(folder, seed=seed, signal=signal)
        for kind in SPLITS:
            prepare_splits(folder, kind, seed=0)
    return Prep.open(folder)


def measure(prep: Prep, split: str) -> list[dict[str, Any]]:
    """One row an arm: values, and the paired difference to the first arm."""
    scorers: list[Control] = []
    for name, (control, options) in ARMS.items():
        scorers.append(CONTROLS.build(control, options, seed=0))
        scorers[-1].name = name
    table = evaluate_links(prep.split(split), scorers, prep.cells)
    rows, values, first = [], table.frame["value"], next(iter(ARMS))
    for name in ARMS:
        gain, low, high = table.difference(name, first)
        auroc, precision = (float(values.iloc[table.row(name, metric)]) for metric in ("macro_auroc", "macro_ap"))
        rows.append({"arm": name, "macro_auroc": auroc, "macro_ap": precision, "gain": gain, "low": low, "high": high})
    return rows


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    worlds: Annotated[str, typer.Option(help="Seeds of the worlds with signal.")] = "0,1,2",
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Run the study."""
    rows = []
    for seed, signal in [*((seed, True) for seed in parse_seeds(worlds)), (0, False)]:
        world = f"{seed}" if signal else f"{seed} without signal"
        prep = world_of(out / "worlds" / world.replace(" ", "_"), seed, signal=signal)
        for kind, split in SPLITS.items():
            file = out / f"{world.replace(' ', '_')}-{kind}.json"
            if not file.is_file():
                write_json(file, measure(prep, split))
            for row in read_json(file, what="result of the study"):
                rows.append({"world": world, "split": kind, **row})
                gain = number(row["gain"], sign=True)
                say(f"world {world}, {kind}: {row['arm']} {number(row['macro_auroc'])}, {gain}")
    table = [
        [
            *(row[key] for key in ("world", "arm", "split")),
            *(number(row[key]) for key in ("macro_auroc", "macro_ap")),
            *(number(row[key], sign=True) for key in ("gain", "low", "high")),
        ]
        for row in rows
    ]
    body = {"header": _HEADER, "table": table, "rows": rows, "notes": []}
    write_json(out / "study.json", body)
    if record:
        say(f"recorded: {write_record(make_study_record('regulon', body))}")


def main() -> None:
    """Entry point."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
