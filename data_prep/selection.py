"""Which genes of a data set are kept: all, or highly variable ones together with TFs and targets.

Highly variable genes alone gut a network (2,000 of them keep a twentieth of CollecTRI's edges), so they come with the
network's genes.

Dimension letters: B some cells, G genes, K candidates, N stored values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.errors import UserError

__all__ = ["GeneSelection", "parse_selection", "select_genes"]

_BINS = 20  # number of ranges of the mean, in which dispersions are compared
_EXAMPLE = "write all, or for example hvg:2000+tf+targets"


@dataclass(frozen=True)
class GeneSelection:
    """``--genes``: everything, or the union of the parts that are named."""

    everything: bool = False
    num_variable: int = 0
    tf: bool = False
    targets: bool = False


def parse_selection(text: str) -> GeneSelection:
    """``all`` or a sum of ``hvg:N``, ``tf``, ``targets``."""
    parts = [part.strip().lower() for part in text.split("+")]
    if parts == ["all"]:
        return GeneSelection(everything=True)
    num_variable, named = 0, set()
    for part in parts:
        name, _, number = part.partition(":")
        if name == "hvg":
            if not number.isdigit() or int(number) < 1:
                raise UserError(f"--genes '{text}': '{part}' needs a number of genes; {_EXAMPLE}")
            num_variable = int(number)
        elif part in ("tf", "targets"):
            named.add(part)
        else:
            raise UserError(f"--genes '{text}': '{part}' is unknown; {_EXAMPLE}")
    return GeneSelection(num_variable=num_variable, tf="tf" in named, targets="targets" in named)


def select_genes(
    cells: MemoryStore | BackedStore, selection: GeneSelection, *, tf_index: np.ndarray, target_index: np.ndarray
) -> tuple[np.ndarray, str]:
    """Return the sorted indices of the features that stay, and one line that counts them by kind.

    Features of other modalities always stay. Spike-ins are not candidates for the variable genes.
    """
    if selection.everything:
        return np.arange(cells.num_features), f"features: all {cells.vocab.counted}"
    for wanted, index, name in ((selection.tf, tf_index, "tf"), (selection.targets, target_index, "targets")):
        if wanted and not index.size:
            raise UserError(
                f"--genes: '{name}' needs a network (--grn){' or --tf-list' if name == 'tf' else ''}; give it"
            )
    keep_G = np.array([modality != "gene" for modality in cells.vocab.modality])
    said = []
    if selection.num_variable:
        variable = _variable_genes(cells, selection.num_variable)
        keep_G[variable] = True
        said.append(f"{variable.size:,} highly variable")
    for wanted, index, name in ((selection.tf, tf_index, "TFs"), (selection.targets, target_index, "targets")):
        if wanted:
            keep_G[index] = True
            said.append(f"{index.size:,} {name}")
    kept = np.flatnonzero(keep_G)
    num_genes = cells.vocab.num_genes
    return kept, f"genes: {int((kept < num_genes).sum()):,} of {num_genes:,} kept ({' + '.join(said)})"


def _variable_genes(cells: MemoryStore | BackedStore, number: int) -> np.ndarray:
    """Genes of the highest normalised dispersion: as Seurat and scanpy choose them on log-scale values, which suits
    counts and log-scale data alike."""
    candidates = np.flatnonzero(
        [
            token and modality == "gene"
            for token, modality in zip(cells.vocab.is_token, cells.vocab.modality, strict=True)
        ]
    )
    if number >= candidates.size:
        return candidates
    dispersion_K = _normalised_dispersions(*_moments(cells, candidates))
    least = np.sort(dispersion_K[~np.isnan(dispersion_K)])[::-1][:number][-1]
    return candidates[np.nan_to_num(dispersion_K, nan=-np.inf) >= least]


def _moments(cells: MemoryStore | BackedStore, index_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of some genes off the log scale, in one pass over blocks of cells."""
    sum_K, square_K = np.zeros(index_K.size), np.zeros(index_K.size)
    for _, values_BG in cells.blocks():
        part_BK = values_BG[:, index_K]
        value_N = np.expm1(part_BK.data.astype(np.float64))
        sum_K += np.bincount(part_BK.indices, value_N, minlength=index_K.size)
        square_K += np.bincount(part_BK.indices, value_N**2, minlength=index_K.size)
    mean_K = sum_K / cells.num_cells
    return mean_K, np.maximum(square_K - sum_K * mean_K, 0.0) / max(cells.num_cells - 1, 1)


def _normalised_dispersions(mean_K: np.ndarray, variance_K: np.ndarray) -> np.ndarray:
    """Log dispersions less their mean, over their deviation, among genes of like mean (Satija et al. 2015).

    scanpy has this too, for a matrix in memory alone. A gene that is alone among those of like mean has 1; one that
    does not vary has NaN.
    """
    dispersion_K = variance_K / np.where(mean_K > 0, mean_K, 1e-12)
    with np.errstate(divide="ignore"):
        log_K = pd.Series(np.where(dispersion_K > 0, np.log(dispersion_K), np.nan))
    alike = log_K.groupby(pd.cut(np.log1p(mean_K), bins=_BINS), observed=True)
    centre_K, spread_K = alike.transform("mean"), alike.transform("std")
    alone_K = spread_K.isna()
    return np.asarray((log_K - centre_K.mask(alone_K, 0.0)) / spread_K.mask(alone_K, centre_K))
