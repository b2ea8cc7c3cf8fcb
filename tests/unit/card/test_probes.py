"""Probes: measured as scikit-learn does, planted structure found, chance left at chance, nothing circular claimed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from grn_cotrain.card.probes import NotRun, Probe, ProbeResult, probe_features, run_probe
from grn_cotrain.card.probes.base import _measure
from grn_cotrain.card.probes.chromosome import chromosome_probe
from grn_cotrain.card.probes.pathways import pathway_probe
from grn_cotrain.card.probes.regulons import regulon_probes
from grn_cotrain.card.probes.tf import tf_probes
from grn_cotrain.card.ridge import fold_numbers, out_of_fold
from grn_cotrain.evaluate.bootstrap import Bootstrap
from tests.unit.card.toy import toy_inputs

G, D, K = 400, 8, 14


def planted(seed: int = 0, *, strength: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """An embedding, and K gene sets of 40 genes, each along a direction of its own."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((G, D))
    direction = generator.standard_normal((D, K))
    score = strength * values @ direction / np.linalg.norm(direction, axis=0) + generator.standard_normal((G, K))
    labels = np.zeros((G, K), dtype=bool)
    np.put_along_axis(labels, np.argsort(-score, axis=0)[:40], True, axis=0)
    return values, labels


def features_of(values: np.ndarray, seed: int = 7) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "embedding": values,
        "pca": generator.standard_normal(values.shape),
        "random": generator.standard_normal(values.shape),
    }


def probe_of(labels: np.ndarray, kind: str = "claim", **more: object) -> Probe:
    folds = fold_numbers(np.zeros(len(labels)))
    names = [f"set{k}" for k in range(labels.shape[1])]
    return Probe("sets", "Sets", "?", kind, names, labels, folds, **more)  # type: ignore[arg-type]


def ran(result: ProbeResult | NotRun) -> ProbeResult:
    assert isinstance(result, ProbeResult)
    return result


def score(result: ProbeResult, name: str) -> float:
    return next(one.auroc.value for one in result.scores if one.features == name)


def test_metrics_are_scikit_learns_fold_by_fold() -> None:
    values, labels = planted()
    labels = labels[:, :3]
    folds = fold_numbers(np.zeros(G))
    folds[:20] = -1
    scores = np.round(out_of_fold(values, labels, folds), 1)  # with ties
    gene, task = np.nonzero(np.tile((folds >= 0)[:, None], (1, 3)))
    draws = Bootstrap(np.arange(3), np.arange(G), replicates=5)
    auroc, precision = _measure(scores[gene, task], labels[gene, task], gene, task, folds, draws)
    for k in range(3):
        parts = [
            (
                roc_auc_score(labels[m, k], scores[m, k]),
                average_precision_score(labels[m, k], scores[m, k]),
                labels[m, k].sum(),
            )
            for m in (folds == fold for fold in range(5))
            if labels[m, k].any()
        ]
        weights = [part[2] for part in parts]
        assert auroc[k, 0] == pytest.approx(np.average([part[0] for part in parts], weights=weights))
        assert precision[k, 0] == pytest.approx(np.average([part[1] for part in parts], weights=weights))


def test_a_bootstrap_column_is_the_metric_of_repeated_genes() -> None:
    values, labels = planted()
    folds = np.zeros(G, dtype=np.int64)
    scores, truth = values[:, :1] + labels[:, :1], labels[:, :1]
    draws = Bootstrap(np.arange(1), np.arange(G), replicates=3, seed=4)
    gene = np.arange(G)
    auroc, _ = _measure(scores[:, 0], truth[:, 0], gene, np.zeros(G, dtype=int), folds, draws)
    assert draws.target_weight_NC is not None
    for column in range(4):
        times = draws.target_weight_NC[:, column].astype(int)
        drawn = np.repeat(gene, times)
        assert auroc[0, column] == pytest.approx(roc_auc_score(truth[drawn, 0], scores[drawn, 0]))


def test_planted_sets_are_found_and_claimed() -> None:
    values, labels = planted()
    result = ran(run_probe(probe_of(labels), features_of(values)))
    assert score(result, "embedding") > 0.85
    assert score(result, "random") == pytest.approx(0.5, abs=0.06)
    assert result.beats_controls
    assert result.difference.low > 0.2
    assert "BEATS" in result.words
    assert [task.auroc for task in result.per_task] == sorted((task.auroc for task in result.per_task), reverse=True)
    assert result.num_tasks == K
    assert result.num_positives == 40 * K
    assert result.prevalence == pytest.approx(0.1)
    assert all(one.average_precision.low <= one.average_precision.value for one in result.scores)


