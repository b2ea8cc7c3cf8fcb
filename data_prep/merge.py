"""Cells of several files, aligned: one matrix over the union (or what is common) of their features, one report.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import AlignmentReport, name_some
from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.assays import PRESENT
from grn_cotrain.data.io.align import align_features
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.io.size_factors import size_factors
from grn_cotrain.data.io.writable import writable_frame
from grn_cotrain.data.joined_rows import BelowRows, HeldRows
from grn_cotrain.data.obs import as_labels
from grn_cotrain.data.rows import RowSource, RowsThrough
from grn_cotrain.data.vocab import MODALITIES, FeatureVocab, detect_species
from grn_cotrain.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import anndata

__all__ = ["JOINS", "SOURCE_KEY", "labels_of", "merge_counts"]

JOINS = ("outer", "inner")
SOURCE_KEY = "source_file"
_LEAST_SHARED = 20  # fewer shared genes than this do not determine a species
_SUFFIXES = (".gz", ".h5ad", ".h5mu", ".h5", ".loom", ".zarr", ".csv", ".tsv", ".txt", ".mtx")


@dataclass
class _Placed:
    """One file over the joint features: column of each of its own, and what became of its names."""

    label: str
    counts: CountsFile
    column_N: np.ndarray
    report: AlignmentReport

    @property
    def modalities(self) -> set[str]:
        return set(self.counts.adata.var["modality"])


def merge_counts(
    files: Sequence[tuple[str, CountsFile]], *, join: str = "outer", source_key: str = SOURCE_KEY, species: str = "auto"
) -> CountsFile:
    """Put the cells of several files over one set of features.

    Features of two files are one if they have the same name in the same modality (ignoring case and versions of ids),
    or the same Ensembl id, or are aliases by the table they were read with. Size factors are those of each file's own
    features, so a gene that another file lacks still counts there.

    Parameters
    ----------
    files
        ``(label, cells)``; see :func:`labels_of`.
    join
        ``outer``: features of any file, zero where a file lacks them. ``inner``: features of every file that has their
        modality.
    source_key
        Column of ``obs`` for the label of each cell's file.
    species
        Species of files whose names are ambiguous.

    Returns
    -------
    CountsFile
        ``obs`` names the file of each cell and, with several modalities, those that the cell has. ``report.files``
        holds what became of the names of each file.

    Raises
    ------
    UserError
        Different species, counts together with log-scale values, no gene in common, a ``source_key`` that is taken.
    """
    if join not in JOINS:
        raise UserError(f"--join '{join}': choose from {', '.join(JOINS)}{did_you_mean(join, JOINS)}")
    _refuse_mixtures(files, source_key, species)
    kinds = _joint_kinds(files)
    vocab, placed = _aligned(files)
    _, order = vocab.ordered()
    kept = order if join == "outer" else order[np.isin(order, _common(placed, vocab))]
    column_G = np.full(vocab.num_features, -1, dtype=np.int64)
    column_G[kept] = np.arange(kept.size)
    matrices: list[sparse.csr_matrix | RowSource] = []
    tables = []
    depths: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
    notes = [f"{label}: {note}" for label, counts in files for note in counts.notes]
    for part in placed:
        _finish(part, column_G, vocab, kept)
        inside = np.flatnonzero(part.column_N >= 0)
        shape = (part.counts.adata.n_vars, kept.size)
        place = sparse.csr_matrix((np.ones(inside.size, np.float32), (inside, part.column_N[inside])), shape=shape)
        matrices.append(_over(part.counts, place))
        tables.append(part.counts.adata.obs.assign(**{source_key: part.label}))
        own = {name: kind for name, kind in kinds.items() if name in part.counts.kinds}
        found, said = size_factors(replace(part.counts, kinds=own))
        for name, parts in depths.items():  # a cell without the assay has nothing to scale
            parts.append(found.get(name, np.ones(part.counts.adata.n_obs)))
        notes += [f"{part.label}: {note}" for note in said]
    final = vocab.select(kept)
    obs, renamed = _joint_obs(placed, tables, final)
    notes += [*_said(placed, vocab, kept, join), *renamed]
    blocks = [matrix for matrix in matrices if sparse.issparse(matrix)]
    on_disk = len(blocks) < len(matrices)
    return CountsFile(
        adata=_matrix(None if on_disk else sparse.vstack(blocks, format="csr"), obs, final),
        kinds=kinds,
        notes=notes,
        report=_joint_report(placed, vocab, kept),
        aliases=files[0][1].aliases,
        size_factors={name: np.concatenate(parts) for name, parts in depths.items()},
        species=files[0][1].species,
        intervals={name: place for _, counts in reversed(files) for name, place in counts.intervals.items()},
        rows=BelowRows([HeldRows(one) if sparse.issparse(one) else one for one in matrices]) if on_disk else None,
    )


def labels_of(paths: Sequence[str | Path]) -> list[str]:
    """A short, distinct name for each file: its own, or the folders that distinguish it from the others.

    ``a/outs/filtered.h5`` and ``b/outs/filtered.h5`` are ``a`` and ``b``.
    """
    parts = [_stem(str(path)) for path in paths]
    if len(parts) > 1 and len(set(parts)) == len(parts):
        while all(len(part) > 1 for part in parts) and len({part[-1] for part in parts}) == 1:
            parts = [part[:-1] for part in parts]
    for length in range(1, max(len(part) for part in parts) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    twice = next(label for label, n in Counter(labels).items() if n > 1)
    raise UserError(f"IN '{twice}': is given twice; give each file once")


def _stem(path: str) -> tuple[str, ...]:
    parts = list(Path(path).parts)
    name = parts[-1] if parts else path
    while any(name.lower().endswith(suffix) and len(name) > len(suffix) for suffix in _SUFFIXES):
        name = name[: -len(next(suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)))]
    return (*(part for part in parts[:-1] if part != Path(path).anchor), name)


# -- what cannot be merged -------------------------------------------------------------------------------------------


def _refuse_mixtures(files: Sequence[tuple[str, CountsFile]], source_key: str, species: str) -> None:
    for assay in dict.fromkeys(name for _, counts in files for name in counts.kinds):
        kinds = {label: counts.kinds[assay] for label, counts in files if assay in counts.kinds}
        if "log" in kinds.values() and len(set(kinds.values())) > 1:
            called = "" if assay == "rna" else f" of {assay}"
            said = ", ".join(f"{label}: {kind}" for label, kind in kinds.items())
            raise UserError(
                f"IN: raw counts and log-scale values{called} cannot be merged ({said}); give counts for all (--layer)"
            )
    known = {label: found for label, counts in files if (found := _species_of(counts, species))}
    if len(set(known.values())) > 1:
        said = ", ".join(f"{label}: {found}" for label, found in known.items())
        raise UserError(
            f"IN: files of different species ({said}); give one, or map them: --orthologs FILE --to-species human"
        )
    for label, counts in files:
        if source_key in counts.adata.obs:
            raise UserError(
                f"--source-key '{source_key}': {label} has a column of that name already; choose another name"
            )


def _joint_kinds(files: Sequence[tuple[str, CountsFile]]) -> dict[str, str]:
    """Kind of each assay over all files, in the order of the modalities; counts, where one file has only ones."""
    found: dict[str, list[str]] = {}
    for _, counts in files:
        for name, kind in counts.kinds.items():
            found.setdefault(name, []).append(kind)
    order = [modality_of(name).assay for name in MODALITIES]
    return {name: found[name][0] if len(set(found[name])) == 1 else "counts" for name in order if name in found}


def _species_of(counts: CountsFile, asked: str) -> str | None:
    var = counts.adata.var
    genes = var[var["modality"] == "gene"]
    found = counts.species or detect_species([*map(str, genes.index), *(i for i in genes["gene_ids"] if i)])[0]
    return found or (asked if asked != "auto" else None)


# -- features --------------------------------------------------------------------------------------------------------


def _aligned(files: Sequence[tuple[str, CountsFile]]) -> tuple[FeatureVocab, list[_Placed]]:
    """Features of the first file, then those that each next file adds."""
    vocab: FeatureVocab | None = None
    placed: list[_Placed] = []
    for label, counts in files:
        var = counts.adata.var
        names, ids, modality = [list(map(str, column)) for column in (var.index, var["gene_ids"], var["modality"])]
        report = AlignmentReport(
            num_given=counts.report.num_given,
            renamed=list(counts.report.renamed),
            reasons=list(counts.report.reasons),
            duplicated=list(counts.report.duplicated),
            lost=list(counts.report.lost),
        )
        if vocab is None:
            vocab = FeatureVocab.from_symbols(names, ids, modality=modality, species="unknown")
            placed.append(_Placed(label, counts, np.arange(len(names)), report))
            continue
        column_N, found = np.full(len(names), -1, dtype=np.int64), AlignmentReport()
        if set(modality) & set(vocab.modality):
            alignment, _ = align_features(counts, vocab, min_mapped=0.0, what=label)
            column_N, found = alignment.index_N, alignment.report
        _refuse_strangers(label, found, placed, "gene" in modality and "gene" in vocab.modality)
        was = {new: old for old, new in report.renamed}
        for (old, new), reason in zip(found.renamed, found.reasons, strict=True):
            report.rename(was.get(old, old), new, reason)
        report.duplicated += found.duplicated
        repeated = set(found.duplicated)
        fresh = [i for i in np.flatnonzero(column_N < 0).tolist() if names[i] not in repeated]
        column_N[fresh] = vocab.num_features + np.arange(len(fresh))
        vocab = FeatureVocab.from_symbols(
            [*vocab.symbols, *(names[i] for i in fresh)],
            [*vocab.ids, *(ids[i] for i in fresh)],
            modality=[*vocab.modality, *(modality[i] for i in fresh)],
            species="unknown",
        )
        placed.append(_Placed(label, counts, column_N, report))
    assert vocab is not None
    return vocab, placed


def _refuse_strangers(label: str, found: AlignmentReport, placed: list[_Placed], have_genes: bool) -> None:
    others = name_some([part.label for part in placed], 3)
    if have_genes and not found.mapped:
        raise UserError(
            f"IN: {label} has no gene in common with {others}; check naming (symbols and Ensembl ids need a table: "
            "--aliases) and species"
        )
    by_case = found.reasons.count("case")
    if found.mapped >= _LEAST_SHARED and by_case > 0.5 * found.mapped:
        old, new = next(pair for pair, reason in zip(found.renamed, found.reasons, strict=True) if reason == "case")
        raise UserError(
            f"IN: {by_case:,} of {found.mapped:,} genes that {label} shares with {others} differ in case "
            f"({old}, {new}): files of different species; give one, or map them: --orthologs FILE --to-species human"
        )


def _common(placed: list[_Placed], vocab: FeatureVocab) -> np.ndarray:
    """Features of every file that has their modality."""
    has_FG = np.zeros((len(placed), vocab.num_features), dtype=bool)
    for row, part in enumerate(placed):
        has_FG[row, part.column_N[part.column_N >= 0]] = True
    modality_G = np.asarray(vocab.modality)
    kept_G = np.zeros(vocab.num_features, dtype=bool)
    for modality in set(vocab.modality):
        rows = [row for row, part in enumerate(placed) if modality in part.modalities]
        kept_G |= has_FG[rows].all(axis=0) & (modality_G == modality)
    if not kept_G.any():
        raise UserError("--join 'inner': no feature is in every file; take --join outer")
    return np.flatnonzero(kept_G)


def _finish(part: _Placed, column_G: np.ndarray, vocab: FeatureVocab, kept: np.ndarray) -> None:
    """Columns after the join, and the rest of the report."""
    inside = part.column_N >= 0
    taken = np.zeros(vocab.num_features, dtype=bool)
    taken[part.column_N[inside]] = True
    left_out = [vocab.symbols[i] for i in part.column_N[inside] if column_G[i] < 0]
    part.column_N[inside] = column_G[part.column_N[inside]]
    part.report.lost += left_out
    part.report.mapped = int((part.column_N >= 0).sum())
    part.report.absent = [vocab.symbols[i] for i in kept if not taken[i] and vocab.modality[i] in part.modalities]


def _joint_report(placed: list[_Placed], vocab: FeatureVocab, kept: np.ndarray) -> AlignmentReport:
    """Distinct features over all files; the parts hold each file's own."""
    left_out = np.setdiff1d(np.arange(vocab.num_features), kept)
    lost = dict.fromkeys(name for part in placed for name in part.counts.report.lost)
    report = AlignmentReport(
        num_given=vocab.num_features + len(lost),
        mapped=int(kept.size),
        duplicated=list(dict.fromkeys(name for part in placed for name in part.report.duplicated)),
        lost=[*lost, *(vocab.symbols[i] for i in left_out)],
        files={part.label: part.report for part in placed},
    )
    pairs = {
        pair: reason for part in placed for pair, reason in zip(part.report.renamed, part.report.reasons, strict=True)
    }
    for (old, new), reason in pairs.items():
        report.rename(old, new, reason)
    return report


