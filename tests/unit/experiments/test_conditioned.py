"""The study of networks of groups: its AUROC, its table, and values that JSON can hold."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.studies.conditioned import MARKERS, auroc


def test_auroc_counts_ties_as_half_and_missing_as_lowest() -> None:
    positive = np.array([True, False, True, False])
    assert auroc(np.array([3.0, 1.0, 2.0, 0.0]), positive) == 1.0
    assert auroc(np.ones(4), positive) == 0.5
    assert auroc(np.array([np.nan, 1.0, np.nan, 0.0]), positive) == 0.0
    assert np.isnan(auroc(np.ones(4), np.ones(4, dtype=bool)))


def test_markers_name_types_of_pbmc3k() -> None:
    known = {"CD14+ Mono", "FCGR3A+ Mono", "DC", "B", "NK", "CD8 T", "Naive CD4 T", "Memory CD4 T", "Platelet"}
    assert {name for types in MARKERS.values() for name in types} <= known
    assert auroc(np.array([0.2, 0.4, 0.3]), np.array([False, True, False])) == pytest.approx(1.0)
