"""A run that is applied: opened once, checked once, and what a job does not need is not read.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grn_cotrain.apply.cells import Encoder
from grn_cotrain.apply.coverage import Coverage, in_kinds_of, model_kinds, training_cells, values_and_species
from grn_cotrain.apply.identity import RunIdentity
from grn_cotrain.apply.read import read_cells
from grn_cotrain.data.alignment import AlignmentReport
from grn_cotrain.data.covariates import unknown_notes
from grn_cotrain.data.io.align import align_measured
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.io.names import TargetSpecies
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.metrics.depth_directions import DEPTH_FILE, DepthDirections
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    import anndata

__all__ = ["AppliedCells", "OpenRun"]


@dataclass(frozen=True, eq=False)
class AppliedCells:
    """Cells of any origin in a model's vocabulary, and what there is to know about them.

    Attributes
    ----------
    counts
        As they were read.
    cells
        The same cells over the model's features; features that the file lacks are zero.
    measured_G
        bool: features that the file has.
    report
        Which features were mapped, renamed, lost or absent.
    coverage
        How much of the model the cells have, and of each cell the model sees.
    notes, warnings
        Lines to print.
    """

    counts: CountsFile
    cells: CellStore
    measured_G: np.ndarray
    report: AlignmentReport
    coverage: Coverage
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Barcodes, in the file's order."""
        return list(map(str, self.counts.adata.obs_names))

    def tell(self, say: Callable[[str], None] | None) -> None:
        """Report notes, then warnings."""
        for line in [*self.notes, *(f"warning: {text}" for text in self.warnings)]:
            if say is not None:
                say(line)

    def origin(self) -> dict[str, Any]:
        """Alignment and coverage, for ``uns`` and records."""
        return {
            "values": self.counts.kind,
            "genes_given": self.report.num_given,
            "genes_mapped": self.report.mapped,
            "genes_renamed": len(self.report.renamed),
            "genes_duplicated": list(self.report.duplicated),
            "genes_lost": list(self.report.lost),
            **self.coverage.to_dict(),
        }


class OpenRun:
    """A run folder with its recipe, model and data, each read when it is first asked for.

    Parameters
    ----------
    run
        Run folder; it is compared with its manifest once, here.
    prep
        New place of the run's prepared folder; default: it is looked for.
    side
        ``cells`` or ``links``: the best model of that side, where the run kept one of its own.

    Raises
    ------
    UserError
        Anything but a run folder; a file that is missing, was changed, or belongs to another run.
    """

    def __init__(self, run: str | Path | RunFolder, *, prep: str | Path | None = None, side: str | None = None) -> None:
        self.folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
        self.prep, self.side = prep, side

    @classmethod
    def of(
        cls, run: str | Path | RunFolder | OpenRun, *, prep: str | Path | None = None, side: str | None = None
    ) -> OpenRun:
        """Return ``run`` as it is where it is open already with the model of that side."""
        if not isinstance(run, OpenRun):
            return cls(run, prep=prep, side=side)
        same = side is None or run.folder.model_for(side) == run.model_folder
        return run if same else cls(run.folder, prep=run.prep if prep is None else prep, side=side)

    @property
    def model_folder(self) -> Path:
        """Folder of the model that is applied."""
        return self.folder.model_for(self.side)

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.folder.recipe()

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json; empty where there is none."""
        return self.folder.record() if self.folder.record_file.is_file() else {}

    @cached_property
    def vocab(self) -> FeatureVocab:
        """Features of the model; its weights are not read for them."""
        return FeatureVocab.load(self.folder.require_model(self.side) / "vocab.json")

    @property
    def species(self) -> TargetSpecies | None:
        """Species that cells must be of, or be mapped to; None if the model's is neither human nor mouse."""
        return self.vocab.species if self.vocab.species in ("human", "mouse") else None

    @cached_property
    def _loaded(self) -> tuple[CoTrainNetwork, dict[str, Any]]:
        return load_model(self.folder.require_model(self.side))

    @property
    def model(self) -> CoTrainNetwork:
        """The best model of the side, in evaluation mode."""
        return self._loaded[0]

    @property
    def config(self) -> dict[str, Any]:
        """config.json of the model."""
        return self._loaded[1]

    @property
    def meta(self) -> dict[str, Any]:
        """Facts about the training in config.json."""
        return dict(self.config["meta"])

    @cached_property
    def encoder(self) -> Encoder:
        """The model bound to the rows of its genes."""
        return Encoder.of(self.model)

    @cached_property
    def depth(self) -> DepthDirections | None:
        """Directions of read depth in the model's states; None for a run that fitted none."""
        file = self.folder.require_model(self.side) / DEPTH_FILE
        return DepthDirections.load(file, width=self.model.config.width) if file.is_file() else None

    @property
    def identity(self) -> RunIdentity:
        """Name and hashes."""
        return RunIdentity.of(self.folder, self.config)

    def load_data(self) -> RunData:
        """Data of the run, from its prepared folder; not yet compared with the model: see :meth:`data`."""
        return self._run_data

    @cached_property
    def _run_data(self) -> RunData:
        return self.folder.load_data(self.prep)

    def data(self, *, messages: bool = False, appended: bool = False, fix: str = "prepare it as it was") -> RunData:
        """Data of the run, after they were compared with those the model was trained on.

        Parameters
        ----------
        messages
            Compare the model's own messages too: scores of links are made with them.
        appended, fix
            See :meth:`~grn_cotrain.run_folder.RunFolder.check_data`.

        Raises
        ------
        UserError
            Other data; the prepared folder is not found.
        """
        data = self.load_data()
        model = self.model
        self.folder.check_data(
            data, model.vocab, self.meta, model=model if messages else None, appended=appended, fix=fix
        )
        return data

    # ---------------------------------------------------------------- cells of others

    def read(
        self,
        cells: str | Path | anndata.AnnData | CountsFile,
        options: ReadOptions | None = None,
        *,
        place: Place = "auto",
    ) -> CountsFile:
        """Read and validate cells, with their genes in the species of the model.

        ``place`` is where the values of a file are kept: see :func:`~grn_cotrain.data.io.counts.load_counts`.
        """
        return read_cells(cells, options, to_species=self.species, place=place)

    def apply_to(
        self, cells: str | Path | anndata.AnnData | CountsFile, options: ReadOptions | None = None
    ) -> AppliedCells:
        """Read cells and put them in the model's vocabulary; reports what was found, renamed and lost.

        Raises
        ------
        UserError
            The cells cannot be read; too few genes are known; genes of another species; no model.
        """
        options = options or ReadOptions()
        counts, retaken = in_kinds_of(self.read(cells, options), model_kinds(self.config, self.vocab))
        model = self.model
        aligned, measured_G, report, notes = align_measured(counts, model.vocab, min_mapped=options.min_mapped)
        coverage = Coverage.of(counts, aligned, model.config.tokens)
        said = [
            *counts.notes,
            *retaken,
            *notes,
            *unknown_notes(aligned.obs, model.inputs.covariates),
            *coverage.notes(),
        ]
        warnings = [*values_and_species(counts, self.config, model.vocab), *coverage.warnings()]
        return AppliedCells(counts, aligned, measured_G, report, coverage, said, warnings)

    def training_cells(self, names: list[str]) -> tuple[int | None, str]:
        """How many barcodes are also in the run's prepared folder, and a sentence; None if that is not available."""
        return training_cells(self.folder, names)
