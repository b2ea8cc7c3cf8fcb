"""Read-outs of attention against sums by hand, rules with a known answer, and every registered encoder."""

from __future__ import annotations

from dataclasses import replace

import networkx
import numpy as np
import pandas as pd
import pytest
import torch

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate import attention
from grn_cotrain.evaluate.attention import ALL_CELLS, AttentionScores, cell_groups, read_attention
from grn_cotrain.evaluate.attention_weights import column_means, pagerank, rank_normalised
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.recipe import TokenConfig
from tests.cases.attention import EncoderModel, PlantedModel, brute_force
from tests.cases.toy_cells import toy_cells as few_cells
from tests.cases.toy_links import NUM_GENES, NUM_TFS, toy_cells
from tests.multiome import multiome_vocab

TFS = np.arange(NUM_TFS)


def noise(readers: np.ndarray, read: np.ndarray, cell: int) -> np.ndarray:
    """Weights that depend on both genes and the cell; gene 3 reads nothing, no one reads gene 5."""
    table = np.random.default_rng(cell).random((NUM_GENES, NUM_GENES))
    table[3], table[:, 5] = 0, 0
    return table[np.ix_(readers, read)]


def border(model: PlantedModel) -> PlantedModel:
    """CLS neither reads nor is read, so that a row or column of zeros stays one."""
    plain = model.cell_attention

    def unread(batch, genes, *, layers=None):  # type: ignore[no-untyped-def]
        for matrix in plain(batch, genes, layers=layers):
            matrix[0], matrix[:, 0] = 0, 0
            yield matrix

    model.cell_attention = unread  # type: ignore[method-assign]
    return model


def labelled() -> MemoryStore:
    labels = np.array(["b", "a", None, "a", "b", "a"] * 10, dtype=object)
    return replace(toy_cells(), obs=pd.DataFrame({"cell_type": labels}, index=toy_cells().obs.index))


def one(model, cells=None, config=None, sources=TFS, **options) -> AttentionScores:  # type: ignore[no-untyped-def]
    cells = cells or toy_cells()
    groups, _ = cell_groups(cells, None, max_cells=None)
    (scores,) = read_attention(model, cells, sources, groups, config, **options)
    return scores


@pytest.mark.parametrize("direction", ["target_reads_tf", "tf_reads_target", "symmetric"])
@pytest.mark.parametrize("zeros", [False, True])
def test_aggregation_is_the_mean_by_hand_by_type_with_downsampled_tokens(direction: str, zeros: bool) -> None:
    cells = labelled()
    model = border(PlantedModel(noise, max_tokens=20, zeros_per_cell=4))
    config = AttentionConfig(direction=direction, zeros=zeros, max_cells=9)  # type: ignore[arg-type]
    groups, unlabelled = cell_groups(cells, "cell_type", max_cells=9)
    assert unlabelled == 10
    assert [(group.name, len(group.rows_C), group.num_cells) for group in groups] == [("a", 9, 30), ("b", 9, 20)]
    for group, scores in zip(groups, read_attention(model, cells, TFS, groups, config), strict=True):
        expected = brute_force(model, cells, group.rows_C, direction, zeros=zeros)
        assert scores.num_cut > 0
        pairs_2M = np.array([(s, t) for s in TFS for t in range(NUM_GENES)]).T
        count_M = scores.count(pairs_2M)
        assert count_M.sum() > 0
        weight_M, corrected_M = scores.score(pairs_2M), scores.score(pairs_2M, corrected=True)
        for pair, count, weight, corrected in zip(pairs_2M.T.tolist(), count_M, weight_M, corrected_M, strict=True):
            mean, marginal, cells_seen = expected.get((pair[0], pair[1]), (np.nan, np.nan, 0))
            assert count == cells_seen
            if count:
                assert weight == pytest.approx(mean, rel=1e-4)
                assert corrected == pytest.approx(mean - marginal, abs=1e-5)
            else:
                assert corrected == 0


