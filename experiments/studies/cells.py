"""Is an embedding of cells worth exporting? Neighbours and depth: before, with each of two cures, with both.

``python -m experiments.studies.cells --out DIR [--worlds pbmc3k,mixology,kang] [--arms ARM;ARM] [--seeds 0,1,2]
[--record]``, with ``GRN_COTRAIN_DATA`` set. Arms: ``before`` (masked values and links alone, states of CLS), ``A`` (the
objective ``profile_from_cell``), ``B`` (``model.cell_state: skip``), ``A+B`` (the default), and ``A+B, NAME`` for
another encoder.
Each is judged on all cells by the cell card's own measures: accuracy of the commonest label among the 15 nearest other
cells, and how much log depth explains. Labels train nothing and choose nothing. PCA (50 components) and log counts (500
variable genes) of the same cells are rows of the table. Links are judged on validation pairs, masked values on
validation cells, each by the model that the run kept for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from experiments.records import make_study_record, write_record
from grn_cotrain.card import CellCard, build_cell_card
from grn_cotrain.card.cell_inputs import EMBEDDING, WITH_DEPTH
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.config import expand_environment, parse
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json
from grn_cotrain.present import number
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train

__all__ = ["ARMS", "WORLDS", "cells_table", "main"]

_RECORD = "cells"
_COLLECTRI = "grn_priors/collectri_human_from_omnipath.tsv.gz"
_CONTROLS = {"pca": "PCA, 50 components", "log_counts": "log counts, 500 variable genes"}
_HEADER = [
    "cells", "arm", "seeds", "accuracy of neighbours", "minus PCA", "depth, component 1", "depth, all dimensions",
    "validation loss of masked values", "AUROC of validation links", "minutes",
]  # fmt: skip

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class World:
    """Cells with a label that no run reads."""

    counts: str
    label: str
    genes: str = "all"


WORLDS: Mapping[str, World] = {
    "pbmc3k": World("pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad", "cell_type"),
    "mixology": World("sc_mixology_celllines/sc_mixology_5batches.h5ad", "cell_line", "hvg:3000+tf"),
    "kang": World("kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad", "condition"),
}
ARMS: Mapping[str, tuple[bool, str]] = {
    "before": (False, "encoder"),
    "A": (True, "encoder"),
    "B": (False, "skip"),
    "A+B": (True, "skip"),
}
"""Whether ``profile_from_cell`` is among the objectives, and ``model.cell_state``."""


def recipe_of(data: Path, out: Path, world: str, arm: str, seed: int, steps: int) -> Recipe:
    """Recipe of one run: the demo's sizes."""
    cure, _, encoder = arm.partition(", ")
    if cure not in ARMS or world not in WORLDS:
        raise UserError(f"--arms '{arm}': choose from {', '.join(ARMS)}, or add an encoder, as in 'A+B, scgpt'")
    profile, cell_state = ARMS[cure]
    place = WORLDS[world]
    prep = {
        "counts": str(data / place.counts),
        "genes": place.genes,
        "species": "human",
        "grn": str(data / _COLLECTRI),
        "grn_format": "collectri:signed",
        "splits": [{"kind": "unseen-target", "seed": 0}],
    }
    objectives: dict[str, Any] = {
        "masked_value": {},
        **({"profile_from_cell": {}} if profile else {}),
        "link_prediction": {},
    }
    mapping = {
        "name": f"{world}: {arm}",
        "seed": seed,
        "prep": prep,
        "data": {"prep": str(out / "worlds" / world), "split": "unseen-target-seed0"},
        "graph": {"backend": "csr"},
        "model": {
            "width": 32,
            "cell_encoder": encoder or "transformer",
            "cell_state": cell_state,
            "link_decoder": "bilinear",
            "tokens": {"max_tokens": 512},
        },
        "objectives": objectives,
        "train": {
            "max_steps": steps,
            "learning_rate": 2e-3,
            "warmup_steps": 10,
            "validate_every": max(1, steps // 4),
            "checkpoint_every": steps,
            "max_minutes": 5,
            "threads": 1,
        },
    }
    return parse(Recipe, mapping)


def measured(run: RunFolder, label: str) -> dict[str, Any]:
    """Numbers of one run: those of its cell card, and its own validation."""
    card = build_cell_card(run.folder, None, labels=[label], replicates=200, say=lambda text: None)
    validation = [read_json(run.model_for(side) / "config.json")["meta"]["validation"] for side in ("cells", "links")]
    return {
        "embeddings": {name: _of(card, label, name) for name in card.to_dict()["components"]},
        "masked_value": validation[0].get("validation/cells/masked_value"),
        "macro_auroc": validation[1].get("validation/links/macro_auroc"),
        "minutes": run.record()["seconds"] / 60,
    }


def _of(card: CellCard, label: str, name: str) -> dict[str, Any]:
    content = card.to_dict()
    found, depth = content["labels"][label]["embeddings"][name], content["factors"]["depth"][name]
    return {
        "knn": found["knn"]["value"],
        "minus_pca": found["minus_pca"],
        "depth_component": depth["components"][0],
        "depth_all": depth["readable"],
    }


def cells_table(found: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """Rows of text by world and arm, means over seeds; the controls of a world come last.

    The interval of the difference from PCA is that of the first seed, over cells.
    """
    lines = []
    for world in dict.fromkeys(world for world, _ in found):
        mine = {arm: rows for (name, arm), rows in found.items() if name == world}
        for (arm, rows), name in product(mine.items(), (EMBEDDING, WITH_DEPTH)):
            if name not in rows[0]["embeddings"]:
                continue
            own = [row["embeddings"][name] for row in rows]
            first = own[0]["minus_pca"]
            difference = number(mean(one["minus_pca"]["value"] for one in own), sign=True)
            difference += f" [{number(first['low'], sign=True)}, {number(first['high'], sign=True)}]"
            values = [number(mean(one[key] for one in own)) for key in ("knn", "depth_component", "depth_all")]
            others = [_mean_of(rows, key) for key in ("masked_value", "macro_auroc", "minutes")]
            title = arm if name == EMBEDDING else f"{arm}, with depth"
            lines.append([world, title, str(len(rows)), values[0], difference, *values[1:], *others])
        controls = next(iter(mine.values()))[0]["embeddings"]
        for name, title in _CONTROLS.items():
            values = [number(controls[name][key]) for key in ("knn", "depth_component", "depth_all")]
            lines.append([world, title, "", values[0], "-", *values[1:], "-", "-", "-"])
    return lines


def _mean_of(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    return number(mean(values)) if values else "-"


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    worlds: Annotated[str, typer.Option(help="Names of data sets, separated by commas.")] = ",".join(WORLDS),
    arms: Annotated[str, typer.Option(help="Arms, separated by semicolons.")] = ";".join(ARMS),
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0,1,2",
    steps: Annotated[int, typer.Option(help="Training steps; a run ends after five minutes in any case.")] = 100,
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Train the arms and compare their embeddings."""
    data = Path(expand_environment("${GRN_COTRAIN_DATA}"))
    for seed in parse_seeds(seeds):
        for world in worlds.split(","):
            for arm in arms.split(";"):
                recipe = recipe_of(data, out.resolve(), world.strip(), arm.strip(), seed, steps)
                file = out / "rows" / f"{world}_{arm.replace(', ', '-')}_{seed}_{steps}.json"
                if not file.is_file():
                    folder = out / "runs" / file.stem
                    row = measured(train(recipe, folder, resume=folder.is_dir()), WORLDS[world].label)
                    write_json(file, {"world": world, "arm": arm, "seed": seed, "steps": steps, **row})
                    say(f"{file.stem}: {number(row['embeddings'][EMBEDDING]['knn'])}")
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for file in sorted((out / "rows").glob("*.json")):
        row = read_json(file)
        found.setdefault((row["world"], row["arm"]), []).append(row)
    order = {name: place for place, name in enumerate((*WORLDS, *ARMS))}
    ordered = sorted(found, key=lambda key: (order[key[0]], order.get(key[1], len(order)), key[1]))
    found = {key: found[key] for key in ordered}
    table = cells_table(found)
    body = {
        "header": _HEADER,
        "table": table,
        "rows": [row for rows in found.values() for row in rows],
        "notes": [
            "A: the objective profile_from_cell; B: model.cell_state: skip; labels: cell type, cell line, stimulated or"
            " not",
            f"width 32, at most 512 tokens a cell, {steps} steps of 8,192 tokens, at most five minutes on one thread",
            "intervals: bootstrap over cells, of the first seed",
        ],
    }
    write_json(out / "study.json", body)
    for line in [_HEADER, *table]:
        say("  ".join(line))
    if record:
        say(f"record: {write_record(make_study_record(_RECORD, body))}")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
