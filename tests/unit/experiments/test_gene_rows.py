"""The study of gene rows: AUROC within strata against scikit-learn, strata by hand, and both tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from experiments.studies.gene_rows import Shared, cosine, strata_of, tables


def shared(num_genes: int = 30, seed: int = 0) -> tuple[Shared, np.ndarray]:
    """Pairs of genes in four strata, and scores with ties that know a little."""
    generator = np.random.default_rng(seed)
    pairs_2M = np.stack(np.triu_indices(num_genes, 1))
    labels_M = generator.random(pairs_2M.shape[1]) < 0.2
    strata_M = generator.integers(0, 4, pairs_2M.shape[1])
    scores_M = np.round(generator.normal(size=len(labels_M)) + 0.5 * labels_M + strata_M, 1)
    return Shared(np.arange(num_genes), pairs_2M, labels_M, strata_M), scores_M


def test_auroc_is_the_mean_over_strata_by_their_positives() -> None:
    pairs, scores_M = shared()
    values, positives = [], []
    for stratum in range(4):
        rows = pairs.stratum_M == stratum
        values.append(roc_auc_score(pairs.labels_M[rows], scores_M[rows]))
        positives.append(pairs.labels_M[rows].sum())
    assert pairs.auroc(scores_M) == pytest.approx(np.average(values, weights=positives))
    assert pairs.auroc(pairs.stratum_M.astype(float)) == pytest.approx(0.5), "a stratum is no answer"


def test_a_gene_drawn_twice_counts_as_two() -> None:
    pairs, scores_M = shared()
    weight_N = np.random.default_rng(1).integers(0, 3, 30)
    times_M = weight_N[pairs.pairs_2M].prod(axis=0)
    again = Shared(pairs.genes_N, pairs.pairs_2M, pairs.labels_M.repeat(times_M), pairs.stratum_M.repeat(times_M))
    assert pairs.auroc(scores_M, weight_N) == pytest.approx(again.auroc(scores_M.repeat(times_M)))


def test_strata_are_equal_bins_of_every_column() -> None:
    code_M = strata_of([np.arange(9), np.array([0, 0, 0, 5, 5, 5, 9, 9, 9])], bins=3)
    np.testing.assert_array_equal(code_M, [0, 0, 0, 4, 4, 4, 8, 8, 8])
    assert len(np.unique(strata_of([np.zeros(10)]))) == 1, "equal values have one stratum"


def test_cosine_leaves_out_the_mean_vector() -> None:
    pairs, _ = shared(4)
    rows_ND = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]) + 7
    np.testing.assert_allclose(cosine(rows_ND, pairs), [-1, 0, 0, 0, 0, -1], atol=1e-12)


def test_tables_name_the_best_control_and_the_gap_of_each_kind() -> None:
    gap = {"value": 0.125, "low": -0.25, "high": 0.5}
    kind = {"degree": 0.25, "auroc": {"embedding": 0.75, "pca": 0.5}, "best_control": "pca", "minus_best": gap}
    run: dict[str, Any] = {
        "split": "s",
        "kinds": {"static": {"degree": 0.25}, "graph": kind, "regulation": kind},
        "shared": {
            "auroc": {"correlation": 0.5, "static": 0.25, "graph": 0.5, "regulation": 0.75},
            "best_control": "correlation",
            "minus_best": dict.fromkeys(("static", "graph", "regulation"), gap),
            "positives": 1234,
        },
    }
    rows, shares = tables([run, run])
    assert rows[0] == ["s", "static", "2", "0.250", "-", "-", "-"]
    assert rows[1] == ["s", "graph", "2", "0.250", "0.750", "PCA loadings 0.500", "+0.125 [-0.250, +0.500]"]
    assert shares[0] == ["s", "correlation", "2", "1,234", "0.500", "-"]
    assert shares[3][-1] == "+0.125 [-0.250, +0.500]"
