"""Rows of other data sets: found by symbol, stored with a hash, moved with permuted profiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.gene_features import GeneFeatures, SetRows, read_gene_features, write_gene_features
from grn_cotrain.data.set_rows import set_rows
from grn_cotrain.errors import UserError
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_known_cells


def features_of_three() -> GeneFeatures:
    present = np.array([True, True, False])
    summary = np.array([[1, 2, 0.5], [3, 4, 0.25], [0, 0, 0]], dtype=np.float32)
    loadings = np.array([[0.1, 0.2], [0.3, 0.4], [0, 0]], dtype=np.float32)
    similarity = np.array([[1, 0.8], [0.8, 1]], dtype=np.float32)
    return GeneFeatures(("A", "B", "C"), {"blood": SetRows(summary, loadings, present)}, ("C", "A"), similarity)


def test_rows_are_found_by_symbol_and_unknown_genes_are_in_no_set() -> None:
    rows = features_of_three().of(["B", "new", "C", "A"])["blood"]
    np.testing.assert_array_equal(rows.present_G, [True, False, False, True])
    np.testing.assert_array_equal(rows.summary_G3[0], np.float32([3, 4, 0.25]))
    np.testing.assert_array_equal(rows.summary_G3[1:3], np.zeros((2, 3)))
    np.testing.assert_array_equal(rows.loadings_GR[3], np.float32([0.1, 0.2]))


def test_motifs_are_found_by_symbol() -> None:
    found = features_of_three().motif_similarity(["A", "B", "C"])
    np.testing.assert_array_equal(found, np.float32([[1, 0, 0.8], [0, 0, 0], [0.8, 0, 1]]))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_gene_features(tmp_path) is None
    features = features_of_three()
    write_gene_features(tmp_path, features, [{"name": "blood", "rank": 2, "cells_hash": "x", "report": "2 of 3"}])
    found = read_gene_features(tmp_path)
    assert found is not None
    assert found.content_hash == features.content_hash
    (tmp_path / "gene_features.parquet").write_bytes(b"other")
    with pytest.raises(UserError, match="missing or changed; make them again"):
        read_gene_features(tmp_path)


def test_rows_of_a_set_are_those_of_its_cells() -> None:
    rows = set_rows(toy_cells(), rank=5)
    values = toy_cells().normalised().toarray()
    np.testing.assert_allclose(rows.summary_G3[:, 0], values.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows.summary_G3[:, 1], values.std(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows.summary_G3[:, 2], (values > 0).mean(axis=0), rtol=1e-5)
    assert rows.loadings_GR.shape == (NUM_GENES, 5)


def test_a_permuted_profile_takes_its_rows_along() -> None:
    cells = toy_known_cells()
    moved = cells.permuted_genes(np.arange(20), seed=3)
    assert moved.vocab.content_hash == cells.vocab.content_hash
    before = cells.vocab.features.of(cells.vocab.symbols)["other"]
    after = moved.vocab.features.of(cells.vocab.symbols)["other"]
    columns = {tuple(column): gene for gene, column in enumerate(cells.values_CG.T.toarray().tolist())}
    for gene, column in enumerate(moved.values_CG.T.toarray().tolist()):
        if any(column):
            np.testing.assert_array_equal(after.summary_G3[gene], before.summary_G3[columns[tuple(column)]])


def test_the_hash_of_what_is_known_changes_with_it() -> None:
    vocab = toy_known_cells().vocab
    assert toy_cells().vocab.side_hash == ""
    assert vocab.side_hash != replace(vocab, outdated=frozenset()).side_hash
    assert vocab.side_hash != replace(vocab, features=None).side_hash
    assert vocab.content_hash == toy_cells().vocab.content_hash
