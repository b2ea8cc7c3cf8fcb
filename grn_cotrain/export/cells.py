"""Cell embeddings of any cells: computed by :func:`cell_embeddings`, added to a file's content by
:func:`embed_cells`.

Dimension letters: B cells of a batch, C cells of the file, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grn_cotrain.apply import Encoder, OpenRun, over_cells
from grn_cotrain.apply.cells import Progress
from grn_cotrain.apply.coverage import trained_on
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.export.annotate import Slot, annotate
from grn_cotrain.export.annotated import Say, Written, annotate_file
from grn_cotrain.export.cell_files import Opened
from grn_cotrain.jobs.embed import EmbedOptions
from grn_cotrain.options import keywords

__all__ = ["CellEmbeddings", "EmbedCells", "cell_embeddings", "embed_cells"]


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
        Reasons against using the embeddings unchanged.
    """

    names: list[str]
    values_CD: np.ndarray
    origin: dict[str, Any]
    notes: list[str]
    warnings: list[str]

    def rows(self, names: list[str]) -> tuple[np.ndarray, list[str]]:
        """Rows of the cells ``names``, float32 ``[C, D]``, NaN where there is none; and the names of those."""
        place = {name: row for row, name in enumerate(self.names)}
        index_C = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        values_CD = np.full((len(names), self.values_CD.shape[1]), np.nan, np.float32)
        values_CD[index_C >= 0] = self.values_CD[index_C[index_C >= 0]]
        return values_CD, [names[row] for row in np.flatnonzero(np.isnan(values_CD).all(axis=1))]


@keywords(EmbedOptions)
def cell_embeddings(
    run: str | Path | OpenRun,
    counts: CountsFile,
    options: EmbedOptions,
    *,
    say: Say | None = None,
    progress: Progress | None = None,
) -> CellEmbeddings:
    """Embed validated cells with the model of a run; nothing is written.

    The model is the best one on validation cells, where the run kept one (``model_cells/``), else ``model/``.
    The linear trace of read depth that training cells show is taken out, unless ``keep_depth``.
    Models and ``run.json`` of the run are read, never its data: a published run is enough. Only where the run's
    prepared folder is found are its barcodes compared with those given.

    Parameters
    ----------
    run
        Run folder.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``.
    {options}
    say
        Receives notes and warnings before the work begins.
    progress
        Receives ``(cells done, cells in all)``.

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
    opened = OpenRun.of(run, side="cells")
    applied = opened.apply_to(counts, options)
    seen, overlap = opened.training_cells(applied.names)
    if options.zero_shot:
        applied.notes.insert(0, f"zero-shot: {trained_on(opened.folder, opened.config, opened.vocab)}")
        if seen:
            applied.warnings.append(f"not zero-shot for every cell: {overlap}")
    elif overlap:
        applied.notes.append(overlap)
    depth = None if options.keep_depth else opened.depth
    if depth is not None:
        applied.notes.append(depth.note())
    applied.tell(say)
    model = opened.model
    values_CD = np.full((applied.cells.num_cells, model.config.width), np.nan, np.float32)

    def read(batch: PackedTokens, encoder: Encoder) -> None:
        values_CD[batch.cell_index_B.cpu().numpy()] = encoder.cells(batch).cells_BD.float().cpu().numpy()

    over_cells(
        model,
        model.tokenizer(applied.cells),
        read,
        rows=np.flatnonzero(applied.coverage.tokens_C > 0),
        encoder=opened.encoder,
        progress=progress,
    )
    if depth is not None:
        values_CD = depth.removed(values_CD)
    origin = {
        **opened.identity.to_dict(),
        "what": "cell embeddings",
        "depth_taken_out": [] if depth is None else list(depth.explained),
        "zero_shot": options.zero_shot,
        **applied.origin(),
        "cells_seen_in_training_data": -1 if seen is None else seen,
    }
    return CellEmbeddings(applied.names, values_CD, origin, applied.notes, applied.warnings)


class EmbedCells:
    """The job of embedding: results in ``obsm``."""

    slot: Slot = "obsm"

    def __init__(self, run: OpenRun, options: EmbedOptions) -> None:
        self.run, self.options, self.keys = OpenRun.of(run, side="cells"), options, [options.key_added]

    def compute(self, counts: CountsFile, say: Say | None, progress: Progress | None) -> CellEmbeddings:
        """See :func:`cell_embeddings`."""
        return cell_embeddings(self.run, counts, options=self.options, say=say, progress=progress)

    def write(self, target: Opened, found: CellEmbeddings) -> Written:
        """Write ``obsm[key_added]``; cells that have no embedding get NaN rows."""
        values_CD, without = found.rows(list(map(str, target.obs_names)))
        annotate(target, self.slot, self.keys[0], values_CD, found.origin)
        count, width = len(values_CD) - len(without), values_CD.shape[1]
        what = f"{count:,} cells embedded in {width} dimensions: obsm['{self.keys[0]}']"
        return Written(what, warnings=[_nan_note(without)] if without else [])


@keywords(EmbedOptions)
def embed_cells(
    run: str | Path | OpenRun,
    cells: str | Path,
    out: str | Path,
    options: EmbedOptions,
    *,
    say: Say = print,
    progress: Progress | None = None,
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
    {options}
    say
        Receives the alignment, genes lost by name included, coverage and warnings.
    progress
        Receives ``(cells done, cells in all)``.

    Returns
    -------
    anndata.AnnData or mudata.MuData
        What was written.

    Raises
    ------
    UserError
        Unreadable file; ``out`` is the input or of an unknown format; the key is taken; too few genes known.
    """
    return annotate_file(EmbedCells(OpenRun.of(run), options), cells, out, say=say, progress=progress)


def _nan_note(without: list[str]) -> str:
    return (
        f"{len(without):,} cells have no value of any gene that the model knows and no embedding, their rows are NaN:"
        f" {name_some(without, 3)}"
    )
