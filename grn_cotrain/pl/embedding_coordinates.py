"""Gene embeddings in two dimensions, computed once for all colours.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.pl._genes import embedded
from grn_cotrain.pl._progress import reported
from grn_cotrain.pl._sources import choose
from grn_cotrain.progress import Progress

__all__ = ["BASES", "embedding_coordinates"]

BASES = ("umap", "pca")
_FEWEST = 5
_KEPT = 8
_EPOCHS = 200  # umap-learn's number for large sets; 500, its number for small ones, looks the same
_cache: OrderedDict[str, pd.DataFrame] = OrderedDict()


def embedding_coordinates(
    source: Any,
    *,
    kind: str = "graph",
    basis: str = "umap",
    key: str | None = None,
    neighbors: int = 15,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Two coordinates a gene, from the vectors alone.

    UMAP (McInnes et al. 2018) by cosine similarity to exact neighbours, started from principal components, so that the
    same vectors and seed give the same picture; PCA on centred vectors, with the sign that makes its largest loading
    positive. The latest results are kept in memory: the same vectors drawn in several colours are laid out once.

    Parameters
    ----------
    source
        Run folder, GeneEmbeddings, AnnData with ``varm[key]``, or a frame with one row a gene.
    kind
        Kind of embedding of a run: ``static``, ``graph``, ``contextual`` or ``regulation``.
    basis
        ``umap`` or ``pca``.
    key
        Key of an AnnData; default ``grn_cotrain``.
    neighbors, seed
        Options of UMAP.
    progress
        Function that receives the number of genes laid out by UMAP and of all genes; default: a bar on a terminal or in
        a notebook, lines in the log elsewhere. The first UMAP of a process compiles for some ten seconds before genes
        begin to move.

    Returns
    -------
    DataFrame
        ``x, y`` by gene name, float64; ``attrs``: ``basis``, ``what`` and, for PCA, ``explained`` (shares of variance).

    Raises
    ------
    UserError
        No such basis; fewer than five genes; vectors that are not finite.
    """
    choose("basis", basis, BASES)
    if neighbors < 2:
        raise UserError(f"neighbors '{neighbors}': give 2 or more")
    found = embedded(source, kind=kind, key=key)
    matrix_GD = np.ascontiguousarray(found.matrix_GD, dtype=np.float32)
    if len(matrix_GD) < _FEWEST:
        raise UserError(f"embeddings: {len(matrix_GD)} genes; give at least {_FEWEST} to lay out")
    if not np.isfinite(matrix_GD).all():
        raise UserError("embeddings: some vectors are not finite; leave those genes out")
    digest = hashlib.sha256(matrix_GD.tobytes())
    digest.update(f"{matrix_GD.shape}:{basis}:{neighbors}:{seed}".encode())
    entry = digest.hexdigest()
    if entry not in _cache:
        if basis == "pca":
            xy_G2, attrs = _pca(matrix_GD)
        else:
            with reported("laying out genes", "genes", progress) as told:
                xy_G2, attrs = _umap(matrix_GD, neighbors, seed, told), {}
        frame = pd.DataFrame(xy_G2, columns=["x", "y"])
        frame.attrs |= {"basis": basis, **attrs}
        _cache[entry] = frame
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    _cache.move_to_end(entry)
    result = _cache[entry].set_axis(found.names, axis=0)
    result.attrs = {**_cache[entry].attrs, "what": found.what}
    return result


def _pca(matrix_GD: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    centred_GD = matrix_GD - matrix_GD.mean(axis=0)
    left_GR, values_R, right_RD = np.linalg.svd(centred_GD.astype(np.float64), full_matrices=False)
    largest_R = np.abs(right_RD).argmax(axis=1)
    sign_R = np.where(right_RD[np.arange(len(right_RD)), largest_R] < 0, -1.0, 1.0)
    share_R = values_R**2 / max(float((values_R**2).sum()), 1e-30)
    xy_G2 = (left_GR * values_R * sign_R)[:, :2]
    if xy_G2.shape[1] < 2:
        xy_G2 = np.column_stack([xy_G2[:, 0], np.zeros(len(xy_G2))])
    return xy_G2, {"explained": tuple(float(share) for share in np.append(share_R, 0.0)[:2])}


def _umap(matrix_GD: np.ndarray, neighbors: int, seed: int, progress: Progress) -> np.ndarray:
    num_genes = len(matrix_GD)
    number = min(neighbors, num_genes - 1)
    progress(0, num_genes)
    with warnings.catch_warnings():
        # That one seed means one thread is what is asked for here, and no other genes are laid out later.
        warnings.filterwarnings("ignore", message="n_jobs value .* overridden", category=UserWarning)
        warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)
        import umap

        layout = umap.UMAP(
            n_neighbors=number,
            precomputed_knn=(*_nearest(matrix_GD, number), None),
            metric="cosine",
            init="pca",
            min_dist=0.3,
            n_epochs=_EPOCHS,
            random_state=seed,
            n_jobs=1,
            # tqdm writes to whatever has a write method: so the epochs are counted without a second bar.
            tqdm_kwds={
                "disable": False,
                "bar_format": "{n}",
                "mininterval": 0.2,
                "file": _Epochs(lambda epoch: progress(epoch * num_genes // _EPOCHS, num_genes)),
            },
        )
        return np.asarray(layout.fit_transform(matrix_GD), dtype=np.float64)


def _nearest(matrix_GD: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest genes by cosine, each gene itself among them, and their distances.

    They are exact, and quicker than UMAP's own approximation, which compiles for minutes before it begins.
    """
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=number, metric="cosine", algorithm="brute").fit(matrix_GD)
    distance_GK, index_GK = found.kneighbors(matrix_GD)
    return index_GK.astype(np.int32), distance_GK.astype(np.float32)


class _Epochs:
    """A file that passes on the numbers that are written to it."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.tell = tell

    def write(self, text: str) -> int:
        number = text.strip()
        if number.isdigit():
            self.tell(int(number))
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""
