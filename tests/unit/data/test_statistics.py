"""Statistics of training cells against closed forms: any blocks, any assays, any store.

Dimension letters: C cells, G features, K bins.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data import factor_analysis, standardised
from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cell_blocks import Block, Layout, column_values
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.depth_covariance import DepthCovariance
from grn_cotrain.data.factor_analysis import fit_factor_analysis
from grn_cotrain.data.gene2vec import coexpressed_pairs
from grn_cotrain.data.loadings import LOADINGS_NEEDS, gene_loadings
from grn_cotrain.data.read_depth import CountFaults
from grn_cotrain.data.rows import StoredRows
from grn_cotrain.data.statistics import Accumulator, Need, Statistics
from grn_cotrain.data.value_sketch import DepthValues, FeatureValues, PooledValues, ValueSketch
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.geneformer import corpus_medians
from grn_cotrain.nn.cell_encoders.scfoundation import ScFoundationEncoder
from grn_cotrain.objectives.bin_values import QuantileBins, RoundedClasses
from tests.cases.generated_store import GeneratedStore
from tests.cases.toy_cells import toy_cells

NEEDS: tuple[Need[Any], ...] = (
    Moments(),
    FeatureValues(),
    PooledValues(),
    DepthValues(),
    QuantileBins(5),
    RoundedClasses(5),
    CountFaults(),
    DepthCovariance(),
)
GENES, PEAKS = 12, 8


def mosaic(num_cells: int = 40, seed: int = 0) -> MemoryStore:
    """A third of the cells have RNA alone, a third ATAC alone, the rest both."""
    generator = np.random.default_rng(seed)
    symbols = [f"GENE{i}" for i in range(GENES)] + [f"chr1:{i}00-{i}50" for i in range(PEAKS)]
    modality = ["gene"] * GENES + ["peak"] * PEAKS
    vocab = FeatureVocab.from_symbols(symbols, species="human", modality=modality)
    kind_C = np.arange(num_cells) % 3
    present = {"rna": kind_C != 1, "atac": kind_C != 0}
    values_CG = generator.poisson(1.5, size=(num_cells, GENES + PEAKS)) * (generator.random((num_cells, 20)) < 0.7)
    values_CG[:, GENES:] *= 3
    values_CG[~present["rna"], :GENES] = 0
    values_CG[~present["atac"], GENES:] = 0
    return MemoryStore.build(vocab, values_CG, kind={"rna": "counts", "atac": "counts"}, present=present)


def assert_same(found: Any, expected: Any) -> None:
    """Counts and order statistics are equal, sums equal to rounding."""
    if isinstance(expected, np.ndarray):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        return
    for name, value in vars(expected).items():
        other = getattr(found, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(other, value, rtol=1e-10, atol=1e-12, err_msg=name)
        elif not isinstance(value, Layout):
            assert other == value


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 45), seed=st.integers(0, 20), both=st.booleans())
def test_how_cells_are_cut_into_blocks_does_not_matter(size: int, seed: int, both: bool) -> None:
    cells = mosaic(seed=seed) if both else toy_cells(num_cells=40, seed=seed)
    rows_C = np.random.default_rng(seed).permutation(40)[:33]
    whole, cut = Statistics(cells, rows_C, block_cells=40), Statistics(cells, rows_C, block_cells=size)
    for statistics in (whole, cut):
        statistics.collect(NEEDS)
        assert statistics.passes == 1
    for need in NEEDS:
        assert_same(cut[need], whole[need])
    assert cut.passes == 1


def test_moments_are_over_the_cells_that_have_the_assay() -> None:
    cells = mosaic()
    moments = Statistics(cells, block_cells=7)[Moments()]
    values_CG = cells.normalised().toarray().astype(np.float64)
    for feature in range(GENES + PEAKS):
        there_C = cells.present("rna" if feature < GENES else "atac")
        column_C = values_CG[there_C, feature]
        seen_N = column_C[column_C > 0]
        assert moments.num_cells_G[feature] == there_C.sum() < len(values_CG)
        assert moments.count_G[feature] == len(seen_N)
        assert moments.detected_G[feature] == pytest.approx(len(seen_N) / there_C.sum())
        assert moments.mean_G[feature] == pytest.approx(seen_N.mean())
        assert moments.square_G[feature] == pytest.approx(((seen_N - seen_N.mean()) ** 2).sum())
        assert moments.mean_of_cells_G[feature] == pytest.approx(column_C.mean())
        assert moments.std_of_cells_G[feature] == pytest.approx(column_C.std())


def test_a_rare_feature_leans_on_the_features_of_its_own_assay() -> None:
    cells = mosaic()
    values_CG = cells.values_CG.tolil()
    values_CG[:, 3] = 0
    values_CG[:, GENES + 2] = 0
    kinds, present = ({name: getattr(a, f) for name, a in cells.assays.items()} for f in ("kind", "present_C"))
    rare = MemoryStore.build(cells.vocab, values_CG.tocsr(), kind=kinds, present=present)
    found = Statistics(rare)[Moments()].nonzero()
    for columns, unseen in ((slice(0, GENES), 3), (slice(GENES, None), GENES + 2)):
        assert found.mean_G[unseen] == pytest.approx(rare.normalised()[:, columns].data.mean(), rel=1e-5)
    assert abs(found.mean_G[3] - found.mean_G[GENES + 2]) > 0.01


def test_a_constant_feature_has_no_deviation() -> None:
    values_CG = np.column_stack([np.full(30, 0.1), np.arange(30) % 2, np.zeros(30)])
    vocab = FeatureVocab.from_symbols(["A", "B", "C"], species="human")
    moments = Statistics(MemoryStore.build(vocab, values_CG, kind="log"), block_cells=4)[Moments()]
    np.testing.assert_allclose(moments.std_of_cells_G, [0, 0.5, 0])


def test_order_statistics_are_those_of_sorted_values() -> None:
    cells = toy_cells(num_cells=50, num_genes=20)
    statistics = Statistics(cells, block_cells=9)
    by_gene, pooled = statistics[FeatureValues()], statistics[PooledValues()]
    dense_CG = cells.normalised().toarray()
    for gene in range(20):
        expected = np.sort(dense_CG[dense_CG[:, gene] > 0, gene])
        ranks = np.arange(len(expected))
        np.testing.assert_array_equal(by_gene.at(np.full(len(ranks), gene), ranks), expected)
    shares_K = np.arange(1, 8) / 8
    expected_K = np.quantile(cells.normalised().data.astype(np.float64), shares_K, method="inverted_cdf")
    np.testing.assert_array_equal(pooled.quantiles(shares_K), expected_K.astype(np.float32))
    depths = statistics[DepthValues()]
    np.testing.assert_array_equal(
        depths.at(np.zeros(50, dtype=int), np.arange(50)), np.sort(np.log1p(cells.size_factor_C)).astype(np.float32)
    )


@settings(deadline=None, max_examples=40)
@given(limit=st.integers(100, 400), parts=st.integers(1, 9), seed=st.integers(0, 50))
def test_a_full_sketch_rounds_within_its_bound_whatever_the_blocks(limit: int, parts: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    feature_N, value_N = generator.integers(0, 3, 600), (generator.normal(size=600) * 3).astype(np.float32)
    one, many = ValueSketch(3, limit), ValueSketch(3, limit)
    one.add(feature_N, value_N)
    for part in np.array_split(np.arange(600), parts):
        many.add(feature_N[part], value_N[part])
        many.result()
    whole, cut = one.result(), many.result()
    np.testing.assert_array_equal(whole.key_N, cut.key_N)
    np.testing.assert_array_equal(whole.end_N, cut.end_N)
    assert len(whole.key_N) <= limit
    assert whole.digits_lost > 0
    for feature in range(3):
        expected = np.sort(value_N[feature_N == feature])
        found = whole.at(np.full(len(expected), feature), np.arange(len(expected)))
        assert (np.abs(found - expected) <= 2.0 ** (whole.digits_lost - 24) * np.abs(expected) * (1 + 1e-6)).all()


def test_medians_are_of_the_features_own_cells_and_of_its_assay_where_it_has_none() -> None:
    cells = mosaic()
    values_CG = cells.values_CG.tolil()
    values_CG[:, 3] = 0
    kinds, present = ({name: getattr(a, f) for name, a in cells.assays.items()} for f in ("kind", "present_C"))
    rare = MemoryStore.build(cells.vocab, values_CG.tocsr(), kind=kinds, present=present)
    statistics = Statistics(rare, block_cells=11)
    median_G, num_unseen = corpus_medians(statistics[FeatureValues()], statistics.layout)
    linear_CG = np.expm1(rare.normalised().toarray().astype(np.float64))
    expected_G = [np.median(column[column > 0]) if (column > 0).any() else np.nan for column in linear_CG.T]
    expected_G[3] = np.median([expected_G[gene] for gene in range(GENES) if gene != 3])
    np.testing.assert_allclose(median_G, expected_G, rtol=1e-6)
    assert num_unseen == 1


def test_bins_are_among_the_values_of_one_assay() -> None:
    """A cell's peaks do not move the bins of its genes: each assay alone has the bins that both have together."""
    cells = mosaic()
    both = Statistics(cells, block_cells=6)[QuantileBins(4)]
    alone = []
    for columns in (np.arange(GENES), np.arange(GENES, GENES + PEAKS)):
        part = MemoryStore.build(cells.vocab.select(columns.tolist()), cells.normalised()[:, columns], kind="log")
        alone.append(Statistics(part)[QuantileBins(4)])
    np.testing.assert_array_equal(both.count_K, alone[0].count_K + alone[1].count_K)
    np.testing.assert_allclose(both.sum_K, alone[0].sum_K + alone[1].sum_K)


