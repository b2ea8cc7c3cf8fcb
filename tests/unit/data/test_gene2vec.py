"""Co-expressed pairs against a dense reference; skip-gram vectors against planted modules."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy import sparse

from grn_cotrain.data import gene2vec as module
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.gene2vec import coexpressed_pairs, gene2vec
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import MissingExtraError, UserError

NUM_MODULES, SIZE, ALONE = 5, 8, 12
MODULE_G = np.concatenate([np.repeat(np.arange(NUM_MODULES), SIZE), np.full(ALONE, -1)])


def planted(num_cells: int = 250, seed: int = 0) -> MemoryStore:
    """Counts: modules of genes that follow one factor each, genes on their own, and two spike-ins in a module."""
    generator = np.random.default_rng(seed)
    factor_CM = generator.standard_normal((num_cells, NUM_MODULES))
    rates = [np.exp(0.3 + 0.9 * np.repeat(factor_CM, SIZE, axis=1)), np.ones((num_cells, ALONE))]
    rates.append(np.exp(0.3 + 0.9 * factor_CM[:, :1].repeat(2, axis=1)))
    names = [f"GENE{i}" for i in range(len(MODULE_G))] + ["ERCC-00001", "ERCC-00002"]
    counts = generator.poisson(np.concatenate(rates, axis=1))
    return MemoryStore.build(FeatureVocab.from_symbols(names, species="human"), counts, kind="counts")


def unit(vectors_GR: np.ndarray) -> np.ndarray:
    return vectors_GR / np.maximum(np.linalg.norm(vectors_GR, axis=1, keepdims=True), 1e-9)


def reference_pairs(cells: MemoryStore, rows: np.ndarray, per_gene: int, min_cells: int) -> set[tuple[int, int]]:
    """The rule, by numpy's dense correlation and full sorts."""
    dense = cells.normalised()[rows].toarray().astype(np.float64)
    with np.errstate(invalid="ignore"):
        r_GG = np.nan_to_num(np.corrcoef(dense.T), nan=-1.0)
    is_token = np.asarray(cells.vocab.is_token)
    eligible = [
        g for g in range(dense.shape[1]) if is_token[g] and (dense[:, g] > 0).sum() >= min_cells and np.ptp(dense[:, g])
    ]
    bar = NormalDist().inv_cdf(1 - 0.05 / (len(eligible) * (len(eligible) - 1) / 2)) / np.sqrt(len(rows) - 1)
    pairs = set()
    for gene in eligible:
        others = sorted((other for other in eligible if other != gene), key=lambda other: -r_GG[gene, other])
        pairs |= {tuple(sorted((gene, other))) for other in others[:per_gene] if r_GG[gene, other] > bar}
    return pairs


