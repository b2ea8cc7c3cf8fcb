"""The simulated world: reproducible, its truth is the truth, its null is one."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from data_prep.simulate import TRUTH_FILES, SimulateConfig, SimulatedWorld, simulate, simulate_world
from data_prep.simulate_dynamics import hill
from data_prep.simulate_network import simulate_network
from data_prep.simulate_oracle import OracleScorer
from data_prep.splits import prepare_splits
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.splits import make_split
from grn_cotrain.errors import UserError

SMALL = {"num_genes": 120, "num_tfs": 20, "num_cells": 300}


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return simulate_world(0, SimulateConfig(**SMALL))


@pytest.fixture(scope="module")
def null() -> SimulatedWorld:
    return simulate_world(0, SimulateConfig(**SMALL, signal=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("world") / "prep", **SMALL)


def edges_of(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame["source"], frame["target"], strict=True))


def oracle_auroc(world: SimulatedWorld) -> float:
    scores = []
    oracle = OracleScorer.from_world(world)
    for split in make_split(world.grn, "unseen-tf", folds=4):
        test = split.pairs("test")
        scores.append(roc_auc_score(test.labels_M, oracle.fit(split, None).score(test.pairs_2M)))
    return float(np.mean(scores))


def test_same_seed_same_world(world: SimulatedWorld) -> None:
    again, other = (simulate_world(seed, SimulateConfig(**SMALL)) for seed in (0, 1))
    assert again.cells.content_hash == world.cells.content_hash != other.cells.content_hash
    assert again.grn.content_hash == world.grn.content_hash != other.grn.content_hash
    np.testing.assert_array_equal(again.peaks.X.toarray(), world.peaks.X.toarray())


def test_more_cells_do_not_change_the_network(world: SimulatedWorld) -> None:
    larger = simulate_world(0, SimulateConfig(**{**SMALL, "num_cells": 310}))
    assert larger.grn.content_hash == world.grn.content_hash


def test_symbols_are_distinct_and_tfs_carry_their_family(world: SimulatedWorld) -> None:
    assert len(set(world.vocab.symbols)) == 120
    assert world.vocab.species == "simulated"
    stems = {symbol.rstrip("0123456789") for symbol in world.tf_symbols}
    assert 1 < len(stems) < 20
    assert not stems & set(world.vocab.symbols[20:])
    assert not any(symbol[-1].isdigit() for symbol in world.vocab.symbols[20:])


def test_families_share_targets() -> None:
    network = simulate_network(300, 40, np.random.default_rng(0), num_programs=12, cofactor_share=0.4)
    targets = np.zeros((40, 300))
    targets[network.source_E, network.target_E] = 1
    alike = np.corrcoef(targets)
    same = network.family_S[:, None] == network.family_S[None, :]
    np.fill_diagonal(same, False)
    assert alike[same].mean() > 0.1 + alike[~same & ~np.eye(40, dtype=bool)].mean()
    needs = network.cofactor_E >= 0
    assert 0.2 < needs.mean() < 0.5
    pairs = set(zip(network.source_E, network.target_E, strict=True))
    assert all((c, t) in pairs for c, t in zip(network.cofactor_E[needs], network.target_E[needs], strict=True))
    assert (network.cofactor_E != network.source_E).all()
    assert (network.source_E != network.target_E).all()


def test_every_tf_can_be_held_out_and_is_a_target_as_often_as_others() -> None:
    grn = simulate_world(0, SimulateConfig(num_cells=20)).grn
    out_degree = np.bincount(grn.pairs_2E[0])
    assert out_degree.size == 60
    assert out_degree.min() >= 5
    in_degree = np.bincount(grn.pairs_2E[1], minlength=500)
    assert in_degree[:60].mean() == pytest.approx(in_degree[60:].mean(), rel=0.3)


def test_hill() -> None:
    assert hill(np.array(0.0), 0.5) == 0
    assert hill(np.array(0.5), 0.5) == 0.5
    assert hill(np.array(1.0), 0.5) == pytest.approx(16 / 17)


def test_counts_are_sparse_counts_of_the_cells(world: SimulatedWorld) -> None:
    values = world.cells.values_CG
    assert values.shape == (300, 120)
    np.testing.assert_array_equal(values.data, np.rint(values.data))
    assert 0.15 < values.nnz / np.prod(values.shape) < 0.9
    np.testing.assert_array_equal(world.cells.size_factor_C, np.asarray(values.sum(axis=1)).ravel())
    assert list(world.cells.obs) == ["cell_type", "pseudotime"]
    assert world.cells.obs["cell_type"].nunique() == 5


def test_the_truth_is_the_network_where_there_is_signal(world: SimulatedWorld, null: SimulatedWorld) -> None:
    assert edges_of(world.truth) == edges_of(world.grn.edges)
    assert null.grn.content_hash == world.grn.content_hash
    shared = edges_of(null.truth) & edges_of(null.grn.edges)
    assert len(shared) < 0.5 * len(null.truth)
    # TFs changed places with TFs, and no profile was lost.
    assert set(null.truth["source"]) <= set(null.tf_symbols)
    totals = [np.sort(np.asarray(w.cells.values_CG.sum(axis=0)).ravel()) for w in (world, null)]
    np.testing.assert_array_equal(*totals)
    assert null.cells.content_hash != world.cells.content_hash


@pytest.mark.parametrize("name", ["world", "null"])
def test_peaks_and_truth_agree(name: str, request: pytest.FixtureRequest) -> None:
    world = request.getfixturevalue(name)
    gene_of = world.peaks.var["gene"].astype(str).to_dict()
    assert [gene_of[peak] for peak in world.truth["peak"]] == world.truth["target"].tolist()
    assert set(np.unique(world.peaks.X.data)) == {1.0}
    assert set(gene_of.values()) == set(world.vocab.symbols)
    # A bound peak opens with the activity of its TF, whichever gene shows it.
    open_CP = pd.DataFrame(world.peaks.X.toarray(), columns=world.peaks.var_names)
    activity = world.activity.reset_index(drop=True)
    together = [
        np.corrcoef(open_CP[peak], activity[tf])[0, 1]
        for tf, peak in zip(world.truth["source"], world.truth["peak"], strict=True)
    ]
    assert np.nanmean(together) > 0.08


def test_the_oracle_is_a_ceiling_and_chance_without_signal(world: SimulatedWorld, null: SimulatedWorld) -> None:
    assert oracle_auroc(world) > 0.85
    assert oracle_auroc(null) == pytest.approx(0.5, abs=0.06)


def test_the_folder_is_a_prepared_folder(folder: Path) -> None:
    prep = Prep.open(folder)
    assert prep.vocab.species == "simulated"
    assert prep.cells.num_cells == 300
    assert prep.meta["source"]["simulate"]["seed"] == 0
    assert all((folder / name).is_file() for name in (*TRUTH_FILES, "peaks.h5ad"))
    peaks = anndata.read_h5ad(folder / "peaks.h5ad")
    assert list(peaks.obs_names) == list(prep.cells.obs.index)
    # A second run replaces the folder with the same content.
    again = simulate(folder.parent / "again", **SMALL)
    assert Prep.open(simulate(again, **SMALL)).cells.content_hash == prep.cells.content_hash
    assert not [p for p in folder.parent.iterdir() if p.name not in ("prep", "again")]


def test_the_oracle_reads_the_folder(folder: Path, tmp_path: Path, world: SimulatedWorld) -> None:
    oracle = OracleScorer(folder)
    assert oracle.name == "oracle (true dynamics)"
    split = make_split(world.grn, "unseen-target")[0]
    pairs_2M = split.pairs("test").pairs_2M
    np.testing.assert_allclose(
        oracle.fit(split, None).score(pairs_2M), OracleScorer.from_world(world).score(pairs_2M), rtol=1e-6
    )
    with pytest.raises(UserError, match="known truth"):
        OracleScorer(tmp_path)
    small = make_split(simulate_world(0, SimulateConfig(num_genes=60, num_tfs=20, num_cells=20)).grn, "random")[0]
    with pytest.raises(UserError, match="60 genes"):
        oracle.fit(small, None)


def test_splits_are_prepared_audited_and_written(folder: Path) -> None:
    names = [name for kind in ("random", "unseen-tf", "unseen-target", "unseen-both") for name in _made(folder, kind)]
    assert names == [
        "random-seed0",
        *[f"unseen-tf-visible-seed0-fold{fold}" for fold in range(4)],
        "unseen-target-seed0",
        "unseen-both-seed0",
    ]
    prep = Prep.open(folder)
    assert sorted(prep.split_names()) == sorted(names)
    assert prep.split("random-seed0").grn_hash == prep.grn.content_hash


def _made(folder: Path, kind: str) -> list[str]:
    return prepare_splits(folder, kind, folds=4)  # type: ignore[arg-type]


def test_a_transfer_split_needs_its_source(folder: Path, tmp_path: Path) -> None:
    # Made-up names differ between seeds, so the other network is this one with half of its genes' edges.
    other = simulate(tmp_path / "other", **SMALL, seed=1)
    with pytest.raises(UserError, match="another species"):
        prepare_splits(folder, "transfer", source_prep=other)
    with pytest.raises(UserError, match="needs the prepared folder"):
        prepare_splits(folder, "transfer")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("unseen_tf", {}, "did you mean 'unseen-tf'"),
        ("random", {"train": "x.tsv"}, "train: only a published split"),
        ("random", {"source_prep": "x"}, "source_prep: only a transfer split"),
        ("published", {"train": "x.tsv"}, "test: a published split needs it"),
    ],
)
def test_options_of_other_kinds_are_refused(folder: Path, kind: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare_splits(folder, kind, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_tfs": 3}, "num_tfs: got 3"),
        ({"num_genes": 30, "num_tfs": 20}, "num_genes: got 30"),
        ({"cofactor_share": 2.0}, "cofactor_share"),
        ({"dispersion": 0.0}, "dispersion"),
        ({"num_signals": 0}, "num_signals"),
    ],
)
def test_settings_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulateConfig(**options)


def test_someone_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="other content"):
        simulate(tmp_path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
