"""One row of the study, in a process of its own: ``python -m experiments.encoders.row FOLDER``.

The folder holds ``spec.json`` (and ``recipe.yaml`` where something is trained); ``row.json`` is written last of all and
means that the row is done.

Dimension letters: B cells of a batch, C cells, D width, T packed tokens.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from grn_cotrain.data.batch import PackedTokens
    from grn_cotrain.data.run_data import RunData
    from grn_cotrain.data.store import CellStore
    from grn_cotrain.model import CoTrainNetwork
    from grn_cotrain.recipe import Recipe

__all__ = ["cells_seen", "embeddings", "main", "mean_states", "timed_step"]


class _Throughput:
    """A reporter that keeps the seconds a cell of every step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def start(self, description: str, *, total: int, done: int) -> None:
        """Nothing to report."""

    def step(self, step: int, record: dict[str, Any]) -> None:
        """Keep the rate of a step that read cells."""
        if record.get("cells_per_second"):
            self.seconds.append(1 / record["cells_per_second"])

    def note(self, text: str) -> None:
        """To the log of the process."""
        print(text, flush=True)

    def close(self) -> None:
        """Nothing to close."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the row; a failed one ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m experiments.encoders.row", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    spec = read_json(folder / "spec.json", what="row")
    kinds = {
        "rates": _rates,
        "links": _trained,
        "probe": _trained,
        "values": _trained,
        "controls": _controls,
        "step": _step,
    }
    try:
        found = kinds[spec["kind"]](folder, spec)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_json(folder / "row.json", {"spec": spec, **found})
    return 0


def _rates(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The rate with the best loss on validation cells after equally many steps; a rate that diverges is out."""
    from grn_cotrain.recipe import load_recipe
    from grn_cotrain.train.run import train

    recipe = load_recipe(folder / "recipe.yaml")
    start, values = time.perf_counter(), {}
    for rate in spec["rates"]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            try:
                run = train(replace(recipe, train=replace(recipe.train, learning_rate=rate)), Path(place) / "run")
            except UserError as error:
                print(f"rate {rate}: {error}", flush=True)
                continue
            values[str(rate)] = run.record()["best_value"]
    known = {rate: value for rate, value in values.items() if value is not None}
    if not known:
        raise UserError(f"learning rate: every one of {', '.join(map(str, spec['rates']))} diverged")
    best = max(known, key=lambda rate: (known[rate], -float(rate)))
    return {"rate": float(best), "validation": values, "seconds": time.perf_counter() - start}


