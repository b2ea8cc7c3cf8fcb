"""Inputs of a report: run folders, opened part by part, so that a missing part costs its own section only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.leakage import LeakReport, audit
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.cells import CELLS_SHAPE
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.model_scorer import arm_name
from grn_cotrain.files import read_json
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.kept import KeptStep, kept_side, kept_step, reached_step
from grn_cotrain.train.records import RunRecords

__all__ = ["Part", "ReportInputs", "RunInputs", "open_runs", "without_paths"]

T = TypeVar("T")
_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PATH = re.compile(r"(?<![\w.~:/])(?:~|[A-Za-z]:)?[/\\](?:[^\s'\"`/\\,;:()<>]+[/\\])+([^\s'\"`/\\,;:()<>]*)")


def without_paths(text: str) -> str:
    """Shorten absolute paths to their last part: a report is sent to others, who cannot use the names of our
    folders."""
    return _PATH.sub(lambda match: f"…/{match.group(1)}" if match.group(1) else "…/", text)


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part of a run: its value, or the reason why there is none."""

    value: T | None
    problem: str = ""

    @classmethod
    def attempt(cls, make: Callable[[], T]) -> Part[T]:
        """Make the value; bad or missing input becomes the reason, any other error is a defect and passes."""
        try:
            return cls(make())
        except UserError as error:
            return cls(None, without_paths(str(error)))


@dataclass(frozen=True)
class RunInputs:
    """One run.

    Attributes
    ----------
    run
        Its folder.
    label
        Letter that distinguishes several runs; empty where there is one.
    recipe
        The resolved recipe.
    given_prep
        New place of its prepared folder; None: it is looked for.
    """

    run: RunFolder
    label: str
    recipe: Recipe
    given_prep: str | Path | None = None

    @property
    def place(self) -> str:
        """Name of the folder, without the way to it."""
        return self.run.folder.resolve().name

    @property
    def title(self) -> str:
        """Name of the run in headings: letter, recipe, split and seed."""
        name = f"{self.recipe.name}, {self.recipe.data.split}, seed {self.recipe.seed}"
        return f"{self.label}: {name}" if self.label else name

    @property
    def arm(self) -> str:
        """Schedule and ablations in one word, with the run's letter."""
        return f"{self.label}: {arm_name(self.recipe)}" if self.label else arm_name(self.recipe)

    def slug(self, name: str) -> str:
        """``name`` for an id, apart from other runs'."""
        return f"{name}-{self.label.lower()}" if self.label else name

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json; empty where training has not begun."""
        return self.run.record() if self.run.record_file.is_file() else {}

    @property
    def is_finished(self) -> bool:
        """Whether training ended by itself."""
        return self.run.is_finished

    @cached_property
    def kept(self) -> KeptStep | None:
        """The step whose model was kept; None before there is one."""
        return kept_step(self.run)

    @cached_property
    def kept_side(self) -> tuple[str, KeptStep] | None:
        """The side that has a model of its own, and the step of that model; None if there is one model."""
        return kept_side(self.run)

    @property
    def unfinished(self) -> str:
        """A sentence on how far training has come, or nothing where it ended by itself."""
        if self.run.is_finished:
            return ""
        who = f"Run {self.label}" if self.label else "The run"
        status = str(self.record.get("status") or "")
        state = "it failed" if status == "failed" else "it was interrupted, or is still running"
        steps, most = reached_step(self.run), self.recipe.train.max_steps
        return f"{who} is not finished: it has reached step {steps:,} of at most {most:,}, and {state}."

    @property
    def has_model(self) -> bool:
        """Whether a best model was saved."""
        return (self.run.model / "config.json").is_file()

    @cached_property
    def metrics(self) -> Part[pd.DataFrame]:
        """Records of training and validation, one row a logged step; an interrupted last line is left out."""
        records = RunRecords(self.run.folder).read()
        return Part(pd.DataFrame(records)) if records else Part(None, "no training step was recorded yet")

    @cached_property
    def prep(self) -> Part[Prep]:
        """The prepared folder, if it is still at the recipe's place and still holds the data of the run."""
        return Part.attempt(self._open_prep)

    def _open_prep(self) -> Prep:
        prep = self.run.require_prep(self.given_prep)
        expected = self.record.get("vocab_hash")
        if expected is not None and prep.vocab.content_hash != expected:
            raise UserError(
                f"prepared folder '{prep.folder}': has other genes now than the run was trained on; prepare it as then"
            )
        return prep

    @cached_property
    def split(self) -> Part[EdgeSplit]:
        """The edge split of the run."""
        if self.prep.value is None:
            return Part(None, self.prep.problem)
        prep = self.prep.value
        return Part.attempt(lambda: prep.split(self.recipe.data.split))

    @cached_property
    def audit(self) -> Part[LeakReport]:
        """The leak audit of the split and of the message edges the model carries, done again."""
        if self.split.value is None or self.prep.value is None:
            return Part(None, self.split.problem)
        prep, split = self.prep.value, self.split.value
        own_edges = split.kind in ("published", "transfer")
        return Part.attempt(
            lambda: audit(
                split,
                self._messages(),
                control_graph=self.recipe.graph.messages != "true",
                vocab_hash=prep.vocab.content_hash,
                grn_hash=None if own_edges else prep.grn.content_hash,
                symbols=prep.vocab.symbols,
            )
        )

    def _messages(self) -> np.ndarray | None:
        from grn_cotrain.model_io import read_tensors

        path = self.run.model / "graph.safetensors"
        return read_tensors(path, numpy=True)["message_2E"] if path.is_file() else None

    @cached_property
    def links(self) -> Part[LinkTable]:
        """Link table of ``grn-cotrain evaluate links``."""
        if not (self.run.folder / "links.json").is_file():
            return Part(None, "links were not evaluated yet")
        return Part.attempt(lambda: LinkTable.read(self.run.folder))

    @cached_property
    def cells(self) -> Part[pd.DataFrame]:
        """Masked values of held-out cells, compared with the controls of cells."""
        path = self.run.folder / "cells.json"
        if not path.is_file():
            return Part(None, "masked values were not evaluated yet")

        def read() -> pd.DataFrame:
            self.run.check_tables([path.name])
            return pd.DataFrame(read_json(path, what="table of masked values", shape=CELLS_SHAPE))

        return Part.attempt(read)


@dataclass(frozen=True)
class ReportInputs:
    """Runs of one report, further link tables (name -> table), options, and the receiver of progress."""

    runs: Sequence[RunInputs]
    tables: Sequence[tuple[str, LinkTable]] = ()
    with_card: bool = True
    basis: str = "umap"
    say: Callable[[str], None] = field(default=lambda text: None)

    @property
    def is_comparison(self) -> bool:
        """Whether there are several runs."""
        return len(self.runs) > 1


def open_runs(folders: Sequence[str | Path], prep: str | Path | None = None) -> list[RunInputs]:
    """Open run folders in the order given; anything else among them is a one-line error."""
    if not folders:
        raise UserError("RUN: none given; give a run folder")
    if len(folders) > len(_LABELS):
        raise UserError(f"RUN: {len(folders)} given; a report holds at most {len(_LABELS)}")
    runs = [RunFolder.open(folder) for folder in folders]
    places = [run.folder.resolve() for run in runs]
    twice = [str(place) for index, place in enumerate(places) if place in places[:index]]
    if twice:
        raise UserError(f"RUN '{twice[0]}': given twice; give each run once")
    labels = [""] if len(runs) == 1 else list(_LABELS[: len(runs)])
    return [RunInputs(run, label, run.recipe(), prep) for run, label in zip(runs, labels, strict=True)]
