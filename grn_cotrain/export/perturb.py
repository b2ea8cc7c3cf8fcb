"""In-silico perturbation of any cells with the model of a run: names in, tables out.

Dimension letters: C cells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.align import align_cells
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.data.obs import as_labels, canonical_text, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.in_silico import InSilico, Level, perturb_cells
from grn_cotrain.export.cells import species_of
from grn_cotrain.export.coverage import values_and_species
from grn_cotrain.export.identity import RunIdentity
from grn_cotrain.files import atomic_file, refuse_input, same_place
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["SUFFIXES", "perturb_file", "perturb_genes", "write_perturbation"]

SUFFIXES = (".tsv", ".parquet")


def perturb_genes(
    run: str | Path,
    genes: Sequence[str],
    counts: CountsFile | None = None,
    *,
    mode: str = "delete",
    level: Level = 0.99,
    only: tuple[str, str] | None = None,
    max_cells: int | None = 256,
    num_controls: int = 20,
    min_mapped: float = 0.5,
    prep: str | Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InSilico:
    """Perturb genes by name; nothing is written.

    Parameters
    ----------
    run
        Run folder.
    genes
        Symbols or Ensembl ids, perturbed together.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``; None: the cells that the
        run was trained and tested on, from its prepared folder.
    mode, level, max_cells, num_controls, seed, progress
        See :func:`~grn_cotrain.evaluate.in_silico.perturb_cells`.
    only
        A column of ``obs`` and the value that cells must have there.
    min_mapped
        Least share of genes found, of the fewer of the file's and the model's.
    prep
        New place of the run's prepared folder, where no cells are given; default: it is looked for.
    say
        Told what is done with which cells before the work begins.

    Returns
    -------
    InSilico
        Its ``summary`` also names the run, by its hashes.

    Raises
    ------
    UserError
        A gene that the model does not know, with the nearest name; no such column or value of ``obs``; no model; the
        run's prepared folder is not at hand and no cells are given; what ``perturb_cells`` refuses.
    """
    folder = RunFolder.open(run)
    model, config = load_model(folder.require_model())
    index = [model.vocab.index(name) for name in genes]  # before anything costly: names are what people mistype
    notes: list[str] = []
    if counts is None:
        data = folder.load_data(prep)
        folder.check_data(data, model.vocab, config["meta"], fix="give --cells")
        cells = data.cells
    else:
        cells, _, notes = align_cells(counts, model.vocab, min_mapped=min_mapped)
        notes += [f"warning: {text}" for text in values_and_species(counts, config, model.vocab)]
    rows_C = _rows(cells, only)
    if say is not None:
        for line in notes:
            say(line)
    result = perturb_cells(
        model,
        cells,
        index,
        rows_C=rows_C,
        mode=mode,
        level=level,
        max_cells=max_cells,
        num_controls=num_controls,
        seed=seed,
        progress=progress,
    )
    result.summary.update(RunIdentity.of(folder, config).to_dict())
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


def perturb_file(
    run: str | Path,
    genes: Sequence[str],
    out: str | Path,
    *,
    cells: str | Path | None = None,
    cells_out: str | Path | None = None,
    mode: str = "delete",
    level: Level = 0.99,
    only: tuple[str, str] | None = None,
    max_cells: int | None = 256,
    num_controls: int = 20,
    min_mapped: float = 0.5,
    prep: str | Path | None = None,
    seed: int = 0,
    layer: str | None = None,
    modality: str | None = None,
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> InSilico:
    """Perturb genes in the cells of a file (default: the run's own) and write how far every other gene moved.

    Parameters
    ----------
    run, genes, mode, level, only, max_cells, num_controls, min_mapped, prep, seed, progress
        See :func:`perturb_genes`.
    out
        ``.tsv`` or ``.parquet``: the table of genes, with the summary in its first line or its schema's metadata.
    cells
        File of cells, as in :func:`~grn_cotrain.export.cells.embed_cells`.
    cells_out
        File of the same kinds for the shift of each cell.
    layer, modality, aliases, orthologs
        How ``cells`` is read.
    say
        Told of cells, controls and the outcome.

    Raises
    ------
    UserError
        As :func:`perturb_genes`; an unknown suffix; an unreadable file; a place that cannot be written, or that is the
        other table's or the input's.
    """
    _check_places(out, cells_out, cells)
    with ExitStack() as stack:  # opened first: a place that can't be written is told before the work
        genes_file = stack.enter_context(atomic_file(out))
        cells_file = None if cells_out is None else stack.enter_context(atomic_file(cells_out))
        counts = None
        if cells is not None:
            counts = load_counts(
                cells, layer, modality=modality, aliases=aliases, orthologs=orthologs, to_species=species_of(run)
            )
        result = perturb_genes(
            run,
            genes,
            counts,
            mode=mode,
            level=level,
            only=only,
            max_cells=max_cells,
            num_controls=num_controls,
            min_mapped=min_mapped,
            prep=prep,
            seed=seed,
            say=say,
            progress=progress,
        )
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
