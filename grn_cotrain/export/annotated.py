"""Steps that are the same for every job that adds results to cells, in the copy of a file or in an AnnData.

A job names the place of its results, computes them for the cells that were read, and writes them. Reading, refusing and
reporting are done here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import Progress
from grn_cotrain.apply.read import refuse_other, result_of
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.export.annotate import Slot, refuse_taken
from grn_cotrain.export.cell_files import Opened, check_paths, open_tables, open_whole, writing
from grn_cotrain.jobs.read import ReadOptions

if TYPE_CHECKING:
    import anndata

__all__ = ["CellJob", "Say", "Written", "annotate_adata", "annotate_file"]

Say = Callable[[str], None]
PLACE: Place = "auto"
"""Where the values of an h5ad are kept that gives an h5ad; see :func:`~grn_cotrain.data.io.counts.load_counts`."""


@dataclass(frozen=True)
class Written:
    """Short description of the results that a job has written, with the lines to print about them."""

    what: str
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class CellJob(Protocol):
    """Computes something of each cell, and writes it under documented keys."""

    run: OpenRun
    slot: Slot
    keys: list[str]

    @property
    def options(self) -> ReadOptions:
        """How cells are read, and ``overwrite``."""
        ...

    def compute(self, counts: CountsFile, say: Say | None, progress: Progress | None) -> Any:
        """Compute the results of these cells; ``say`` receives notes and warnings before the work begins."""
        ...

    def write(self, target: Opened, found: Any) -> Written:
        """Add the results to ``target``, which may have more cells than those that were read."""
        ...


def annotate_file(
    job: CellJob, cells: str | Path, out: str | Path, *, say: Say = print, progress: Progress | None = None
) -> Opened:
    """Do a job on the cells of any file and write a copy of the file with the results.

    An h5ad, zarr store or h5mu keeps all that it holds: layers, annotations, embeddings, every cell. Values of a large
    h5ad are read block by block and copied with the file; what is returned has no values then.

    Raises
    ------
    UserError
        The file cannot be read, ``out`` is the input or has an unknown format, a key is taken, or the job refuses the
        cells.
    """
    check_paths(cells, out)
    # A copy of an h5ad is a file to which results are added, so its values need not be in memory.
    place: Place = PLACE if Path(cells).suffix == Path(out).suffix == ".h5ad" else "memory"
    counts = job.run.read(cells, job.options, place=place)
    copied = None if counts.rows is None else Path(cells)
    whole = open_whole(cells, out, counts.adata) if copied is None else open_tables(copied)
    refuse_taken(whole, job.slot, job.keys, overwrite=job.options.overwrite)  # type: ignore[attr-defined]
    # Opened first: a place that can't be written is refused before the work.
    with writing(whole, out, copied=copied) as changed:
        found = job.compute(counts, say, progress)
        written = job.write(whole, found)
    for note in [*(note for note in changed if note not in found.notes), *written.warnings, *written.notes]:
        say(note)  # the reader has changed the same columns, and has reported it
    say(f"{written.what} of {out}")
    return whole


def annotate_adata(
    adata: anndata.AnnData,
    run: str | Path,
    job: Callable[[OpenRun], CellJob],
    *,
    copy: bool,
    logger: logging.Logger,
) -> anndata.AnnData | None:
    """Do a job on an AnnData and add the results to it, or to a copy, which is returned.

    Raises
    ------
    UserError
        A key is taken, the cells cannot be read, or the job refuses them. ``adata`` is unchanged then.
    """
    refuse_other(adata, copy=copy)
    done = job(OpenRun(run))
    refuse_taken(adata, done.slot, done.keys, overwrite=done.options.overwrite)  # type: ignore[attr-defined]
    found = done.compute(done.run.read(adata, done.options), None, None)
    target = result_of(adata, copy=copy)
    written = done.write(target, found)
    for note in [*found.notes, *written.notes]:
        logger.info(note)
    for warning in [*written.warnings, *found.warnings]:
        logger.warning(warning)
    return target if copy else None
