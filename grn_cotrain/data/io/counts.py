"""Cells of every common format, validated once, and whether they hold counts or log-scale values.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import AlignmentReport, name_some
from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.assays import PRESENT, kind_for
from grn_cotrain.data.io.annotations import needs_whole, set_annotations_apart
from grn_cotrain.data.io.column_words import like_a_barcode
from grn_cotrain.data.io.features import Features, NameTables, TableOptions, resolve_features
from grn_cotrain.data.io.format_anndata import MemorySource, read_anndata
from grn_cotrain.data.io.matrix_formats import read_matrix
from grn_cotrain.data.io.names import AliasTable, TargetSpecies
from grn_cotrain.data.io.raw_matrix import RawMatrix
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.data.io.value_kind import ValueKind, ValueSummary, detect_value_kind, kind_and_reason
from grn_cotrain.data.io.writable import writable_frame
from grn_cotrain.data.obs import as_labels
from grn_cotrain.data.rows import RowSource, RowsThrough, row_blocks
from grn_cotrain.data.spaces import Interval, intervals_of
from grn_cotrain.data.vocab import MODALITIES
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

__all__ = [
    "CountsFile",
    "ValueKind",
    "counts_from_anndata",
    "detect_value_kind",
    "load_counts",
    "read_counts",
]

logger = logging.getLogger(__name__)


@dataclass
class CountsFile:
    """A validated matrix.

    Attributes
    ----------
    adata
        ``X`` CSR float32 ``[C, G]``; ``var_names`` unique within a modality; ``var["gene_ids"]`` Ensembl ids or ``""``;
        ``var["modality"]`` gene, peak or protein; ``obs`` as in the file, and ``present_rna``, ``present_atac``,
        ``present_protein`` where there are several modalities or some cells lack theirs.
    kinds
        Assay -> its kind, in the order of the modalities.
    notes
        Lines to report: what was detected, renamed or left out.
    report
        Report of the file's names.
    aliases
        The table that was applied, for matching to a vocabulary of older or newer symbols.
    size_factors
        Assay -> depth of each cell, where it is no longer that of ``X``: cells of several files, joined.
    intervals
        Chromosome, start and end of the features whose place is known, by name.
    species
        Species of the genes, where a table of orthologs determined it.
    rows
        The values, where they stay on disk; ``adata`` has no ``X`` then.
    """

    adata: anndata.AnnData
    kinds: dict[str, str]
    notes: list[str] = field(default_factory=list)
    report: AlignmentReport = field(default_factory=AlignmentReport)
    aliases: AliasTable | None = None
    size_factors: dict[str, np.ndarray] | None = None
    species: TargetSpecies | None = None
    intervals: dict[str, Interval] = field(default_factory=dict)
    rows: RowSource | None = None

    def blocks(self) -> Iterator[sparse.csr_matrix]:
        """Values of the cells in order, CSR float32 ``[B, G]``: one block in memory, several from disk."""
        if self.rows is None:
            yield self.adata.X
        else:
            yield from (part_BG for _, part_BG in row_blocks(self.rows))

    def of_cells(self, compute: Callable[[sparse.csr_matrix], np.ndarray]) -> np.ndarray:
        """Apply ``compute`` to the values of the cells, block by block, and join its results."""
        return np.concatenate([compute(part_BG) for part_BG in self.blocks()])

    @property
    def kind(self) -> str:
        """Kind of the genes, or of the first modality where there are none."""
        return next(iter(self.kinds.values()))

    @property
    def present(self) -> dict[str, np.ndarray]:
        """Assay -> which cells have it, bool ``[C]``; assays that every cell has may be left out."""
        obs = self.adata.obs
        return {name: obs[PRESENT.format(name)].to_numpy(bool) for name in self.kinds if PRESENT.format(name) in obs}

    @property
    def renamed(self) -> list[tuple[str, str]]:
        """``(name in the file, name now)``."""
        return self.report.renamed


def read_counts(path: str | Path, layer: str | None = None) -> anndata.AnnData:
    """Read and validate a matrix; see :func:`load_counts`. ``uns["grn_cotrain"]`` holds counts or log, and the
    notes."""
    counts = load_counts(path, layer)
    for note in counts.notes:
        logger.info("%s: %s", path, note)
    counts.adata.uns["grn_cotrain"] = {"kind": counts.kind, "notes": counts.notes}
    return counts.adata


def load_counts(
    path: str | Path,
    layer: str | None = None,
    *,
    modality: str | None = None,
    annotations: Sequence[str] = (),
    place: Place = "memory",
    **tables: Unpack[TableOptions],
) -> CountsFile:
    """Read cells x features from h5ad, h5mu, loom, zarr, 10x h5, Matrix Market files, or a CSV/TSV table.

    Parameters
    ----------
    path
        The file or folder; the format is detected from its content.
    layer
        h5ad, h5mu, loom, zarr: a layer instead of ``X``; ``raw`` for ``adata.raw``.
    modality
        Take one modality of several: ``rna``, ``prot``, ``atac``, or as the file calls them; ``rna,prot`` takes two.
        By default all are features, each with its modality.
    aliases
        Old symbols become current ones.
    orthologs, orthologs_policy
        Genes become those of the other species; see :meth:`~grn_cotrain.data.io.names.OrthologTable.convert`.
    to_species
        With ``orthologs``: the species wanted; cells that are of it already stay as they are.
    species
        With ``orthologs``: the species of the cells where their names are ambiguous.

    names
        Column of the features that holds their names, where the index does not; ``index`` for the index.
    annotations
        Names of columns or features that are not genes, beyond those that are known (``n_counts``, ``cluster``): they
        become columns of ``obs``.
    place
        ``backed``: a matrix of an h5ad, h5mu or zarr store stays on disk (:attr:`CountsFile.rows`); ``auto``: where it
        has more than ``IN_MEMORY_VALUES`` values. Everything else is read into memory, and so is a matrix whose indices
        are not in order, or in which some features may be annotation.

    Raises
    ------
    UserError
        Missing, damaged or empty file; numbers in the place of names; no such layer or modality; NaN, infinite or
        negative values; values that are neither counts nor on a log scale; two species; duplicated barcodes; duplicated
        gene names that no Ensembl ids distinguish.
    """
    what = f"counts '{path}'"
    raw = read_matrix(path, layer, modality, annotations, place)
    if raw.rows is not None and needs_whole(raw, annotations):
        raw = read_matrix(path, layer, modality, annotations)
    raw = set_annotations_apart(raw, what, annotations)
    return _validated(raw, what, layer, modality, NameTables.of(tables))


def counts_from_anndata(
    adata: anndata.AnnData,
    layer: str | None = None,
    *,
    modality: str | None = None,
    annotations: Sequence[str] = (),
    what: str = "adata",
    **tables: Unpack[TableOptions],
) -> CountsFile:
    """Validate an AnnData in memory as :func:`load_counts` validates a file; ``adata`` itself is never changed.

    ``what`` is how errors call it.
    """
    with reading(what, "read the object again from its file"):  # X of a backed object is stored in a file
        raw = read_anndata(MemorySource(adata), layer, what)
    raw.shared = True
    raw = set_annotations_apart(raw, what, annotations)
    return _validated(raw, what, layer, modality, NameTables.of(tables))


def _validated(raw: RawMatrix, what: str, layer: str | None, modality: str | None, tables: NameTables) -> CountsFile:
    import anndata

    adata = raw.adata
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise UserError(f"{what}: holds {adata.n_obs} cells x {adata.n_vars} genes; give a matrix with content")
    _refuse_repeated_barcodes(adata.obs_names, what)
    _refuse_exchanged_axes(adata.obs_names, adata.var_names, what)
    # A reader that knows the file's own names of its parts has chosen already.
    features = resolve_features(adata.var, what, modality=None if raw.modality_taken else modality, tables=tables)
    hint = _hint(raw.counts_at)
    values_CG: Any = None
    rows: RowsThrough | None = None
    if raw.rows is None:
        values_CG = features.take(_numbers(adata.X, what, copy=raw.shared))
    else:
        rows = RowsThrough(RowsThrough(raw.rows, lambda part: part, adata.n_vars), features.take, len(features.var))
    facts = _Facts(features.var["modality"].to_numpy(), adata.n_obs)
    for part_BG in [values_CG] if rows is None else (part_BG for _, part_BG in row_blocks(rows)):
        facts.add(part_BG)
    _refuse_bad_values(facts, what, hint)
    kinds, said = _kinds(facts, what, hint)
    on_log_scale = next(iter(kinds.values())) == "log"
    if tables.orthologs is not None and tables.policy == "sum" and on_log_scale and features.report.duplicated:
        raise UserError(f"--orthologs-policy 'sum': {what} is on a log scale, which cannot be summed; give raw counts")
    notes = [*raw.notes, *said, *features.notes]
    if on_log_scale and hint:
        notes.append(f"raw counts are there too, and were not taken: {hint}")
    present = _presence(adata.obs, features.var, raw, what)
    notes += _measured_notes(facts, present, what)
    columns = {PRESENT.format(name): has_C for name, has_C in present.items()}
    if len(present) == 1 and next(iter(present.values())).all():
        columns = {}
    obs, changed = writable_frame(adata.obs.assign(**columns))
    notes += changed
    empty_C = np.sum([facts.number_C(name) for name in facts.modalities], axis=0) == 0
    if empty_C.all():
        fix = hint or "give the layer that holds the counts (--layer)"
        raise UserError(f"{what}: every cell is empty; {fix}")
    if empty_C.any():
        names = list(obs.index[empty_C])
        notes.append(f"{len(names):,} cells without any count were left out: {name_some(names, 3)}")
        obs = obs[~empty_C]
        if rows is None:
            values_CG = values_CG[~empty_C]
        else:
            rows = rows.take(np.flatnonzero(~empty_C))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a gene and its protein may share a name
        result = anndata.AnnData(X=values_CG, obs=obs, var=features.var)
    return CountsFile(
        result,
        kinds,
        notes,
        features.report,
        tables.aliases,
        species=features.species,
        intervals=_intervals(adata.var, features),
        rows=rows,
    )


def _intervals(var: pd.DataFrame, features: Features) -> dict[str, Interval]:
    """Places of the features that stay, by the names they have now; of columns that were summed, the first has it."""
    kept_N = np.flatnonzero(features.column_N >= 0)
    first_G = kept_N[np.unique(features.column_N[kept_N], return_index=True)[1]]
    return intervals_of(var.iloc[first_G].set_axis(features.var.index).assign(modality=features.var["modality"]))


def _hint(counts_at: list[str]) -> str:
    return "; ".join(f"--layer {name}" for name in counts_at[:3])


def _numbers(X: Any, what: str, *, copy: bool) -> sparse.csr_matrix:
    """CSR float32, sorted and without stored zeros."""
    try:
        values_CG = sparse.csr_matrix(X, dtype=np.float32, copy=copy)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: its values are not numbers ({error}); give counts or log1p values") from None
    values_CG.sum_duplicates()
    values_CG.eliminate_zeros()
    return values_CG


class _Facts:
    """Facts about the values of all cells, gathered block by block.

    Attributes
    ----------
    modalities
        Those of the features, in the order of all.
    bad
        NaN, infinite, negative: number of values, and of cells that have some.
    summary
        Modality -> summary of its values.
    """

    def __init__(self, modality_G: np.ndarray, num_cells: int) -> None:
        self.modalities = [name for name in MODALITIES if name in modality_G]
        self.bad = dict.fromkeys(_BAD, (0, 0))
        self.summary = {name: ValueSummary(num_cells) for name in self.modalities}
        self._columns = {name: np.flatnonzero(modality_G == name) for name in self.modalities}
        self._number: dict[str, list[np.ndarray]] = {name: [] for name in self.modalities}
        self._first = 0

    def add(self, part_BG: sparse.csr_matrix) -> None:
        """Add the next cells."""
        for trouble, is_bad in _BAD.items():
            bad_N = is_bad(part_BG.data)
            if bad_N.any():
                cells = np.unique(np.searchsorted(part_BG.indptr, np.flatnonzero(bad_N), side="right")).size
                number, before = self.bad[trouble]
                self.bad[trouble] = (number + int(bad_N.sum()), before + cells)
        for name, index_F in self._columns.items():
            part_BF = part_BG if len(index_F) == part_BG.shape[1] else part_BG[:, index_F]
            self.summary[name].add(part_BF, self._first)
            self._number[name].append(np.diff(part_BF.indptr))
        self._first += part_BG.shape[0]

    def number_C(self, modality: str) -> np.ndarray:
        """Values of each cell in a modality, int64 ``[C]``."""
        return np.concatenate(self._number[modality])


_BAD: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NaN": np.isnan,
    "infinite": np.isinf,
    "negative": lambda values_N: values_N < 0,
}


def _refuse_bad_values(facts: _Facts, what: str, hint: str) -> None:
    for trouble, (number, cells) in facts.bad.items():
        if number:
            fix = "repair or remove them"
            if trouble == "negative":
                fix = "give raw counts or log1p values, not scaled ones" + (f" (raw counts: {hint})" if hint else "")
            raise UserError(f"{what}: {number:,} {trouble} values in {cells:,} cells; {fix}")


def _kinds(facts: _Facts, what: str, hint: str) -> tuple[dict[str, str], list[str]]:
    """Kind of each assay, found from the values of its own features; and why, for the reader."""
    present = facts.modalities
    kinds: dict[str, str] = {}
    notes = []
    for name, part in facts.summary.items():
        try:
            values, reason = kind_and_reason(part, what if len(present) == 1 else f"{what} ({name}s)")
        except UserError as error:
            raise UserError(f"{error}{f' (raw counts: {hint})' if hint else ''}") from None
        kind = kind_for(name, values, only_ones=part.only_ones)
        kinds[modality_of(name).assay] = kind
        called = "raw counts" if values == "counts" else "on a log scale, not counts"
        usual = "" if kind == values else f"; taken as {kind}"
        notes.append(f"{'values' if len(present) == 1 else f'{name}s: values'} are {called}: {reason}{usual}")
    return kinds, notes


def _presence(obs: pd.DataFrame, var: pd.DataFrame, raw: RawMatrix, what: str) -> dict[str, np.ndarray]:
    """Which cells have which assay: as the reader found it, or as a column ``present_<assay>`` of the file states."""
    present: dict[str, np.ndarray] = {}
    for name in [name for name in MODALITIES if (var["modality"] == name).any()]:
        assay = modality_of(name).assay
        has_C = raw.measured.get(name, np.ones(len(obs), dtype=bool))
        column = PRESENT.format(assay)
        if column in obs:
            said = as_labels(obs[column]).map({"True": True, "1": True, "False": False, "0": False})
            if said.isna().any():
                raise UserError(f"{what}: obs['{column}'] holds other values than true and false; repair the column")
            has_C = has_C & said.to_numpy(bool)
        present[assay] = has_C
    return present


def _measured_notes(facts: _Facts, present: dict[str, np.ndarray], what: str) -> list[str]:
    """Cells with each assay; what the file leaves open is named."""
    notes = []
    for assay, has_C in present.items():
        name = modality_of(assay).name
        number_C = facts.number_C(name)
        if (number_C[~has_C] > 0).any():
            raise UserError(
                f"{what}: obs['{PRESENT.format(assay)}'] is false in {int((number_C[~has_C] > 0).sum()):,} cells that "
                f"have {name}s; repair the column"
            )
        if len(present) > 1 or not has_C.all():
            notes.append(f"{assay}: measured in {int(has_C.sum()):,} of {len(has_C):,} cells")
        empty = int((number_C[has_C] == 0).sum())
        if len(present) > 1 and empty:
            notes.append(
                f"{assay}: {empty:,} of these cells have no {name} at all and are taken as measured; where they are "
                f"not, mark it in a column {PRESENT.format(assay)} of obs"
            )
    return notes


def _refuse_exchanged_axes(cells: pd.Index, features: pd.Index, what: str) -> None:
    """Barcodes in the place of genes; a gene is never called so."""
    some_cells, some_features = list(cells[:1000]), list(features[:1000])
    if np.mean([*map(like_a_barcode, some_features)]) > 0.9 and np.mean([*map(like_a_barcode, some_cells)]) < 0.1:
        raise UserError(
            f"{what}: its features are called like barcodes ({some_features[0]}) and its cells are not "
            f"({some_cells[0]}), so genes and cells are exchanged; transpose the matrix, or exchange the two lists of "
            "names"
        )


def _refuse_repeated_barcodes(names: pd.Index, what: str) -> None:
    repeated = list(dict.fromkeys(names[names.duplicated()]))
    if repeated:
        raise UserError(
            f"{what}: {len(repeated):,} cell names occur more than once ({name_some(repeated, 3)}); "
            "make them unique (adata.obs_names_make_unique())"
        )
