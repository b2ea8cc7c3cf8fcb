"""Linear probe: a label that is in the features is found, one that is not is not; metrics equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import accuracy_score, f1_score

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.linear_probe import (
    MAJORITY,
    LabelSplit,
    _scores,
    expression_features,
    held_out_group,
    label_scores,
    linear_probe,
    stratified,
)
from tests.multiome import multiome_vocab


@pytest.fixture
def labels() -> np.ndarray:
    return np.repeat(["b", "a", "c"], [60, 90, 30])


def value(frame: pd.DataFrame, scorer: str, metric: str, column: str = "value") -> float:
    return float(frame.set_index(["scorer", "metric"]).loc[(scorer, metric), column])


def test_a_label_in_the_features_is_found_and_noise_is_not(labels: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((len(labels), 8))
    signal = noise.copy()
    signal[:, 3] += 8 * np.unique(labels, return_inverse=True)[1]
    split = stratified(labels, test=0.3, seed=1)
    frame = linear_probe({"signal": signal, "noise": noise}, labels, split, bootstrap=200)
    assert value(frame, "signal", "accuracy") > 0.95
    assert value(frame, "signal", "macro_f1") > 0.95
    assert value(frame, "noise", "macro_f1") < 0.55
    assert value(frame, "signal", "macro_f1", "low") <= value(frame, "signal", "macro_f1")
    assert value(frame, "signal", "macro_f1", "high") >= value(frame, "signal", "macro_f1")


def test_majority_row_is_the_share_of_the_commonest_training_label(labels: np.ndarray) -> None:
    split = stratified(labels, test=0.3)
    frame = linear_probe({}, labels, split, bootstrap=0)
    share = float(np.mean(labels[split.test_C] == "a"))
    assert value(frame, MAJORITY, "accuracy") == pytest.approx(share)
    assert value(frame, MAJORITY, "macro_f1") == pytest.approx(2 * share / (1 + share) / 3)
    assert np.isnan(value(frame, MAJORITY, "accuracy", "low"))


def test_scale_and_offset_of_the_features_do_not_matter(labels: np.ndarray) -> None:
    x = np.random.default_rng(2).standard_normal((len(labels), 5)) + np.unique(labels, return_inverse=True)[1][:, None]
    split = stratified(labels, test=0.4)
    frame = linear_probe({"raw": x, "moved": 1e4 * x + 7}, labels, split, bootstrap=0)
    for metric in ("accuracy", "macro_f1"):
        assert value(frame, "raw", metric) == pytest.approx(value(frame, "moved", metric))


def test_test_cells_choose_nothing(labels: np.ndarray) -> None:
    """Labels and features of test cells change neither the penalty nor the boundary."""
    x = np.random.default_rng(3).standard_normal((len(labels), 4)) + np.unique(labels, return_inverse=True)[1][:, None]
    split = stratified(labels, test=0.3)
    first = linear_probe({"x": x}, labels, split, bootstrap=0)
    shuffled, moved = labels.copy(), x.copy()
    shuffled[split.test_C] = np.random.default_rng(0).permutation(shuffled[split.test_C])
    moved[split.test_C] *= 100
    second = linear_probe({"x": moved}, shuffled, split, bootstrap=0)
    assert value(first, "x", "accuracy", "strength") == value(second, "x", "accuracy", "strength")


def test_scores_equal_scikit_learn_under_repeated_cells() -> None:
    generator = np.random.default_rng(4)
    truth, found = generator.integers(4, size=50), generator.integers(5, size=50)
    weights = generator.multinomial(50, np.full(50, 1 / 50), 3)
    accuracy, macro, sklearn_macro = _scores(found, truth, weights)
    for row in range(3):
        repeated = np.repeat(np.arange(50), weights[row])
        present = np.unique(truth[repeated])
        assert accuracy[row] == pytest.approx(accuracy_score(truth[repeated], found[repeated]))
        expected = f1_score(truth[repeated], found[repeated], labels=present, average="macro", zero_division=0)
        assert macro[row] == pytest.approx(expected)
        plain = f1_score(truth[repeated], found[repeated], average="macro", zero_division=0)
        assert sklearn_macro[row] == pytest.approx(plain)
        assert plain < expected, "class 4 is predicted, and no cell has it"


def test_both_macro_f1_are_told_apart() -> None:
    """Classes a and b, and c that is predicted once: F1 is 2/3, 1 and 0, so the means are 5/6 and 5/9."""
    truth, found = np.array(["a", "a", "b", "b"]), np.array(["a", "c", "b", "b"])
    frame = label_scores("x", found, truth, np.ones((3, 4))).set_index("metric")
    assert frame["value"].to_dict() == pytest.approx({"accuracy": 3 / 4, "macro_f1": 5 / 6, "macro_f1_sklearn": 5 / 9})
    assert frame["low"].to_dict() == pytest.approx(frame["value"].to_dict())


def test_a_label_that_training_lacks_is_an_error_and_is_counted() -> None:
    labels = np.array(["a"] * 20 + ["b"] * 20 + ["new"] * 10)
    x = np.r_[np.zeros(20), np.full(20, 9.0), np.full(10, 4.0)][:, None]
    split = LabelSplit(np.arange(38), np.arange(38, 50), "by hand")
    frame = linear_probe({"x": x}, labels, split, bootstrap=0)
    assert value(frame, "x", "accuracy") == pytest.approx(2 / 12)
    assert int(frame["unseen"].iloc[0]) == 10


def test_splits(labels: np.ndarray) -> None:
    split = stratified(labels, test=0.2, seed=3)
    assert np.unique(labels[split.test_C], return_counts=True)[1].tolist() == [18, 12, 6]
    assert np.array_equal(np.sort(np.r_[split.train_C, split.test_C]), np.arange(len(labels)))
    batches = np.array(["x", "y"] * 90)
    by_batch = held_out_group(batches, "y")
    assert set(batches[by_batch.test_C]) == {"y"}
    assert set(batches[by_batch.train_C]) == {"x"}
    with pytest.raises(UserError, match="held-out group 'z'"):
        held_out_group(batches, "z")
    donors = [f"donor{i}" for i in range(200)]
    with pytest.raises(UserError) as caught:
        held_out_group(donors, "doner17", given="--test-by 'donor=doner17'")
    text = str(caught.value)
    assert text.startswith("test_by='donor=doner17': none of 200 cells is of this group; choose from donor0, donor1")
    assert text.endswith("and 192 more (did you mean 'donor17'?)")
    with pytest.raises(UserError, match="held-out group 'x': all 3 cells are of this group, so none is left"):
        held_out_group(["x"] * 3, "x")
    with pytest.raises(UserError, match="test: got 1"):
        stratified(labels, test=1)


def test_expression_features_learn_from_training_cells_alone() -> None:
    generator = np.random.default_rng(5)
    counts = generator.poisson(2.0, (40, 30)).astype(np.float32) + 1
    vocab = FeatureVocab.from_symbols([f"G{i}" for i in range(30)])
    cells = MemoryStore.build(vocab, sparse.csr_matrix(counts), kind="counts")
    changed = counts.copy()
    changed[30:] = changed[30:, ::-1] * 3
    other = MemoryStore.build(vocab, sparse.csr_matrix(changed), kind="counts")
    train = np.arange(30)
    first = expression_features(cells, train, num_components=5, num_genes=7)
    second = expression_features(other, train, num_components=5, num_genes=7)
    assert first["pca"].shape == (40, 5)
    assert first["hvg"].shape == (40, 7)
    for name in first:
        np.testing.assert_allclose(first[name][:30], second[name][:30], atol=1e-8)


def test_refusals(labels: np.ndarray) -> None:
    split = stratified(labels)
    with pytest.raises(UserError, match="one row a cell"):
        linear_probe({"x": np.zeros((3, 2))}, labels, split)
    with pytest.raises(UserError, match="not finite"):
        linear_probe({"x": np.full((len(labels), 2), np.nan)}, labels, split)
    with pytest.raises(UserError, match="needs two"):
        linear_probe({}, ["a"] * 10, LabelSplit(np.arange(5), np.arange(5, 10), "s"))


def test_a_missing_assay_is_not_a_zero_to_the_baselines() -> None:
    """Without the mend the first component would tell which assay a cell has."""
    generator = np.random.default_rng(0)
    counts = generator.poisson(3.0, (60, 36))
    has = np.arange(60) % 2 == 0
    counts[~has, 24:] = 0
    present = {"rna": np.ones(60, bool), "atac": has}
    cells = MemoryStore.build(multiome_vocab(), counts, kind="counts", present=present)
    pca_CD = expression_features(cells, np.arange(60), num_components=5)["pca"]
    apart_D = np.abs(pca_CD[has].mean(0) - pca_CD[~has].mean(0)) / pca_CD.std(0)
    assert apart_D.max() < 0.7
