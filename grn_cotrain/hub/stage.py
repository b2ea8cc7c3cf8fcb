"""The folder that would be pushed: a run without data, optimiser states and paths, with a card and a manifest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from grn_cotrain.apply.identity import RunIdentity
from grn_cotrain.config import load_yaml
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, read_json, write_json, write_text
from grn_cotrain.finetune.classifier import CLASSES_FILE, HEAD_FILE
from grn_cotrain.hub.manifest import MANIFEST, README, accepted, safe_name, write_manifest
from grn_cotrain.hub.model_card import load_whole, model_card
from grn_cotrain.hub.scrub import Scrubber
from grn_cotrain.manifest import FITTED_FILES, MODEL_MANIFEST, RUN_MANIFEST, Manifest
from grn_cotrain.run_files import SIDES
from grn_cotrain.run_folder import RunFolder

__all__ = ["DEFAULT_EXTRAS", "Staged", "stage_run"]

#: Results of a run that are pushed where they are there; more by ``include``.
DEFAULT_EXTRAS = ("links.json", "cells.json", "card.json")
_NEVER = ("checkpoints",)
_NAMES_IN_RECORD = ("classes", "unseen_classes")  # a type "/low" is not a path: it stays, as in classes.json


@dataclass(frozen=True)
class Staged:
    """A folder ready to push.

    Attributes
    ----------
    folder
        Place of the folder.
    sizes
        File name -> bytes.
    scrubbed
        Path of this machine -> what stands in its place.
    """

    folder: Path
    sizes: dict[str, int]
    scrubbed: dict[str, str]

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.sizes.values())

    def lines(self) -> list[str]:
        """Files, total size and replaced paths, for people."""
        lines = [f"  {_size(size):>9}  {name}" for name, size in sorted(self.sizes.items())]
        lines.append(f"  {_size(self.total):>9}  in {len(self.sizes)} files; no data, no optimiser state")
        lines += [f"  path of this machine replaced: {path} -> {last}" for path, last in self.scrubbed.items()]
        return lines


def stage_run(
    run: str | Path,
    folder: str | Path,
    *,
    repo_id: str | None = None,
    licence: str | None = None,
    include: Sequence[str] = (),
) -> Staged:
    """Write the folder that a push would upload.

    It holds ``model/``, ``model_cells/`` or ``model_links/`` where the run has one, ``recipe.yaml``, ``run.json``, of a
    fine-tuned run ``classes.json`` and ``head.safetensors``,
    the results in :data:`DEFAULT_EXTRAS` that are there, what ``include`` names, a generated ``README.md`` and
    ``manifest.json`` with checksums. Prepared data, checkpoints and metrics stay at home. ``model/graph.safetensors``
    holds the training edges of the network, without which the graph encoder can't be run: mind the network's licence.

    Parameters
    ----------
    run
        Finished run.
    folder
        New or empty folder to write.
    repo_id
        Named in the card.
    licence
        Licence id for the card.
    include
        More files of the run folder, such as ``report.html``: JSON, YAML, Markdown, HTML or safetensors.

    Raises
    ------
    UserError
        No finished model, a damaged one; a classifier without its head; a file to include that is missing or not
        accepted; ``folder`` has content.
    """
    source, folder = RunFolder.open(run), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"folder '{folder}': exists and is not empty; give a new one")
    config = load_whole(source)[2]
    extras = _extras(source.folder, include)
    source.check_tables(name for name in extras if name in DEFAULT_EXTRAS)
    scrubber = Scrubber()
    with atomic_folder(folder) as temporary:
        recipe = scrubber.value(load_yaml(source.recipe_file))
        write_text(temporary / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False))
        if source.record_file.is_file():
            record = source.record()
            record.pop("prep", None)  # where the data are on this machine
            names_alone = {key: record.pop(key) for key in _NAMES_IN_RECORD if key in record}
            write_json(temporary / "run.json", scrubber.value(record) | names_alone)
        facts = {"run_id": config["meta"].get("run_id"), "vocab_hash": config["vocab_hash"]}
        for model in source.model_folders:
            to = temporary / model.name
            to.mkdir()
            model_files = [
                name for name in (*config["sha256"], "config.json", *FITTED_FILES) if (model / name).is_file()
            ]
            for name in model_files:
                _copy(model / name, to / name, scrubber, source)
            # Hashes of the files as they are pushed: a path that was replaced changes the hash of its file.
            Manifest(facts).with_files(to, model_files).write(to / MODEL_MANIFEST)
        for name in extras:
            _copy(source.folder / name, temporary / name, scrubber, source)
        card = model_card(run, repo_id=repo_id, licence=licence, num_scrubbed=len(scrubber.replaced))
        RunFolder(temporary).seal({"run_id": facts["run_id"]})
        write_text(temporary / README, scrubber.text(card))
        names = [path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file()]
        write_manifest(temporary, names, {**RunIdentity.of(source, config).to_dict()})
        sizes = {name: (temporary / name).stat().st_size for name in [*names, MANIFEST]}
    return Staged(folder, sizes, dict(scrubber.replaced))


def _extras(folder: Path, include: Sequence[str]) -> list[str]:
    for name in include:
        if not safe_name(name) or name.split("/")[0] in _NEVER:
            raise UserError(f"--include '{name}': not a file of the run that may be pushed; name one relative to RUN")
        if not accepted(name):
            raise UserError(f"--include '{name}': only safetensors, JSON, YAML, Markdown and HTML are pushed")
        if not (folder / name).is_file():
            raise UserError(f"--include '{name}': not in '{folder}'; name a file of the run folder")
    found = [name for name in DEFAULT_EXTRAS if (folder / name).is_file()]
    if (folder / CLASSES_FILE).is_file():
        found += [CLASSES_FILE, HEAD_FILE]
    made_here = {"recipe.yaml", "run.json", README, MANIFEST, RUN_MANIFEST}
    return [
        name
        for name in dict.fromkeys([*found, *include])
        if name not in made_here and name.split("/")[0] not in ("model", *(f"model_{side}" for side in SIDES))
    ]


def _copy(source: Path, target: Path, scrubber: Scrubber, run: RunFolder) -> None:
    """Copy a file; text without this machine's paths.

    The names in ``vocab.json`` and ``classes.json`` stay as they are: of genes, by their checksum, and of cell types,
    which annotate cells.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = source.suffix.lower()
    names_alone = (*(model / "vocab.json" for model in run.model_folders), run.folder / CLASSES_FILE)
    if suffix == ".safetensors" or source in names_alone:
        shutil.copyfile(source, target)
    elif suffix == ".json":
        write_json(target, scrubber.value(read_json(source, what="file to push")))
    elif suffix in (".yaml", ".yml"):
        write_text(target, yaml.safe_dump(scrubber.value(load_yaml(source)), sort_keys=False))
    else:
        known = (str(run.folder), str(run.folder.resolve()), str(Path.cwd()))
        write_text(target, scrubber.text(source.read_text(encoding="utf-8"), known))


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count = count / 1024  # type: ignore[assignment]
    return f"{count:,.1f} GiB"
