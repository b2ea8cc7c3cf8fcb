"""Cell embeddings of any cells: computed by :func:`cell_embeddings`, written beside a file's content by
:func:`embed_cells`.

Dimension letters: B cells of a batch, C cells of the file, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.covariates import unknown_notes
from grn_cotrain.data.io.align import align_cells
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.data.streams import one_pass
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.export.annotate import annotate, refuse_taken
from grn_cotrain.export.cell_files import Opened, check_paths, open_whole, writing
from grn_cotrain.export.coverage import Coverage, trained_on, training_cells, values_and_species
from grn_cotrain.export.identity import RunIdentity
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    from grn_cotrain.data.io.names import AliasTable, OrthologTable, TargetSpecies

__all__ = ["OBSM_KEY", "CellEmbeddings", "cell_embeddings", "embed_cells", "nan_note", "rows_of", "species_of"]

OBSM_KEY = "X_grn_cotrain"
_TOKENS_PER_BATCH = 32_768


@dataclass(frozen=True, eq=False)
class CellEmbeddings:
    """Embeddings of cells, and what there is to know about them.

    Attributes
    ----------
    names
        Barcodes of the cells that were read, in the file's order.
    values_CD
        float32, in that order; NaN for cells without a token.
    origin
        Run, hashes, alignment and coverage: what ``uns["grn_cotrain"][KEY]`` records.
    notes
        Alignment and coverage in words.
    warnings
        What speaks against using the embeddings as they are.
    """

    names: list[str]
    values_CD: np.ndarray
    origin: dict[str, Any]
    notes: list[str]
    warnings: list[str]


@torch.no_grad()
def cell_embeddings(
    run: str | Path,
    counts: CountsFile,
    *,
    min_mapped: float = 0.5,
    zero_shot: bool = False,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CellEmbeddings:
    """Embed validated cells with the model of a run; nothing is written.

    Of the run, ``model/`` and ``run.json`` are read, never its data: a published run is enough. Only where the run's
    prepared folder happens to be at hand are its barcodes compared with those given.

    Parameters
    ----------
    run
        Run folder.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``.
    min_mapped
        Least share of genes found, of the fewer of the file's and the model's.
    zero_shot
        The cells are new to the model, or are meant to be: say what it was trained on, and object where they are not.
    say
        Told of notes and warnings before the work begins.
    progress
        Told ``(cells done, cells in all)``.

    Returns
    -------
    CellEmbeddings
        Cells none of whose values is of a gene that the model knows have NaN rows: without a token there is nothing to
        embed.

    Raises
    ------
    UserError
        No model; too few genes known; genes of another species.
    """
    folder = RunFolder.open(run)
    model, config = load_model(folder.require_model())
    aligned, report, notes = align_cells(counts, model.vocab, min_mapped=min_mapped)
    coverage = Coverage.of(counts, aligned, model.config.tokens)
    seen, overlap = training_cells(folder, list(map(str, counts.adata.obs_names)))
    said = [*([f"zero-shot: {trained_on(folder, config, model.vocab)}"] if zero_shot else []), *counts.notes]
    said += [*notes, *unknown_notes(aligned.obs, model.inputs.covariates), *coverage.notes()]
    said += [overlap] if overlap and not zero_shot else []
    warnings = [*values_and_species(counts, config, model.vocab), *coverage.warnings()]
    if zero_shot and seen:
        warnings.append(f"not zero-shot for every cell: {overlap}")
    if say is not None:
        for line in [*said, *(f"warning: {warning}" for warning in warnings)]:
            say(line)

    tokenizer = model.tokenizer(aligned)
    rows_C = np.flatnonzero(coverage.tokens_C > 0)
    values_CD = np.full((aligned.num_cells, model.config.width), np.nan, np.float32)
    genes = model.encode_graph()
    done = 0
    for batch in map(CellBatch.pack, one_pass(tokenizer, rows_C, tokens_per_batch=_TOKENS_PER_BATCH)):
        values_CD[batch.cell_index_B.numpy()] = model.encode_cells(batch, genes).cells_BD.float().numpy()
        done += batch.num_cells
        if progress is not None:
            progress(done, len(rows_C))
    origin = {
        **RunIdentity.of(folder, config).to_dict(),
        "what": "cell embeddings",
        "zero_shot": zero_shot,
        "values": counts.kind,
        "genes_given": report.num_given,
        "genes_mapped": report.mapped,
        "genes_renamed": len(report.renamed),
        "genes_duplicated": list(report.duplicated),
        "genes_lost": list(report.lost),
        **coverage.to_dict(),
        "cells_seen_in_training_data": -1 if seen is None else seen,
    }
    return CellEmbeddings(list(map(str, counts.adata.obs_names)), values_CD, origin, said, warnings)


def species_of(run: str | Path) -> TargetSpecies | None:
    """Species that cells must be of, or be mapped to; None where the model's is neither human nor mouse."""
    species = FeatureVocab.load(RunFolder.open(run).require_model() / "vocab.json").species
    return species if species in ("human", "mouse") else None


