"""Down-sampling of reads against a plain reference, gene by gene and cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.read_depth import check_counts, counts_of, draw_rates, thin
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

COUNTS_G = np.array([1, 2, 7, 40, 300, 0, 900, 5, 0, 13])
OUTSIDE = 432  # reads of features that were not selected


def same_cells(num_cells: int = 4000, *, extra: int = OUTSIDE) -> MemoryStore:
    """One cell many times over."""
    counts = np.tile(COUNTS_G, (num_cells, 1))
    totals = counts.sum(axis=1) + float(extra)
    vocab = FeatureVocab.from_symbols([f"G{i}" for i in range(len(COUNTS_G))])
    return MemoryStore.build(vocab, counts, kind="counts", size_factor_C=totals)


def batch_of(cells: MemoryStore, **options: object) -> PackedTokens:
    return Tokenizer(cells, TokenConfig(num_bins=4, **options)).batch(np.arange(cells.num_cells)).pack()  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense(batch: PackedTokens, token_T: torch.Tensor) -> np.ndarray:
    """Tokens -> cells x genes."""
    found = np.zeros((batch.num_cells, len(COUNTS_G)))
    is_gene_T = batch.feature_ids_T >= NUM_SPECIAL
    where = (batch.cell_of_token_T[is_gene_T].numpy(), (batch.feature_ids_T[is_gene_T] - NUM_SPECIAL).numpy())
    found[where] = token_T[is_gene_T].numpy()
    return found


def test_counts_come_back_exactly() -> None:
    cells = toy_cells(num_cells=40)
    batch = Tokenizer(cells, TokenConfig(num_bins=4, zeros_per_cell=3)).batch(np.arange(40)).pack()
    gene_T, cell_T = batch.feature_ids_T.numpy() - NUM_SPECIAL, batch.cell_of_token_T.numpy()
    expected = np.where(gene_T >= 0, cells.values_CG.toarray()[cell_T, gene_T], 0)
    assert np.array_equal(counts_of(batch).numpy(), expected)
    deep = np.array([[1, 3, 250_000, 7_654_321, 1]])
    vocab = FeatureVocab.from_symbols([f"G{i}" for i in range(5)])
    found = counts_of(batch_of(MemoryStore.build(vocab, deep[:, :5], kind="counts")))[1:].numpy()
    np.testing.assert_allclose(found, deep[0], rtol=1e-6)
    assert np.array_equal(found[:3], deep[0, :3])


def test_rates_are_bernoulli_then_beta_and_small_cells_are_left_alone() -> None:
    batch = batch_of(same_cells(20_000))
    rate_B = draw_rates(batch, generator(), share=0.5, beta=(2.0, 2.0), min_total=1000.0).numpy()
    thinned_B = rate_B < 1
    assert stats.binomtest(int(thinned_B.sum()), len(rate_B), 0.5).pvalue > 1e-4
    assert stats.kstest(rate_B[thinned_B], stats.beta(2, 2).cdf).pvalue > 1e-4
    skew_B = draw_rates(batch, generator(1), share=1.0, beta=(1.0, 5.0)).numpy()
    assert stats.kstest(skew_B, stats.beta(1, 5).cdf).pvalue > 1e-4
    total = float(batch.total_B[0])  # type: ignore[index]
    assert (draw_rates(batch, generator(), min_total=total) == 1).all()
    assert (draw_rates(batch, generator(), min_total=total - 1) < 1).any()
    assert (draw_rates(batch, generator(), share=0.0) == 1).all()
    # The draws do not depend on the settings.
    wide_B = draw_rates(batch, generator(), share=0.8).numpy()
    assert np.array_equal(wide_B[thinned_B], rate_B[thinned_B])


def test_each_gene_is_binomial_and_totals_count_every_feature() -> None:
    rate = 0.3
    batch = batch_of(same_cells())
    found = thin(batch, torch.full((batch.num_cells,), rate, dtype=torch.float64), generator())
    assert found.total_B is not None
    count_CG = dense(found, counts_of(found))
    for gene, count in enumerate(COUNTS_G):
        law = stats.binom(count, rate)
        values = np.arange(count + 1)
        # Classes with too few expected cells are joined with their neighbours.
        edges = np.unique(np.searchsorted(law.cdf(values), np.linspace(0.05, 0.95, 10)))
        group = np.searchsorted(edges, count_CG[:, gene])
        expected = np.bincount(np.searchsorted(edges, values), law.pmf(values), minlength=len(edges) + 1)
        kept = expected > 1e-9
        observed = np.bincount(group.astype(int), minlength=len(expected))
        assert observed[~kept].sum() == 0
        if kept.sum() > 1:
            assert stats.chisquare(observed[kept], expected[kept] / expected.sum() * len(count_CG)).pvalue > 1e-4
    total = COUNTS_G.sum() + OUTSIDE
    source_C = found.total_B.numpy()
    assert source_C.mean() == pytest.approx(total * rate, abs=5 * np.sqrt(total * rate * (1 - rate) / len(source_C)))
    assert source_C.var() == pytest.approx(total * rate * (1 - rate), rel=0.15)
    assert (source_C > count_CG.sum(axis=1)).all()


def test_thinned_totals_follow_the_hierarchy() -> None:
    """Against numpy's own Bernoulli, beta and binomial draws of the same model."""
    batch = batch_of(same_cells(8000))
    rate_B = draw_rates(batch, generator(3))
    found = thin(batch, rate_B, generator(4)).total_B
    assert found is not None
    random = np.random.default_rng(0)
    total = int(COUNTS_G.sum() + OUTSIDE)
    drawn = random.binomial(total, random.beta(2, 2, 8000))
    expected = np.where(random.random(8000) < 0.5, drawn, total)
    thinned = found.numpy()[rate_B.numpy() < 1]
    assert stats.ks_2samp(thinned, drawn).pvalue > 1e-4
    assert found.mean() == pytest.approx(expected.mean(), rel=0.02)
    assert found.std() == pytest.approx(expected.std(), rel=0.03)


