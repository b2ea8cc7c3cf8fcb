"""gene2vec from the user's own cells: co-expressed pairs of genes, embedded by skip-gram.

Dimension letters: C cells, G features, E eligible genes, N genes of a tile, P pairs, R columns of the embedding.
"""

from __future__ import annotations

import logging
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.standardised import StandardisedMatrix
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import MissingExtraError, UserError

if TYPE_CHECKING:
    from gensim.models import Word2Vec

__all__ = ["coexpressed_pairs", "gene2vec"]

_LOGGER = logging.getLogger(__name__)
_TILE = 1024
_LEVEL = 0.05  # chance that noise alone yields a pair, over all pairs tested together
_PRESENTATIONS = 2_000_000  # of pairs, so that few pairs are seen often enough; gene2vec's pairs are 1e8
_EPOCHS = (10, 200)


def coexpressed_pairs(
    statistics: Statistics,
    *,
    per_gene: int = 25,
    min_cells: int = 10,
    max_cells: int = 5000,
    seed: int = 0,
) -> np.ndarray:
    r"""Pairs of genes that are co-expressed over cells.

    The rule: features that are tokens, detected in at least ``min_cells`` of the cells and not constant there, are
    eligible. Two of them are a pair if their Pearson correlation r of normalised log values (zeros included) is among
    the ``per_gene`` highest of *either* gene, and positive beyond chance:

    .. math:: r \sqrt{C - 1} > \Phi^{-1}\left(1 - \frac{.05}{E (E - 1) / 2}\right)

    which noise passes once in twenty data sets (Bonferroni over the pairs of E eligible genes). gene2vec takes all
    pairs above .9 in each of 984 bulk studies; single-cell correlations rarely come near, and a cut by rank keeps
    modules of strongly varying genes from owning every pair.

    Correlations are computed by tiles of 1,024 genes in float32; there is never a matrix of genes by genes. Two
    features of different assays are correlated over the C cells that have both.

    Parameters
    ----------
    statistics
        Statistics of the cells to use (the training cells, for example).
    per_gene, min_cells
        See above.
    max_cells
        From more cells than this, so many are drawn at random by ``seed``: beyond, correlations hardly change.

    Returns
    -------
    numpy.ndarray
        int64 ``[2, P]`` feature indices, the lower one first; sorted, each pair once.

    Raises
    ------
    UserError
        A number below 1; fewer than two cells.
    """
    for name, value in (("per_gene", per_gene), ("min_cells", min_cells), ("max_cells", max_cells)):
        if value < 1:
            raise UserError(f"{name}: got {value}; give at least 1")
    num_cells, layout = statistics.num_cells, statistics.layout
    if num_cells < 2:
        raise UserError(f"cells: {num_cells} of them; co-expression needs at least 2")
    if num_cells > max_cells:
        rows_C = np.random.default_rng(seed).choice(statistics.rows_C, max_cells, replace=False)
        statistics = Statistics(statistics.cells, np.sort(rows_C))
    z = StandardisedMatrix(statistics)
    eligible_E = np.flatnonzero((z.moments.count_G >= min_cells) & (z.std_G > 0) & layout.is_token_G)
    if len(eligible_E) < 2:
        return np.zeros((2, 0), dtype=np.int64)
    num_tests = len(eligible_E) * (len(eligible_E) - 1) / 2
    threshold = NormalDist().inv_cdf(1 - _LEVEL / num_tests)
    tiles = _Tiles(z, eligible_E)
    kept: list[np.ndarray] = []
    for first in range(0, len(eligible_E), _TILE):
        kept.append(_highest(*tiles.correlations(first), first, per_gene, threshold))
    lower_P, upper_P = np.sort(np.concatenate(kept, axis=1), axis=0)
    code_P = np.unique(lower_P * len(eligible_E) + upper_P)
    return eligible_E[np.stack([code_P // len(eligible_E), code_P % len(eligible_E)])]


def gene2vec(
    statistics: Statistics,
    *,
    rank: int = 200,
    seed: int = 0,
    per_gene: int = 25,
    min_cells: int = 10,
    negative: int = 5,
) -> np.ndarray:
    """Embed genes by skip-gram with negative sampling over co-expressed pairs (Du et al. 2019; Mikolov et al. 2013).

    Each pair is a sentence of two words in which either predicts the other. Pairs are shuffled once, and shown 10
    times, or as often as makes two million presentations (at most 200 times) where there are few. One worker and a
    seed: the same cells give the same vectors on one machine.

    The mean vector is taken off. Negative sampling gives all words a large common part (four fifths of a vector's
    length on 2,000 blood cells), which distinguishes no gene from another (Mu & Viswanath 2018); gene2vec keeps it.

    Parameters
    ----------
    statistics
        Statistics of the cells to use (the training cells, for example). No other cell is read.
    rank
        R; published 200.
    seed
        Random seed of gensim's initial vectors and draws, the order of pairs, and the choice of cells.
    per_gene, min_cells
        See :func:`coexpressed_pairs`.
    negative
        Noise genes drawn for each pair; published 5.

    Returns
    -------
    numpy.ndarray
        float32 ``[G, R]``. Rows of genes without a pair are 0; a warning counts them, by name. (The table gives them
        small random rows.)

    Raises
    ------
    MissingExtraError
        gensim is not installed.
    UserError
        A number below 1; fewer than two cells.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise MissingExtraError(
            "gene2vec: gensim is not installed; install the extra: pip install 'grn-cotrain[gene2vec]'"
        ) from None
    for name, value in (("rank", rank), ("negative", negative)):
        if value < 1:
            raise UserError(f"{name}: got {value}; give at least 1")
    pairs_2P = coexpressed_pairs(statistics, per_gene=per_gene, min_cells=min_cells, seed=seed)
    vectors_GR = np.zeros((statistics.num_features, rank), dtype=np.float32)
    _report(statistics.vocab, pairs_2P)
    if pairs_2P.shape[1] == 0:
        return vectors_GR
    order_P = np.random.default_rng(seed).permutation(pairs_2P.shape[1])
    sentences = [[str(one), str(other)] for one, other in pairs_2P.T[order_P].tolist()]
    model: Word2Vec = Word2Vec(
        sentences,
        vector_size=rank,
        window=1,
        sg=1,
        hs=0,
        negative=negative,
        min_count=1,
        sample=0,  # frequent genes are hubs of co-expression, not stop words
        epochs=int(np.clip(math.ceil(_PRESENTATIONS / len(sentences)), *_EPOCHS)),
        workers=1,
        seed=seed % 2**32,
    )
    genes = [int(word) for word in model.wv.index_to_key]
    vectors_GR[genes] = model.wv.vectors - model.wv.vectors.mean(axis=0)
    return vectors_GR


class _Tiles:
    """Correlations of eligible features, some rows of the matrix at a time."""

    def __init__(self, z: StandardisedMatrix, eligible_E: np.ndarray) -> None:
        self._scaled_CE = sparse.csc_matrix(z.scaled_CG[:, eligible_E], dtype=np.float32)
        self._offset_E = z.offset_G[eligible_E].astype(np.float32)
        self._assay_E = z.moments.layout.assay_G[eligible_E]
        self._present_CA = z.present_CA.astype(np.float32)
        self._shared_AA = z.present_CA.T @ z.present_CA

    def correlations(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows from ``first`` on, NaN-free, diagonal -1, and the number of cells of each: float32 ``[N, E]``."""
        tile_CN = self._dense(first)
        r_NE = np.empty((tile_CN.shape[1], len(self._assay_E)), dtype=np.float32)
        for start in range(0, len(self._assay_E), _TILE):
            np.matmul(tile_CN.T, self._dense(start), out=r_NE[:, start : start + _TILE])
        shared_NE = self._shared_AA[np.ix_(self._assay_E[first : first + _TILE], self._assay_E)].astype(np.float32)
        r_NE /= np.maximum(shared_NE, 1)
        own_N = np.arange(len(r_NE))
        r_NE[own_N, first + own_N] = -1.0
        return r_NE, shared_NE

    def _dense(self, start: int) -> np.ndarray:
        # Means are taken off here, not from the product: a gene that is nearly constant has a large one.
        columns = slice(start, start + _TILE)
        offset_CN = self._present_CA[:, self._assay_E[columns]] * self._offset_E[columns]
        return np.asarray(self._scaled_CE[:, columns].toarray() - offset_CN)


def _highest(r_NE: np.ndarray, shared_NE: np.ndarray, first: int, per_gene: int, threshold: float) -> np.ndarray:
    """int64 ``[2, .]``: each row's highest entries beyond chance, as (row, column) among eligible genes."""
    num = min(per_gene, r_NE.shape[1])
    column_NK = np.argpartition(-r_NE, num - 1, axis=1)[:, :num]
    found_NK, shared_NK = (np.take_along_axis(array, column_NK, axis=1) for array in (r_NE, shared_NE))
    row_N, rank_N = np.nonzero(found_NK > threshold / np.sqrt(np.maximum(shared_NK - 1, 1e-9)))
    return np.stack([first + row_N, column_NK[row_N, rank_N]]).astype(np.int64)


def _report(vocab: FeatureVocab, pairs_2P: np.ndarray) -> None:
    """Report how many pairs there are, and which genes have none."""
    alone_G = np.asarray(vocab.is_token, dtype=bool).copy()
    alone_G[np.unique(pairs_2P)] = False
    pairs, num_alone = f"{pairs_2P.shape[1]:,} co-expressed pairs", int(alone_G.sum())
    if num_alone:
        _LOGGER.warning(
            "gene2vec: %s; %s of %s genes are in none of them and start from small random rows (%s)",
            pairs,
            f"{num_alone:,}",
            f"{int(np.sum(vocab.is_token)):,}",
            name_some([vocab.symbols[gene] for gene in np.flatnonzero(alone_G)]),
        )
    else:
        _LOGGER.info("gene2vec: %s over all genes", pairs)
