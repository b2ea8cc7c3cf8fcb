"""Layout of a run folder: what training writes, and evaluation, scoring and export read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from grn_cotrain.config import load_yaml, parse, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json, write_text
from grn_cotrain.recipe import Recipe

if TYPE_CHECKING:
    from grn_cotrain.data.run_data import RunData
    from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["RunFolder"]


_TEXTS = ("name", "schedule", "status", "version", "commit", "recipe_hash", "vocab_hash", "cells_hash", "split")
_RECORD_SHAPE = {
    **{f"{name}?": str for name in (*_TEXTS, "split_hash", "criterion", "weights_sha256")},
    **{f"{name}?": int for name in ("seed", "num_cells", "num_genes", "message_edges", "steps", "best_step")},
    **{f"{name}?": float for name in ("best_value", "seconds", "peak_memory_mb")},
    "parameters?": {str: int},
    "environment?": {str: None},
    "unseen_classes?": [str],
    "annotation?": [{}],
}


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
        return dict(read_json(self.record_file, what="run record", shape=_RECORD_SHAPE))

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

    def check_data(
        self,
        data: RunData,
        vocab: FeatureVocab,
        meta: Mapping[str, Any],
        *,
        appended: bool = False,
        fix: str = "prepare it as it was",
    ) -> None:
        """Refuse data that are not those on which the model of the run was trained.

        The id of a gene is its row in the folder's vocabulary, and which cells are held out follows from their number
        and the split's seed. In a folder that was prepared anew other genes would be read under these ids, and training
        cells would count as held out. What the run did not record (a model saved by hand) is not compared.

        Parameters
        ----------
        data
            What :func:`~grn_cotrain.data.run_data.load_run_data` reads for the run now.
        vocab, meta
            Of the model: its vocabulary, and ``meta`` of its config.json.
        appended
            Whether the data may lack features that were appended to the model after training (no old row moved).
        fix
            What to do about it, for the message; "or train again" is added.

        Raises
        ------
        UserError
            Other genes, cells or edges in the split.
        """
        if appended and "extended_from" in meta:
            vocab = vocab.select(range(min(vocab.num_features, data.vocab.num_features)))
        record = self.record() if self.record_file.is_file() else {}
        for what, found, trained in (
            ("genes", data.vocab.content_hash, vocab.content_hash),
            ("cells", data.cells.content_hash, record.get("cells_hash")),
            ("edges in its split", data.split.content_hash, meta.get("split_hash")),
        ):
            if trained is not None and found != trained:
                raise UserError(
                    f"run '{self.folder}': its prepared folder '{data.prep.folder}' has other {what} now than the model"
                    f" was trained on; {fix}, or train again"
                )
