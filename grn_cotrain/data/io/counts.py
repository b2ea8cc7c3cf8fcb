"""Cells of every common format, validated once, and whether they hold counts or log-scale values.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import AlignmentReport, name_some
from grn_cotrain.data.io.annotations import set_annotations_apart
from grn_cotrain.data.io.column_words import like_a_barcode
from grn_cotrain.data.io.features import Features, NameTables, resolve_features
from grn_cotrain.data.io.format_anndata import MemorySource, read_anndata
from grn_cotrain.data.io.matrix_formats import read_matrix
from grn_cotrain.data.io.names import AliasTable, OrthologTable, TargetSpecies
from grn_cotrain.data.io.raw_matrix import RawMatrix
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.value_kind import ValueKind, detect_value_kind, kind_and_reason
from grn_cotrain.data.io.writable import writable_frame
from grn_cotrain.data.vocab import MODALITIES
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

__all__ = [
    "HAS_MODALITY",
    "CountsFile",
    "ValueKind",
    "counts_from_anndata",
    "detect_value_kind",
    "load_counts",
    "read_counts",
]

logger = logging.getLogger(__name__)

HAS_MODALITY = "has_{}"
"""Columns of ``obs`` that mark which cells have which modality: ``has_gene``, ``has_protein``, ``has_peak``."""


@dataclass
class CountsFile:
    """A validated matrix.

    Attributes
    ----------
    adata
        ``X`` CSR float32 ``[C, G]``; ``var_names`` unique within a modality; ``var["gene_ids"]`` Ensembl ids or ``""``;
        ``var["modality"]`` gene, peak or protein; ``obs`` as in the file, and ``has_gene``, ``has_protein``,
        ``has_peak`` where there are several modalities.
    kind
        ``counts`` or ``log``.
    notes
        Lines to report: what was detected, renamed or left out.
    report
        Report of the file's names.
    aliases
        The table that was applied, for matching to a vocabulary of older or newer symbols.
    size_factor_C
        Total counts of each cell where they are no longer those of ``X``: cells of several files, joined.
    species
        Species of the genes, where a table of orthologs determined it.
    """

    adata: anndata.AnnData
    kind: ValueKind
    notes: list[str] = field(default_factory=list)
    report: AlignmentReport = field(default_factory=AlignmentReport)
    aliases: AliasTable | None = None
    size_factor_C: np.ndarray | None = None
    species: TargetSpecies | None = None

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
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    orthologs_policy: str = "one2one",
    to_species: TargetSpecies | None = None,
    species: TargetSpecies | None = None,
    names: str | None = None,
    annotations: Sequence[str] = (),
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

    Raises
    ------
    UserError
        Missing, damaged or empty file; numbers in the place of names; no such layer or modality; NaN, infinite or
        negative values; values that are neither counts nor on a log scale; two species; duplicated barcodes; duplicated
        gene names that no Ensembl ids distinguish.
    """
    tables = NameTables(aliases, orthologs, orthologs_policy, to_species, species, names)
    what = f"counts '{path}'"
    raw = set_annotations_apart(read_matrix(path, layer, modality, annotations), what, annotations)
    return _validated(raw, what, layer, modality, tables)


def counts_from_anndata(
    adata: anndata.AnnData,
    layer: str | None = None,
    *,
    modality: str | None = None,
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    orthologs_policy: str = "one2one",
    to_species: TargetSpecies | None = None,
    species: TargetSpecies | None = None,
    names: str | None = None,
    annotations: Sequence[str] = (),
    what: str = "adata",
) -> CountsFile:
    """Validate an AnnData in memory as :func:`load_counts` validates a file; ``adata`` itself is never changed.

    ``what`` is how errors call it.
    """
    with reading(what, "read the object again from its file"):  # X of a backed object is stored in a file
        raw = read_anndata(MemorySource(adata), layer, what)
    raw.shared = True
    raw = set_annotations_apart(raw, what, annotations)
    tables = NameTables(aliases, orthologs, orthologs_policy, to_species, species, names)
    return _validated(raw, what, layer, modality, tables)


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
    values_CG = features.take(_numbers(adata.X, what, copy=raw.shared))
    _refuse_bad_values(values_CG, what, hint)
    kind, values_CG, features.var, said = _kind(values_CG, features, raw.optional, what, hint)
    if tables.orthologs is not None and tables.policy == "sum" and kind == "log" and features.report.duplicated:
        raise UserError(f"--orthologs-policy 'sum': {what} is on a log scale, which cannot be summed; give raw counts")
    notes = [*raw.notes, *said, *features.notes]
    if kind == "log" and hint:
        notes.append(f"raw counts are there too, and were not taken: {hint}")
    obs, changed = writable_frame(_with_modalities(adata.obs, features.var, raw))
    notes += changed
    empty_C = np.diff(values_CG.indptr) == 0
    if empty_C.all():
        fix = hint or "give the layer that holds the counts (--layer)"
        raise UserError(f"{what}: every cell is empty; {fix}")
    if empty_C.any():
        names = list(obs.index[empty_C])
        notes.append(f"{len(names):,} cells without any count were left out: {name_some(names, 3)}")
        values_CG, obs = values_CG[~empty_C], obs[~empty_C]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a gene and its protein may share a name
        result = anndata.AnnData(X=values_CG, obs=obs, var=features.var)
    return CountsFile(result, kind, notes, features.report, tables.aliases, species=features.species)


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


