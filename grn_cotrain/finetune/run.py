"""Fine-tune the model of a finished run on labelled cells of a file: the function behind ``grn-cotrain finetune``.

Dimension letters: C cells.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import grn_cotrain
from grn_cotrain.apply import Encoder, OpenRun, over_cells
from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.prep_hook import place_for
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.annotation import PROBE, AnnotationTable, annotation_table
from grn_cotrain.evaluate.linear_probe import LabelSplit, held_out_group, stratified
from grn_cotrain.files import atomic_folder, refuse_file, sha256_file, write_json
from grn_cotrain.finetune.classifier import Classifier
from grn_cotrain.finetune.fit import EpochReport, fit
from grn_cotrain.jobs.finetune import FinetuneConfig, LabelOptions
from grn_cotrain.lock import Busy, folder_lock
from grn_cotrain.options import keywords
from grn_cotrain.provenance import git_commit
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.text_tables import write_delimited
from grn_cotrain.train.environment import environment
from grn_cotrain.train.fabric import find_device
from grn_cotrain.train.launchers import refuse_several_processes
from grn_cotrain.train.stopping import stop_cleanly

__all__ = ["CellLabels", "finetune_run", "labels_of", "split_labels"]

_RARE = 10  # training cells below which a class is named
_OF_THE_BASE = ("cells_hash", "num_cells", "features", "vocab_hash", "recipe_hash")


@dataclass(frozen=True, eq=False)
class CellLabels:
    """Labels of a file's cells.

    Attributes
    ----------
    labels_C
        Text; empty where the cell has none.
    rows_C
        Rows that have a label and at least one token.
    without, empty
        Cells without a label; cells with one, but without a value of any gene that the model knows.
    """

    labels_C: np.ndarray
    rows_C: np.ndarray
    without: int
    empty: int


def labels_of(obs: pd.DataFrame, label: str, tokens_C: np.ndarray) -> CellLabels:
    """Read the column ``label``; missing values and blank text are not labels.

    Raises
    ------
    UserError
        No such column, or no cell has a label.
    """
    labels_C = as_labels(obs_column(obs, label, "--label")).fillna("").to_numpy().astype(str)
    has_C = labels_C != ""
    rows_C = np.flatnonzero(has_C & (tokens_C > 0))
    if not len(rows_C):
        raise UserError(f"--label '{label}': no cell has a label; give a column with the type of some cells")
    return CellLabels(labels_C, rows_C, int((~has_C).sum()), int(has_C.sum()) - len(rows_C))


def split_labels(
    labels: CellLabels,
    obs: pd.DataFrame,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    test_by: tuple[str, str] | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, LabelSplit]:
    """Training rows, validation rows, and the split of both together against the held-out cells.

    Held out is the share ``test`` of every class at random, or all cells of one group (``test_by``: column and value).
    Validation cells are the share ``validation`` of every class of the rest, at random.

    Raises
    ------
    UserError
        No such column; a group of none or all of the cells; shares that leave nothing.
    """
    rows_C = labels.rows_C
    named_C = labels.labels_C[rows_C]
    if test_by is None:
        outer = stratified(named_C, test=test, seed=seed)
    else:
        column, value = test_by
        groups = obs_column(obs, column, "--test-by").iloc[rows_C]
        outer = held_out_group(groups.to_list(), value, given=f"--test-by '{column}={value}'")
        outer = replace(outer, name=f"{column}={value} held out")
    try:
        inner = stratified(named_C[outer.train_C], test=validation, seed=seed + 1)
    except UserError as error:
        raise UserError(f"validation: {error}") from None
    whole = LabelSplit(rows_C[outer.train_C], rows_C[outer.test_C], outer.name)
    return whole.train_C[inner.train_C], whole.train_C[inner.test_C], whole


@keywords(LabelOptions)
def finetune_run(
    run: str | Path | OpenRun,
    cells: str | Path,
    out: str | Path,
    options: LabelOptions,
    *,
    config: FinetuneConfig | None = None,
    say: Callable[[str], None] = print,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> AnnotationTable:
    """Fine-tune, compare with controls on held-out cells, and write a run folder that ``annotate`` and ``embed`` read.

    ``out`` gets ``model/`` (fine-tuned), the head, ``classes.json``, ``run.json`` (hashes of the base run and of the
    cells, settings, split, results in short), ``recipe.yaml`` of the base run, and tables: ``annotation.tsv`` (model
    and controls), ``per_class.tsv``, ``confusion.tsv``, ``predictions.tsv`` (every held-out cell), ``history.tsv``. The
    folder appears whole at the end or not at all.

    Parameters
    ----------
    run
        Folder of a finished run; not changed.
    cells
        h5ad, or any file that ``embed cells`` reads; not changed.
    out
        New folder.
    {options}
    config
        Settings of the training.
    say
        Receives alignment, coverage, rare classes and what was left out.
    on_epoch
        Called after each epoch.

    Raises
    ------
    UserError
        ``out`` is not new, or another process is writing it; a device that is not there; no model; no such column;
        fewer than two classes; too few genes known.
    TrainingStopped
        Ctrl-C or SIGTERM came; nothing was written.
    """
    refuse_several_processes(os.environ, command="grn-cotrain finetune")
    config = config or FinetuneConfig()
    out = _new_folder(out)
    device = find_device(config.device, option="--device")  # before anything costly
    opened, label = OpenRun.of(run, side="cells"), options.label
    base, model = opened.folder, opened.model
    applied = opened.apply_to(cells, options)
    aligned, coverage = applied.cells, applied.coverage
    labels = labels_of(aligned.obs, label, coverage.tokens_C)
    train_C, validation_C, split = split_labels(
        labels,
        aligned.obs,
        test=options.test,
        validation=options.validation,
        test_by=options.test_by,
        seed=config.seed,
    )
    applied.notes.extend(_about(labels, train_C, validation_C, split))
    applied.tell(say)

    with (
        _alone(out),
        atomic_folder(out) as folder,
    ):  # opened first: a place that can't be written is reported before the work
        classes = tuple(sorted(set(labels.labels_C[train_C])))
        classifier = Classifier.new(model, config.head, classes, label, seed=config.seed)
        tokenizer = model.tokenizer(aligned)
        frozen_LD = _embeddings(opened, tokenizer, labels.rows_C)
        code = {name: index for index, name in enumerate(classes)}
        codes_C = np.array([code.get(name, -1) for name in labels.labels_C], dtype=np.int64)
        result = fit(classifier, tokenizer, codes_C, train_C, validation_C, config, on_epoch=on_epoch)
        logs_NK = classifier.log_probabilities(tokenizer, split.test_C)
        predicted_N = np.asarray(classes)[logs_NK.argmax(1)]
        place = {key: np.searchsorted(labels.rows_C, getattr(split, key)) for key in ("train_C", "test_C")}
        table = annotation_table(
            list(predicted_N),
            list(labels.labels_C[labels.rows_C]),
            replace(split, **place),
            aligned.part(labels.rows_C),
            embeddings={PROBE: frozen_LD},
            bootstrap=options.bootstrap,
            seed=config.seed,
        )
        origin = _origin(opened, cells)
        settings = {"label": label, "finetune": to_dict(config), "split": split.name}
        run_id = canonical_hash([origin["base"], origin["cells_sha256"], settings])
        model.meta = {**model.meta, "fine_tuned_for": label, "run_id": run_id}
        classifier.save(folder, backend=model.backend)
        shutil.copyfile(base.recipe_file, folder / base.recipe_file.name)
        record = {
            **origin,
            **settings,
            "run_id": run_id,
            "num_train": len(train_C),
            "num_validation": len(validation_C),
            "num_test": len(split.test_C),
            "without_label": labels.without,
            "without_token": labels.empty,
            "classes": {name: int((labels.labels_C[train_C] == name).sum()) for name in classes},
            "unseen_classes": sorted(set(labels.labels_C[split.test_C]) - set(classes)),
            "genes_mapped": applied.report.mapped,
            "genes_lost": len(applied.report.lost),
            **coverage.to_dict(),
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "best_validation_loss": result.best_loss,
            "num_frozen_tensors": len(result.frozen),
            "num_trained": result.num_trained,
            # annotation.tsv in short: what a published run can show, since tables with cells' names stay at home.
            "annotation": _results(table.scores),
            "environment": environment(str(device)),
        }
        write_json(folder / base.record_file.name, record)
        predictions = pd.DataFrame(
            {
                "cell": aligned.obs.index[split.test_C].astype(str),
                "true": labels.labels_C[split.test_C],
                "predicted": predicted_N,
                "probability": np.exp(logs_NK.max(1)),
            }
        )
        frames = {
            "annotation": table.scores,
            "per_class": table.per_class,
            "predictions": predictions,
            "history": pd.DataFrame([asdict(epoch) for epoch in result.history]),
        }
        for name, frame in frames.items():
            write_delimited(frame, folder / f"{name}.tsv")
        write_delimited(table.confusion, folder / "confusion.tsv", index=True)
        RunFolder(folder).seal({"run_id": run_id, "name": record["name"]})
    return table


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """No other process writes ``out`` meanwhile: both would report success, and one would lose its model."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(out, what="finetune", wait=1.0))
        except Busy as busy:
            raise UserError(f"--out '{out}': {busy.who} is writing it; give another folder") from None
        _new_folder(out)
        stack.enter_context(stop_cleanly(f"nothing was written to '{out}'; run the same command again"))
        yield


