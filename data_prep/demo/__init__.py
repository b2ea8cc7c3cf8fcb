"""The demo's data: 700 labelled PBMCs that scanpy carries inside its package, and a small literature network.

Nothing is fetched. The cells are those of ``scanpy.datasets.pbmc68k_reduced`` (Zheng et al. 2017, Nat Commun), which
keeps 765 genes as log1p of counts per 10,000; counts are recovered from there.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["MIN_TARGETS", "blood_network", "pbmc_counts", "prepare_demo"]

#: TFs with fewer targets than this are never held out as unseen.
MIN_TARGETS = 5
_TARGET_SUM = 1e4
# Counts come back within a thousandth of their size: the largest, 259, is 0.08 off. A wrong size factor would put them
# anywhere between integers.
_MAX_FRACTION = 0.1


def blood_network() -> pd.DataFrame:
    """Read the literature network.

    Returns
    -------
    Columns ``source``, ``target`` (HGNC symbols), ``sign`` (1 activates, -1 represses, 0 not settled), ``reference``.
    """
    resource = importlib.resources.files(__package__) / "blood_network.tsv"
    with resource.open(encoding="utf-8") as stream:
        return pd.read_csv(stream, sep="\t", comment="#", dtype={"sign": np.int8})


def pbmc_counts() -> AnnData:
    """Recover the counts of scanpy's 700 PBMCs: ``round(expm1(raw) * n_counts / 1e4)``.

    The size factor is ``obs.n_counts``, the cell's total over the whole transcriptome; the row sum over the 765 genes
    is a fifth of it and would give fractions.

    Returns
    -------
    AnnData 700 x 765: CSR float32 counts in ``X``, ``obs["cell_type"]``, ``obs["size_factor"]``.
    """
    import scanpy
    from anndata import AnnData

    reduced = scanpy.datasets.pbmc68k_reduced()
    raw = sparse.csr_matrix(reduced.raw.X, dtype=np.float64)
    size_factor_C = reduced.obs["n_counts"].to_numpy(dtype=np.float64)
    values_CG = sparse.diags(size_factor_C / _TARGET_SUM) @ raw.expm1()
    counts_CG = _near_integers(sparse.csr_matrix(values_CG))

    obs = pd.DataFrame(
        {"cell_type": reduced.obs["bulk_labels"].astype(str).astype("category"), "size_factor": size_factor_C},
        index=reduced.obs_names,
    )
    return AnnData(X=counts_CG, obs=obs, var=pd.DataFrame(index=reduced.raw.var_names))


def _near_integers(values_CG: sparse.csr_matrix) -> sparse.csr_matrix:
    rounded = values_CG.copy()
    rounded.data = np.rint(rounded.data)
    error = float(np.abs(values_CG.data - rounded.data).max(initial=0.0))
    if error > _MAX_FRACTION:
        raise UserError(
            f"pbmc68k_reduced: counts recovered from .raw are up to {error:.2f} off an integer; "
            "this scanpy ships other values: install the version pinned in constraints.txt"
        )
    rounded = rounded.astype(np.float32)
    rounded.eliminate_zeros()
    rounded.sort_indices()
    return rounded


def prepare_demo(out: str | Path) -> tuple[Path, Path]:
    """Write ``counts.h5ad`` and ``edges.tsv`` into folder ``out``, as a user's own files would look; returns both."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    counts, edges = folder / "counts.h5ad", folder / "edges.tsv"
    with atomic_file(counts) as temporary:
        pbmc_counts().write_h5ad(temporary)
    with atomic_file(edges) as temporary:
        write_delimited(blood_network().rename(columns={"reference": "evidence"}), temporary)
    return counts, edges