def test_values_are_normalised_with_the_thinned_total_and_lost_ones_are_zeros() -> None:
    batch = batch_of(same_cells(200))
    rate_B = torch.where(torch.arange(200) % 2 == 0, 0.1, 1.0).double()
    found = thin(batch, rate_B, generator())
    assert found.total_B is not None
    assert found.depth_B2 is not None
    assert batch.total_B is not None
    cell_T = batch.cell_of_token_T
    scale_T = 1e4 / found.total_B[cell_T]
    np.testing.assert_allclose(found.values_T, np.log1p(counts_of(found) * scale_T), atol=1e-5)
    lost_T = (found.values_T == 0) & (batch.values_T != 0)
    assert lost_T.any()
    assert (found.bins_T[lost_T] == 0).all()
    untouched_T = rate_B[cell_T] == 1
    assert torch.equal(found.values_T[untouched_T], batch.values_T[untouched_T])
    np.testing.assert_allclose(found.depth_B2[:, 0].expm1(), batch.total_B, rtol=1e-5)
    np.testing.assert_allclose(found.depth_B2[:, 1].expm1(), found.total_B, rtol=1e-5)
    assert torch.equal(found.depth_B2[1::2, 0], found.depth_B2[1::2, 1])
    assert torch.equal(found.feature_ids_T, batch.feature_ids_T)


def test_a_cell_may_lose_all() -> None:
    batch = batch_of(same_cells(3))
    found = thin(batch, torch.zeros(3, dtype=torch.float64), generator())
    assert (found.values_T == 0).all()
    assert (found.depth_B2[:, 1] == 0).all()  # type: ignore[index]


def test_hidden_values_are_not_read() -> None:
    """Whatever stands at hidden positions, what is shown stays the same to the bit."""
    batch = batch_of(same_cells(50), zeros_per_cell=2)
    masked_T = torch.rand(batch.num_tokens, generator=generator(5)) < 0.4
    masked_T &= batch.feature_ids_T >= NUM_SPECIAL
    tampered = replace(batch, values_T=batch.values_T.masked_fill(masked_T, 5.0))
    rate_B = draw_rates(batch, generator(6))
    assert 0 < int((rate_B == 1).sum()) < len(rate_B)  # cells that keep their reads hide their targets too
    found, other = (thin(one.with_mask(masked_T), rate_B, generator(7)) for one in (batch, tampered))
    for name in ("values_T", "bins_T", "total_B", "depth_B2"):
        assert torch.equal(getattr(found, name), getattr(other, name)), name
    assert (found.values_T[masked_T] == 0).all()
    assert (found.bins_T[masked_T] == 0).all()


def test_what_is_no_count_is_refused() -> None:
    rows = np.arange(5)
    with pytest.raises(UserError, match=r"log-scale values, .*give raw counts"):
        check_counts(Statistics(toy_cells(kind="log"), rows))
    with pytest.raises(UserError, match="log-scale values"):
        counts_of(batch_of(toy_cells(kind="log")))
    halves = same_cells(5)
    halves = replace(halves, values_CG=halves.values_CG * 0.5)
    with pytest.raises(UserError, match="fractions"):
        check_counts(Statistics(halves, rows))
    with pytest.raises(UserError, match="fractions"):
        counts_of(batch_of(halves))
    with pytest.raises(UserError, match="5 of 5 have totals below"):
        check_counts(Statistics(same_cells(5, extra=-200), rows))
    check_counts(Statistics(same_cells(5), rows))