def test_pairs_never_together_get_the_expected_weight() -> None:
    values = np.zeros((4, 5), dtype=np.float32)
    values[0, [0, 2, 3]] = values[1, [0, 2, 3]] = 1  # genes 0, 2 and 3 share cells, 1 and 2 another; 4 is in none
    values[2:, [1, 2]] = 1
    cells = few_cells(4, 5, spike_ins=0)
    cells = MemoryStore.build(cells.vocab, values, kind="counts")
    popular = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    model = PlantedModel(lambda readers, read, cell: np.broadcast_to(popular[read], (len(readers), len(read))))
    pairs_2M = np.array([[0, 0, 1, 1, 4], [2, 1, 2, 3, 0]])
    reads = one(model, cells, sources=np.array([0, 1, 4]))
    assert reads.count(pairs_2M).tolist() == [2, 0, 2, 0, 0]
    overall = (2 * (0.1 + 0.3 + 0.4) + 2 * (0.2 + 0.3)) / 10
    np.testing.assert_allclose(reads.score(pairs_2M), [0.1, 0.1, 0.2, 0.2, overall], rtol=1e-5)
    other = one(model, cells, AttentionConfig(direction="tf_reads_target"), sources=np.array([0, 1, 4]))
    np.testing.assert_allclose(other.score(pairs_2M), [0.3, 0.2, 0.3, 0.4, 0.1], rtol=1e-5)
    both = one(model, cells, AttentionConfig(direction="symmetric"), sources=np.array([0, 1, 4]))
    np.testing.assert_allclose(both.score(pairs_2M)[:2], [0.2, 0.15], rtol=1e-5)
    # A source that was not read is one that no cell shows.
    assert reads.count(np.array([[3], [2]])).tolist() == [0]
    np.testing.assert_allclose(reads.score(np.array([[3], [2]])), [0.4], rtol=1e-5)
    np.testing.assert_allclose(reads.received_G[[0, 1, 2]], [0.2, 0.2, 0.3 * 1.5], rtol=1e-5)
    assert np.isnan(reads.received_G[4])


def test_popularity_alone_is_nothing_after_correction() -> None:
    """Closed form: if every reader reads by popularity, weight less column mean is 0 for every pair."""
    popular_G = np.random.default_rng(0).random(NUM_GENES)
    model = PlantedModel(lambda readers, read, cell: np.broadcast_to(popular_G[read], (len(readers), len(read))))
    for direction in ("target_reads_tf", "tf_reads_target", "symmetric"):
        scores = one(model, config=AttentionConfig(direction=direction))  # type: ignore[arg-type]
        seen = scores.count_SG > 0
        assert seen.any()
        np.testing.assert_allclose(scores.weight_SG[seen], scores.expected_SG[seen], rtol=1e-4)
        assert scores.weight_SG[seen].std() > 0.1


def test_column_means_leave_out_the_reader_itself_and_those_who_read_nothing() -> None:
    weight_KK = np.array([[9.0, 1, 2], [3, 9, 4], [0, 0, 0]], dtype=np.float32)
    mean_K, sum_K = column_means(weight_KK, np.array([True, True, False]))
    np.testing.assert_allclose(sum_K, [3, 1, 6])
    np.testing.assert_allclose(mean_K, [3, 1, 3])  # columns 0 and 1 have one other reader, column 2 has two
    alone, _ = column_means(np.ones((1, 1), dtype=np.float32), np.array([True]))
    np.testing.assert_array_equal(alone, [0])


