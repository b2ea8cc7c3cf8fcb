"""Layout of a run folder: what training writes, and evaluation, scoring and export read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.data.prep_hook import find_prepared, not_found
from grn_cotrain.data.run_data import RunData, load_run_data
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json
from grn_cotrain.run_files import TRAIN, RunFiles

if TYPE_CHECKING:
    from grn_cotrain.data.prep import Prep
    from grn_cotrain.data.vocab import FeatureVocab
    from grn_cotrain.model import CoTrainNetwork

__all__ = ["TRAIN", "RunFolder", "find_model"]


@dataclass(frozen=True)
class RunFolder(RunFiles):
    """Paths and records of one run (see ``docs/decisions/0001-contracts.md`` and ``0006-run-folders.md``)."""

    @classmethod
    def open(cls, folder: str | Path) -> RunFolder:
        """Open an existing run and compare it with its manifest.

        Raises
        ------
        UserError
            Anything but a run folder; a file that is missing, was changed, or belongs to another run.
        """
        run = cls(Path(folder))
        if not run.recipe_file.is_file():
            raise UserError(
                f"run '{folder}': no run folder (no recipe.yaml in it); give the --out of `grn-cotrain train`"
            )
        run.check()
        return run

    @property
    def is_finished(self) -> bool:
        """Whether training ended by itself (max_steps, patience or max_minutes) and wrote all that it had to."""
        manifest = self._manifest()
        whole = manifest is None or manifest.facts.get("finished") is True
        recorded = self.record_file.is_file() and self.record().get("status") == "finished"
        return whole and recorded and (manifest is None or self.has_model)

    def unfinished(self) -> str | None:
        """How far a run that is not finished is, why, and how to finish it, in one line; None for one that is."""
        if self.is_finished:
            return None
        record = self.record() if self.record_file.is_file() else {}
        # A model that was put into a run folder by hand; a finished run whose model is missing, which is reported
        # elsewhere.
        if record.get("status") in (None, "finished") and not (record and self._cut_short()):
            return None
        try:
            step = read_json(self.checkpoints / "latest.json", what="checkpoint pointer", shape={"step": int})["step"]
        except UserError:  # none yet; a damaged one is the business of --resume
            step = 0
        busy = self.holder()
        if busy is not None and self.is_being_trained:
            state, fix = f"{busy.who} is training it now", "wait for it"
        else:
            failed = record["status"] == "failed"
            state = f"training failed ({record.get('error')})" if failed else "training was interrupted"
            fix = f"finish it with: {self.how_to_resume()}"
        return f"training is not finished: step {step:,} of {self.recipe().train.max_steps:,}; {state}; {fix}"

    def _cut_short(self) -> bool:
        """Whether training was killed after it had written that it was finished, and before the manifest recorded
        it."""
        manifest = self._manifest()
        return manifest is not None and manifest.facts.get("finished") is False

    def how_to_resume(self) -> str:
        """The command that continues with the run."""
        return f"grn-cotrain train {shlex.quote(str(self.recipe_file))} --out {shlex.quote(str(self.folder))} --resume"

    def tell_unfinished(self, say: Callable[[str], None] | None = None) -> None:
        """Report an unfinished run: with ``say``, or else once as a warning of the log."""
        line = self.unfinished()
        if line is None:
            return
        if say is not None:
            say(f"run '{self.folder}': {line}")
        self.warn(line, told=say is not None)

    # ---------------------------------------------------------------- data

    def find_prep(self, prep: str | Path | None = None) -> Prep | None:
        """The prepared folder of the run, opened, from any working folder; None if it is gone.

        See :func:`~grn_cotrain.data.prep_hook.find_prepared`; ``prep`` is the only place to look at, if given.
        """
        return find_prepared(self.folder, self.recipe(), self._known(), prep)

    def require_prep(self, prep: str | Path | None = None) -> Prep:
        """As :meth:`find_prep`; where it is missing, the error names the places that were searched."""
        found = self.find_prep(prep)
        if found is None:
            raise not_found(self.folder, self.recipe(), self._known())
        return found

    def load_data(self, prep: str | Path | None = None) -> RunData:
        """Data that the run reads, from its prepared folder and from any working folder; raw files are not read.

        Where the prepared folder is gone, but the files of the recipe's ``prep:`` block are there, it is
        prepared again.

        Parameters
        ----------
        prep
            New place of the prepared folder; default: it is looked for.

        Raises
        ------
        UserError
            The folder is missing; the error names the places that were searched. From
            :func:`~grn_cotrain.data.run_data.load_run_data`.
        """
        recipe = self.recipe()
        found = self.find_prep(prep)
        if found is None and not (recipe.prep is not None and all(Path(file).exists() for file in recipe.prep.counts)):
            found = self.require_prep(prep)
        return load_run_data(recipe, found)

    def _known(self) -> dict[str, Any]:
        return self.record() if self.record_file.is_file() else {}

    def require_model(self) -> Path:
        """The model folder, or an error that names the fix. An unfinished run causes a warning."""
        if not self.has_model:
            raise UserError(
                f"run '{self.folder}': it holds no model yet; finish it with"
                f" `grn-cotrain train RECIPE --out {self.folder} --resume`"
            )
        self.tell_unfinished()
        return self.model

    def check_data(
        self,
        data: RunData,
        vocab: FeatureVocab,
        meta: Mapping[str, Any],
        *,
        model: CoTrainNetwork | None = None,
        appended: bool = False,
        fix: str = "prepare it as it was",
    ) -> None:
        """Refuse data that are not those on which the model of the run was trained.

        The id of a gene is its row in the folder's vocabulary, and which cells are held out follows from their number
        and the split's seed. In a folder that was prepared again other genes would be read under these ids, and
        training cells would count as held out. What the run did not record (a model saved by hand) is not compared.

        Parameters
        ----------
        data
            Data that :func:`~grn_cotrain.data.run_data.load_run_data` reads for the run now.
        vocab, meta
            Vocabulary of the model, and ``meta`` of its config.json.
        model
            The model, where scores of links are made with it: its own messages are compared too.
        appended
            Whether the data may lack features that were appended to the model after training (no old row moved).
        fix
            Advice for the message; "or train again" is added.

        Raises
        ------
        UserError
            Other genes, cells or edges in the split; messages that the recipe does not make; a run.json that was
            changed.
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
                changed = self.record_problem()
                note = "" if changed is None else f" (and run.json {changed})"
                raise UserError(
                    f"run '{self.folder}': its prepared folder '{data.prep.folder}' has other {what} now than the model"
                    f" was trained on{note}; {fix}, or train again"
                )
        self.require_record()
        if model is not None:
            data.messages.require_same(
                model.inputs, data.split, data.prep.vocab.symbols, what=f"model '{self.model}': graph.safetensors"
            )


def find_model(path: str | Path) -> Path:
    """The model folder at ``path``: itself, or ``model/`` of a run folder.

    Raises
    ------
    UserError
        Neither; or a run whose files do not belong together.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    if (path / "model" / "config.json").is_file():
        # A folder that holds model/ and nothing else of a run is somebody's copy: the model's own manifest has to do.
        return RunFolder.open(path).model if (path / "recipe.yaml").is_file() else path / "model"
    what = "holds no model" if path.is_dir() else "is a file" if path.exists() else "no such folder"
    raise UserError(f"model '{path}': {what}; give a model folder or the folder of a finished run")
