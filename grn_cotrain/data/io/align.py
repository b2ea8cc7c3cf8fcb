"""Cells of any file -> the columns of a given vocabulary, with size factors from before any gene was left out.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse

from grn_cotrain.data.alignment import Alignment, AlignmentReport, name_some
from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.io.size_factors import SIZE_FACTOR, size_factors
from grn_cotrain.data.rows import RowsThrough
from grn_cotrain.data.vocab import MODALITIES, FeatureVocab
from grn_cotrain.errors import UserError

__all__ = ["align_cells", "align_features", "align_measured", "cells_over", "without_counts"]


def align_cells(
    counts: CountsFile, vocab: FeatureVocab, *, min_mapped: float = 0.5
) -> tuple[MemoryStore | BackedStore, AlignmentReport, list[str]]:
    """Put the columns of ``counts`` in the order of ``vocab``.

    Features that the file lacks are zero, and those of an assay that it does not have at all are not measured.

    Parameters
    ----------
    min_mapped
        Least share of the genes that must be found: of the file's or of the vocabulary's, whichever are fewer, so that
        a whole transcriptome fits a vocabulary of selected genes, and a panel fits a genome-wide one. Proteins and
        peaks do not count: panels and peak sets differ from file to file.

    Returns
    -------
    MemoryStore, AlignmentReport, list of str
        The cells; which features were mapped, renamed, lost or absent; and lines to report.

    Raises
    ------
    UserError
        Fewer genes are mapped than ``min_mapped``, or names are of another species.
    """
    cells, alignment, notes = _aligned(counts, vocab, min_mapped)
    return cells, alignment.report, notes


def align_measured(
    counts: CountsFile, vocab: FeatureVocab, *, min_mapped: float = 0.5
) -> tuple[MemoryStore | BackedStore, np.ndarray, AlignmentReport, list[str]]:
    """As :func:`align_cells`, with which features the file has, bool ``[G]``, after the cells.

    Zeros of the others are not measurements. Names do not decide: a gene and its protein may share one.
    """
    cells, alignment, notes = _aligned(counts, vocab, min_mapped)
    measured_G = np.zeros(vocab.num_features, dtype=bool)
    measured_G[alignment.index_N[alignment.index_N >= 0]] = True
    return cells, measured_G, alignment.report, notes


def _aligned(
    counts: CountsFile, vocab: FeatureVocab, min_mapped: float
) -> tuple[MemoryStore | BackedStore, Alignment, list[str]]:
    depth, notes = size_factors(counts)
    alignment, more = align_features(counts, vocab, min_mapped=min_mapped)
    found = np.flatnonzero(alignment.index_N >= 0)
    shape = (counts.adata.n_vars, vocab.num_features)
    place = sparse.csr_matrix((np.ones(found.size, np.float32), (found, alignment.index_N[found])), shape=shape)
    assays = [modality_of(space.name).assay for space in vocab.spaces]
    kinds = {name: counts.kinds.get(name, "counts") for name in assays}
    present = {name: np.full(counts.adata.n_obs, name in counts.kinds) for name in assays} | counts.present
    cells = cells_over(vocab, counts, lambda part_BG: part_BG @ place, kinds, depth, present)
    return cells, alignment, [*notes, *more, alignment.report.summary(), *without_counts(cells)]


def cells_over(
    vocab: FeatureVocab,
    counts: CountsFile,
    step: Callable[[sparse.csr_matrix], sparse.csr_matrix],
    kinds: Mapping[str, str],
    depth: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
) -> MemoryStore | BackedStore:
    """Cells of a file over a vocabulary: in memory, or on disk where their values are.

    Parameters
    ----------
    step
        Brings columns of the file to those of the vocabulary.
    kinds, depth, present
        Kind, depths and presence by assay of the vocabulary.
    """
    obs = counts.adata.obs.drop(columns=SIZE_FACTOR, errors="ignore")
    if counts.rows is None:
        X = step(counts.adata.X)
        return MemoryStore.build(vocab, X, kind=kinds, obs=obs, size_factor_C=depth, present=present)
    rows = RowsThrough(counts.rows, step, vocab.num_features)
    depth = {name: depth.get(name, np.ones(len(obs))) for name in kinds}
    return BackedStore.build(vocab, rows, kinds=kinds, obs=obs, size_factors=depth, present=present)


def without_counts(cells: MemoryStore | BackedStore) -> list[str]:
    """List the cells that have no value of any feature of the vocabulary; an empty list where every cell has one."""
    number_C = np.sum([cells.num_values(name) for name in cells.assays], axis=0)
    names = [str(name) for name in cells.obs.index[number_C == 0]]
    if not names:
        return []
    return [f"{len(names):,} cells have no value of any feature of the vocabulary: {name_some(names, 3)}"]


def align_features(
    counts: CountsFile, vocab: FeatureVocab, *, min_mapped: float = 0.5, what: str = "the cells"
) -> tuple[Alignment, list[str]]:
    """Find the vocabulary's feature of every column, within its modality; returns lines to report too.

    A column is looked for by its name, by its Ensembl id, by its name in the file, and by the aliases of the table it
    was read with, in this order; a feature goes to the first that finds it. Modalities that the vocabulary does not
    have are left out as a whole and are not in the report.
    """
    var = counts.adata.var
    names, ids = [str(name) for name in var.index], [str(value) for value in var["gene_ids"]]
    modality_N = var["modality"].to_numpy()
    was = {new: old for old, new in counts.report.renamed}
    known = [name for name in MODALITIES if name in vocab.modality]
    result = Alignment(np.full(len(names), -1, dtype=np.int64), AlignmentReport())
    notes: list[str] = []
    judged = AlignmentReport()
    for modality in MODALITIES:
        rows = np.flatnonzero(modality_N == modality)
        if not rows.size:
            if modality in known:
                notes.append(
                    f"the vocabulary's {vocab.modality.count(modality):,} {modality}s are not in the file: not measured"
                )
            continue
        if modality not in known:
            some = name_some([names[i] for i in rows], 2)
            notes.append(f"{rows.size:,} {modality}s were left out, the vocabulary has none: {some}")
            continue
        others = [[ids[i], *_written_otherwise(names[i], was, modality)] for i in rows]
        part = _align_modality([names[i] for i in rows], others, vocab, modality, counts, f"{modality}s of {what}")
        result.index_N[rows] = part.index_N
        _add(result.report, part.report)
        if modality == "gene" or "gene" not in modality_N or "gene" not in known:
            _add(judged, part.report)
    if not judged.num_given:
        raise UserError(
            f"genes of {what}: the file holds {', '.join(sorted(set(modality_N)))} features, the vocabulary "
            f"{', '.join(known)}; give cells with features of the same modality"
        )
    found = judged.num_given - len(judged.lost)
    wanted = min(judged.num_given, judged.mapped + len(judged.absent))
    if found < min_mapped * wanted:
        raise UserError(
            f"genes of {what}: only {found:,} of {judged.num_given:,} are in the vocabulary of "
            f"{judged.mapped + len(judged.absent):,} ({found / wanted:.0%}, min_mapped is {min_mapped:.0%}); "
            f"lost: {name_some(judged.lost)}; {vocab.diagnose(judged.lost, 'the file')}; or lower min_mapped"
        )
    return result, notes


def _written_otherwise(name: str, was: dict[str, str], modality: str) -> list[str]:
    """Other ways to write a name: as the file has it; a peak with the other separator."""
    others = [was[name]] if name in was else []
    if modality == "peak":
        parts = re.fullmatch(r"(.+)[:\-_](\d+)[\-_](\d+)", name)
        if parts:
            chromosome, start, end = parts.groups()
            others += [f"{chromosome}:{start}-{end}", f"{chromosome}-{start}-{end}", f"{chromosome}_{start}_{end}"]
    return others


def _align_modality(
    names: list[str], others: list[list[str]], vocab: FeatureVocab, modality: str, counts: CountsFile, what: str
) -> Alignment:
    """Names first, then other ways to find those that are lost, on features that no name has taken."""
    first = vocab.align(names, min_mapped=0.0, what=what, modality=modality)
    index_N, report = first.index_N, first.report
    lost = set(report.lost)
    taken = set(index_N[index_N >= 0].tolist())
    rows = [i for i, name in enumerate(names) if name in lost]
    aliases: dict[str, str] = {}
    if counts.aliases is not None and modality == "gene" and rows:
        features = [symbol for symbol, kind in zip(vocab.symbols, vocab.modality, strict=True) if kind == modality]
        aliases = counts.aliases.match([names[i] for i in rows], features)
    report.lost = []
    for i in rows:
        ways = [(other, "Ensembl id" if place == 0 else "spelling") for place, other in enumerate(others[i]) if other]
        ways += [(aliases[names[i]], "alias")] if names[i] in aliases else []
        found, reason = next(
            ((index, why) for way, why in ways if (index := vocab.get(way, modality)) is not None), (None, "")
        )
        if found is None:
            report.lost.append(names[i])
        elif found in taken:
            report.duplicated.append(names[i])
        else:
            taken.add(found)
            index_N[i] = found
            report.mapped += 1
            report.rename(names[i], vocab.symbols[found], reason)
    report.absent = [
        symbol
        for index, (symbol, kind) in enumerate(zip(vocab.symbols, vocab.modality, strict=True))
        if kind == modality and index not in taken
    ]
    return Alignment(index_N, report)


def _add(total: AlignmentReport, part: AlignmentReport) -> None:
    total.num_given += part.num_given
    total.mapped += part.mapped
    for name in ("renamed", "reasons", "duplicated", "lost", "absent"):
        getattr(total, name).extend(getattr(part, name))