def _new_folder(out: str | Path) -> Path:
    out = Path(out)
    refuse_file(out)
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out '{out}': is a folder with content; give a new one")
    return out


def _embeddings(run: OpenRun, tokenizer: Tokenizer, rows_L: np.ndarray) -> np.ndarray:
    """Embedding of each of these cells before fine-tuning, as ``embed cells`` gives it, float32 ``[L, D]``."""
    parts: list[np.ndarray] = []

    def read(batch: PackedTokens, encoder: Encoder) -> None:
        parts.append(encoder.cells(batch).cells_BD.float().cpu().numpy())

    over_cells(run.model, tokenizer, read, rows=rows_L)
    states_LD = np.concatenate(parts)
    return states_LD if run.depth is None else run.depth.removed(states_LD)


def _about(labels: CellLabels, train_C: np.ndarray, validation_C: np.ndarray, split: LabelSplit) -> list[str]:
    """Facts about the labels, in words."""
    train, test = labels.labels_C[train_C], labels.labels_C[split.test_C]
    count = dict(zip(*np.unique(train, return_counts=True), strict=True))
    said = [
        f"{len(count)} classes: {len(train_C):,} cells to train on, {len(validation_C):,} for validation,"
        f" {len(split.test_C):,} to judge on ({split.name})"
    ]
    if labels.without:
        said.append(f"{labels.without:,} cells without a label were left out")
    if labels.empty:
        said.append(f"{labels.empty:,} labelled cells have no value of any gene that the model knows: left out")
    rare = [f"{name} ({number})" for name, number in sorted(count.items()) if number < _RARE]
    if rare:
        said.append(f"warning: classes with fewer than {_RARE} training cells: {name_some(rare)}")
    lost = {name: int((test == name).sum()) for name in sorted(set(test) - set(count))}
    if lost:
        named = name_some([f"{name} ({number})" for name, number in lost.items()])
        said.append(f"warning: classes among the held-out cells alone, which nothing can find: {named}")
    return said


def _results(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Scores as JSON stores them: NaN (an interval without replicates) is null."""
    shown = scores[["scorer", "metric", "value", "low", "high"]].astype(object)
    rows = shown.where(shown.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _origin(run: OpenRun, cells: str | Path) -> dict[str, Any]:
    """Which run and which cells, by name and content."""
    record, cells = run.record, Path(cells)
    return {
        "format_version": 1,
        "kind": "finetuned",
        "status": "finished",
        "name": f"{record.get('name', run.folder.folder.resolve().name)}-finetuned",
        "version": grn_cotrain.__version__,
        "commit": git_commit(),
        "base": run.identity.to_dict(),
        # Facts of the base run, so that its own cells are recognised when they are embedded, annotated or evaluated.
        **{key: record[key] for key in _OF_THE_BASE if key in record},
        **place_for(record),
        "cells_file": cells.name,
        "cells_sha256": sha256_file(cells) if cells.is_file() else None,
    }