def test_repeated_genes_do_not_flatter_average_precision() -> None:
    """A gene drawn twice stands beside its copy: uncentred, intervals of rare labels lie above their values."""
    labels = np.zeros((G, K), dtype=bool)
    for k in range(K):
        labels[np.random.default_rng(k).permutation(G)[:10], k] = True
    result = ran(run_probe(probe_of(labels), features_of(planted()[0])))
    for one in result.scores:
        middle = (one.average_precision.low + one.average_precision.high) / 2
        width = one.average_precision.high - one.average_precision.low
        assert abs(middle - one.average_precision.value) < 0.3 * width


def test_an_embedding_that_is_its_control_claims_nothing() -> None:
    values, labels = planted()
    result = ran(run_probe(probe_of(labels), {**features_of(values), "pca": values}))
    assert score(result, "embedding") > 0.85
    assert result.best_control == "pca"
    assert not result.beats_controls
    assert result.difference == (0.0, 0.0, 0.0)
    assert "level with" in result.words


@pytest.mark.parametrize("seed", range(4))
def test_random_vectors_are_at_chance(seed: int) -> None:
    _, labels = planted(seed)
    result = ran(run_probe(probe_of(labels), features_of(np.random.default_rng(50 + seed).standard_normal((G, D)))))
    assert result.at_chance
    assert not result.beats_controls


def test_what_training_told_is_never_claimed() -> None:
    values, labels = planted()
    result = ran(run_probe(probe_of(labels, "circular"), features_of(values)))
    assert result.difference.low > 0.2
    assert not result.beats_controls
    assert "training showed the answer" in result.words


def test_few_tasks_or_positives_support_no_claim() -> None:
    values, labels = planted()
    few = ran(run_probe(probe_of(labels[:, :9]), features_of(values)))
    assert few.difference.low > 0
    assert not few.beats_controls
    assert "fewer than 10 tasks" in few.words
    rare = labels[:, :1].copy()
    rare[np.flatnonzero(rare[:, 0])[19:]] = False
    single = ran(run_probe(probe_of(rare, is_single=True), features_of(values)))
    assert not single.beats_controls
    assert "fewer than 20 positives" in single.words
    enough = ran(run_probe(probe_of(labels[:, :1], is_single=True), features_of(values)))
    assert enough.beats_controls


def test_negative_controls_say_what_they_show() -> None:
    values, labels = planted()
    above = ran(run_probe(probe_of(labels, "negative control"), features_of(values)))
    assert "look for a leak" in above.words
    assert not above.beats_controls
    alike = ran(run_probe(probe_of(labels, "negative control"), {**features_of(values), "pca": values}))
    assert "as its controls are" in alike.words
    chance = ran(run_probe(probe_of(labels, "negative control"), features_of(features_of(values)["random"], 8)))
    assert chance.words.startswith("at chance")


def test_tests_are_made_on_the_genes_to_be_tested_only() -> None:
    values, labels = planted()
    tested = np.zeros_like(labels)
    tested[:200] = True
    result = ran(run_probe(probe_of(labels, truth_GK=labels, tested_GK=tested), features_of(values)))
    assert result.num_genes == 200
    assert result.num_positives == labels[:200].sum()
    nothing = run_probe(probe_of(labels, tested_GK=tested & ~labels), features_of(values))
    assert isinstance(nothing, NotRun)