def _said(placed: list[_Placed], vocab: FeatureVocab, kept: np.ndarray, join: str) -> list[str]:
    lacking = [f"{part.label} lacks {len(part.report.absent):,}" for part in placed if part.report.absent]
    how = "any file has" if join == "outer" else "every file has"
    lines = [f"{len(placed)} files: {kept.size:,} features that {how}" + (f"; {', '.join(lacking)}" if lacking else "")]
    for modality in MODALITIES:
        without = [part.label for part in placed if modality not in part.modalities]
        if modality in vocab.modality and without:
            assay = modality_of(modality).assay
            lines.append(f"no {modality}s in {name_some(without)}: {PRESENT.format(assay)} is False there")
    if lacking and join == "outer":
        lines.append(
            "which cells were measured is known for whole assays alone: where a file has an assay but lacks some of "
            "its features, its cells read zero there; --join inner leaves such features out"
        )
    return lines


# -- cells -----------------------------------------------------------------------------------------------------------


def _joint_obs(
    placed: list[_Placed], tables: list[pd.DataFrame], vocab: FeatureVocab
) -> tuple[pd.DataFrame, list[str]]:
    """Rows one under the other; names that several files use get the label of their file."""
    uses = Counter(str(name) for table in tables for name in table.index)
    clashes = [name for name, n in uses.items() if n > 1]
    present = [name for name in MODALITIES if name in vocab.modality]
    several = len(present) > 1
    taken = set(uses)
    renamed = []
    for part, table in zip(placed, tables, strict=True):
        names = []
        for name in map(str, table.index):
            new = name
            while uses[name] > 1 and (new == name or new in taken):
                new = f"{new}-{part.label}"
            taken.add(new)
            names.append(new)
        partial = several or any(PRESENT.format(modality_of(name).assay) in one for one in tables for name in present)
        columns = (
            {PRESENT.format(modality_of(name).assay): name in part.modalities for name in present} if partial else {}
        )
        own = {key: table.get(key, value) for key, value in columns.items()}
        renamed.append(table.assign(**own).set_axis(pd.Index(names, dtype=object), axis=0))
    notes = [f"cells: {', '.join(f'{part.label} {len(t):,}' for part, t in zip(placed, tables, strict=True))}"]
    if clashes:
        notes.append(
            f"{len(clashes):,} cell names occur in several files and took their file's label as a suffix: "
            f"{name_some(clashes, 3)}"
        )
    joined, changed = writable_frame(_in_one_form(pd.concat(renamed, axis=0, join="outer")))
    return joined, [*notes, *changed]


def _in_one_form(obs: pd.DataFrame) -> pd.DataFrame:
    """Labels that the files write in different ways (``0``, ``0.0``, ``"0"``) become one, in columns of text."""
    other = {}
    for name in obs.columns:
        if pd.api.types.is_numeric_dtype(obs[name].dtype):
            continue
        labels = as_labels(obs[name])
        if labels.nunique() < obs[name].map(str, na_action="ignore").nunique():
            other[name] = labels.astype("category")
    return obs.assign(**other)


def _over(counts: CountsFile, place: sparse.csr_matrix) -> sparse.csr_matrix | RowSource:
    """The values of a file over the joint features, on disk where they are."""
    if counts.rows is None:
        return counts.adata.X @ place
    return RowsThrough(counts.rows, lambda part_BG: part_BG @ place, place.shape[1])


def _matrix(X: sparse.csr_matrix | None, obs: pd.DataFrame, vocab: FeatureVocab) -> anndata.AnnData:
    import anndata

    var = pd.DataFrame(
        {"gene_ids": list(vocab.ids), "modality": list(vocab.modality)}, index=pd.Index(vocab.symbols, dtype=object)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a gene and its protein may share a name
        return anndata.AnnData(X=X, obs=obs, var=var)
