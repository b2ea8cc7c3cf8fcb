"""The shared table: starting rows, id-dropout, genes without an id row, frozen modes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.nn.node_table import NodeTable, fit_to_width, loadings_method
from grn_cotrain.recipe import TableConfig

G, D = 400, 16


@pytest.fixture
def loadings_GR() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(G, 10)).astype(np.float32) * np.linspace(2, 0.1, 10, dtype=np.float32)


@pytest.fixture
def features(loadings_GR: np.ndarray) -> dict[str, np.ndarray]:
    """One source that holds the loadings, one that holds nothing of them."""
    noise_GF = np.random.default_rng(1).normal(size=(G, 3)).astype(np.float32)
    return {"expression": loadings_GR, "noise": noise_GF}


def rms(rows: Tensor) -> float:
    return float(rows.detach().square().mean().sqrt())


@torch.no_grad()
def without_ids(table: NodeTable) -> Tensor:
    """Every gene as if it had never been seen."""
    unknown = copy.deepcopy(table).eval()
    unknown.known_G.fill_(False)
    return unknown()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(seed: int = 0, **options: object) -> NodeTable:
    sizes = {key: options.pop(key) for key in ("init_GD", "features", "known_G") if key in options}
    torch.manual_seed(seed)
    return NodeTable(G, D, config=TableConfig(**options), **sizes)  # type: ignore[arg-type]


class TestStart:
    def test_loadings_are_the_first_columns_at_unit_rms(self, loadings_GR: np.ndarray) -> None:
        table_GD = build(init_GD=loadings_GR).eval()().detach()
        assert rms(table_GD) == pytest.approx(1, abs=0.01)
        scale = float(table_GD[0, 0]) / loadings_GR[0, 0]
        np.testing.assert_allclose(table_GD[:, :10].numpy(), scale * loadings_GR, rtol=1e-4, atol=1e-4)
        assert 0.01 < rms(table_GD[:, 10:]) < 0.03  # noise, not silence

    def test_with_features_the_table_still_starts_at_the_loadings(
        self, loadings_GR: np.ndarray, features: dict[str, np.ndarray]
    ) -> None:
        plain_GD = build(init_GD=loadings_GR).eval()()
        with_features_GD = build(init_GD=loadings_GR, features=features).eval()()
        torch.testing.assert_close(with_features_GD, plain_GD, rtol=1e-4, atol=1e-4)

    def test_too_many_components_are_cut(self, loadings_GR: np.ndarray) -> None:
        wide_GR = np.hstack([loadings_GR, loadings_GR])
        rows_GD = fit_to_width(torch.from_numpy(wide_GR), D)
        np.testing.assert_allclose(
            rows_GD.numpy() * np.sqrt(np.square(wide_GR[:, :D]).mean()), wide_GR[:, :D], rtol=1e-4
        )

    def test_constant_genes_differ(self, loadings_GR: np.ndarray) -> None:
        loadings_GR[5:7] = 0
        table_GD = build(init_GD=loadings_GR).eval()()
        assert not torch.equal(table_GD[5], table_GD[6])

    def test_random_rows_have_unit_rms_whatever_the_features(self, features: dict[str, np.ndarray]) -> None:
        for chosen in ({}, features):
            rows_GD = build(init="random", features=chosen).eval()()
            centred_GD = rows_GD - rows_GD.mean(0) if not chosen else rows_GD
            assert 0.6 < rms(centred_GD) < 1.4

    def test_same_seed_same_table(self, loadings_GR: np.ndarray, features: dict[str, np.ndarray]) -> None:
        first, second, other = (build(seed, init="random", features=features).eval()() for seed in (0, 0, 1))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_which_loadings(self) -> None:
        assert loadings_method(TableConfig(init="factor_analysis")) == "factor_analysis"
        assert loadings_method(TableConfig(init="random")) is None
        assert loadings_method(TableConfig(init="factor_analysis", mode="frozen_pca")) == "pca"
        assert loadings_method(TableConfig(init="pca", mode="random")) is None


class TestIdDropout:
    def test_share_of_genes_and_what_remains(self, loadings_GR: np.ndarray) -> None:
        rng = np.random.default_rng(2)
        features = {"other": rng.normal(size=(G, 4)).astype(np.float32)}
        table = build(init_GD=loadings_GR, features=features, id_dropout=0.3)
        whole_GD = table.eval()()
        without_GD = without_ids(table)
        table.train()
        shares = []
        for seed in range(20):
            rows_GD = table(generator=generator(seed))
            dropped_G = (rows_GD == without_GD).all(1)
            kept_G = (rows_GD == whole_GD).all(1)
            assert (dropped_G ^ kept_G).all()  # each gene is either whole or what its features say, never scaled
            shares.append(float(dropped_G.float().mean()))
        # 8,000 draws: standard error .005
        assert np.mean(shares) == pytest.approx(0.3, abs=0.02)
        assert len(set(shares)) > 1

    def test_evaluation_draws_nothing(self, loadings_GR: np.ndarray) -> None:
        table = build(init_GD=loadings_GR, id_dropout=0.9).eval()
        assert torch.equal(table(generator=generator(0)), table(generator=generator(1)))
        assert torch.equal(table(), table(generator=generator(0)))

    def test_the_generator_decides(self, loadings_GR: np.ndarray) -> None:
        table = build(init_GD=loadings_GR, id_dropout=0.5).train()
        torch.manual_seed(0)
        first_GD = table(generator=generator(3))
        torch.manual_seed(1)  # the global state plays no part
        assert torch.equal(first_GD, table(generator=generator(3)))
        assert not torch.equal(first_GD, table(generator=generator(4)))
        with pytest.raises(ValueError, match="generator: missing"):
            table()

    def test_no_dropout_needs_no_generator(self, loadings_GR: np.ndarray) -> None:
        table = build(init_GD=loadings_GR, id_dropout=0.0).train()
        assert torch.equal(table(), table.eval()())

    @pytest.mark.parametrize("init", ["pca", "random"])
    @pytest.mark.parametrize("with_features", [True, False])
    def test_dropped_rows_keep_a_comparable_scale(
        self, init: str, with_features: bool, loadings_GR: np.ndarray, features: dict[str, np.ndarray]
    ) -> None:
        table = build(
            init=init, init_GD=loadings_GR, features=features if with_features else {}, known_G=np.zeros(G, bool)
        )
        if with_features and init == "pca":  # maps are learned from known genes; give them some
            table = build(init_GD=loadings_GR, features=features, known_G=np.arange(G) < G // 2)
            dropped_GD = table.eval()()[G // 2 :]
        else:
            dropped_GD = table.eval()()
        assert 0.4 < rms(dropped_GD) < 1.6

    def test_dropped_genes_get_no_id_gradient_but_train_the_maps(
        self, loadings_GR: np.ndarray, features: dict[str, np.ndarray]
    ) -> None:
        table = build(init="random", features=features, id_dropout=0.5).train()
        without_GD = without_ids(table)
        rows_GD = table.train()(generator=generator())
        dropped_G = (rows_GD == without_GD).all(1)
        rows_GD.sum().backward()
        assert table.id_GD.grad is not None
        assert table.id_GD.grad[dropped_G].abs().max() == 0
        assert table.id_GD.grad[~dropped_G].abs().min() > 0
        assert all(projection.grad is not None and projection.grad.abs().sum() > 0 for projection in table.projections)


class TestGenesNeverSeen:
    def test_features_give_a_new_gene_its_meaning(
        self, loadings_GR: np.ndarray, features: dict[str, np.ndarray]
    ) -> None:
        """Half of the genes are unknown; their rows must still resemble what their loadings would have been."""
        known_G = np.arange(G) % 2 == 0
        table_GD = build(init_GD=loadings_GR, features=features, known_G=known_G).eval()()
        truth_GD = build(init_GD=loadings_GR).eval()()
        alike_G = torch.cosine_similarity(table_GD, truth_GD)[~torch.from_numpy(known_G)]
        assert alike_G.min() > 0.9
        shuffled = {**features, "expression": features["expression"][np.random.default_rng(3).permutation(G)]}
        wrong_GD = build(init_GD=loadings_GR, features=shuffled, known_G=known_G).eval()()
        assert torch.cosine_similarity(wrong_GD, truth_GD)[~torch.from_numpy(known_G)].mean() < 0.5

    def test_id_rows_of_unknown_genes_play_no_part(self, features: dict[str, np.ndarray]) -> None:
        table = build(init="random", features=features, known_G=np.arange(G) > 0, id_dropout=0.0)
        for training in (True, False):
            before_GD = table.train(training)().detach().clone()
            with torch.no_grad():
                table.id_GD.add_(1)
            after_GD = table()
            assert torch.equal(after_GD[0], before_GD[0])
            assert not torch.equal(after_GD[1], before_GD[1])

    def test_without_features_they_share_one_row(self) -> None:
        table_GD = build(init="random", known_G=np.arange(G) > 1).eval()()
        assert torch.equal(table_GD[0], table_GD[1])
        assert not torch.equal(table_GD[1], table_GD[2])


class TestFrozen:
    @pytest.mark.parametrize("mode", ["frozen_pca", "random"])
    def test_nothing_trains_and_nothing_is_drawn(
        self, mode: str, loadings_GR: np.ndarray, features: dict[str, np.ndarray]
    ) -> None:
        table = build(mode=mode, init_GD=loadings_GR, features=features, id_dropout=0.5).train()
        assert list(table.parameters()) == []
        rows_GD = table()
        assert not rows_GD.requires_grad
        assert torch.equal(rows_GD, table(generator=generator()))
        assert rms(rows_GD) == pytest.approx(1, abs=0.05)

    def test_frozen_pca_is_the_loadings_and_random_is_not(self, loadings_GR: np.ndarray) -> None:
        pca_GD = build(mode="frozen_pca", init_GD=loadings_GR)()
        expected_GD = build(init_GD=loadings_GR).eval()()
        torch.testing.assert_close(pca_GD[:, :10], expected_GD[:, :10].detach(), rtol=1e-4, atol=1e-4)
        random_GD = build(mode="random", init_GD=loadings_GR)()
        assert torch.cosine_similarity(random_GD, pca_GD).abs().mean() < 0.5


class TestSaving:
    @pytest.mark.parametrize("mode", ["trainable", "frozen_pca", "random"])
    def test_a_table_of_zeros_can_be_loaded_into(
        self, mode: str, loadings_GR: np.ndarray, features: dict[str, np.ndarray]
    ) -> None:
        """As a saved model is read: shapes are known, contents come from the file."""
        known_G = np.arange(G) > 3
        saved = build(mode=mode, init_GD=loadings_GR, features=features, known_G=known_G).eval()
        empty = build(
            9, mode=mode, init_GD=np.zeros((G, D)), features={name: np.zeros_like(f) for name, f in features.items()}
        ).eval()
        assert not torch.equal(empty(), saved())
        empty.load_state_dict(saved.state_dict())
        assert torch.equal(empty(), saved())


def test_bad_arrays(loadings_GR: np.ndarray) -> None:
    with pytest.raises(ValueError, match="init_GD: missing"):
        build()
    with pytest.raises(ValueError, match="init_GD: shape"):
        build(init_GD=loadings_GR[1:])
    loadings_GR[3, 3] = np.nan
    with pytest.raises(ValueError, match="init_GD: holds values that are not finite"):
        build(init_GD=loadings_GR)
    with pytest.raises(ValueError, match="features 'motif': shape"):
        build(init="random", features={"motif": np.ones((3, 4))})