def _refuse_bad_values(values_CG: sparse.csr_matrix, what: str, hint: str) -> None:
    for trouble, bad_N in (
        ("NaN", np.isnan(values_CG.data)),
        ("infinite", np.isinf(values_CG.data)),
        ("negative", values_CG.data < 0),
    ):
        if bad_N.any():
            cells = np.unique(np.searchsorted(values_CG.indptr, np.flatnonzero(bad_N), side="right")).size
            fix = "repair or remove them"
            if trouble == "negative":
                fix = "give raw counts or log1p values, not scaled ones" + (f" (raw counts: {hint})" if hint else "")
            raise UserError(f"{what}: {int(bad_N.sum()):,} {trouble} values in {cells:,} cells; {fix}")


def _kind(
    values_CG: sparse.csr_matrix, features: Features, optional: np.ndarray | None, what: str, hint: str
) -> tuple[ValueKind, sparse.csr_matrix, pd.DataFrame, list[str]]:
    """One kind for all modalities; proteins that came along unasked leave where theirs is another."""
    modality_G = features.var["modality"].to_numpy()
    present = [name for name in MODALITIES if name in modality_G]
    kinds: dict[str, tuple[ValueKind, str]] = {}
    for name in present:
        part = values_CG if len(present) == 1 else values_CG[:, modality_G == name]
        called = what if len(present) == 1 else f"{what} ({name}s)"
        try:
            kinds[name] = kind_and_reason(part, called)
        except UserError as error:
            raise UserError(f"{error}{f' (raw counts: {hint})' if hint else ''}") from None
    notes = []
    if len({kind for kind, _ in kinds.values()}) > 1 and optional is not None and "gene" in kinds:
        leave = modality_G == "protein"
        notes.append(f"the {int(leave.sum()):,} proteins were left out again: they are counts, the genes are not")
        column_G = np.cumsum(~leave) - 1
        column_G[leave] = -1
        inside = features.column_N >= 0
        features.column_N[inside] = column_G[features.column_N[inside]]
        features.report.lost += list(features.var.index[leave])
        features.report.mapped -= int(leave.sum())
        values_CG, features.var = values_CG[:, ~leave], features.var[~leave]
        kinds.pop("protein")
    if len({kind for kind, _ in kinds.values()}) > 1:
        said = ", ".join(f"{name}s: {kind}" for name, (kind, _) in kinds.items())
        raise UserError(
            f"{what}: counts together with log-scale values ({said}); give counts for all, or take one (--modality)"
        )
    kind = next(iter(kinds.values()))[0]
    called = "raw counts" if kind == "counts" else "on a log scale, not counts"
    reasons = [(f"{name}s: " if len(kinds) > 1 else "") + reason for name, (_, reason) in kinds.items()]
    return kind, values_CG, features.var, [f"values are {called}: {'; '.join(reasons)}", *notes]


def _with_modalities(obs: pd.DataFrame, var: pd.DataFrame, raw: RawMatrix) -> pd.DataFrame:
    """``obs`` with one column a modality, where there are several or some cells lack theirs."""
    present = [name for name in MODALITIES if (var["modality"] == name).any()]
    partial = any(not raw.measured[name].all() for name in present if name in raw.measured)
    if len(present) < 2 and not partial:
        return obs.copy()
    everywhere = np.ones(len(obs), dtype=bool)
    return obs.assign(**{HAS_MODALITY.format(name): raw.measured.get(name, everywhere) for name in present})


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