@pytest.mark.parametrize("reads", [["rna"], ["atac"], ["rna", "atac"]])
def test_an_encoder_has_quantiles_of_the_assays_that_it_reads(reads: list[str]) -> None:
    cells = mosaic()
    options = {"values": "equal", "value_bins": 4}
    sizes = {"width": 8, "num_bins": 5, "num_modalities": 3, "num_genes": GENES + PEAKS}
    encoder = CELL_ENCODERS.build("scfoundation", options, **sizes)
    assert isinstance(encoder, ScFoundationEncoder)
    encoder.prepare(Statistics(cells, block_cells=7).reading(reads))
    columns = np.concatenate([np.arange(cells.num_features)[cells.assays[name].space.columns] for name in reads])
    first = cells.assays[reads[0]]
    for embedding, value_N in (
        (encoder.values, cells.normalised()[:, columns].data),
        (encoder.depth, np.log1p(first.size_factor_C[first.present_C])),
    ):
        expected_K = np.quantile(value_N.astype(np.float64), np.arange(1, 4) / 4, method="inverted_cdf")
        np.testing.assert_array_equal(embedding.get_buffer("edges_K").numpy(), expected_K.astype(np.float32))


def test_a_new_part_brings_its_own_need() -> None:
    @dataclass(frozen=True)
    class Largest(Need[float]):
        floor: float

        def start(self, layout: Layout) -> Accumulator[float]:
            assert layout.num_features == 30
            return Running(self.floor)

    class Running(Accumulator[float]):
        def __init__(self, floor: float) -> None:
            self.largest = floor

        def add(self, block: Block) -> None:
            self.largest = max(self.largest, float(block.values_BG.data.max(initial=0.0)))

        def result(self) -> float:
            return self.largest

    cells = toy_cells()
    statistics = Statistics(cells, block_cells=5)
    statistics.collect([Largest(0.0), Largest(1e6), Largest(0.0), Moments()])
    assert statistics[Largest(0.0)] == pytest.approx(float(cells.normalised().data.max()))
    assert statistics[Largest(1e6)] == 1e6
    assert statistics.passes == 1
    assert statistics[Largest(5.0)] > 0  # not asked for before: a pass of its own
    assert statistics.passes == 2


