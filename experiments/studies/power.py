"""The gain from regulon factors on unseen targets, by the power of the data, in simulated worlds.

``python -m experiments.studies.power --out DIR [--worlds 0,1] [--record]``

Three things are varied, one at a time: the share of the network's edges that act in the cells (the others' targets show
the expression of other genes), the number of cells, and the depth. The gain is the macro AUROC of boosted trees with
regulon factors less that of the same trees without, on unseen targets, with a paired interval over TFs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from data_prep.simulate import SimulateConfig, simulate_world
from experiments.records import make_study_record, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.splits import make_split
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.files import read_json, write_json
from grn_cotrain.present import number

__all__ = ["SETTINGS", "Setting", "main", "world_of"]

_WITH, _WITHOUT = "boosting_regulon", "boosting_all"

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Share of the edges that act, cells, and median counts of a cell."""

    share: float = 1.0
    cells: int = 2500
    depth: int = 300

    @property
    def name(self) -> str:
        """Name of the file with its result."""
        return f"share{self.share:g}-cells{self.cells}-depth{self.depth}"


SETTINGS = (
    Setting(),
    Setting(share=0.5),
    Setting(share=0.25),
    Setting(cells=500),
    Setting(cells=150),
    Setting(depth=1500),
    Setting(depth=75),
)


def world_of(seed: int, setting: Setting) -> tuple[EdgeSplit, MemoryStore]:
    """A simulated world: the split of its network on unseen targets, and its cells.

    Where not all edges act, the cells of the remaining share of the genes are dealt to each other: these genes keep
    their distributions and their edges, but their expression follows other TFs.
    """
    world = simulate_world(seed, SimulateConfig(num_cells=setting.cells, median_counts=float(setting.depth)))
    generator = np.random.default_rng([seed, 21])
    others = np.arange(len(world.tf_symbols), world.vocab.num_genes)
    idle = generator.permutation(others)[: round((1 - setting.share) * len(others))]
    column_G = np.arange(world.vocab.num_genes)
    column_G[idle] = np.roll(idle, 1)
    values_CG = world.cells.values_CG.tocsc()[:, column_G]
    (assay,) = world.cells.assays.values()
    cells = MemoryStore.build(world.vocab, values_CG, kind="counts", size_factor_C=assay.size_factor_C)
    return make_split(world.grn, "unseen-target", seed=0)[0], cells


def measure(seed: int, setting: Setting) -> dict[str, Any]:
    """Both scorers' macro AUROC, and their paired difference."""
    split, cells = world_of(seed, setting)
    table = evaluate_links(split, parse_controls(f"{_WITHOUT},{_WITH}"), cells, bootstrap=500)
    value, low, high = table.difference(_WITH, _WITHOUT)
    row = {name: float(table.frame["value"].iloc[table.row(name, "macro_auroc")]) for name in (_WITHOUT, _WITH)}
    return {"world": seed, **vars(setting), **row, "gain": value, "low": low, "high": high}


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    worlds: Annotated[str, typer.Option(help="Seeds of the worlds.")] = "0,1",
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Run the study."""
    rows = []
    for setting in SETTINGS:
        for seed in parse_seeds(worlds):
            file = out / f"world{seed}-{setting.name}.json"
            if not file.is_file():
                out.mkdir(parents=True, exist_ok=True)
                write_json(file, measure(seed, setting))
            rows.append(read_json(file, what="result of the study"))
            last = rows[-1]
            gain = number(last["gain"], sign=True)
            say(f"{file.stem}: {number(last[_WITHOUT])} -> {number(last[_WITH])}, gain {gain}")
    body = _body(rows)
    write_json(out / "study.json", body)
    if record:
        say(f"recorded: {write_record(make_study_record('power', body))}")


def _body(rows: list[dict[str, Any]]) -> dict[str, Any]:
    table = []
    for setting in SETTINGS:
        of = [row for row in rows if all(row[key] == value for key, value in vars(setting).items())]
        mean = {key: float(np.mean([row[key] for row in of])) for key in (_WITHOUT, _WITH, "gain")}
        above = sum(row["low"] > 0 for row in of)
        cells = [f"{setting.share:g}", f"{setting.cells:,}", f"{setting.depth:,}"]
        values = [number(mean[_WITHOUT]), number(mean[_WITH]), number(mean["gain"], sign=True)]
        table.append([*cells, *values, f"{above} of {len(of)}"])
    header = ["acting edges", "cells", "median counts", "without factors", "with factors", "gain", "intervals above 0"]
    return {"header": header, "table": table, "rows": rows, "notes": []}


def main() -> None:
    """Entry point."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
