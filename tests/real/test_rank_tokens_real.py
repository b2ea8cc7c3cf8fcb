"""Rank tokens of real cells: against medians and orders from the raw counts, and what interferon does to them."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL, FeatureVocab
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.geneformer import GeneformerEncoder
from grn_cotrain.recipe import TokenConfig

pytestmark = pytest.mark.real


def test_interferon_genes_rise_and_ubiquitous_genes_sink(real_data: Path) -> None:
    adata = anndata.read_h5ad(real_data / "kang_ifnb_harmony" / "kang_ifnb_2000cells_counts.h5ad")
    cells = MemoryStore.build(FeatureVocab.from_symbols(adata.var_names, species="human"), adata.X, kind="counts")
    encoder = CELL_ENCODERS.build(
        "geneformer", {"num_layers": 2}, width=8, num_bins=4, num_modalities=3, num_genes=cells.num_features
    )
    assert isinstance(encoder, GeneformerEncoder)
    encoder.prepare(Statistics(cells))
    batch = encoder.prepare_batch(
        Tokenizer(cells, TokenConfig(max_tokens=40_000)).batch(np.arange(cells.num_cells)).pack()
    )
    assert batch.ranks_T is not None

    # Another way to the same numbers: the raw counts, medians column by column, the order of the ratios.
    counts_CG = cells.values_CG.toarray().astype(np.float64)
    per_total_CG = counts_CG / counts_CG.sum(axis=1, keepdims=True) * 1e4
    median_G = np.array([np.median(column[column > 0]) if (column > 0).any() else np.nan for column in per_total_CG.T])
    seen_G = np.isfinite(median_G)
    np.testing.assert_allclose(encoder.median_G.numpy()[seen_G], median_G[seen_G], rtol=1e-4)
    rank_CG = np.full(counts_CG.shape, np.nan)
    gene_T = (batch.feature_ids_T - NUM_SPECIAL).numpy()
    token_T = gene_T >= 0
    rank_CG[batch.cell_of_token_T.numpy()[token_T], gene_T[token_T]] = batch.ranks_T.numpy()[token_T]
    assert (np.isfinite(rank_CG) == (counts_CG > 0)).all()
    for cell in range(0, cells.num_cells, 97):
        own = np.flatnonzero(counts_CG[cell])
        ratio = per_total_CG[cell, own] / median_G[own]
        ranks = rank_CG[cell, own]
        assert sorted(ranks) == list(range(1, len(own) + 1))
        in_order = ratio[np.argsort(ranks)]
        assert (in_order[:-1] >= in_order[1:] * (1 - 1e-5)).all()

    share_CG = rank_CG / (counts_CG > 0).sum(axis=1, keepdims=True)  # 0: the first of the cell
    stimulated_C = (adata.obs["condition"] == "stim").to_numpy()
    for name in ("ISG15", "IFI6"):
        gene = cells.vocab.index(name)
        assert np.nanmedian(share_CG[stimulated_C, gene]) < np.nanmedian(share_CG[~stimulated_C, gene]) - 0.2
    # MALAT1 and B2M are among the highest counts of nearly every cell; divided by their medians they stand midway.
    for name in ("MALAT1", "B2M"):
        gene = cells.vocab.index(name)
        by_count = np.array([(row > row[gene]).sum() / (row > 0).sum() for row in counts_CG[:200]])
        assert np.median(by_count) < 0.02
        assert 0.3 < np.nanmedian(share_CG[:, gene]) < 0.9