def rows_of(embeddings: CellEmbeddings, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Rows of the cells ``names``, float32 ``[C, D]``, NaN where there is none; and the names of those."""
    place = {name: row for row, name in enumerate(embeddings.names)}
    index_C = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    values_CD = np.full((len(names), embeddings.values_CD.shape[1]), np.nan, np.float32)
    values_CD[index_C >= 0] = embeddings.values_CD[index_C[index_C >= 0]]
    return values_CD, [names[row] for row in np.flatnonzero(np.isnan(values_CD).all(axis=1))]


def embed_cells(
    run: str | Path,
    cells: str | Path,
    out: str | Path,
    *,
    layer: str | None = None,
    modality: str | None = None,
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    key_added: str = OBSM_KEY,
    min_mapped: float = 0.5,
    zero_shot: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Opened:
    """Embed the cells of any file and write a copy of the file with ``obsm[key_added]``.

    An h5ad, zarr store or h5mu keeps all that it holds: layers, annotations, embeddings, every cell. Cells without a
    token (no count, or none of a gene that the model knows) have NaN rows.

    Parameters
    ----------
    run
        Run folder.
    cells
        h5ad, h5mu, loom, zarr, 10x h5, Matrix Market folder, CSV or TSV; its genes are aligned to the model's by name.
        It is never changed.
    out
        ``OUT.h5ad`` or ``OUT.zarr``; ``OUT.h5mu`` for an h5mu (``obsm`` of the MuData).
    layer
        Layer that holds the counts.
    modality
        Modality of an h5mu, or kind of features of a file with several; default: all that the readers know.
    aliases, orthologs
        Tables of old gene symbols, and of the other species' genes.
    key_added
        Key in ``obsm``.
    min_mapped
        Least share of genes found, of the fewer of the file's and the model's.
    zero_shot
        See :func:`cell_embeddings`.
    overwrite
        Whether ``obsm[key_added]`` of the file may be replaced in the copy.
    say
        Told of the alignment, genes lost by name included, of coverage and of warnings.
    progress
        Told ``(cells done, cells in all)``.

    Returns
    -------
    anndata.AnnData or mudata.MuData
        What was written.

    Raises
    ------
    UserError
        Unreadable file; ``out`` is the input or of an unknown format; the key is taken; too few genes known.
    """
    check_paths(cells, out)
    counts = load_counts(
        cells, layer, modality=modality, aliases=aliases, orthologs=orthologs, to_species=species_of(run)
    )
    whole = open_whole(cells, out, counts.adata)
    refuse_taken(whole, "obsm", [key_added], overwrite=overwrite)
    with writing(whole, out) as changed:  # opened first: a place that can't be written is told before the work
        embedded = cell_embeddings(run, counts, min_mapped=min_mapped, zero_shot=zero_shot, say=say, progress=progress)
        values_CD, without = rows_of(embedded, list(map(str, whole.obs_names)))
        annotate(whole, "obsm", key_added, values_CD, embedded.origin)
    said = set(embedded.notes)  # the reader has changed the same columns
    for note in [*(note for note in changed if note not in said), *([nan_note(without)] if without else [])]:
        say(note)
    count, width = len(values_CD) - len(without), values_CD.shape[1]
    say(f"{count:,} cells embedded in {width} dimensions: obsm['{key_added}'] of {out}")
    return whole


def nan_note(without: list[str]) -> str:
    """The sentence about cells without an embedding."""
    return (
        f"{len(without):,} cells have no value of any gene that the model knows and no embedding, their rows are NaN:"
        f" {name_some(without, 3)}"
    )
