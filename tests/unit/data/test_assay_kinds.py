"""Kinds of assays against their definitions; a new modality is one kind."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from data_prep.counts import prepare_counts
from grn_cotrain.data.assay_kinds import ASSAY_KINDS, MODALITIES, AssayKind, Modality
from grn_cotrain.data.assays import kind_for
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig
from grn_cotrain.registry import Component

X = np.array([[0.0, 3, 1, 0], [2, 0, 0, 5], [0, 0, 0, 0]])


def expected(name: str) -> np.ndarray:
    if name == "counts":
        return np.log1p(1e4 * X / np.maximum(X.sum(axis=1, keepdims=True), 1))
    if name == "clr":
        return np.log1p(X / np.exp(np.log1p(X).mean(axis=1, keepdims=True)))
    return (X > 0).astype(float) if name == "binary" else X


@pytest.mark.parametrize("name", ["binary", "clr", "counts", "log"])
def test_values_are_those_of_the_definition_and_zeros_stay(name: str) -> None:
    vocab = FeatureVocab.from_symbols(list("ABCD"), species="human")
    cells = MemoryStore.build(vocab, X, kind={"rna": name})
    np.testing.assert_allclose(cells.normalised().toarray(), expected(name), rtol=1e-6)
    assert cells.normalised().dtype == np.float32


def test_every_kind_is_tested_here() -> None:
    assert ASSAY_KINDS.names() == ["binary", "clr", "counts", "log"]


@pytest.mark.parametrize(
    ("modality", "values", "kind"),
    [
        ("gene", X, "counts"),
        ("gene", X > 0, "counts"),
        ("peak", X, "counts"),
        ("peak", X > 0, "binary"),
        ("protein", X, "clr"),
    ],
)
def test_the_usual_kind_of_whole_numbers(modality: str, values: np.ndarray, kind: str) -> None:
    assert kind_for(modality, "counts", sparse.csr_matrix(values.astype(np.float32))) == kind
    assert kind_for(modality, "log", sparse.csr_matrix(values.astype(np.float32))) == "log"


def test_values_without_their_assay_are_refused() -> None:
    vocab = FeatureVocab.from_symbols(["A", "B", "C", "chr1:1-9"], modality=["gene"] * 3 + ["peak"], species="human")
    with pytest.raises(UserError, match="present_atac is False in cells with peaks"):
        MemoryStore.build(vocab, X, kind="counts", present={"atac": np.array([True, False, True])})


def test_features_in_mixed_order_are_refused() -> None:
    vocab = FeatureVocab.from_symbols(["chr1:1-9", "A", "B", "C"], modality=["peak"] + ["gene"] * 3, species="human")
    with pytest.raises(UserError, match="mixed order; genes come first"):
        MemoryStore.build(vocab, X, kind="counts")
    ordered, index_G = vocab.ordered()
    assert ordered.symbols == ("A", "B", "C", "chr1:1-9")
    assert index_G.tolist() == [1, 2, 3, 0]
    assert [space.name for space in ordered.spaces] == ["gene", "peak"]
    genes = FeatureVocab.from_symbols(["A", "B", "C"], species="human")
    assert ordered.space("gene").content_hash == genes.content_hash


class Halved(AssayKind):
    """A kind that a plug-in could bring."""

    name = "halved"
    introduces = Modality("methylation", "met", ("met", "methylome"), counts="halved")

    @staticmethod
    def depth(values_CF: sparse.csr_matrix) -> np.ndarray:
        """Twos."""
        return np.full(values_CF.shape[0], 2.0)

    @staticmethod
    def normalise(value_N: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """Half of the value."""
        return (value_N / depth_N).astype(np.float32)


def test_a_new_modality_needs_one_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mudata

    assert "methylation" not in MODALITIES
    monkeypatch.setitem(ASSAY_KINDS._components, "halved", Component("halved", Halved, "none"))
    assert list(MODALITIES) == ["gene", "peak", "protein", "methylation"]
    obs = pd.DataFrame(index=["c0", "c1", "c2"])
    parts = {
        "rna": anndata.AnnData(X[:2] + 1, obs=obs.iloc[:2], var=pd.DataFrame(index=["A", "B", "C", "D"])),
        "met": anndata.AnnData(X[1:] + 3, obs=obs.iloc[1:], var=pd.DataFrame(index=["m1", "m2", "m3", "m4"])),
    }
    mudata.MuData(parts).write(tmp_path / "m.h5mu")
    cells = prepare_counts(tmp_path / "m.h5mu", tmp_path / "prep").cells
    assert {name: assay.kind for name, assay in cells.assays.items()} == {"rna": "counts", "met": "halved"}
    np.testing.assert_allclose(cells.measured("met").toarray(), (X[1:] + 3) / 2)
    part = Tokenizer(cells, TokenConfig()).batch(np.arange(3)).assays["met"]
    assert part.modality == 3
    assert part.cells_A.tolist() == [1, 2]
