"""Nearest neighbours of chosen genes, compared with those by expression alone; agreement of neighbourhoods of all
genes.

Dimension letters: G genes, K neighbours, N chosen genes, E edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.card.vectors import nearest, overlap

__all__ = [
    "NUM_NEIGHBOURS",
    "GeneNeighbours",
    "Neighbour",
    "NeighbourSummary",
    "default_genes",
    "neighbour_summary",
    "neighbours_of",
]

NUM_NEIGHBOURS = 10
_TFS, _MARKERS = 5, 5
# Genes that many readers know by heart; those that are present illustrate a card. No result depends on them.
_KNOWN = (
    *("CD3D", "MS4A1", "LYZ", "NKG7", "ISG15", "STAT1", "HLA-DRA", "PPBP", "GATA1", "HBB", "POU5F1", "NANOG", "SOX2"),
    *("EPCAM", "ALB", "PAX6", "COL1A1", "PECAM1", "MKI67", "TP53"),
)


@dataclass(frozen=True)
class Neighbour:
    """A neighbour: its cosine, and the edge the two genes share in the network (part and direction) or nothing."""

    gene: str
    cosine: float
    edge: str


@dataclass(frozen=True)
class GeneNeighbours:
    """Neighbours of one gene, by falling cosine.

    Attributes
    ----------
    gene, is_tf, training_targets, training_regulators
        The gene, and its message edges.
    embedding, pca
        Its neighbours in the embedding and by PCA loadings (empty without expression).
    """

    gene: str
    is_tf: bool
    training_targets: int
    training_regulators: int
    embedding: tuple[Neighbour, ...]
    pca: tuple[Neighbour, ...]


@dataclass(frozen=True)
class NeighbourSummary:
    """Over all genes, of the 10 nearest neighbours.

    Attributes
    ----------
    training_edge
        Features -> share of gene-neighbour pairs that are a training edge, either way; ``chance`` is that of random
        pairs.
    shared_regulator
        Features -> share of pairs, among genes with a training regulator, that have one in common.
    overlap_with_pca
        Mean Jaccard overlap with the neighbours by PCA loadings, from which the table of most recipes starts: 1 would
        mean that training changed no neighbourhood. NaN without expression.
    """

    training_edge: Mapping[str, float]
    shared_regulator: Mapping[str, float]
    overlap_with_pca: float


def default_genes(inputs: CardInputs) -> list[int]:
    """Rows of the TFs with most training targets, and of well-known genes that are present."""
    by_degree = np.argsort(-inputs.out_degree_G, kind="stable")
    chosen = [int(row) for row in by_degree[:_TFS] if inputs.out_degree_G[row] > 0]
    rows = {str(symbol).upper(): row for row, symbol in reversed(list(enumerate(inputs.symbols)))}
    markers = [rows[name] for name in _KNOWN if name in rows and rows[name] not in chosen][:_MARKERS]
    if not chosen and not markers:
        return list(range(min(_MARKERS, inputs.num_genes)))
    return chosen + markers


def neighbours_of(inputs: CardInputs, rows: Sequence[int], *, k: int = NUM_NEIGHBOURS) -> list[GeneNeighbours]:
    """Neighbours of the genes at ``rows``."""
    rows_N = np.asarray(rows, dtype=np.int64)
    own = _listed(inputs, inputs.values_GD, rows_N, k)
    pca = [()] * len(rows_N) if inputs.loadings_GR is None else _listed(inputs, inputs.loadings_GR, rows_N, k)
    return [
        GeneNeighbours(
            gene=str(inputs.symbols[row]),
            is_tf=bool(inputs.tf_G[row]),
            training_targets=int(inputs.out_degree_G[row]),
            training_regulators=int(inputs.in_degree_G[row]),
            embedding=own[position],
            pca=pca[position],
        )
        for position, row in enumerate(rows_N)
    ]


def neighbour_summary(inputs: CardInputs, neighbours: Mapping[str, np.ndarray]) -> NeighbourSummary:
    """Summarise neighbourhoods, ``[G, K]`` by the name of the features they were found with (``random`` is chance)."""
    found = {"chance" if name == "random" else name: index_GK for name, index_GK in neighbours.items()}
    edges_2E, size = inputs.training_2E, inputs.num_genes
    ones_E = np.ones(edges_2E.shape[1])
    regulated_GG = sparse.csr_matrix((ones_E, (edges_2E[1], edges_2E[0])), shape=(size, size))  # row: target
    either_GG = (regulated_GG + regulated_GG.T).tocsr()
    has_regulator_G = np.diff(regulated_GG.indptr) > 0
    edge, shared = {}, {}
    for name, index_GK in found.items():
        width = index_GK.shape[1]
        a_M, b_M = np.repeat(np.arange(size), width), index_GK.ravel()
        edge[name] = float((np.asarray(either_GG[a_M, b_M]).ravel() > 0).mean()) if len(a_M) else float("nan")
        both_M = has_regulator_G[a_M] & has_regulator_G[b_M]
        common_M = regulated_GG[a_M[both_M]].multiply(regulated_GG[b_M[both_M]]).sum(axis=1)
        shared[name] = float((np.asarray(common_M).ravel() > 0).mean()) if both_M.any() else float("nan")
    mean_overlap = float("nan")
    if "pca" in found:
        mean_overlap = float(overlap(found["embedding"], found["pca"]).mean())
    return NeighbourSummary(edge, shared, mean_overlap)


def _listed(inputs: CardInputs, values_GD: np.ndarray, rows_N: np.ndarray, k: int) -> list[tuple[Neighbour, ...]]:
    index_NK, cosine_NK = nearest(values_GD, k, rows_N)
    return [
        tuple(
            Neighbour(str(inputs.symbols[other]), float(cosine), inputs.edge_label(int(row), int(other)))
            for other, cosine in zip(index_NK[position], cosine_NK[position], strict=True)
        )
        for position, row in enumerate(rows_N)
    ]