def _trained(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Train within the budget, then judge masked values, and links or the probe."""
    from grn_cotrain.data.run_data import load_run_data
    from grn_cotrain.evaluate.run import evaluate_cells, evaluate_run
    from grn_cotrain.model_io import load_model
    from grn_cotrain.recipe import load_recipe
    from grn_cotrain.train.run import peak_memory_mb, train

    recipe = load_recipe(folder / "recipe.yaml")
    place, throughput, start = folder / "run", _Throughput(), time.perf_counter()
    shutil.rmtree(place, ignore_errors=True)  # a row that was cut short starts again: its times would mean nothing
    run = train(recipe, place, reporter=throughput)
    found: dict[str, Any] = {
        "learning_rate": recipe.train.learning_rate,
        "train_seconds": time.perf_counter() - start,
        "seconds_per_1000_cells": 1000 * statistics.median(throughput.seconds[1:] or throughput.seconds),
        "peak_memory_mb": peak_memory_mb(),
        "parameters": run.record()["parameters"],
        "steps": run.record()["steps"],
    }
    data = load_run_data(recipe)
    found["cells_seen"] = cells_seen(recipe, len(data.cell_split.train_C))
    model, _ = load_model(run.require_model())
    found |= _flops(model, data.cells, data.cell_split.train_C, recipe, spec["cell_objectives"])
    if spec["kind"] == "links":
        table = evaluate_run(place, controls="none")
        scorer = str(table.frame.loc[table.frame["kind"] != "control", "scorer"].iloc[0])
        for metric in ("macro_auroc", "macro_ap", "degree_matched_auroc"):
            row = table.frame.iloc[table.row(scorer, metric)]
            found[metric] = {key: _plain(row[key]) for key in ("value", "low", "high")}
    else:
        evaluate_cells(run)
        if spec["kind"] == "values" or spec["label"]:  # rows that a study compares pairwise
            found["r2_replicates"] = _replicates(model, data, recipe)
        if spec["kind"] == "probe":
            found["probe"] = _probe(model, spec, recipe)
    found["cells"] = _cell_figures(place)
    found["seconds"] = time.perf_counter() - start
    shutil.rmtree(place / "checkpoints", ignore_errors=True)
    return found


def _replicates(model: CoTrainNetwork, data: RunData, recipe: Recipe) -> list[float]:
    """Replicates of R2, paired between rows of one world."""
    from functools import partial

    from grn_cotrain.evaluate.cells import r2_replicates

    objective, genes = model.value_predictor(), model.encode_graph()
    assert objective is not None
    values = r2_replicates(
        lambda batch: objective.predict_values(model, batch, genes),
        data.cells,
        data.cell_split,
        seed=data.split.seed,
        num_bins=recipe.model.tokens.num_bins,
        bootstrap=recipe.evaluate.bootstrap,
        tokenize=partial(model.tokenizer, every_value=True),
    )
    return [round(float(value), 6) for value in values]


def cells_seen(recipe: Recipe, num_cells: int) -> int:
    """Cells of all steps; the last batch of an epoch is short."""
    most, left, total = recipe.train.cells_per_batch or num_cells, num_cells, 0
    for _ in range(recipe.train.max_steps * recipe.train.accumulate):
        taken = min(most, left)
        total, left = total + taken, left - taken or num_cells
    return total


def _flops(
    model: CoTrainNetwork, cells: CellStore, rows_C: np.ndarray, recipe: Recipe, objectives: Sequence[str]
) -> dict[str, Any]:
    """FLOPs a cell of a training step, the mean over one batch of training cells."""
    from experiments.flops import step_flops

    batch = (
        model.tokenizer(cells).batch(rows_C[: recipe.train.cells_per_batch], np.random.default_rng(recipe.seed)).pack()
    )
    model.train()
    counts = [step_flops(model, batch, name) for name in objectives]
    model.eval()
    return {
        "flops_per_cell": sum(count.total for count in counts) / batch.num_cells,
        "flops_not_counted": {name: calls for count in counts for name, calls in count.not_counted.items()},
        "tokens_per_cell": batch.num_tokens / batch.num_cells,
    }


def _cell_figures(run: Path) -> dict[str, Any]:
    """Masked-value R2 of the run and of its baselines, with intervals, by scorer."""
    rows = read_json(run / "cells.json", what="masked values")
    return {
        str(row["scorer"]): {key: row[key] for key in ("value", "low", "high")} for row in rows if row["metric"] == "r2"
    }


def _probe(model: CoTrainNetwork, spec: Mapping[str, Any], recipe: Recipe) -> list[dict[str, Any]]:
    from experiments.encoders.worlds import WORLDS, probe_split
    from grn_cotrain.data.io.align import align_cells
    from grn_cotrain.evaluate.linear_probe import linear_probe

    world = WORLDS[spec["world"]]
    assert world.probe is not None
    counts = world.all_cells(Path(spec["world_folder"]))
    cells = align_cells(counts, model.vocab)[0]
    frame = linear_probe(
        embeddings(model, cells),
        list(counts.adata.obs[world.probe.label]),
        probe_split(world.probe, counts.adata.obs),
        bootstrap=recipe.evaluate.bootstrap,
        seed=0,
    )
    return _records(frame)


def embeddings(model: CoTrainNetwork, cells: CellStore) -> dict[str, np.ndarray]:
    """``cell``: the encoder's own state of each cell ``[C, D]``; ``mean``: the mean state of its gene tokens."""
    from grn_cotrain.apply import Encoder, over_cells

    width = model.config.width
    own_CD, mean_CD = np.zeros((cells.num_cells, width)), np.zeros((cells.num_cells, width))
    model.eval()

    def read(batch: PackedTokens, encoder: Encoder) -> None:
        states = encoder.cells(model.prepare_batch(batch))
        rows_B = batch.cell_index_B.cpu().numpy()
        own_CD[rows_B] = states.cells_BD.float().cpu().numpy()
        mean_CD[rows_B] = mean_states(batch.to("cpu"), states.tokens_TD.float().cpu()).numpy()

    over_cells(model, model.tokenizer(cells), read)
    return {"cell": own_CD, "mean": mean_CD}


def mean_states(batch: PackedTokens, tokens_TD: Tensor) -> Tensor:
    """Mean state of the tokens with a value that is not zero ``[B, D]``; zeros where a cell has none."""
    import torch

    weight_T = (batch.values_T != 0).to(tokens_TD.dtype)
    cell_T = batch.cell_of_token_T
    sums_BD = torch.zeros(batch.num_cells, tokens_TD.shape[1]).index_add_(0, cell_T, tokens_TD * weight_T[:, None])
    counts_B = torch.zeros(batch.num_cells).index_add_(0, cell_T, weight_T)
    return sums_BD / counts_B.clamp_min(1)[:, None]


def _controls(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Baselines without an encoder: gene mean and factor analysis; boosted trees for links; classifiers on
    expression."""
    from experiments.encoders.worlds import WORLDS, probe_split
    from grn_cotrain.data.cells import cell_split
    from grn_cotrain.data.io.align import align_cells
    from grn_cotrain.data.prep import Prep
    from grn_cotrain.evaluate.cells import masked_value_table
    from grn_cotrain.evaluate.linear_probe import expression_features, linear_probe
    from grn_cotrain.evaluate.run import evaluate_prep

    world, start = WORLDS[spec["world"]], time.perf_counter()
    prep = Prep.open(Path(spec["world_folder"]) / "prep")
    split = prep.split(world.split)
    cells = prep.cells
    values = masked_value_table({}, cells, cell_split(cells.num_cells, seed=split.seed), bootstrap=spec["bootstrap"])
    found: dict[str, Any] = {
        "cells": {
            str(row["scorer"]): {key: _plain(row[key]) for key in ("value", "low", "high")}
            for row in values[values["metric"] == "r2"].to_dict("records")
        }
    }
    if world.kind == "links":
        names = ("boosting_all", "kernel_ridge", "target_degree")
        table = evaluate_prep(
            prep.folder, split=split.name, controls=",".join(names), out=folder / "links", bootstrap=spec["bootstrap"]
        )
        found["links"] = {}
        for name in names:
            row = table.frame.iloc[table.row(name, "macro_auroc")]
            found["links"][name] = {key: _plain(row[key]) for key in ("value", "low", "high")}
    else:
        assert world.probe is not None
        counts = world.all_cells(Path(spec["world_folder"]))
        everything = align_cells(counts, prep.vocab)[0]
        chosen = probe_split(world.probe, counts.adata.obs)
        frame = linear_probe(
            expression_features(everything, chosen.train_C, seed=spec["seed"]),
            list(counts.adata.obs[world.probe.label]),
            chosen,
            bootstrap=spec["bootstrap"],
            seed=0,
        )
        found["probe"] = _records(frame)
    return found | {"seconds": time.perf_counter() - start}


def _step(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """One training step (forward, backward) of a published size on one generated full transcriptome."""
    from experiments.encoders.full_transcriptome import full_batch, full_cells, full_model
    from grn_cotrain.train.run import peak_memory_mb

    cells = full_cells()
    model = full_model(
        cells,
        spec["encoder"],
        spec["options"],
        width=spec["width"],
        objectives=spec["objectives"],
        tokens=spec["tokens"],
    )
    batch = full_batch(model, cells)
    found = timed_step(model, batch, list(spec["objectives"]))
    return {
        **found,
        "parameters": {
            "cell_encoder": sum(p.numel() for p in model.cell_encoder.parameters()),
            "table": sum(p.numel() for p in model.table.parameters()),
            "total": sum(p.numel() for p in model.parameters()),
        },
        "num_genes": cells.num_features,
        "tokens_per_cell": batch.num_tokens / batch.num_cells,
        "peak_memory_mb": peak_memory_mb(),
    }


def timed_step(
    model: CoTrainNetwork,
    batch: PackedTokens,
    objectives: Sequence[str],
    *,
    clock: Callable[[], float] = time.perf_counter,
    flops: bool = True,
) -> dict[str, Any]:
    """Seconds of one step, the first one, by ``clock``; and FLOPs a cell, counted on a step of its own."""
    import torch

    from experiments.flops import step_flops
    from grn_cotrain.objectives.reading import cell_losses

    model.train()
    generator = torch.Generator().manual_seed(0)
    start = clock()
    genes = model.encode_graph(generator=generator)
    losses = cell_losses(model, model.objectives, genes, batch, generator, objectives)
    torch.stack([output.loss for output in losses.values()]).sum().backward()
    seconds = clock() - start
    counts = [step_flops(model, batch, name) for name in objectives] if flops else []
    return {
        "seconds_per_step": seconds,
        "seconds_per_1000_cells": 1000 * seconds / batch.num_cells,
        "flops_per_cell": sum(count.total for count in counts) / batch.num_cells,
        "flops_not_counted": {name: calls for count in counts for name, calls in count.not_counted.items()},
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    """JSON's own types; what is not finite becomes null."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    raise SystemExit(main())
