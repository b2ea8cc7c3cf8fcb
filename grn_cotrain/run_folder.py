"""Layout of a run folder: what training writes, and evaluation, scoring and export read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grn_cotrain.config import load_yaml, parse, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json, write_text
from grn_cotrain.recipe import Recipe

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of one run (see ``docs/decisions/0001-contracts.md``)."""

    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> RunFolder:
        """Open an existing run; anything else is a one-line error."""
        run = cls(Path(folder))
        if not run.recipe_file.is_file():
            raise UserError(
                f"run '{folder}': no run folder (no recipe.yaml in it); give the --out of `grn-cotrain train`"
            )
        return run

    @property
    def recipe_file(self) -> Path:
        """Resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def record_file(self) -> Path:
        """run.json: hashes, versions, machine, status."""
        return self.folder / "run.json"

    @property
    def model(self) -> Path:
        """Best model by validation."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """Resumable states."""
        return self.folder / "checkpoints"

    @property
    def is_finished(self) -> bool:
        """Whether training ended by itself (max_steps, patience or max_minutes)."""
        return self.record_file.is_file() and self.record().get("status") == "finished"

    def recipe(self) -> Recipe:
        """The resolved recipe of the run; one that this version cannot read is an error that names the run."""
        try:
            return parse(Recipe, load_yaml(self.recipe_file))
        except UserError as error:
            raise UserError(f"run '{self.folder}': {error}; was it written by another version?") from None

    def write_recipe(self, recipe: Recipe) -> None:
        """Save the resolved recipe."""
        write_text(self.recipe_file, yaml.safe_dump(to_dict(recipe), sort_keys=False))

    def record(self) -> dict[str, Any]:
        """Contents of run.json."""
        return dict(read_json(self.record_file, what="run record"))

    def write_record(self, record: dict[str, Any]) -> None:
        """Save run.json."""
        write_json(self.record_file, record)

    def require_model(self) -> Path:
        """The model folder, or an error that says what to do."""
        if not (self.model / "config.json").is_file():
            raise UserError(
                f"run '{self.folder}': it holds no model yet; finish it with"
                f" `grn-cotrain train RECIPE --out {self.folder} --resume`"
            )
        return self.model