def test_ranks_within_rows_then_columns() -> None:
    weight_KK = np.array([[9, 0.1, 0.2, 0.3], [0.4, 9, 0.5, 0.1], [0.2, 0.3, 9, 0.1], [0.1, 0.1, 0.3, 9]])
    every = np.ones(4, dtype=bool)
    # By row: [-, 0, .5, 1], [.5, -, 1, 0], [.5, 1, -, 0], [.25, .25, 1, -]; then by column.
    expected = np.array([[0, 0, 0, 1], [0.75, 0, 0.75, 0.25], [0.75, 1, 0, 0.25], [0, 0.5, 0.75, 0]])
    np.testing.assert_allclose(rank_normalised(weight_KK, every, every), expected, atol=1e-6)
    fewer = rank_normalised(weight_KK, np.array([True, True, True, False]), np.array([True, True, False, True]))
    assert (fewer[3] == 0).all()
    assert (fewer[:, 2] == 0).all()
    np.testing.assert_allclose(rank_normalised(weight_KK**3, every, every), expected, atol=1e-6)
    assert not rank_normalised(weight_KK, ~every, every).any()


def test_rank_normalised_scores_do_not_depend_on_the_scale_of_a_reader() -> None:
    def loud(readers: np.ndarray, read: np.ndarray, cell: int) -> np.ndarray:
        return noise(readers, read, cell) * (1 + 50 * (readers % 3 == 0))[:, None]

    config = AttentionConfig(rank_normalised=True)
    np.testing.assert_allclose(
        one(PlantedModel(noise), config=config).weight_SG, one(PlantedModel(loud), config=config).weight_SG, atol=1e-6
    )
    assert not np.allclose(one(PlantedModel(noise)).weight_SG, one(PlantedModel(loud)).weight_SG)


def test_pagerank_is_that_of_networkx() -> None:
    weight_KK = np.random.default_rng(0).random((7, 7))
    weight_KK[2] = 0  # reads nothing
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(7))
    graph.add_weighted_edges_from(
        (r, c, weight_KK[r, c]) for r in range(7) for c in range(7) if r != c and weight_KK[r, c] > 0
    )
    reference = networkx.pagerank(graph, alpha=0.85, tol=1e-12, max_iter=500)
    np.testing.assert_allclose(pagerank(weight_KK), [reference[i] for i in range(7)], atol=1e-8)
    scores = one(PlantedModel(lambda readers, read, cell: np.ones((len(readers), len(read)))), centrality=True)
    seen = scores.num_read_G > 0
    np.testing.assert_allclose(scores.pagerank_G[seen], 1.0)  # nobody is special: everyone is average
    assert np.isnan(scores.pagerank_G[~seen]).all()


def test_draws_of_cells_depend_on_the_seed_and_the_type_alone() -> None:
    cells = labelled()
    first, _ = cell_groups(cells, "cell_type", max_cells=5, seed=1)
    again, _ = cell_groups(cells, "cell_type", max_cells=5, seed=1)
    other, _ = cell_groups(cells, "cell_type", max_cells=5, seed=2)
    only_b = replace(cells, obs=cells.obs.where(cells.obs == "b"))
    alone, _ = cell_groups(only_b, "cell_type", max_cells=5, seed=1)
    assert [g.rows_C.tolist() for g in first] == [g.rows_C.tolist() for g in again]
    assert [g.rows_C.tolist() for g in first] != [g.rows_C.tolist() for g in other]
    assert alone[0].rows_C.tolist() == first[1].rows_C.tolist()
    everyone, unlabelled = cell_groups(cells, None, max_cells=None)
    assert (everyone[0].name, len(everyone[0].rows_C), unlabelled) == (ALL_CELLS, 60, 0)


def test_memory_is_refused_with_the_number_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 255 * 9_015 < attention.MOST_PAIRS < 9_015**2
    monkeypatch.setattr(attention, "MOST_PAIRS", 10 * NUM_GENES)
    one(PlantedModel(noise), sources=np.arange(10))
    with pytest.raises(UserError, match=r"sources: 11 of them x 80 genes take .* GB; name at most 10 TFs"):
        one(PlantedModel(noise), sources=np.arange(11))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UserError, match=f"seed={seed}: give 0 to 4294967295"):
        AttentionConfig(seed=seed)


