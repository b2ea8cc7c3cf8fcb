"""The learned part of a decoder counts as far as validation pairs show that it helps."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.train.learned_share import choose_share

TFS, GENES = 40, 80


def world(gain: float, tfs: int = TFS) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Evidence that knows something, and a learned part that adds ``gain`` of the truth to as much noise."""
    draws = np.random.default_rng(0)
    labels_SG = draws.random((tfs, GENES)) < 0.15
    evidence_SG = labels_SG + draws.normal(size=labels_SG.shape)
    learned_SG = evidence_SG + gain * labels_SG + 0.5 * draws.normal(size=labels_SG.shape)
    sources_M = np.repeat(np.arange(tfs), GENES)
    return evidence_SG.ravel(), learned_SG.ravel(), labels_SG.ravel(), sources_M


@pytest.mark.parametrize(("gain", "share"), [(3.0, 1.0), (0.0, 0.0), (-1.0, 0.0)])
def test_the_share_is_zero_unless_the_pairs_show_a_gain(gain: float, share: float) -> None:
    assert choose_share(*world(gain)) == share


def test_a_gain_within_its_interval_is_noise() -> None:
    evidence_M, _, labels_M, sources_M = world(0.0)
    one = (sources_M == 0) & labels_M  # a single TF gains
    assert choose_share(evidence_M, evidence_M + 0.5 * one, labels_M, sources_M) == 0


def test_few_tfs_cannot_choose() -> None:
    assert choose_share(*world(3.0, tfs=9)) is None
