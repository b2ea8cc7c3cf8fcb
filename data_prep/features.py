"""Features of genes from other prepared folders: ``grn-prep features``.

Dimension letters: G genes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grn_cotrain.data.gene_features import GeneFeatures, SetRows, write_gene_features
from grn_cotrain.data.motifs import motif_similarity, read_motifs
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.set_rows import set_rows
from grn_cotrain.data.vocab import FeatureVocab, name_some
from grn_cotrain.errors import UserError
from grn_cotrain.jobs.prepare import FeatureOptions
from grn_cotrain.options import keywords

from .fetch import resolve_source

__all__ = ["prepare_features"]


@keywords(FeatureOptions)
def prepare_features(prep_folder: str | Path, sources: Sequence[str | Path], options: FeatureOptions) -> list[str]:
    """Store rows of other data sets, and motifs, in a prepared folder; earlier ones are replaced.

    Parameters
    ----------
    prep_folder
        Prepared folder that takes the features.
    sources
        Prepared folders of other data sets. Each is called by the name of its folder. May be empty with ``motifs``.
    {options}

    Returns
    -------
    list of str
        A line for each set, and for the motifs: how many genes were found, and some names of those that were not.

    Raises
    ------
    UserError
        Two sets of one name or of the same cells, the folder itself, a set without genes, of another species, or that
        shares no gene with the folder. Nothing is written then.
    """
    prep = Prep.open(prep_folder)
    folders = [Path(source) for source in sources]
    if not folders and options.motifs is None:
        raise UserError("--from: names no prepared folder; give one or more, or --motifs FILE")
    names = [folder.resolve().name for folder in folders]
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise UserError(f"--from: {twice[0]} is the name of two folders; rename one of them")
    own = prep.meta["cells_hash"]
    seen = {own: "the folder itself, whose cells are read anyway"}
    symbols = prep.vocab.symbols[: prep.vocab.num_genes]
    sets: dict[str, SetRows] = {}
    told: list[dict[str, Any]] = []
    for name, folder in zip(names, folders, strict=True):
        other = Prep.open(folder)
        cells_hash = str(other.meta["cells_hash"])
        if cells_hash in seen:
            raise UserError(f"--from '{folder}': holds the same cells as {seen[cells_hash]}; leave it out")
        seen[cells_hash] = str(folder)
        num_genes = other.vocab.num_genes
        if not num_genes:
            raise UserError(f"--from '{folder}': holds no genes; give a folder with RNA")
        what = f"genes of {name}"
        alignment = prep.vocab.align(other.vocab.symbols[:num_genes], min_mapped=0.0, what=what, modality="gene")
        found_N = alignment.index_N >= 0
        if not found_N.any():
            lost = prep.vocab.diagnose(alignment.report.lost, what)
            raise UserError(f"--from '{folder}': none of its {num_genes:,} genes is in '{prep_folder}'; {lost}")
        row_G = np.full(len(symbols), -1, dtype=np.int64)
        row_G[alignment.index_N[found_N]] = np.flatnonzero(found_N)
        rows = set_rows(other.cells, rank=options.rank)
        sets[name] = rows.take(row_G)
        report = f"{int(found_N.sum()):,} of the folder's {len(symbols):,} genes; {alignment.report.summary()}"
        told.append({"name": name, "rank": int(rows.loadings_GR.shape[1]), "cells_hash": cells_hash, "report": report})
    lines = [f"{one['name']}: {one['report']}" for one in told]
    motif_tfs, motif_TT, said = _motifs(options.motifs, prep.vocab)
    write_gene_features(prep.folder, GeneFeatures(symbols, sets, motif_tfs, motif_TT), told)
    return lines + said


def _motifs(path: str | Path | None, vocab: FeatureVocab) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Genes of the vocabulary that have a motif, the similarity of these, and a line that counts them."""
    if path is None:
        return (), np.zeros((0, 0), dtype=np.float32), []
    by_name = read_motifs(resolve_source(path))
    of_gene: dict[str, list[np.ndarray]] = {}
    lost = []
    for name, motifs in by_name.items():
        found = vocab.get(name, "gene")
        if found is None:
            lost.append(name)
        else:
            of_gene.setdefault(vocab.symbols[found], []).extend(motifs)
    if not of_gene:
        raise UserError(
            f"--motifs '{path}': none of its {len(by_name):,} TFs is a gene of the data ({name_some(lost, 3)}); "
            "name motifs by gene symbol"
        )
    names, similarity_TT = motif_similarity(of_gene)
    said = f"motifs: {len(names):,} of {len(by_name):,} TFs are genes of the data"
    return names, similarity_TT, [said + (f"; not {name_some(lost, 3)}" if lost else "")]
