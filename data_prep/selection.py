"""Which genes of a data set are kept: all, or highly variable ones together with TFs and targets.

Highly variable genes alone gut a network (2,000 of them keep a twentieth of CollecTRI's edges), so they come with the
network's genes.

Dimension letters: G genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.errors import UserError

__all__ = ["GeneSelection", "parse_selection", "select_genes"]

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
    """Scanpy's dispersion-based choice on log-scale values, which suits counts and log-scale data alike."""
    candidates = np.flatnonzero(
        [
            token and modality == "gene"
            for token, modality in zip(cells.vocab.is_token, cells.vocab.modality, strict=True)
        ]
    )
    if number >= candidates.size:
        return candidates
    import anndata
    import scanpy

    adata = anndata.AnnData(X=cells.normalised()[:, candidates])
    scanpy.pp.highly_variable_genes(adata, n_top_genes=number, flavor="seurat")
    return candidates[adata.var["highly_variable"].to_numpy()]
