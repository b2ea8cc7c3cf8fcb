"""Files of a run folder: paths, the recipe and run.json, the manifest that ties them together, and the lock.

The recipe, run.json and the manifest of the model are compared with ``run_manifest.json`` whenever the run is opened,
tables when they are read. One process at a time writes.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grn_cotrain.config import canonical_hash, load_yaml, parse, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_text
from grn_cotrain.lock import Busy, file_lock, holder_of
from grn_cotrain.manifest import MODEL_MANIFEST, RUN_MANIFEST, Manifest
from grn_cotrain.recipe import Recipe

__all__ = ["TRAIN", "RunFiles"]

logger = logging.getLogger(__name__)

TRAIN = "train"
"""Name under which training locks a run."""
_LOCK = ".lock"
_WAIT = 60.0  # seconds that writers of tables wait for each other
_MODEL = f"model/{MODEL_MANIFEST}"
# These files define a run; the other files are made from them, and only their readers need them whole.
_CORE = ("recipe.yaml", "run.json", "classes.json", "head.safetensors", _MODEL)
_NOT_LISTED = ("checkpoints", "model")  # they have checksums of their own
# Suffixes of files that are compared when a run is opened, but only warned of, and what mends them.
_WARNED = {".json": "evaluate the run again", ".jsonl": "it is not what training wrote: copy the run again"}
_TEXTS = (
    "name",
    "schedule",
    "status",
    "version",
    "commit",
    "recipe_hash",
    "vocab_hash",
    "cells_hash",
    "split",
    "run_id",
    "error",
)
_RECORD_SHAPE = {
    **{f"{name}?": str for name in (*_TEXTS, "split_hash", "criterion", "weights_sha256")},
    **{f"{name}?": int for name in ("seed", "num_cells", "message_edges", "steps", "best_step")},
    **{f"{name}?": float for name in ("best_value", "seconds", "peak_memory_mb")},
    "features?": {str: int},
    "parameters?": {str: int},
    "environment?": {str: None},
    "prep?": {str: str},
    "unseen_classes?": [str],
    "annotation?": [{}],
}
_told: set[tuple[Path, str]] = set()
"""(run folder, text) of the warnings that were logged: one command opens its run many times."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; see :class:`~grn_cotrain.run_folder.RunFolder`."""

    folder: Path

    # ---------------------------------------------------------------- paths

    @property
    def recipe_file(self) -> Path:
        """Resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def record_file(self) -> Path:
        """run.json: hashes, versions, machine, status."""
        return self.folder / "run.json"

    @property
    def manifest_file(self) -> Path:
        """run_manifest.json: every file, and which run it is."""
        return self.folder / RUN_MANIFEST

    @property
    def model(self) -> Path:
        """Best model by validation."""
        return self.folder / "model"

    @property
    def has_model(self) -> bool:
        """Whether a best model was saved and is still there."""
        return (self.model / "config.json").is_file()

    @property
    def checkpoints(self) -> Path:
        """Resumable states."""
        return self.folder / "checkpoints"

    # ---------------------------------------------------------------- records

    def recipe(self) -> Recipe:
        """The resolved recipe of the run; one that this version cannot read is an error that names the run."""
        try:
            return parse(Recipe, load_yaml(self.recipe_file))
        except UserError as error:
            raise UserError(f"run '{self.folder}': {error}; was it written by another version?") from None

    def write_recipe(self, recipe: Recipe) -> None:
        """Save the resolved recipe and enter it in the manifest, where there is one."""
        write_text(self.recipe_file, yaml.safe_dump(to_dict(recipe), sort_keys=False))
        manifest = self._manifest()
        if manifest is not None:
            self._with_recipe(manifest).write(self.manifest_file)

    def record(self) -> dict[str, Any]:
        """Contents of run.json."""
        return dict(read_json(self.record_file, what="run record", shape=_RECORD_SHAPE))

    def write_record(self, record: dict[str, Any]) -> None:
        """Save run.json and enter it in the manifest, where the manifest lists it."""
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        name = self.record_file.name
        manifest = self._manifest()
        if manifest is None or name not in manifest.files:
            write_text(self.record_file, text)
            return
        manifest.before_writing(name, text).write(self.manifest_file)
        write_text(self.record_file, text)
        manifest.with_files(self.folder, [name]).write(self.manifest_file)

    # ---------------------------------------------------------------- manifest

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Write the manifest of a run that is being trained: its facts and its recipe; tables of before stay listed."""
        old = self._manifest()
        rows = {name: row for name, row in (old.files if old else {}).items() if name not in _CORE}
        manifest = Manifest({**facts, "finished": False}, rows)
        self._with_recipe(manifest).write(self.manifest_file)

    def seal(self, facts: Mapping[str, Any] | None = None) -> None:
        """Write the manifest of a finished run over all its files, as they are now.

        The command that made the run calls it last. ``facts`` default to those that are there.
        """
        old = self._manifest()
        manifest = Manifest({**(old.facts if old else {}), **(facts or {}), "finished": True}, old.files if old else {})
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        others = [name for name in names if _is_derived(name) and name not in manifest.files]
        manifest = manifest.with_files(self.folder, others, model=self.weights_sha256())
        self._with_recipe(manifest.with_files(self.folder, _CORE)).write(self.manifest_file)

    def register(self, paths: Iterable[str | Path]) -> None:
        """Enter in the manifest what a command wrote into the run, with the model that it was made from.

        Names are relative to the run folder. Files elsewhere, those that are not there, and runs without a manifest are
        left alone.
        """
        home = self.folder.resolve()
        files = [(self.folder / path).resolve() for path in paths]
        names = [path.relative_to(home).as_posix() for path in files if path.is_file() and path.is_relative_to(home)]
        if not names or not self.manifest_file.is_file():
            return
        with self.lock("write tables"):
            manifest = Manifest.read(self.manifest_file)
            manifest.with_files(self.folder, names, model=self.weights_sha256()).write(self.manifest_file)

    def check_tables(self, names: Iterable[str]) -> None:
        """Refuse tables of the run that are not as a command wrote them, or were made from another model.

        Raises
        ------
        UserError
            Names the file and what differs. Runs without a manifest are not compared.
        """
        manifest = self._manifest()
        if manifest is None:
            return
        weights = self.weights_sha256()
        for name in names:
            problem = manifest.problem(self.folder, name)
            made_from = manifest.files.get(name, {}).get("model")
            if problem is None and made_from is not None and made_from != weights:
                problem = f"was made from another model ({str(made_from)[:12]}, this one is {str(weights)[:12]})"
            if problem not in (None, "is missing"):
                raise UserError(f"run '{self.folder}': {name} {problem}; evaluate the run again")

    def weights_sha256(self) -> str | None:
        """SHA-256 of the model's weights, as its manifest lists it; None without one."""
        path = self.folder / _MODEL
        if not path.is_file():
            return None
        row = Manifest.read(path).files.get("model.safetensors")
        return None if row is None else str(row["sha256"])

    def _with_recipe(self, manifest: Manifest) -> Manifest:
        return manifest.with_files(self.folder, [self.recipe_file.name], settings=self._settings())

    def _settings(self) -> str:
        """Hash of the recipe without the place of the data: a new place does not make another run.

        Hash of the file as it is, so that a key that a later version adds changes nothing.
        """
        recipe = load_yaml(self.recipe_file)
        data = recipe.get("data") if isinstance(recipe, dict) else None
        if not isinstance(data, dict):
            return ""
        rest = {key: value for key, value in recipe.items() if key != "prep"}
        return canonical_hash({**rest, "data": {key: value for key, value in data.items() if key != "prep"}})

    def _manifest(self) -> Manifest | None:
        return Manifest.read(self.manifest_file) if self.manifest_file.is_file() else None

    def check(self) -> None:
        """Compare the run with its manifest; a run of an earlier version, without one, is warned of.

        Raises
        ------
        UserError
            Names the file that is missing, was changed, or belongs to another run.
        """
        manifest = self._manifest()
        record = self.record() if self.record_file.is_file() else {}
        if manifest is None:
            why = f"{RUN_MANIFEST} is missing" if "run_id" in record else "it was made before runs had a manifest"
            self.warn(f"{why}: whether its files belong together cannot be checked")
            manifest = Manifest({"run_id": record.get("run_id")})
        finished = manifest.facts.get("finished") is True
        for name in _CORE:
            problem = manifest.problem(self.folder, name) if finished or name in manifest.files else None
            if problem is None or (name == _MODEL and not self.has_model):  # readers that need the model report it
                continue
            if name == self.recipe_file.name and manifest.files[name].get("settings") == self._settings():
                continue  # a new place of the data does not make another run
            if problem == "is missing":
                raise UserError(
                    f"file '{self.folder / name}': missing; the run is incomplete: copy it whole, or train again"
                )
            if name == self.recipe_file.name:
                self.recipe()  # one that cannot be read at all has a better message
            if name == self.record_file.name:  # numbers are refused later, see require_record
                self.warn(f"{name} {problem}; it is not what training and evaluation wrote here")
                continue
            raise UserError(
                f"run '{self.folder}': {name} {problem}; it is not what training wrote here{self._stranger(manifest)}:"
                " copy the run again, or train again"
            )
        stranger = self._stranger(manifest)
        if stranger:
            raise UserError(f"run '{self.folder}': model/ does not belong to it{stranger}: copy the run again")
        if self.has_model and (self.folder / _MODEL).is_file():
            # Those who load the model compare these two as well, and report what is wrong with their content.
            Manifest.check_model(self.model, leave=("config.json", "vocab.json"))
        for name in manifest.files:
            fix = _WARNED.get(Path(name).suffix)
            if name not in _CORE and fix is not None and (problem := manifest.problem(self.folder, name)):
                self.warn(f"{name} {problem}; {fix}")

    def require_record(self) -> None:
        """Refuse a run.json that another program changed: its numbers would be attributed to another run.

        Raises
        ------
        UserError
            The record differs from the one that was written; the error names the difference.
        """
        problem = self.record_problem()
        if problem is not None:
            raise UserError(
                f"run '{self.folder}': run.json {problem}; it is not what training and evaluation wrote here: copy the"
                " run again, or train again"
            )

    def record_problem(self) -> str | None:
        """In what run.json differs from its row in the manifest; None if it does not."""
        manifest, name = self._manifest(), self.record_file.name
        return None if manifest is None or name not in manifest.files else manifest.problem(self.folder, name)

    def _stranger(self, manifest: Manifest) -> str:
        """Words for a model folder that names another run than this one; empty where it does not."""
        path = self.folder / _MODEL
        if not path.is_file():
            return ""
        mine, found = manifest.facts.get("run_id"), Manifest.read(path).facts.get("run_id")
        return "" if mine is None or found == mine else f" (the model is of run {found}, this is run {mine})"

    def warn(self, text: str, *, told: bool = False) -> None:
        """Log a warning about the run, once a process; ``told``: the user has read it already."""
        key = (self.folder.resolve(), text)
        if key not in _told:
            _told.add(key)
            if not told:
                logger.warning("run '%s': %s", self.folder, text)

    # ---------------------------------------------------------------- lock and state

    @contextlib.contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Be the only one who writes into the run; the folder is made, and goes again if nothing came into it.

        ``train`` holds it for hours, the others for the moment in which they write: these wait for each other.

        Raises
        ------
        UserError
            Another process holds the lock; the error names it. The folder cannot be written.
        """
        self.require_free(what)
        made = [parent for parent in (self.folder, *self.folder.parents) if not parent.exists()]
        try:
            with contextlib.ExitStack() as stack:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    wait = 1.0 if what == TRAIN else _WAIT
                    stack.enter_context(file_lock(self.folder / _LOCK, what=what, wait=wait))
                except Busy as busy:
                    raise self._busy(busy) from None
                except OSError as error:
                    raise UserError(
                        f"run '{self.folder}': cannot be written ({error.strerror}); choose another place"
                    ) from None
                yield
        finally:
            for parent in made:
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def holder(self) -> Busy | None:
        """The process that writes into the run now, in words that fit a message; None if there is none."""
        held = holder_of(self.folder / _LOCK)
        return None if held is None else Busy(held)

    @property
    def is_being_trained(self) -> bool:
        """Whether a process is training the run now."""
        busy = self.holder()
        return busy is not None and busy.holder.get("what") == TRAIN

    def require_free(self, what: str) -> None:
        """Refuse to write into a run that another process is training; ask before the work, not after it."""
        busy = self.holder()
        if busy is not None and TRAIN in (busy.holder.get("what"), what):
            raise self._busy(busy)

    def _busy(self, busy: Busy) -> UserError:
        return UserError(
            f"run '{self.folder}': {busy.who} is writing into it; wait until it has ended, stop it, or give another"
            " folder"
        )

    def is_new(self) -> bool:
        """Whether nothing is in the folder but, perhaps, its lock."""
        return not self.folder.exists() or all(path.name.startswith(_LOCK) for path in self.folder.iterdir())


def _is_derived(name: str) -> bool:
    """Whether a file of a run folder is listed as made from the run: not its core, not hidden, not a checkpoint."""
    parts = Path(name).parts
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and parts[0] not in _NOT_LISTED and name not in (*_CORE, RUN_MANIFEST)
