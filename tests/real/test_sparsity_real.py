"""Down-sampled reads, and hidden values by sparsity, on 2,000 blood cells."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from grn_cotrain.data.cells import MemoryStore, cell_split
from grn_cotrain.data.read_depth import check_counts, counts_of, draw_rates, thin
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.evaluate.sparsity import masked_value_by_sparsity
from grn_cotrain.recipe import TokenConfig

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def kang(real_data: Path) -> MemoryStore:
    """2,000 cells x 9,015 genes, counts."""
    adata = anndata.read_h5ad(real_data / "kang_ifnb_harmony" / "kang_ifnb_2000cells_counts.h5ad")
    return MemoryStore.build(FeatureVocab.from_symbols(adata.var_names, species="human"), adata.X, kind="counts")


def test_half_of_the_deep_cells_lose_half_of_their_reads(kang: MemoryStore) -> None:
    every = np.arange(kang.num_cells)
    check_counts(Statistics(kang, every))
    batch = Tokenizer(kang, TokenConfig(max_tokens=kang.num_features + 1)).batch(every).pack()
    assert torch.equal(counts_of(batch)[batch.values_T != 0], torch.from_numpy(kang.values_CG.data).double())
    generator = torch.Generator().manual_seed(0)
    rate_B = draw_rates(batch, generator)
    found = thin(batch, rate_B, generator)
    assert batch.total_B is not None
    assert found.total_B is not None
    thinned_B = rate_B < 1
    assert not thinned_B[batch.total_B <= 1000].any()
    deep = int((batch.total_B > 1000).sum())
    assert 0.45 < int(thinned_B.sum()) / deep < 0.55
    kept_B = found.total_B[thinned_B] / batch.total_B[thinned_B]
    assert float(kept_B.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(kept_B.std()) == pytest.approx(0.05**0.5, abs=0.02)  # of Beta(2, 2)
    assert (found.total_B[~thinned_B] == batch.total_B[~thinned_B]).all()


def test_baselines_hold_at_four_times_fewer_values(kang: MemoryStore) -> None:
    frame = masked_value_by_sparsity({}, kang, cell_split(kang.num_cells), bootstrap=0)
    rows = frame[frame["by"] == "dropout"].set_index(["scorer", "metric", "level"]).sort_index()["value"]
    fitted = rows["factor_analysis"]["r2"]
    assert fitted.is_monotonic_decreasing
    assert 0.5 < fitted.iloc[-1] < fitted.iloc[0] < 0.8
    # Pearson of values is high for anyone who knows the genes' means, whose R2 is 0.
    assert (rows["gene_mean"]["pearson"] > 0.6).all()
    assert rows["gene_mean"]["r2"].abs().max() < 1e-9
    sparsity = frame[frame["by"] == "own"].groupby("group", sort=False)["sparsity"].first()
    assert 0.85 < sparsity.iloc[0] < sparsity.iloc[-1] < 0.98
