"""Cell types of any cells by a fine-tuned model: computed by :func:`cell_types`, added to a file's content by
:func:`annotate_cells`.

Dimension letters: C cells of the file, K classes, N rows with a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import Progress
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.errors import UserError
from grn_cotrain.export.annotate import Slot, annotate_obs
from grn_cotrain.export.annotated import Say, Written, annotate_file
from grn_cotrain.export.cell_files import Opened
from grn_cotrain.finetune.classifier import Classifier
from grn_cotrain.jobs.annotate import AnnotateOptions
from grn_cotrain.options import keywords

__all__ = ["UNASSIGNED", "AnnotateCells", "CellTypes", "annotate_cells", "cell_types"]

UNASSIGNED = "unassigned"


@dataclass(frozen=True, eq=False)
class CellTypes:
    """Predicted types of cells, and what there is to know about them.

    Attributes
    ----------
    names
        Barcodes of the cells that were read, in the file's order.
    classes
        Names of the classes.
    probabilities_CK
        float32, in these orders; NaN rows for cells without a token.
    origin
        Run, hashes, classes, alignment and coverage: what ``uns["grn_cotrain"][KEY]`` records.
    notes, warnings
        Lines to print.
    """

    names: list[str]
    classes: tuple[str, ...]
    probabilities_CK: np.ndarray
    origin: dict[str, Any]
    notes: list[str]
    warnings: list[str]

    def columns(self, key: str, names: list[str], *, min_probability: float = 0.0) -> dict[str, Any]:
        """Columns of ``obs`` for the cells ``names``: ``key``, categorical, and ``key_probability`` of the best class.

        Cells below ``min_probability`` are ``unassigned``; cells without a token have no type and no probability.

        Raises
        ------
        UserError
            ``min_probability`` is not a probability.
        """
        if not 0 <= min_probability <= 1:
            raise UserError(f"min_probability: got {min_probability}; give a probability, 0 to 1")
        place = {name: row for row, name in enumerate(self.names)}
        index_C = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        best_C = np.full(len(names), np.nan, np.float32)
        types_C = np.full(len(names), None, dtype=object)
        chosen_C = np.flatnonzero(index_C >= 0)
        known_N = chosen_C[~np.isnan(self.probabilities_CK[index_C[chosen_C]]).any(axis=1)]
        probabilities_NK = self.probabilities_CK[index_C[known_N]]
        best_C[known_N] = probabilities_NK.max(axis=1, initial=0.0)
        types_C[known_N] = np.asarray(self.classes, dtype=object)[probabilities_NK.argmax(axis=1)]
        types_C[known_N[best_C[known_N] < min_probability]] = UNASSIGNED
        categories = [*self.classes, *([UNASSIGNED] if min_probability > 0 and UNASSIGNED not in self.classes else [])]
        return {key: pd.Categorical(types_C, categories=categories), f"{key}_probability": best_C}


@keywords(AnnotateOptions)
def cell_types(
    run: str | Path | OpenRun,
    counts: CountsFile,
    options: AnnotateOptions,
    *,
    classifier: Classifier | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
) -> CellTypes:
    """Probabilities of classes for validated cells; nothing is written.

    Parameters
    ----------
    run
        Folder that ``grn-cotrain finetune`` wrote.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``.
    {options}
    classifier
        The run's classifier, where it was read already.
    say
        Receives notes and warnings before the work begins.
    progress
        Receives ``(cells done, cells in all)``.

    Raises
    ------
    UserError
        No fine-tuned run; too few genes known; genes of another species.
    """
    opened = OpenRun.of(run)
    classifier = classifier or Classifier.of(opened)
    applied = opened.apply_to(counts, options)
    seen, overlap = opened.training_cells(applied.names)
    applied.notes.extend([overlap] if overlap else [])
    applied.tell(say)
    rows_N = np.flatnonzero(applied.coverage.tokens_C > 0)
    probabilities_CK = np.full((applied.cells.num_cells, len(classifier.classes)), np.nan, np.float32)
    logs_NK = classifier.log_probabilities(classifier.model.tokenizer(applied.cells), rows_N, progress=progress)
    probabilities_CK[rows_N] = np.exp(logs_NK)
    origin = {
        **opened.identity.to_dict(),
        "what": f"cell types of '{classifier.label}'",
        "classes": list(classifier.classes),
        **applied.origin(),
        "cells_seen_in_training_data": -1 if seen is None else seen,
    }
    return CellTypes(applied.names, classifier.classes, probabilities_CK, origin, applied.notes, applied.warnings)


class AnnotateCells:
    """The job of annotating: two columns of ``obs``."""

    slot: Slot = "obs"

    def __init__(self, run: OpenRun, options: AnnotateOptions) -> None:
        self.run, self.options = run, options
        self.classifier = Classifier.of(run)
        key = f"predicted_{self.classifier.label}" if options.key_added is None else options.key_added
        self.keys = [key, f"{key}_probability"]

    def compute(self, counts: CountsFile, say: Say | None, progress: Progress | None) -> CellTypes:
        """See :func:`cell_types`."""
        return cell_types(
            self.run, counts, options=self.options, classifier=self.classifier, say=say, progress=progress
        )

    def write(self, target: Opened, found: CellTypes) -> Written:
        """Write the columns; cells without a token have no type."""
        names, least = list(map(str, target.obs_names)), self.options.min_probability
        columns = found.columns(self.keys[0], names, min_probability=least)
        annotate_obs(target, columns, {**found.origin, "min_probability": least})
        notes = _summary(columns[self.keys[0]], names, min_probability=least)
        return Written(f"obs['{self.keys[0]}'] and obs['{self.keys[1]}']", notes)


@keywords(AnnotateOptions)
def annotate_cells(
    run: str | Path | OpenRun,
    cells: str | Path,
    out: str | Path,
    options: AnnotateOptions,
    *,
    say: Say = print,
    progress: Progress | None = None,
) -> Opened:
    """Annotate the cells of any file and write a copy of the file with two more columns of ``obs``.

    Parameters
    ----------
    run
        Folder that ``grn-cotrain finetune`` wrote.
    cells
        Any file that ``embed cells`` reads. It is never changed.
    out
        ``OUT.h5ad`` or ``OUT.zarr``; ``OUT.h5mu`` for an h5mu.
    {options}
    say
        Receives alignment, coverage, and how many cells of each type there are.
    progress
        Receives ``(cells done, cells in all)``.

    Raises
    ------
    UserError
        Unreadable file; ``out`` is the input; a column is taken; no fine-tuned run; too few genes known.
    """
    return annotate_file(AnnotateCells(OpenRun.of(run), options), cells, out, say=say, progress=progress)


def _summary(types_C: pd.Categorical, names: list[str], *, min_probability: float) -> list[str]:
    """How many cells there are of each type, without one, and of no type at all."""
    counts = pd.Series(types_C).value_counts()
    said = [", ".join(f"{name} {number:,}" for name, number in counts.items() if number and name != UNASSIGNED)]
    if min_probability > 0:
        said.append(f"{int(counts.get(UNASSIGNED, 0)):,} cells unassigned: less than {min_probability:g} for any class")
    missing = np.flatnonzero(types_C.codes < 0)
    if len(missing):
        said.append(
            f"{len(missing):,} cells have no value of any gene that the model knows and no type:"
            f" {name_some([names[row] for row in missing], 3)}"
        )
    return [line for line in said if line]