class TestStoresOnDisk:
    """Loadings of cells that are read by blocks, against those of the same cells in memory."""

    STORE = GeneratedStore(300, 60, per_cell=20)

    @pytest.mark.parametrize("method", ["pca", "factor_analysis"])
    def test_few_features_take_one_pass(self, method: Any) -> None:
        statistics = Statistics(self.STORE, np.arange(250), block_cells=64)
        found_GR = gene_loadings(statistics, rank=3, method=method)
        assert statistics.passes == 1
        expected_GR = gene_loadings(Statistics(self.STORE.in_memory(), np.arange(250)), rank=3, method=method)
        np.testing.assert_allclose(found_GR, expected_GR, atol=2e-5)

    @pytest.mark.parametrize("method", ["pca", "factor_analysis"])
    def test_many_features_take_a_few_passes(self, method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(standardised, "GRAM_FEATURES", 10)
        monkeypatch.setattr(factor_analysis, "GRAM_FEATURES", 10)
        statistics = Statistics(self.STORE, block_cells=64)
        found_GR = gene_loadings(statistics, rank=3, method=method)
        assert 1 < statistics.passes <= 1 + 22 + (30 if method == "factor_analysis" else 0)
        expected_GR = gene_loadings(Statistics(self.STORE.in_memory()), rank=3, method=method)
        np.testing.assert_allclose(found_GR, expected_GR, atol=2e-3)

    def test_pairs_of_genes_are_those_in_memory(self) -> None:
        pairs = [coexpressed_pairs(Statistics(store), per_gene=3) for store in (self.STORE, self.STORE.in_memory())]
        np.testing.assert_array_equal(*pairs)
        assert pairs[0].shape[1] > 0

    def test_memory_does_not_grow_with_the_cells(self) -> None:
        def peak(num_cells: int) -> int:
            store = GeneratedStore(num_cells, 200, per_cell=40)
            statistics = Statistics(store, block_cells=512)
            tracemalloc.start()
            statistics.collect([Moments(), QuantileBins(8), CountFaults(), *LOADINGS_NEEDS])
            gene_loadings(statistics, rank=8)
            highest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return highest

        few, many = peak(2_000), peak(40_000)
        assert many < few + 40 * 38_000  # 40 bytes a cell: rows and presence; values would take 480 and more
        assert many < 8e6


def test_cells_in_a_file_have_the_statistics_of_cells_in_memory(tmp_path: Path) -> None:
    cells = mosaic(60)
    sources = {}
    for name, part in cells.rows(np.arange(60)).items():
        anndata.AnnData(part).write_h5ad(tmp_path / f"{name}.h5ad")
        sources[name] = StoredRows(tmp_path / f"{name}.h5ad", part.shape)
    stored = BackedStore(cells.vocab, cells.obs, cells.assays, sources, cells.content_hash)
    rows_C = np.random.default_rng(0).permutation(60)[:50]
    ours, theirs = Statistics(stored, rows_C, block_cells=8), Statistics(cells, rows_C)
    ours.collect([*NEEDS, *LOADINGS_NEEDS])
    for need in NEEDS:
        assert_same(ours[need], theirs[need])
    np.testing.assert_allclose(gene_loadings(ours, rank=4), gene_loadings(theirs, rank=4), atol=1e-5)
    assert ours.passes == 1


class TestMosaicLoadings:
    """Cells that lack an assay say nothing of its features."""

    def z(self, cells: MemoryStore) -> np.ndarray:
        values_CG = cells.normalised().toarray().astype(np.float64)
        z_CG = np.zeros_like(values_CG)
        for feature in range(GENES + PEAKS):
            there_C = cells.present("rna" if feature < GENES else "atac")
            column_C = values_CG[there_C, feature]
            z_CG[there_C, feature] = (column_C - column_C.mean()) / column_C.std()
        return z_CG

    def test_products(self) -> None:
        cells = mosaic()
        z_CG, right = self.z(cells), np.random.default_rng(0).standard_normal((GENES + PEAKS, 3))
        statistics = Statistics(cells, block_cells=9)
        forms = [form(statistics) for form in (standardised.StandardisedMatrix, standardised._Streamed, _summed)]
        for form in forms:
            np.testing.assert_allclose(form.gram_times(right), z_CG.T @ z_CG @ right, atol=1e-8)
            np.testing.assert_allclose(form.variance_G, np.square(z_CG).mean(0))
        np.testing.assert_allclose(forms[0].dense(), z_CG, atol=1e-6)
        np.testing.assert_allclose(forms[0].times(right), z_CG @ right, atol=1e-6)

    def test_loadings_take_a_missing_assay_as_average(self) -> None:
        cells = mosaic(60)
        _, singular, axes = np.linalg.svd(self.z(cells), full_matrices=False)
        found_GR = gene_loadings(Statistics(cells), rank=3)
        np.testing.assert_allclose(np.abs(found_GR), np.abs(axes[:3] * singular[:3, None]).T / np.sqrt(59), atol=1e-5)
        model = fit_factor_analysis(standardised.standardised(Statistics(cells)), 2)
        assert (model.noise_G <= np.square(self.z(cells)).mean(0) + 1e-9).all()

    def test_correlations_are_over_the_cells_that_have_both(self) -> None:
        """A gene and a peak that go together in the cells with both are a pair; missing cells don't dilute it."""
        generator = np.random.default_rng(1)
        signal_C = generator.normal(size=300)
        noise_C2 = 0.1 * generator.normal(size=(300, 2))
        values_CG = np.exp(np.column_stack([signal_C, generator.normal(size=300), signal_C]) * 0.3)
        values_CG[:, [0, 2]] *= np.exp(noise_C2 * 0.3)
        present = {"rna": np.arange(300) < 200, "atac": np.arange(300) >= 100}
        values_CG[200:, :2] = 0
        values_CG[:100, 2] = 0
        vocab = FeatureVocab.from_symbols(["A", "B", "chr1:1-9"], species="human", modality=["gene", "gene", "peak"])
        cells = MemoryStore.build(vocab, values_CG, kind={"rna": "log", "atac": "log"}, present=present)
        np.testing.assert_array_equal(coexpressed_pairs(Statistics(cells)), [[0], [2]])


def _summed(statistics: Statistics) -> standardised.Standardised:
    statistics._found[standardised.Gram()] = _gram(statistics)
    return standardised._Summed(statistics)


def _gram(statistics: Statistics) -> standardised.GramSums:
    accumulator = standardised.Gram().start(statistics.layout)
    for block in statistics.blocks():
        accumulator.add(block)
    return accumulator.result()


def test_some_columns_are_those_of_the_matrix() -> None:
    cells, rows, columns = mosaic(), np.array([9, 2, 30]), np.array([GENES + 1, 0, 4])
    np.testing.assert_array_equal(
        column_values(cells, rows, columns).toarray(), cells.normalised().toarray()[np.ix_(rows, columns)]
    )
    assert column_values(cells, rows[:0], columns).shape == (0, 3)