class TestPairs:
    @pytest.mark.parametrize(("per_gene", "min_cells", "tile"), [(3, 10, 1024), (50, 10, 7), (1, 80, 16)])
    def test_equal_the_rule_done_densely(
        self, per_gene: int, min_cells: int, tile: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_TILE", tile)
        cells, rows = planted(), np.arange(0, 250, 2)
        pairs_2P = coexpressed_pairs(Statistics(cells, rows), per_gene=per_gene, min_cells=min_cells)
        expected = reference_pairs(cells, rows, per_gene, min_cells)
        assert len(expected) > 10
        assert {(int(one), int(other)) for one, other in pairs_2P.T} == expected
        assert len(expected) == pairs_2P.shape[1]
        assert (pairs_2P[0] < pairs_2P[1]).all()

    def test_pairs_join_members_of_a_module_and_never_spike_ins(self) -> None:
        pairs_2P = coexpressed_pairs(Statistics(planted()))
        assert pairs_2P.max() < len(MODULE_G)
        assert (MODULE_G[pairs_2P[0]] == MODULE_G[pairs_2P[1]]).all()
        assert set(MODULE_G[pairs_2P].ravel()) == set(range(NUM_MODULES))

    def test_noise_has_no_pairs(self) -> None:
        """At a level of .05 over all pairs: two or more data sets of ten with a pair has a chance of about .09."""
        found = [coexpressed_pairs(Statistics(planted(seed=seed).permuted_cells(seed))).shape[1] for seed in range(10)]
        assert sum(num > 0 for num in found) <= 2

    def test_rarely_detected_and_constant_genes_are_left_out(self) -> None:
        cells = planted()
        values = cells.normalised().toarray()
        values[:, 0] = 1.0
        values[9:, 1] = 0.0
        values[:9, 2], values[9:, 2] = values[:9, 1], 0.0
        pairs_2P = coexpressed_pairs(Statistics(MemoryStore.build(cells.vocab, values, kind="log")))
        assert not np.isin([0, 1, 2], pairs_2P).any()
        assert {3, 4, 5, 6, 7} <= set(pairs_2P.ravel().tolist())

    def test_more_cells_than_asked_for_are_drawn_by_the_seed(self) -> None:
        cells = planted()
        first, again, other = (
            coexpressed_pairs(Statistics(cells), max_cells=60, seed=seed, per_gene=4) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert first.shape != other.shape or (first != other).any()

    def test_hardly_any_cells_or_genes(self) -> None:
        cells = planted()
        assert coexpressed_pairs(Statistics(cells), min_cells=10_000).shape == (2, 0)
        assert coexpressed_pairs(Statistics(cells, np.arange(2)), min_cells=1).shape == (2, 0)
        for num in (0, 1):
            with pytest.raises(UserError, match=f"cells: {num} of them"):
                coexpressed_pairs(Statistics(cells, np.arange(num)))

    @pytest.mark.parametrize("option", ["per_gene", "min_cells", "max_cells"])
    def test_wrong_numbers(self, option: str) -> None:
        with pytest.raises(UserError, match=f"{option}: got 0"):
            coexpressed_pairs(Statistics(planted()), **{option: 0})


class TestVectors:
    @pytest.fixture(scope="class")
    def vectors_GR(self) -> np.ndarray:
        return gene2vec(Statistics(planted()), rank=16)

    def test_planted_modules_are_neighbours(self, vectors_GR: np.ndarray) -> None:
        members = np.flatnonzero(MODULE_G >= 0)
        cosine_GG = unit(vectors_GR[members]) @ unit(vectors_GR[members]).T
        np.fill_diagonal(cosine_GG, -1)
        nearest = np.argsort(-cosine_GG, axis=1)[:, : SIZE - 1]
        assert (MODULE_G[members][nearest] == MODULE_G[members][:, None]).mean() > 0.95

    def test_genes_of_no_pair_are_zero_and_named(self, caplog: pytest.LogCaptureFixture) -> None:
        vectors_GR = gene2vec(Statistics(planted()), rank=4)
        assert vectors_GR.dtype == np.float32
        assert (vectors_GR[MODULE_G.size :] == 0).all()  # spike-ins, which nobody misses
        assert (vectors_GR[: MODULE_G.size][MODULE_G < 0] == 0).all()
        assert (np.linalg.norm(vectors_GR[: MODULE_G.size][MODULE_G >= 0], axis=1) > 0).all()
        (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("grn_cotrain")]
        assert "12 of 52 genes" in message
        assert "GENE40, GENE41, GENE42, GENE43, GENE44 and 7 more" in message

    def test_noise_gives_no_vectors_but_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        cells = planted(num_cells=5)
        assert (gene2vec(Statistics(cells), rank=3) == 0).all()
        assert "0 co-expressed pairs; 52 of 52 genes" in caplog.text

    def test_the_common_part_is_taken_off(self, vectors_GR: np.ndarray) -> None:
        paired = vectors_GR[: MODULE_G.size][MODULE_G >= 0]
        np.testing.assert_allclose(paired.mean(axis=0), 0, atol=1e-5)

    def test_other_cells_are_not_read(self) -> None:
        cells = planted()
        rows = np.arange(200)
        dense = cells.values_CG.toarray()
        dense[200:] = dense[200:][:, np.random.default_rng(1).permutation(dense.shape[1])]
        changed = replace(cells, values_CG=sparse.csr_matrix(dense))
        first = gene2vec(
            Statistics(cells, rows),
            rank=4,
        )
        np.testing.assert_array_equal(
            first,
            gene2vec(
                Statistics(changed, rows),
                rank=4,
            ),
        )
        assert (first != gene2vec(Statistics(changed), rank=4)).any()

    def test_the_seed_decides(self) -> None:
        cells = planted()
        first, again, other = (gene2vec(Statistics(cells), rank=4, seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_another_process_makes_the_same_vectors(self, tmp_path: Path) -> None:
        """Python hashes strings differently in every process; nothing may depend on it."""
        code = (
            "import sys, numpy as np; from tests.unit.data.test_gene2vec import Statistics, planted;"
            "from grn_cotrain.data.gene2vec import gene2vec;"
            "np.save(sys.argv[1], gene2vec(Statistics(planted()), rank=4))"
        )
        salt = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        path = tmp_path / "vectors.npy"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=os.environ | {"PYTHONHASHSEED": salt})
        np.testing.assert_array_equal(np.load(path), gene2vec(Statistics(planted()), rank=4))

    def test_without_gensim_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gensim.models", None)
        with pytest.raises(MissingExtraError, match=r"grn-cotrain\[gene2vec\]"):
            gene2vec(Statistics(planted()))

    def test_wrong_numbers(self) -> None:
        with pytest.raises(UserError, match="rank: got 0"):
            gene2vec(Statistics(planted()), rank=0)
        with pytest.raises(UserError, match="negative: got 0"):
            gene2vec(Statistics(planted()), negative=0)

    def test_is_one_of_the_loadings(self) -> None:
        cells, rows = planted(), np.arange(150)
        found = gene_loadings(
            Statistics(cells, rows),
            rank=4,
            method="gene2vec",
            seed=2,
        )
        np.testing.assert_array_equal(
            found,
            gene2vec(
                Statistics(cells, rows),
                rank=4,
                seed=2,
            ),
        )
