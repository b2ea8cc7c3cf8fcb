"""How good generated values are, where the truth is known, compared with each gene's mean.

Dimension letters: C cells, G features, N generated entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = ["Accuracy", "accuracy"]


@dataclass(frozen=True)
class Accuracy:
    """Errors on the generated entries whose true value is not zero.

    Attributes
    ----------
    num_values, num_cells
        Numbers of values and cells that were compared.
    error
        Mean squared error of the generated values.
    gene_mean_error
        That of the mean of the gene's true values in the *other* cells of the file (the mean over all values where no
        other cell has one): what needs no model.
    r2
        ``1 - error / gene_mean_error``: 0 is as good as the gene mean, below 0 worse.
    correlation
        Pearson correlation of generated and true values after each gene's own mean over the entries was taken off.
    right, majority
        Over all generated entries of the file's genes: share of those rightly called zero or not, and share of the
        commoner of the two; NaN where the model does not predict zeros.
    num_unmeasured, num_unmeasured_genes
        Generated entries that cannot be compared with a truth, as the file lacks their genes, and these genes.
    """

    num_values: int
    num_cells: int
    error: float
    gene_mean_error: float
    r2: float
    correlation: float
    right: float
    majority: float
    num_unmeasured: int = 0
    num_unmeasured_genes: int = 0

    def line(self) -> str:
        """Lines to print."""
        unmeasured = ""
        if self.num_unmeasured:
            unmeasured = (
                f"; left out: {self.num_unmeasured:,} generated values of {self.num_unmeasured_genes:,} genes that the"
                " file lacks"
            )
        if not self.num_values:
            return f"accuracy: no generated value has a true one to stand beside{unmeasured}"
        text = (
            f"accuracy on {self.num_values:,} generated values of {self.num_cells:,} cells: mean squared error"
            f" {self.error:.4f}, gene mean {self.gene_mean_error:.4f}, R2 over the gene mean {self.r2:.3f};"
            f" correlation within genes {self.correlation:.3f} (gene mean: 0)"
        )
        if np.isfinite(self.right):
            text += f"; zero or not: {self.right:.1%} right, always the commoner {self.majority:.1%}"
        return text + unmeasured


def accuracy(
    truth_CG: sparse.csr_matrix,
    cell_N: np.ndarray,
    gene_N: np.ndarray,
    value_N: np.ndarray,
    chance_N: np.ndarray | None = None,
    measured_G: np.ndarray | None = None,
) -> Accuracy:
    """Compare generated entries with the file's own values, on the scale of these.

    Parameters
    ----------
    truth_CG
        Normalised values of the file, no zeros stored.
    cell_N, gene_N, value_N
        Generated entries: row, column and value.
    chance_N
        Chance that an entry is not zero, or None.
    measured_G
        bool: features that the file has; None: all. A zero of the others carries no information, so their entries are
        left out.
    """
    missing_N = np.zeros(len(gene_N), dtype=bool) if measured_G is None else ~measured_G[gene_N]
    unmeasured = (int(missing_N.sum()), len(np.unique(gene_N[missing_N])))
    cell_N, gene_N, value_N = cell_N[~missing_N], gene_N[~missing_N], value_N[~missing_N]
    chance_N = None if chance_N is None else chance_N[~missing_N]
    true_N = np.asarray(truth_CG[cell_N, gene_N], dtype=np.float64).ravel() if len(cell_N) else np.zeros(0)
    right = majority = float("nan")
    if chance_N is not None and len(true_N):
        right = float(((chance_N >= 0.5) == (true_N != 0)).mean())
        majority = float(max((true_N != 0).mean(), (true_N == 0).mean()))
    kept = np.flatnonzero(true_N)
    if not len(kept):
        nan = float("nan")
        return Accuracy(0, 0, nan, nan, nan, nan, right, majority, *unmeasured)
    true, found, gene, cell = true_N[kept], value_N[kept].astype(np.float64), gene_N[kept], cell_N[kept]
    num_genes = truth_CG.shape[1]
    sum_G = np.bincount(truth_CG.indices, truth_CG.data.astype(np.float64), minlength=num_genes)
    count_G = np.bincount(truth_CG.indices, minlength=num_genes)
    others = count_G[gene] - 1
    mean = np.where(others > 0, (sum_G[gene] - true) / np.maximum(others, 1), truth_CG.data.mean(dtype=np.float64))
    error, beside = float(np.mean((found - true) ** 2)), float(np.mean((mean - true) ** 2))
    r2 = 1 - error / beside if beside > 0 else float("nan")
    within = _within(true, found, gene, num_genes)
    return Accuracy(len(kept), len(np.unique(cell)), error, beside, r2, within, right, majority, *unmeasured)


def _within(true_N: np.ndarray, found_N: np.ndarray, gene_N: np.ndarray, num_genes: int) -> float:
    """Correlation after each gene's mean was taken off both; NaN where one of the two does not vary."""
    count_G = np.maximum(np.bincount(gene_N, minlength=num_genes), 1)
    true, found = (
        values - (np.bincount(gene_N, values, minlength=num_genes) / count_G)[gene_N] for values in (true_N, found_N)
    )
    scale = np.sqrt((true**2).sum() * (found**2).sum())
    return float((true * found).sum() / scale) if scale > 1e-12 else float("nan")
