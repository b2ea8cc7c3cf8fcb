"""Splits that cannot be ranked: refused where the test has one class, said where validation has."""

from __future__ import annotations

import logging

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from data_prep.splits import prepare_splits
from grn_cotrain.errors import UserError

GENES = [f"GENE{i}" for i in range(40)]


def prepared(tmp_path, pairs) -> str:
    X = np.random.default_rng(0).poisson(2, (60, 40)).astype(np.float32)
    anndata.AnnData(X, var=pd.DataFrame(index=GENES)).write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "net.tsv").write_text("TF\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in pairs))
    prepare_counts(tmp_path / "cells.h5ad", tmp_path / "prep", grn=tmp_path / "net.tsv")
    return str(tmp_path / "prep")


@pytest.mark.parametrize("kind", ["random", "unseen-target"])
def test_a_complete_network_has_nothing_to_rank(tmp_path, kind) -> None:
    prep = prepared(tmp_path, [(a, b) for a in GENES[:5] for b in GENES if a != b])
    with pytest.raises(UserError, match=r"test part has no negative, all [\d,]+ candidate pairs are edges") as caught:
        prepare_splits(prep, kind)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "prep").glob("splits/*"))


def test_a_sparse_network_is_split_without_a_word(tmp_path, caplog) -> None:
    prep = prepared(tmp_path, [(a, b) for i, a in enumerate(GENES[:5]) for b in GENES[5 + i :: 3]])
    with caplog.at_level(logging.WARNING):
        assert prepare_splits(prep, "random") == ["random-seed0"]
    assert "no positive" not in caplog.text
    assert "no negative" not in caplog.text


def test_validation_without_positives_is_said(tmp_path, caplog) -> None:
    prep = prepared(tmp_path, [(GENES[0], GENES[5]), (GENES[0], GENES[6]), (GENES[1], GENES[7])])
    with caplog.at_level(logging.WARNING):
        prepare_splits(prep, "random")
    assert "0 validation positives of 3 edges" in caplog.text
