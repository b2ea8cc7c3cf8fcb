"""Cells of any file -> the columns of a given vocabulary, with size factors from before any gene was left out.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.vocab import AlignmentReport, FeatureVocab
from grn_cotrain.errors import UserError

__all__ = ["SIZE_FACTOR", "align_cells", "size_factors"]

SIZE_FACTOR = "size_factor"


def align_cells(
    counts: CountsFile, vocab: FeatureVocab, *, min_mapped: float = 0.5
) -> tuple[CellMatrix, AlignmentReport, list[str]]:
    """Put the columns of ``counts`` in the order of ``vocab``; features that the file lacks are zero.

    Parameters
    ----------
    min_mapped
        Least share of the file's genes that the vocabulary must hold.

    Returns
    -------
    CellMatrix, AlignmentReport, list of str
        The cells, which genes were mapped, renamed or lost, and what there is to tell.

    Raises
    ------
    UserError
        Fewer genes are mapped than ``min_mapped``, or values are no counts or log-scale values.
    """
    adata = counts.adata
    names = list(adata.var_names)
    size_factor_C, notes = size_factors(counts)
    alignment = vocab.align(names, min_mapped=min_mapped, what="genes of the cells")
    found = np.flatnonzero(alignment.index_N >= 0)
    shape = (len(names), vocab.num_features)
    place = sparse.csr_matrix((np.ones(found.size, np.float32), (found, alignment.index_N[found])), shape=shape)
    obs = adata.obs.drop(columns=SIZE_FACTOR, errors="ignore")
    cells = CellMatrix.build(vocab, adata.X @ place, kind=counts.kind, obs=obs, size_factor_C=size_factor_C)
    return cells, alignment.report, [*notes, alignment.report.summary()]


def size_factors(counts: CountsFile) -> tuple[np.ndarray | None, list[str]]:
    """Total counts of each cell over all genes of the file, or the file's own ``obs["size_factor"]``.

    None for log-scale values, which are normalised already.
    """
    if counts.kind == "log":
        return None, []
    adata = counts.adata
    if SIZE_FACTOR in adata.obs:
        values_C = pd.to_numeric(adata.obs[SIZE_FACTOR], errors="coerce").to_numpy(np.float64)
        if not (np.isfinite(values_C).all() and (values_C > 0).all()):
            raise UserError(
                "obs['size_factor']: holds values that are no positive numbers; repair or remove the column"
            )
        return values_C, ["size factors: taken from obs['size_factor']"]
    genes_G = (adata.var["modality"] == "gene").to_numpy()
    used = adata.X[:, genes_G] if genes_G.any() else adata.X
    totals_C = np.asarray(used.sum(axis=1, dtype=np.float64)).ravel()
    # A cell with counts in another modality only still needs a scale.
    return np.where(totals_C > 0, totals_C, 1.0), []
