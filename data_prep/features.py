"""Features of genes from other prepared folders: ``grn-prep features``.

Dimension letters: G genes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grn_cotrain.data.gene_features import GeneFeatures, SetRows, set_rows, write_gene_features
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.jobs.prepare import FeatureOptions
from grn_cotrain.options import keywords

__all__ = ["prepare_features"]


@keywords(FeatureOptions)
def prepare_features(
    prep_folder: str | Path, sources: Sequence[str | Path], options: FeatureOptions
) -> list[dict[str, Any]]:
    """Store what other data sets say about the genes of a prepared folder; earlier features are replaced.

    Parameters
    ----------
    prep_folder
        Prepared folder that takes the features.
    sources
        Prepared folders of other data sets. Each is called by the name of its folder.
    {options}

    Returns
    -------
    list of dict
        For each set ``name``, ``rank``, ``cells_hash`` and ``report``: how many of its genes were found, and some
        names of those that were not.

    Raises
    ------
    UserError
        Two sets of one name or of the same cells, the folder itself, a set without genes, of another species, or that
        shares no gene with the folder. Nothing is written then.
    """
    prep = Prep.open(prep_folder)
    folders = [Path(source) for source in sources]
    if not folders:
        raise UserError("--from: names no prepared folder; give one or more")
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
    write_gene_features(prep.folder, GeneFeatures(symbols, sets), told)
    return told