def test_bad_options_are_refused() -> None:
    with pytest.raises(UserError, match="direction='target_reads': choose from"):
        AttentionConfig(direction="target_reads")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="max_cells=0: give 1 or more"):
        AttentionConfig(max_cells=0)
    with pytest.raises(UserError, match="layers: none given"):
        AttentionConfig(layers=())
    with pytest.raises(UserError, match=r"by='celltype': no such column of obs.*cell_type"):
        cell_groups(labelled(), "celltype", max_cells=None)
    nobody = replace(toy_cells(), obs=pd.DataFrame({"cell_type": [None] * 60}))
    with pytest.raises(UserError, match="no cell has a label"):
        cell_groups(nobody, "cell_type", max_cells=None)


@pytest.mark.parametrize("name", CELL_ENCODERS.names())
def test_every_encoder_is_read_as_its_own_matrices_say(name: str) -> None:
    """With its default settings; the sum by hand runs over what the encoder itself yields, cell by cell."""
    cells = few_cells(6, 24)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(name, width=16, num_bins=5, num_modalities=3, num_genes=cells.num_features)
    encoder.prepare(Statistics(cells))
    features_VD = torch.randn(cells.vocab.size, 16, generator=torch.Generator().manual_seed(1))
    model = EncoderModel(encoder.eval(), features_VD, TokenConfig(num_bins=5, zeros_per_cell=3))
    sources = np.arange(6)
    for layers in (None, (-1,)):
        scores = one(model, cells, AttentionConfig(layers=layers), sources=sources, centrality=True)
        assert (scores.count_SG > 0).any()
        assert np.isfinite(scores.weight_SG).all()
        if layers is None:
            expected = brute_force(model, cells, np.arange(6), "target_reads_tf")
            for (source, target), (mean, marginal, count) in expected.items():
                if source < 6:
                    assert scores.count_SG[source, target] == count
                    assert scores.weight_SG[source, target] == pytest.approx(mean, rel=1e-3, abs=1e-6)
                    assert scores.expected_SG[source, target] == pytest.approx(marginal, rel=1e-3, abs=1e-6)
            assert int(scores.count_SG.sum()) == sum(n for (source, _), (_, _, n) in expected.items() if source < 6)
    with pytest.raises(UserError, match="layers"):
        one(model, cells, AttentionConfig(layers=(99,)), sources=sources)


def test_genes_alone_are_scored_in_the_cells_that_have_rna() -> None:
    """Peaks are tokens of the same encoder, and in no score; the numbers of pairs of genes are those of a loop."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(1.5, (30, 36))
    has_rna, has_atac = np.arange(30) % 3 != 1, np.arange(30) % 3 != 2
    counts[~has_rna, :24] = 0
    counts[~has_atac, 24:] = 0
    cells = MemoryStore.build(multiome_vocab(), counts, kind="counts", present={"rna": has_rna, "atac": has_atac})
    groups, unlabelled = cell_groups(cells, None, max_cells=None)
    assert (groups[0].rows_C.tolist(), unlabelled) == (np.flatnonzero(has_rna).tolist(), 0)
    weights = rng.random((36, 36)).astype(np.float32)
    model = PlantedModel(lambda reader, read, cell: weights[np.ix_(reader, read)] + cell)
    (scores,) = read_attention(model, cells, np.arange(5), groups, AttentionConfig())
    assert scores.weight_SG.shape == (5, 24)
    readers = {}
    for cell in np.flatnonzero(has_rna):
        seen = set(np.flatnonzero(counts[cell, :24]).tolist())
        for source in seen & set(range(5)):
            for target in seen - {source}:
                expected = np.mean([weights[reader, source] + cell for reader in seen - {source}])
                readers.setdefault((source, target), []).append((weights[target, source] + cell, expected))
    assert int((scores.count_SG > 0).sum()) == len(readers)
    for (source, target), values in readers.items():
        weight, expected = np.mean(values, axis=0)
        assert scores.weight_SG[source, target] == pytest.approx(weight, rel=1e-5)
        assert scores.expected_SG[source, target] == pytest.approx(expected, rel=1e-5)
