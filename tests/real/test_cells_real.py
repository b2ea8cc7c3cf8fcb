"""Tokens and held-out R2 on real cells."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from grn_cotrain.data.cells import MemoryStore, cell_split
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.evaluate.cells import masked_value_table
from grn_cotrain.recipe import TokenConfig

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def hesc(real_data: Path) -> MemoryStore:
    """758 embryonic stem cells, log scale, 28 spike-ins."""
    adata = anndata.read_h5ad(real_data / "beeline_genelink" / "expression" / "hESC_TFs+500.h5ad")
    return MemoryStore.build(FeatureVocab.from_symbols(adata.var_names, species="human"), adata.X, kind="log")


def test_spike_ins_are_never_tokens_and_ercc6l_is(hesc: MemoryStore) -> None:
    spike_ins = {i for i, name in enumerate(hesc.vocab.symbols) if name.startswith("ERCC-")}
    assert len(spike_ins) == 28
    tokenizer = Tokenizer(hesc, TokenConfig(zeros_per_cell=200))
    batch = tokenizer.batch(np.arange(hesc.num_cells), np.random.default_rng(0)).pack()
    seen = set((batch.feature_ids_T.unique() - 3).tolist())
    assert not seen & spike_ins
    assert hesc.vocab.index("ERCC6L") in seen
    assert len(seen - {-1}) == hesc.num_features - 28


def test_factor_analysis_predicts_hidden_values_of_hesc(hesc: MemoryStore) -> None:
    table = masked_value_table({}, hesc, cell_split(hesc.num_cells), bootstrap=200, ranks=(4, 8))
    r2 = table[table.metric == "r2"].set_index("scorer").value
    assert r2["gene_mean"] == 0
    assert r2["gene_and_cell"] < 0.1  # no depth effect to speak of in this matrix
    assert 0.15 < r2["factor_analysis"] < 0.35


def test_depth_explains_much_of_the_values_of_counts(real_data: Path) -> None:
    adata = anndata.read_h5ad(real_data / "kang_ifnb_harmony" / "kang_ifnb_2000cells_counts.h5ad")
    cells = MemoryStore.build(FeatureVocab.from_symbols(adata.var_names, species="human"), adata.X, kind="counts")
    table = masked_value_table({}, cells, cell_split(cells.num_cells), bootstrap=0, ranks=(4,))
    r2 = table[table.metric == "r2"].set_index("scorer").value
    assert 0.4 < r2["gene_and_cell"] < r2["factor_analysis"] < 0.8
