"""Evaluate runs and prepared folders: the functions behind ``grn-cotrain evaluate links``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from grn_cotrain.apply import OpenRun
from grn_cotrain.config import canonical_hash
from grn_cotrain.controls import LinkScorer
from grn_cotrain.controls.select import cost_estimate, parse_controls
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention_scorer import InitialModel, attention_scorers
from grn_cotrain.evaluate.cells import HEAD_METRICS, Predict, ValuesAndZeros, masked_value_table
from grn_cotrain.evaluate.control_cache import ControlCache
from grn_cotrain.evaluate.hidden import Tokenize
from grn_cotrain.evaluate.link_files import LINK_FILES
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.evaluate.model_scorer import ModelScorer, arm_name
from grn_cotrain.evaluate.sparsity import masked_value_by_sparsity
from grn_cotrain.evaluate.value_scorer import value_scorers
from grn_cotrain.files import atomic_file, read_json, write_json
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.jobs.value_readouts import ValueReadOutConfig
from grn_cotrain.objectives import PredictsZeros
from grn_cotrain.progress import quiet
from grn_cotrain.provenance import git_commit
from grn_cotrain.run_folder import RunFolder

__all__ = ["SPARSITY_FILE", "evaluate_cells", "evaluate_cells_by_sparsity", "evaluate_prep", "evaluate_run"]

SPARSITY_FILE = "cells_by_sparsity.parquet"
_WHAT = "evaluate"  # what it calls itself when it locks a run

logger = logging.getLogger(__name__)

Say = Callable[[str], None]


def evaluate_run(
    run: str | Path | Sequence[str | Path],
    *,
    split: str | None = None,
    controls: str | None = None,
    out: str | Path | None = None,
    bootstrap: int | None = None,
    read_outs: Sequence[AttentionConfig | ValueReadOutConfig] = (),
    initial: InitialModel | None = None,
    prep: str | Path | None = None,
    say: Say = quiet,
) -> LinkTable:
    """Compare the model with controls on the test pairs of its split; held-out R2 of masked values is recorded too.

    Parameters
    ----------
    run
        Run folder; or several, one a fold of one split, which are pooled.
    split
        Name of the split; default and only choice: the one the model was trained on (given to be sure).
    controls
        ``default``, ``all``, ``none`` or names; default: the recipe's.
    out
        Folder for the table's files; default: the run's (for several runs, none).
    bootstrap
        Replicates; default: the recipe's.
    read_outs
        Add rows for the attention of the cell encoder, or for gradients and perturbations of the values that it
        predicts, read like this.
    initial
        Builds the model before training, for the read-outs of an untrained encoder as controls;
        :func:`grn_cotrain.train.build.build_model` does.
    prep
        New place of the prepared folder; default: it is looked for, see
        :meth:`~grn_cotrain.run_folder.RunFolder.load_data`.
    say
        Function that receives lines on progress and on the cost of costly controls.

    Raises
    ------
    UserError
        No model, other data than it was trained on, a leak: in the split, or in the messages that the model was saved
        with. Another process is training the run whose folder the table would go to.
    """
    runs = [OpenRun(one, prep=prep, side="links") for one in ([run] if isinstance(run, (str, Path)) else run)]
    if not runs:
        raise UserError("RUN: none given; give a run folder")
    folders, recipes = [one.folder for one in runs], [one.recipe for one in runs]
    for folder, recipe in zip(folders, recipes, strict=True):
        if split is not None and recipe.data.split != split:
            raise UserError(
                f"--split '{split}': run '{folder.folder}' was trained on '{recipe.data.split}'; evaluate it there,"
                " or train on this split"
            )
    target = Path(out) if out is not None else (folders[0].folder if len(folders) == 1 else None)
    if out is None:
        for folder in folders:
            folder.require_free(_WHAT)
    data = [one.load_data() for one in runs]
    by_split = {one.split.name: index for index, one in enumerate(data)}
    if len(by_split) < len(folders):
        raise UserError("RUN: two runs of one split; give one run a fold")
    chosen = parse_controls(recipes[0].evaluate.controls if controls is None else controls)
    for one in runs:  # before anything costly
        one.data(messages=True, appended=True)
    models = {name: ModelScorer(runs[index]) for name, index in by_split.items()}
    estimate = cost_estimate(chosen, [one.split for one in data], data[0].cells)
    if estimate:
        say(estimate)
    scorers: dict[str, list[LinkScorer]] = {name: [model] for name, model in models.items()}
    for name, index in by_split.items():
        for config in read_outs:
            if isinstance(config, AttentionConfig):
                scorers[name] += attention_scorers(runs[index], data[index], config, initial=initial)
            else:
                scorers[name] += value_scorers(runs[index], data[index], config, initial=initial, say=say)
    table = evaluate_links(
        [one.split for one in data],
        lambda one: [*scorers[one.name], *chosen],
        # Controls read the true expression, whatever the ablation: they are the bar, not part of the arm.
        data[0].prep.cells,
        # The messages of the models themselves, not those that the recipes would make: scores come from the former.
        message_2E={name: model.model.inputs.message_2E for name, model in models.items()},
        audit_options={
            "control_graph": recipes[0].graph.messages != "true",
            "others": next(iter(models.values())).model.inputs.others,
            "vocab_hash": data[0].vocab.content_hash,
            "symbols": data[0].vocab.symbols,
        },
        bootstrap=recipes[0].evaluate.bootstrap if bootstrap is None else bootstrap,
        seed=recipes[0].seed,
        recipe_hash=canonical_hash(recipes[0]),
        commit=git_commit(),
        cache=ControlCache(data[0].prep.folder / "controls"),
        symbols=data[0].prep.vocab.symbols,
        progress=say,
    )
    for opened in runs:
        if out is not None and opened.folder.is_being_trained:
            say(f"{opened.folder.folder}: it is being trained; masked values, which go there, are not evaluated")
            continue
        evaluate_cells(opened)
    if target is not None:
        with folders[0].lock(_WHAT):
            table.write(target)
            folders[0].register((target / name).absolute() for name in LINK_FILES)
    return table


def evaluate_prep(
    prep: str | Path,
    *,
    split: str | None = None,
    controls: str = "default",
    out: str | Path | None = None,
    bootstrap: int = 1000,
    say: Say = quiet,
) -> LinkTable:
    """Controls alone on a split of a prepared folder; no model is needed.

    ``split`` may name one split or, without its ``-foldN``, all folds of one. Default: the only split there is.
    """
    folder = Prep.open(prep)
    names = folder.split_names()
    if split is None:
        stems = sorted({name.rpartition("-fold")[0] or name for name in names})
        if len(stems) != 1:
            listed = ", ".join(stems) or "none: make one with grn-prep splits"
            raise UserError(f"--split: not given, and '{prep}' has {len(stems)} splits ({listed}); name one")
        split = stems[0]
    chosen_names = [name for name in names if name == split or name.rpartition("-fold")[0] == split] or [split]
    splits = [folder.split(name) for name in chosen_names]
    chosen = parse_controls(controls)
    estimate = cost_estimate(chosen, splits, folder.cells)
    if estimate:
        say(estimate)
    table = evaluate_links(
        splits,
        chosen,
        folder.cells,
        bootstrap=bootstrap,
        commit=git_commit(),
        cache=ControlCache(folder.folder / "controls"),
        symbols=folder.vocab.symbols,
        progress=say,
    )
    if out is not None:
        table.write(out)
    return table


def evaluate_cells(run: str | Path | RunFolder | OpenRun) -> pd.DataFrame:
    """Compare held-out masked values with baselines, assay by assay; written to ``cells.parquet`` and run.json.

    ``cells`` of run.json holds the R2 of the first assay that has one, and ``cells_by_assay`` those of all where there
    are several (AUROC where the values of an assay are all alike).

    A run whose schedule never trains masked values has no row of its own: its R2 would mean nothing.

    Raises
    ------
    UserError
        No model, other data than it was trained on (:meth:`~grn_cotrain.run_folder.RunFolder.check_data`).
    """
    opened = OpenRun.of(run, side="cells")
    recipe, folder = opened.recipe, opened.folder
    folder.require_free(_WHAT)
    data = opened.data(appended=True)
    name = arm_name(recipe)
    predictors, tokenize = _predictors(opened)
    options: dict[str, Any] = {"seed": data.split.seed, "num_bins": recipe.model.tokens.num_bins}
    key = canonical_hash([3, data.cells.content_hash, data.cell_split.test_C.tolist(), options])
    cached = data.prep.folder / "controls" / f"cells-{key}.json"
    bootstrap = recipe.evaluate.bootstrap
    baselines = _read_baselines(cached)
    if baselines is None:
        baselines = masked_value_table({}, data.cells, data.cell_split, bootstrap=1000, **options)
        types = {name: str(kind) for name, kind in baselines.dtypes.items()}
        write_json(cached, {"types": types, "rows": _plain_rows(baselines)}, checked=True)
    frames = [baselines]
    if predictors:
        frames.insert(
            0,
            masked_value_table(
                predictors,
                data.cells,
                data.cell_split,
                bootstrap=bootstrap,
                baselines=False,
                tokenize=tokenize,
                **options,
            ),
        )
    frame = pd.concat(frames, ignore_index=True)
    heads = frame[frame["metric"].isin(HEAD_METRICS)]
    first = next(iter(heads.loc[heads["metric"] == "r2", "assay"]), None)
    values = heads[(heads["metric"] == "r2") & (heads["assay"] == first)].set_index("scorer")["value"]
    cells: dict[str, Any] = {
        f"{str(scorer).replace(' ', '_')}_r2": float(value) for scorer, value in values.items() if scorer != name
    }
    cells["r2"] = float(values[name]) if name in values else None
    by_assay = {
        str(assay): {
            "metric": str(rows["metric"].iloc[0]),
            **{str(scorer): float(value) for scorer, value in zip(rows["scorer"], rows["value"], strict=True)},
        }
        for assay, rows in heads.groupby("assay", sort=False)
    }
    with folder.lock(_WHAT):
        with atomic_file(folder.folder / "cells.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
        record = folder.record() if folder.record_file.is_file() else {}
        several = {"cells_by_assay": by_assay} if len(data.cells.assays) > 1 else {}
        folder.write_record(record | {"cells": cells} | several)
        write_json(folder.folder / "cells.json", _plain_rows(frame))
        folder.register(("cells.parquet", "cells.json"))
    return frame


def _plain_rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows as JSON holds them."""
    return frame.astype(object).where(frame.notna(), None).to_dict(orient="records")


