"""Features of (source, gene) pairs from the training graph alone.

Dimension letters: G genes, S sources, B sources of a block, M pairs, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse

from grn_cotrain.controls._edge_table import EdgeTable

__all__ = ["GRAPH_FEATURES", "graph_features", "pick_by_rows"]

GRAPH_FEATURES = (
    "source_out_rate",
    "source_in_rate",
    "target_in_rate",
    "target_out_rate",
    "reversed",
    "path_through",  # s -> x -> t
    "shared_targets",  # s -> x <- t
    "shared_regulators",  # s <- x -> t
    "path_back",  # s <- x <- t
    "common_neighbours",
    "adamic_adar",
    "similar_regulons",  # TFs with a regulon like that of s regulate t
)
_BLOCK = 128


def pick_by_rows(
    rows_M: np.ndarray, columns_M: np.ndarray, blocks: Callable[[np.ndarray], Iterator[np.ndarray]], num_features: int
) -> np.ndarray:
    """Entries of dense blocks ``[B, G]`` made for some rows at a time: float32 ``[M, F]``."""
    result_MF = np.zeros((len(rows_M), num_features), dtype=np.float32)
    order_M = np.argsort(rows_M, kind="stable")
    distinct, first = np.unique(rows_M[order_M], return_index=True)
    first = np.append(first, len(order_M))
    for start in range(0, len(distinct), _BLOCK):
        rows_B = distinct[start : start + _BLOCK]
        mine = order_M[first[start] : first[start + len(rows_B)]]
        at = np.searchsorted(rows_B, rows_M[mine])
        for f, block_BG in enumerate(blocks(rows_B)):
            result_MF[mine, f] = block_BG[at, columns_M[mine]]
    return result_MF


def graph_features(table: EdgeTable, rows_M: np.ndarray, columns_M: np.ndarray) -> np.ndarray:
    """Features :data:`GRAPH_FEATURES` of entries, float32 ``[M, F]``; the rate of a hidden gene is the prior mean."""
    directed = table.adjacency_GG
    back = directed.T.tocsr()
    both = ((directed + back) > 0).astype(np.float32)
    degree_G = np.asarray(both.sum(axis=0)).ravel()
    # An isolated neighbour does not exist, and one of degree 1 connects nothing: its weight is never used.
    adamic = both @ sparse.diags_array(1 / np.log(np.maximum(degree_G, 2)).astype(np.float32))
    regulon_SG = table.sparse_SG
    length_S = np.sqrt(np.maximum(np.asarray(regulon_SG.sum(axis=1)).ravel(), 1))
    unit_SG = sparse.diags_array((1 / length_S).astype(np.float32)) @ regulon_SG
    out_rate_G = np.zeros(table.num_genes)
    out_rate_G[table.sources_S] = table.source_rate_S

    def blocks(rows_B: np.ndarray) -> Iterator[np.ndarray]:
        sources_B = table.sources_S[rows_B]
        yield back[sources_B].toarray()
        yield (directed[sources_B] @ directed).toarray()
        yield (directed[sources_B] @ back).toarray()
        yield (back[sources_B] @ directed).toarray()
        yield (back[sources_B] @ back).toarray()
        yield (both[sources_B] @ both).toarray()
        yield (adamic[sources_B] @ both).toarray()
        similar_BS = (unit_SG[rows_B] @ unit_SG.T).toarray()
        similar_BS[np.arange(len(rows_B)), rows_B] = 0
        yield similar_BS @ regulon_SG

    sources_M = table.sources_S[rows_M]
    rates_MF = np.stack(
        [
            table.source_rate_S[rows_M],
            table.target_rate_G[sources_M],
            table.target_rate_G[columns_M],
            out_rate_G[columns_M],
        ],
        axis=1,
    )
    paths_MF = pick_by_rows(rows_M, columns_M, blocks, len(GRAPH_FEATURES) - rates_MF.shape[1])
    return np.concatenate([rates_MF.astype(np.float32), paths_MF], axis=1)
