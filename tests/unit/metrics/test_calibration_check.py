"""The check of a calibration: it passes what is calibrated and refuses what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from grn_cotrain.errors import UserError
from grn_cotrain.metrics.calibration_check import CalibrationCheck, check_calibration

GENES, TFS = 300, 40


def pairs(seed: int, *, between: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and genes; ``between``: standard deviation of what a gene adds that no score knows."""
    rng = np.random.default_rng(seed)
    gene_M = np.repeat(np.arange(GENES), TFS)
    score_M = rng.normal(size=GENES * TFS)
    hidden_G = rng.normal(size=GENES) * between
    return score_M, rng.random(GENES * TFS) < expit(score_M - 3 + hidden_G[gene_M]), gene_M


def check(seed: int, *, between: float = 0.0, factor: float = 1.0) -> CalibrationCheck:
    score_M, label_M, gene_M = pairs(seed, between=between)
    found = check_calibration(score_M, label_M, gene_M, prevalence=factor * float(label_M.mean()))
    assert found is not None
    return found


@pytest.mark.parametrize("between", [0.0, 1.5])
def test_calibrated_probabilities_pass(between: float) -> None:
    """Genes that differ for reasons that no score knows are no failure: probabilities hold over genes."""
    assert sum(not check(seed, between=between).holds for seed in range(6)) == 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_probabilities_for_another_prevalence_fail(factor: float) -> None:
    found = check(0, factor=factor)
    assert not found.holds
    assert not found.low <= found.promised <= found.high
    assert found.low <= found.seen <= found.high
    assert (found.promised > found.seen) == (factor > 1)
    assert "are withheld" in found.line("unseen target")
    assert f"{found.num_failed} of {found.num_bins} bins" in found.line("unseen target")


def test_copies_of_a_pair_are_no_evidence() -> None:
    """Pairs of one gene are alike: nine copies of each must not make the interval three times as narrow."""
    score_M, label_M, gene_M = (np.tile(values_M, 9) for values_M in pairs(1))
    prevalence = 1.2 * float(label_M.mean())
    together = check_calibration(score_M, label_M, gene_M, prevalence=prevalence)
    apart = check_calibration(score_M, label_M, np.arange(len(gene_M)), prevalence=prevalence)
    assert together is not None
    assert apart is not None
    assert together.num_failed < apart.num_failed


def test_a_sample_of_the_negatives_weighs_more() -> None:
    score_M, label_M, gene_M = pairs(2)
    kept_M = label_M | (np.random.default_rng(0).random(len(label_M)) < 0.1)
    sample = score_M[kept_M], label_M[kept_M], gene_M[kept_M]
    prevalence = float(label_M.mean())
    corrected = check_calibration(*sample, prevalence=prevalence, sampled=0.1)
    naive = check_calibration(*sample, prevalence=prevalence)
    assert corrected is not None
    assert corrected.holds
    assert naive is not None
    assert not naive.holds


def test_too_little_to_check() -> None:
    score_M, label_M, gene_M = pairs(3)
    assert check_calibration(score_M, label_M, np.zeros_like(gene_M), prevalence=0.1) is None
    few_M = np.flatnonzero(label_M)[:9]
    kept_M = np.concatenate([few_M, np.flatnonzero(~label_M)[:500]])
    assert check_calibration(score_M[kept_M], label_M[kept_M], gene_M[kept_M], prevalence=0.1) is None


def test_a_broken_file_is_refused() -> None:
    found = check(0)
    assert CalibrationCheck.read(vars(found), "file") == found
    assert replace(found, num_failed=1).holds is False
    with pytest.raises(UserError, match="file: its check cannot be read; train the run again"):
        CalibrationCheck.read({"num_bins": 3}, "file")
