"""Which genes imported pairs hold out of training: derived from the pairs, since files do not name them.

Dimension letters: M pairs, N genes of a side.
"""

from __future__ import annotations

import numpy as np

__all__ = ["hidden_genes"]


def hidden_genes(
    train_M: np.ndarray, positive_M: np.ndarray, validation_M: np.ndarray, test_M: np.ndarray
) -> np.ndarray:
    """Genes of one side (sources, or targets) that validation or test names and training holds out.

    A gene is held out where no training pair names it, neither a positive nor a labelled negative. Where not one test
    gene of this side has a training positive, the split holds out the whole side, and labelled negatives of its genes
    do not change that. Otherwise a gene with labelled negatives alone is not held out: its degree of 0 is what the
    labels show (on BEELINE's published files a prior instead of it lowers macro AUROC from .685 to .642).

    Parameters
    ----------
    train_M, positive_M
        Gene indices of this side in the training pairs, and in those of them that are positives.
    validation_M, test_M
        The same of all validation and test pairs; their labels are never read.

    Returns
    -------
    int64 ``[N]``, sorted
    """
    hidden_N = np.setdiff1d(np.concatenate([validation_M, test_M]), train_M)
    if test_M.size and not np.isin(test_M, positive_M).any():
        hidden_N = np.union1d(hidden_N, test_M)
    return hidden_N.astype(np.int64)
