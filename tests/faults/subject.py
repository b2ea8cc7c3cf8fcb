"""What faults are planted in: a prepared folder, a finished run and an open one, and the commands that read them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

import data_prep.cli
import grn_cotrain.cli
from grn_cotrain.config import parse, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.progress import LogReporter
from tests.faults.child import LIMIT, ONE_LINE, RIGHT, WARNED, Outcome, commands, run_forked
from tests.worlds import make_world, tiny_recipe, write_recipe

__all__ = ["Case", "Subject", "build", "probe_of"]

PREP, RUN = data_prep.cli.app, grn_cotrain.cli.app
READ = typer.Typer()
_TIMES = re.compile(r"seconds|per_second|peak_memory|cells_per|tokens_per|\"commit\"|card_made")


@READ.command()
def read_tables() -> None:
    """Read what a report reads, without its figures, which take seconds."""
    from grn_cotrain.evaluate.link_table import LinkTable
    from grn_cotrain.report.inputs import RunInputs
    from grn_cotrain.run_folder import RunFolder
    from grn_cotrain.train.records import RunRecords

    table = LinkTable.read("run")
    run = RunFolder.open("run")
    cells = RunInputs(run, "", run.recipe()).cells
    if cells.value is None:
        raise UserError(cells.problem)
    parts = [
        table.frame.drop(columns="seconds").to_csv(),
        repr((table.audits, table.notes, table.reliability, table.replicates_LB.sum())),
        cells.value.drop(columns="seconds").to_csv(),
        repr([record.get("loss/total") for record in RunRecords(Path("run")).read()]),
    ]
    Path("tables.txt").write_text("\n".join(parts))


@READ.command()
def read_prep() -> None:
    """Read every file of the prepared folder."""
    from grn_cotrain.data.prep import Prep

    prep = Prep.open("prep")
    parts = [
        repr((prep.meta, prep.vocab.symbols, prep.vocab.ids, prep.tf_index.tolist(), prep.cell_names())),
        repr((prep.cells.content_hash, prep.grn.content_hash, prep.grn.report)),
        prep.cells.obs.to_csv(),
        prep.grn.edges.to_csv(),
        *(prep.split(name).summary() for name in prep.split_names()),
        *prep.alignment.lines(),
    ]
    Path("prep.txt").write_text("\n".join(parts))


@dataclass(frozen=True)
class Probe:
    """Commands that read one part of a subject, run in its folder, and the files that they write."""

    steps: tuple[tuple[typer.Typer, tuple[str, ...]], ...]
    outputs: tuple[str, ...]


_CONTROL = "target_degree"  # its scores come from the cache of the prepared folder
_PROBES = {
    "train": Probe(
        ((RUN, ("train", "recipe.yaml", "--out", "new", "--set", "train.max_steps=2")),),
        ("new/model/model.safetensors", "new/model/graph.safetensors", "new/model/vocab.json"),
    ),
    "prep": Probe(((READ, ("read-prep",)),), ("prep.txt",)),
    "splits": Probe(
        ((PREP, ("splits", "prep", "--kind", "random", "--seed", "7")),), ("prep/splits/random-seed7.json",)
    ),
    "resume": Probe(
        ((RUN, ("train", "open/recipe.yaml", "--out", "open", "--resume")),),
        ("open/model/model.safetensors", "open/metrics.jsonl"),
    ),
    "genes": Probe(((RUN, ("export", "genes", "run", "--format", "tsv", "--out", "genes.tsv")),), ("genes.tsv",)),
    "edges": Probe(
        ((RUN, ("export", "edges", "run", "--format", "tsv", "--top", "50", "--out", "edges.tsv")),), ("edges.tsv",)
    ),
    "links": Probe(
        ((RUN, ("evaluate", "links", "run", "--controls", _CONTROL, "--out", "table")),), ("table/links.json",)
    ),
    "cells": Probe(((RUN, ("evaluate", "cells", "run")),), ("run/cells.json",)),
    "tables": Probe(((READ, ("read-tables",)),), ("tables.txt",)),
    "hub": Probe(((RUN, ("hub", "push", "run", "NAME/REPOSITORY", "--dry-run", "staged")),), ("staged/README.md",)),
}
# The truth and peaks of the simulated world are made for tests; nothing resumes a finished run; tables for people.
_UNREAD = re.compile(r"prep/(truth|peaks)|run/checkpoints/|run/cells\.parquet|metrics\.csv|/\.lock")
# Which of them read a file, by the beginning of its path; the first that fits.
_READERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("prep/splits/unseen-target", ("prep", "train")),
    ("prep/splits/", ("prep",)),
    ("prep/alignment.json", ("prep",)),
    ("prep/controls/cells", ("cells",)),
    ("prep/controls/", ("links",)),
    ("prep/grn", ("prep", "train", "splits")),
    ("prep/", ("prep", "train")),
    ("open/", ("resume",)),
    ("run/model/platt.json", ("edges",)),
    ("run/model/", ("genes", "edges")),
    ("run/links", ("tables", "hub")),
    ("run/cells", ("tables", "hub")),
    ("run/metrics", ("tables",)),
    ("run/recipe.yaml", ("edges", "hub")),
    ("run/", ("links", "hub")),
)


def probe_of(name: str) -> tuple[str, ...]:
    """Names of the probes that read a file."""
    return next(probes for start, probes in _READERS if name.startswith(start))


@dataclass
class Subject:
    """The undamaged folder, and what every probe writes there."""

    folder: Path
    work: Path
    right: dict[str, str]

    def files(self) -> list[str]:
        """Files that faults are planted in: all that a command reads."""
        found = (path for part in ("prep", "run", "open") for path in (self.folder / part).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found if not _UNREAD.search(path.as_posix()))

    def try_fault(self, plant: Callable[[Path], None], probes: tuple[str, ...], *, limit: float = LIMIT) -> Case:
        """Plant a fault in a copy and run the probes until one is not right."""
        case = self.work / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(self.folder, case, symlinks=True)
        plant(case)
        kind, line = RIGHT, ""
        for name in probes:
            probe = _PROBES[name]
            outcome = run_forked(commands(*probe.steps), case, limit=limit)
            kind, line = outcome.kind, f"{name}: {outcome.line}"
            if kind == RIGHT and fingerprint(case, probe) != self.right[name]:
                kind = "other content"
            if kind != RIGHT:
                break
        return Case(kind, line, outcome)


@dataclass(frozen=True)
class Case:
    """What became of one fault."""

    kind: str
    line: str
    outcome: Outcome

    @property
    def is_good(self) -> bool:
        """Whether it is what a user may expect."""
        return self.kind in (ONE_LINE, RIGHT, WARNED)


def fingerprint(folder: Path, probe: Probe) -> str:
    """Hash of what a probe wrote, without times."""
    digest = hashlib.sha256()
    for name in probe.outputs:
        path = folder / name
        raw = path.read_bytes() if path.is_file() else b"absent"
        if path.name == "links.json" and path.is_file():  # a note tells which control was computed again
            table = {key: value for key, value in json.loads(raw).items() if key not in ("notes", "files", "checksum")}
            raw = json.dumps(table, indent=1).encode()
        if path.suffix in (".json", ".jsonl", ".md"):
            raw = b"\n".join(line for line in raw.splitlines() if not _TIMES.search(line.decode(errors="replace")))
        digest.update(name.encode() + raw)
    return digest.hexdigest()


def build(folder: Path, work: Path) -> Subject:
    """Make the subject in ``folder``; probes of the undamaged one must all end with 0."""
    work.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    # In this process, so that its children inherit every module, loaded and warm.
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        assert _make() == 0
    subject = Subject(folder, work, {})
    for name, probe in _PROBES.items():
        case = work / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(folder, case)
        outcome = run_forked(commands(*probe.steps), case, limit=120)
        assert outcome.code == 0, f"{name}: {outcome.err}"
        subject.right[name] = fingerprint(case, probe)
    return subject


def _make() -> int:
    from grn_cotrain.train.run import train

    make_world(Path("prep"))
    recipe = to_dict(tiny_recipe(Path("prep"), train={"max_steps": 6, "checkpoint_every": 2, "validate_every": 2}))
    loaded = parse(Recipe, recipe)
    write_recipe(loaded, Path("recipe.yaml"))
    train(loaded, "run")

    class Stop(LogReporter):
        def step(self, step: int, record: dict[str, Any]) -> None:
            if step == 5:
                raise InterruptedError

    with contextlib.suppress(InterruptedError):
        train(loaded, "open", reporter=Stop())
    return commands(
        (RUN, ("evaluate", "links", "run", "--controls", _CONTROL)),
        (RUN, ("evaluate", "cells", "run")),
        (READ, ("read-tables",)),
        (READ, ("read-prep",)),
        (RUN, ("export", "genes", "run", "--out", "warm.parquet")),
    )()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every leaf of plain values."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield path
        return
    for key, item in items:
        yield from leaves(item, (*path, key))
