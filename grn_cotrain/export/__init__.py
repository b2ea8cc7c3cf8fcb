"""Exports of a run for other tools: gene embeddings, cell embeddings, edges."""

from __future__ import annotations

from grn_cotrain.export.cells import embed_cells
from grn_cotrain.export.edge_file import export_edges
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.genes import GeneEmbeddings, export_genes, gene_embeddings
from grn_cotrain.export.perturb import perturb_file, perturb_genes
from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = [
    "GeneEmbeddings",
    "PredictedEdges",
    "embed_cells",
    "export_edges",
    "export_genes",
    "gene_embeddings",
    "perturb_file",
    "perturb_genes",
    "predict_edges",
]
