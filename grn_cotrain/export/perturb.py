"""In-silico perturbation of any cells with the model of a run: names in, tables out.

Dimension letters: C cells.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import Progress
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.obs import as_labels, canonical_text, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.in_silico import InSilico, perturb_cells
from grn_cotrain.export.annotated import Say
from grn_cotrain.files import atomic_file, refuse_input, same_place
from grn_cotrain.jobs.perturb import PerturbOptions
from grn_cotrain.options import keywords
from grn_cotrain.text_tables import write_delimited

__all__ = ["SUFFIXES", "perturb_file", "perturb_genes", "write_perturbation"]

SUFFIXES = (".tsv", ".parquet")


@keywords(PerturbOptions)
def perturb_genes(
    run: str | Path | OpenRun,
    counts: CountsFile | None,
    genes: Sequence[str],
    options: PerturbOptions,
    *,
    say: Say | None = None,
    progress: Progress | None = None,
) -> InSilico:
    """Perturb genes by name; nothing is written.

    Parameters
    ----------
    run
        Run folder.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``; None: the cells that the
        run was trained and tested on, from its prepared folder.
    genes
        Symbols or Ensembl ids, perturbed together.
    {options}
    say
        Receives what is done with which cells before the work begins.
    progress
        Receives ``(cells done, cells in all)``, each perturbation counting its cells.

    Returns
    -------
    InSilico
        Its ``summary`` also names the run, by its hashes.

    Raises
    ------
    UserError
        A gene that the model does not know, with the nearest name; no such column or value of ``obs``; no model; the
        run's prepared folder is not available and no cells are given; what ``perturb_cells`` refuses.
    """
    opened = OpenRun.of(run, prep=options.prep, side="cells")
    index = [opened.vocab.index(name) for name in genes]  # before anything costly: names are what people mistype
    if counts is None:
        cells = opened.data(fix="give CELLS").cells
    else:
        applied = opened.apply_to(counts, options)
        cells = applied.cells
    rows_C = _rows(cells, options.only)
    if counts is not None:
        applied.tell(say)
    result = perturb_cells(opened.model, cells, index, rows_C=rows_C, options=options, progress=progress)
    result.summary.update(opened.identity.to_dict())
    return result


def _rows(cells: CellStore, only: tuple[str, str] | None) -> np.ndarray:
    """Rows of the cells that ``only`` leaves."""
    if only is None:
        return np.arange(cells.num_cells)
    column, value = only
    found = as_labels(obs_column(cells.obs, column, "--only"))
    rows_C = np.flatnonzero((found == canonical_text(value)).to_numpy())
    if len(rows_C) == 0:
        choices = sorted(found.dropna().unique())
        raise UserError(
            f"--only '{column}={value}': no cell has this value; the column has {name_some(choices, 8)}"
            f"{did_you_mean(str(value), choices)}"
        )
    return rows_C


@keywords(PerturbOptions)
def perturb_file(
    run: str | Path | OpenRun,
    cells: str | Path | None,
    genes: Sequence[str],
    out: str | Path,
    options: PerturbOptions,
    *,
    cells_out: str | Path | None = None,
    say: Say = print,
    progress: Progress | None = None,
) -> InSilico:
    """Perturb genes in the cells of a file (default: the run's own) and write how far every other gene moved.

    Parameters
    ----------
    run, genes, progress
        See :func:`perturb_genes`.
    cells
        File of cells, as in :func:`~grn_cotrain.export.cells.embed_cells`; None: the run's own.
    out
        ``.tsv`` or ``.parquet``: the table of genes, with the summary in its first line or its schema's metadata.
    {options}
    cells_out
        File of the same kinds for the shift of each cell.
    say
        Receives cells, controls and the outcome.

    Raises
    ------
    UserError
        As :func:`perturb_genes`; an unknown suffix; an unreadable file; a place that cannot be written, or that is the
        other table's or the input's.
    """
    _check_places(out, cells_out, cells)
    with ExitStack() as stack:  # opened first: a place that can't be written is reported before the work
        genes_file = stack.enter_context(atomic_file(out))
        cells_file = None if cells_out is None else stack.enter_context(atomic_file(cells_out))
        opened = OpenRun.of(run, prep=options.prep, side="cells")
        counts = None if cells is None else opened.read(cells, options)
        result = perturb_genes(opened, counts, genes, options=options, say=say, progress=progress)
        write_perturbation(result, result.genes, genes_file)
        if cells_file is not None:
            write_perturbation(result, result.cells, cells_file)
    for line in [*result.notes, *_sentences(result), f"{len(result.genes):,} genes: {out}"]:
        say(line)
    if cells_out is not None:
        say(f"{len(result.cells):,} cells: {cells_out}")
    return result


def _check_places(out: str | Path, cells_out: str | Path | None, cells: str | Path | None) -> None:
    """Refuse outputs of an unknown kind, that are one file, or that would replace the input or a part of it."""
    for path, option in ((out, "--out"), (cells_out, "--cells-out")):
        if path is None:
            continue
        _check_suffix(path, option)
        if Path(path).is_dir():
            raise UserError(f"{option} '{path}': is a folder; give the name of a file")
        if cells is None:
            continue
        refuse_input(path, cells, option=option)
        if Path(path).exists() and Path(cells).resolve() in Path(path).resolve().parents:  # genes.tsv of Matrix Market
            raise UserError(f"{option} '{path}': is a file of the input, which is never changed; give another file")
    if cells_out is not None and same_place(out, cells_out):
        raise UserError(
            f"--cells-out '{cells_out}': is --out too, and one table would replace the other; give two files"
        )


def _check_suffix(path: str | Path, option: str) -> None:
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{option} '{path}': unknown kind of file; give a name that ends in {' or '.join(SUFFIXES)}")


def _sentences(result: InSilico) -> list[str]:
    """The outcome in words: the shift of the cells among controls, and the genes that moved most."""
    facts = result.summary
    said = [
        f"{facts['mode']} {', '.join(facts['genes'])}: cells move by {facts['cosine_shift']:.3g} (cosine),"
        f" {facts['euclidean_shift']:.3g} (Euclidean)"
    ]
    if facts["num_controls"]:
        said[0] += (
            f"; {facts['num_controls']} random genes of like detection and expression by"
            f" {facts['control_cosine_shift']:.3g}: percentile {facts['percentile']:.0f}, p {facts['p_value']:.2g}"
        )
        said.append(
            f"detected in {facts['detected']:.0%} of cells, mean value {facts['mean_value']:.2f}; its controls"
            f" {facts['control_detected']:.0%}, {facts['control_mean_value']:.2f}"
        )
    top = result.genes.head(5)
    if len(top):
        said.append(
            "farthest: "
            + ", ".join(f"{name} {value:.3g}" for name, value in zip(top.symbol, top.cosine_shift, strict=True))
        )
    return said


def write_perturbation(result: InSilico, frame: pd.DataFrame, path: str | Path) -> None:
    """Write one table of a perturbation with its summary, whole or not at all.

    tsv: after one comment line, so ``pandas.read_csv(FILE, sep="\\t", comment="#", keep_default_na=False)`` reads it.
    parquet: the summary is JSON under ``grn_cotrain.perturbation`` in the schema's metadata.
    """
    _check_suffix(path, "path")
    facts = json.dumps(result.summary)
    with atomic_file(path) as temporary:
        if Path(path).suffix.lower() == ".tsv":
            with temporary.open("w", encoding="utf-8") as handle:
                handle.write(f"# grn_cotrain in-silico perturbation {facts}\n")
                write_delimited(frame, handle, float_format="%.6g")
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(frame, preserve_index=False)
        own = {b"grn_cotrain.perturbation": facts.encode()}
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), temporary)