def _read_baselines(cached: Path) -> pd.DataFrame | None:
    """The rows of the controls of cells, from the cache; None if there are none, or where they are damaged."""
    if not cached.is_file():
        return None
    try:
        stored = read_json(cached, what="cached controls", shape={"types": {str: str}, "rows": [{}]})
        return pd.DataFrame(stored["rows"], columns=list(stored["types"])).astype(stored["types"])
    except (UserError, TypeError, ValueError) as error:
        logger.warning("%s; they are computed again", error)
        return None


def evaluate_cells_by_sparsity(
    run: str | Path | RunFolder | OpenRun, *, by: str | None = None, bootstrap: int | None = None
) -> pd.DataFrame:
    """Masked values at several levels of sparsity; written to ``cells_by_sparsity.parquet``.

    See :func:`~grn_cotrain.evaluate.sparsity.masked_value_by_sparsity`; the model has rows where
    :func:`evaluate_cells` gives it one.

    Parameters
    ----------
    by
        Column of obs, such as ``cell_type``: groups of cells in addition to those by sparsity.
    bootstrap
        Replicates; default: the recipe's.

    Raises
    ------
    UserError
        No model, other data than it was trained on (:meth:`~grn_cotrain.run_folder.RunFolder.check_data`), no such
        column.
    """
    opened = OpenRun.of(run, side="cells")
    recipe, data = opened.recipe, opened.data(appended=True)
    predictors, tokenize = _predictors(opened)
    frame = masked_value_by_sparsity(
        predictors,
        data.cells,
        data.cell_split,
        seed=data.split.seed,
        by=by,
        num_bins=recipe.model.tokens.num_bins,
        bootstrap=recipe.evaluate.bootstrap if bootstrap is None else bootstrap,
        tokenize=tokenize,
    )
    with atomic_file(opened.folder.folder / SPARSITY_FILE) as temporary:
        frame.to_parquet(temporary, index=False)
    opened.folder.register((SPARSITY_FILE,))
    return frame


def _predictors(run: OpenRun) -> tuple[dict[str, Predict], Tokenize | None]:
    """The run's predictor of hidden values by the name of its arm, of zeros too where an objective learns them, and how
    it reads cells."""
    model, name = run.model, arm_name(run.recipe)
    objective = model.value_predictor() if run.recipe.train.schedule.plan.trains_cells else None
    if objective is None:
        return {}, None
    genes = run.encoder.genes
    asked = [module for module in model.objectives.values() if isinstance(module, PredictsZeros)]
    asked = [module for module in asked if module.predicts_zeros]

    def values(batch: PackedTokens) -> Tensor:
        return objective.predict_values(model, batch, genes)

    def nonzero(batch: PackedTokens) -> Tensor:
        return asked[0].predict_nonzero(model, batch, genes)

    predict = ValuesAndZeros(values, nonzero) if asked else values
    return {name: predict}, partial(model.tokenizer, every_value=True)