def network(seed: int = 0, num_tfs: int = 12, size: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding, training and held-out edges: each TF's targets lie along a direction of its own."""
    values, labels = planted(seed, strength=3)
    generator = np.random.default_rng(seed)
    labels[:num_tfs] = False
    pairs = np.stack([np.nonzero(labels[:, :num_tfs])[1], np.nonzero(labels[:, :num_tfs])[0]])
    held = generator.random(pairs.shape[1]) < 0.3
    return values, pairs[:, ~held], pairs[:, held]


def test_held_out_targets_are_ranked_among_candidates_that_training_did_not_use() -> None:
    values, train, test = network()
    held_out, circular = regulon_probes(toy_inputs(values, train, test))
    assert isinstance(held_out, Probe)
    assert isinstance(circular, Probe)
    assert held_out.tested_GK is not None
    assert held_out.truth_GK is not None
    tfs = [int(name[1:]) for name in held_out.tasks]
    for column, tf in enumerate(tfs):
        of_train, of_test = train[1, train[0] == tf], test[1, test[0] == tf]
        assert not held_out.tested_GK[of_train, column].any()  # training targets are no candidates
        assert not held_out.tested_GK[tf, column]  # nor is the TF itself
        assert held_out.tested_GK[:, column].sum() == G - 1 - len(of_train)
        np.testing.assert_array_equal(np.flatnonzero(held_out.truth_GK[:, column]), np.sort(of_test))
        np.testing.assert_array_equal(np.flatnonzero(held_out.fit_GK[:, column]), np.sort(of_train))
    inputs = toy_inputs(values, train, test)
    result = ran(run_probe(held_out, probe_features(inputs)))
    assert result.beats_controls
    assert ran(run_probe(circular, probe_features(inputs))).kind == "circular"


def test_tfs_without_training_targets_are_fitted_on_other_held_out_ones() -> None:
    values, train, test = network()
    hidden = train[0] < 4
    test = np.concatenate([test, train[:, hidden]], axis=1)
    held_out, _ = regulon_probes(toy_inputs(values, train[:, ~hidden], test))
    assert isinstance(held_out, Probe)
    assert held_out.truth_GK is not None
    names = list(held_out.tasks)
    assert {"G0", "G1", "G2", "G3"} <= set(names)
    for column, name in enumerate(names):
        unseen = int(name[1:]) < 4
        assert np.array_equal(held_out.fit_GK[:, column], held_out.truth_GK[:, column]) == unseen
    assert any("had no training target" in note for note in held_out.notes)


def test_regulons_need_targets_and_a_split() -> None:
    values, train, _ = network()
    first = regulon_probes(toy_inputs(values, train))[0]
    assert isinstance(first, NotRun)
    assert "split" in first.reason
    few = regulon_probes(toy_inputs(values, train[:, :5], train[:, 5:7]))
    assert all(isinstance(probe, NotRun) for probe in few)


def test_out_edges_tell_tfs_among_all_genes_and_not_among_the_others() -> None:
    values, train, test = network()
    tfs = np.concatenate([np.arange(12), np.arange(300, 360)])
    values[tfs] += 1.5  # TFs look alike, with edges or without
    inputs = toy_inputs(values, train, test, tfs=tfs)
    everyone, unseen = tf_probes(inputs)
    features = probe_features(inputs)
    of_all, of_unseen = (ran(run_probe(probe, features)) for probe in (everyone, unseen) if isinstance(probe, Probe))
    assert of_unseen.num_genes == G - 12
    assert of_unseen.num_positives == 60
    assert score(of_unseen, "degree") == pytest.approx(0.5, abs=0.1)
    assert score(of_all, "degree") > 0.55
    assert of_unseen.beats_controls
    told = toy_inputs(values, train, test, tfs=np.arange(12))
    assert score(ran(run_probe(tf_probes(told)[0], probe_features(told))), "degree") == pytest.approx(1)  # type: ignore[arg-type]
    assert isinstance(tf_probes(told)[1], NotRun)


def test_families_given_to_the_model_are_a_control() -> None:
    values, train, test = network()
    tfs = np.arange(60)
    given = np.zeros((G, 3), dtype=np.float32)
    given[tfs, 0] = 1
    inputs = toy_inputs(values, train, test, tfs=tfs, features={"tf_family": given})
    probe = tf_probes(inputs)[0]
    assert isinstance(probe, Probe)
    assert "inputs" in probe.notes[0]
    result = ran(run_probe(probe, probe_features(inputs)))
    assert score(result, "inputs") == pytest.approx(1)
    assert not result.beats_controls


def chromosomes(names: Mapping[str, int]) -> dict[int, str]:
    places = [name for name, count in names.items() for _ in range(count)]
    return dict(enumerate(np.random.default_rng(0).permutation(places).tolist()))


def test_chromosomes_at_random_are_at_chance_and_small_ones_are_left_out() -> None:
    values, _ = planted()
    inputs = toy_inputs(values)
    places = chromosomes({"chr1": 120, "chr2": 90, "chr10": 60, "chrMT": 30, "chrY": 10})
    probe = chromosome_probe(inputs, places)
    assert isinstance(probe, Probe)
    assert list(probe.tasks) == ["chr1", "chr2", "chr10"]
    assert any("chrMT (30)" in note and "chrY (10)" in note for note in probe.notes)
    assert any("90 of 400" in note for note in probe.notes)
    result = ran(run_probe(probe, probe_features(inputs)))
    assert result.num_genes == 270
    assert result.at_chance
    assert not result.beats_controls
    assert isinstance(chromosome_probe(inputs, None), NotRun)
    assert isinstance(chromosome_probe(inputs, {0: "chr1"}), NotRun)


def test_planted_pathways_are_found() -> None:
    values, labels = planted()
    inputs = toy_inputs(values)
    sets = {f"P{k}": np.flatnonzero(labels[:, k]).tolist() for k in range(K)}
    probe = pathway_probe(inputs, {**sets, "small": [1, 2, 3], "all": list(range(G))})
    assert isinstance(probe, Probe)
    assert len(probe.tasks) == K
    assert "2 of 16 pathways" in probe.notes[0]
    assert ran(run_probe(probe, probe_features(inputs))).beats_controls
    assert isinstance(pathway_probe(inputs, {"small": [1]}), NotRun)
    assert isinstance(pathway_probe(inputs, None), NotRun)
