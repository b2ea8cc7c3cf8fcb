"""Cell types of any cells by a fine-tuned model: computed by :func:`cell_types`, written beside a file's content by
:func:`annotate_cells`.

Dimension letters: C cells of the file, K classes, N rows with a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.align import align_cells
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.errors import UserError
from grn_cotrain.export.annotate import annotate_obs, refuse_taken
from grn_cotrain.export.cell_files import Opened, check_paths, open_whole, writing
from grn_cotrain.export.cells import species_of
from grn_cotrain.export.coverage import Coverage, training_cells, values_and_species
from grn_cotrain.export.identity import RunIdentity
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.classifier import Classifier

if TYPE_CHECKING:
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["UNASSIGNED", "CellTypes", "annotate_cells", "cell_types", "obs_keys", "summary"]

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
        In words.
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
            ``min_probability`` is no probability.
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


def obs_keys(label: str, key_added: str | None) -> list[str]:
    """Names of the two columns."""
    key = f"predicted_{label}" if key_added is None else key_added
    return [key, f"{key}_probability"]


def cell_types(
    run: str | Path,
    counts: CountsFile,
    *,
    min_mapped: float = 0.5,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CellTypes:
    """Probabilities of classes for validated cells; nothing is written.

    Parameters
    ----------
    run
        Folder that ``grn-cotrain finetune`` wrote.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``.
    min_mapped
        Least share of genes found, of the fewer of the file's and the model's.
    say
        Told of notes and warnings before the work begins.
    progress
        Told ``(cells done, cells in all)``.

    Raises
    ------
    UserError
        No fine-tuned run; too few genes known; genes of another species.
    """
    folder = RunFolder.open(run)
    classifier, config = Classifier.load(run)
    model = classifier.model
    names = list(map(str, counts.adata.obs_names))
    aligned, report, notes = align_cells(counts, model.vocab, min_mapped=min_mapped)
    coverage = Coverage.of(counts, aligned, model.config.tokens)
    seen, overlap = training_cells(folder, names)
    said = [*counts.notes, *notes, *coverage.notes(), *([overlap] if overlap else [])]
    warnings = [*values_and_species(counts, config, model.vocab), *coverage.warnings()]
    if say is not None:
        for line in [*said, *(f"warning: {warning}" for warning in warnings)]:
            say(line)
    rows_N = np.flatnonzero(coverage.tokens_C > 0)
    probabilities_CK = np.full((aligned.num_cells, len(classifier.classes)), np.nan, np.float32)
    logs_NK = classifier.log_probabilities(model.tokenizer(aligned), rows_N, progress=progress)
    probabilities_CK[rows_N] = np.exp(logs_NK)
    origin = {
        **RunIdentity.of(folder, config).to_dict(),
        "what": f"cell types of '{classifier.label}'",
        "classes": list(classifier.classes),
        "values": counts.kind,
        "genes_given": report.num_given,
        "genes_mapped": report.mapped,
        "genes_lost": list(report.lost),
        **coverage.to_dict(),
        "cells_seen_in_training_data": -1 if seen is None else seen,
    }
    return CellTypes(names, classifier.classes, probabilities_CK, origin, said, warnings)


def annotate_cells(
    run: str | Path,
    cells: str | Path,
    out: str | Path,
    *,
    min_probability: float = 0.0,
    key_added: str | None = None,
    layer: str | None = None,
    modality: str | None = None,
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    min_mapped: float = 0.5,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
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
    min_probability
        Cells whose best class has less are ``unassigned``.
    key_added
        Column of ``obs``; default: ``predicted_`` and the column that was learned. ``KEY_probability`` lies beside it.
    layer, modality, aliases, orthologs, min_mapped
        As for ``embed cells``.
    overwrite
        Whether columns of these names may be replaced in the copy.
    say
        Told of alignment, coverage, and of how many cells of each type there are.
    progress
        Told ``(cells done, cells in all)``.

    Raises
    ------
    UserError
        Unreadable file; ``out`` is the input; a column is taken; no fine-tuned run; too few genes known.
    """
    check_paths(cells, out)
    label = Classifier.load(run)[0].label
    keys = obs_keys(label, key_added)
    counts = load_counts(
        cells, layer, modality=modality, aliases=aliases, orthologs=orthologs, to_species=species_of(run)
    )
    whole = open_whole(cells, out, counts.adata)
    refuse_taken(whole, "obs", keys, overwrite=overwrite)
    with writing(whole, out) as changed:
        found = cell_types(run, counts, min_mapped=min_mapped, say=say, progress=progress)
        names = list(map(str, whole.obs_names))
        columns = found.columns(keys[0], names, min_probability=min_probability)
        annotate_obs(whole, columns, {**found.origin, "min_probability": min_probability})
    for line in [note for note in changed if note not in found.notes]:  # the reader has changed the same columns
        say(line)
    for line in summary(columns[keys[0]], names, min_probability=min_probability):
        say(line)
    say(f"obs['{keys[0]}'] and obs['{keys[1]}'] of {out}")
    return whole


def summary(types_C: pd.Categorical, names: list[str], *, min_probability: float) -> list[str]:
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
