"""What leaves a run for other tools: gene embeddings, cell embeddings, edges."""

from __future__ import annotations

from grn_cotrain.export.cells import embed_cells
from grn_cotrain.export.genes import GeneEmbeddings, export_genes, gene_embeddings

__all__ = ["GeneEmbeddings", "embed_cells", "export_genes", "gene_embeddings"]
