"""Features of genes and marks of symbols: what is stored, counted and named, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from data_prep.features import prepare_features
from data_prep.splits import prepare_splits
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.errors import UserError
from grn_cotrain.nn.inductive import inductive_features

OLD = ("GENE7", "GENE9")
GENES = [f"GENE{i}" for i in range(40)]


def cells_file(path: Path, genes: list[str], seed: int = 0) -> Path:
    values = np.random.default_rng(seed).poisson(2, (60, len(genes))).astype(np.float32)
    anndata.AnnData(values, var=pd.DataFrame(index=genes)).write_h5ad(path)
    return path


@pytest.fixture
def prep(tmp_path: Path) -> Path:
    """40 genes of which two have an outdated symbol, and a network with an edge to one of them."""
    current = [name for name in GENES if name not in OLD] + ["GENE999"]
    (tmp_path / "genes.tsv").write_text("chrom\tstart\tgene\n" + "".join(f"chr1\t1\t{name}\n" for name in current))
    edges = [(a, b) for i, a in enumerate(GENES[:5]) for b in GENES[5 + i :: 3]]
    (tmp_path / "net.tsv").write_text("TF\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in edges))
    cells = cells_file(tmp_path / "cells.h5ad", GENES)
    prepare_counts(cells, tmp_path / "prep", grn=tmp_path / "net.tsv", current_symbols=tmp_path / "genes.tsv")
    return tmp_path / "prep"


def test_outdated_symbols_are_marked_counted_and_named(prep: Path) -> None:
    opened = Prep.open(prep)
    assert opened.vocab.outdated == set(OLD)
    assert [opened.vocab.symbols[i] for i in np.flatnonzero(opened.vocab.outdated_G)] == list(OLD)
    note = next(note for note in opened.meta["notes"] if note.startswith("symbols:"))
    assert note == "symbols: 2 of 40 genes have an outdated one and leave the candidates of splits: GENE7, GENE9"
    assert opened.cells.vocab.outdated == set(OLD)


@pytest.mark.parametrize("kind", ["random", "unseen-target", "unseen-tf", "unseen-both"])
def test_splits_leave_them_out_by_name(prep: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        names = prepare_splits(prep, kind, folds=2)
    opened = Prep.open(prep)
    old = [opened.vocab.index(name) for name in OLD]
    lost = int(np.isin(opened.grn.pairs_2E, old).any(axis=0).sum())
    assert lost > 0
    assert f"2 genes with an outdated symbol are not candidates: GENE7, GENE9; {lost} edges leave" in caplog.text
    for name in names:
        split = opened.split(name)
        assert not np.isin(split.all_positives(), old).any()
        for part in ("train", "validation", "test"):
            assert not np.isin(split.pairs(part).pairs_2M, old).any()


def test_they_stay_where_the_user_keeps_them(prep: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        name = prepare_splits(prep, "random", outdated="keep")[0]
    opened = Prep.open(prep)
    assert np.isin([opened.vocab.index(old) for old in OLD], opened.split(name).test_targets_N).all()
    assert "2 genes with an outdated symbol stay candidates" in caplog.text


def test_a_transfer_leaves_them_out_too(prep: Path, tmp_path: Path) -> None:
    (tmp_path / "other.tsv").write_text("TF\ttarget\n" + "".join(f"GENE0\tGENE{i}\n" for i in range(6, 30)))
    prepare_counts(tmp_path / "cells.h5ad", tmp_path / "other", grn=tmp_path / "other.tsv")
    split = Prep.open(prep).split(prepare_splits(prep, "transfer", source_prep=tmp_path / "other")[0])
    old = [7, 9]
    assert not np.isin(split.all_positives(), old).any()
    assert not np.isin(old, split.train_targets_N).any()
    assert not np.isin(old, split.test_targets_N).any()


def test_an_annotation_of_something_else_is_refused(tmp_path: Path) -> None:
    cells = cells_file(tmp_path / "cells.h5ad", GENES)
    (tmp_path / "genes.txt").write_text("ABC1\nABC2\nGENE1\n")
    with pytest.raises(UserError, match=r"holds only 1 of the data's 40 genes .*give the annotation of their") as error:
        prepare_counts(cells, tmp_path / "prep", current_symbols=tmp_path / "genes.txt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "prep").exists()


def test_a_table_of_aliases_marks_what_it_could_not_rename(tmp_path: Path) -> None:
    cells = cells_file(tmp_path / "cells.h5ad", [*GENES[:10], "OLDA", "OLDB"])
    table = "alias\tsymbol\nOLDA\tNEWA\nOLDB\tGENE1\nOLDB\tNEWB\n"
    (tmp_path / "aliases.tsv").write_text(table)
    opened = prepare_counts(cells, tmp_path / "prep", aliases=tmp_path / "aliases.tsv")
    assert "NEWA" in opened.vocab.symbols
    assert opened.vocab.outdated == {"OLDB"}  # it may be either gene


def test_without_an_annotation_nothing_is_marked(tmp_path: Path) -> None:
    opened = prepare_counts(cells_file(tmp_path / "cells.h5ad", GENES), tmp_path / "prep")
    assert opened.vocab.outdated == frozenset()
    assert opened.vocab.side_hash == ""


def test_features_are_aligned_by_name_and_read_by_the_table(prep: Path, tmp_path: Path) -> None:
    other = cells_file(tmp_path / "other.h5ad", [*GENES[30:], "ELSE1"], seed=1)
    prepare_counts(other, tmp_path / "blood")
    before = Prep.open(prep)
    lines = prepare_features(prep, [tmp_path / "blood"], rank=4)
    assert lines == ["blood: 10 of the folder's 40 genes; 10 of 11 mapped; 1 lost (ELSE1)"]
    opened = Prep.open(prep)
    assert opened.vocab.content_hash == before.vocab.content_hash
    assert opened.content_hash != before.content_hash
    rows = opened.cells.vocab.features.of(opened.vocab.symbols)["blood"]
    np.testing.assert_array_equal(rows.present_G, np.arange(40) >= 30)
    values = Prep.open(tmp_path / "blood").cells.normalised().toarray()
    np.testing.assert_allclose(rows.summary_G3[30:, 0], values.mean(axis=0)[:10], rtol=1e-4)
    found = inductive_features(["expression"], opened.vocab, Statistics(opened.cells))["expression"]
    alone = inductive_features(["expression"], before.vocab, Statistics(before.cells))["expression"]
    assert found.shape[1] == alone.shape[1] + 4 + 4
    assert np.square(found).sum(axis=1).mean() == pytest.approx(np.square(alone).sum(axis=1).mean(), rel=1e-4)


def test_motifs_are_stored_for_the_tfs_of_the_data(prep: Path, tmp_path: Path) -> None:
    motif = "{}\n4 0 4 0\n0 4 0 0\n0 0 0 0\n0 0 0 4\n"
    text = "".join(motif.format(f">M {name}") for name in ("GENE0", "gene3", "X"))
    (tmp_path / "some.pfm").write_text(text)
    assert prepare_features(prep, [], motifs=tmp_path / "some.pfm") == [
        "motifs: 2 of 3 TFs are genes of the data; not X"
    ]
    features = Prep.open(prep).vocab.features
    assert features.motif_tfs == ("GENE0", "GENE3")
    np.testing.assert_allclose(features.motif_similarity(["GENE3", "GENE0", "GENE1"])[0], [1, 1, 0], rtol=1e-5)


def test_what_cannot_be_read_is_refused_and_nothing_is_written(prep: Path, tmp_path: Path) -> None:
    foreign = cells_file(tmp_path / "foreign.h5ad", [f"XYZ{i}" for i in range(12)])
    prepare_counts(foreign, tmp_path / "foreign")
    prepare_counts(tmp_path / "cells.h5ad", tmp_path / "copy")
    (tmp_path / "none.pfm").write_text(">M XX\n1 0\n0 1\n0 0\n0 0\n")
    for sources, options, message in (
        ([], {}, "names no prepared folder; give one or more, or motifs="),
        ([tmp_path / "foreign"], {}, "none of its 12 genes is in"),
        ([tmp_path / "copy"], {}, "holds the same cells as the folder itself"),
        ([tmp_path / "a" / "foreign", tmp_path / "foreign"], {}, "foreign is the name of two folders; rename one"),
        ([], {"motifs": tmp_path / "none.pfm"}, "none of its 1 TFs is a gene of the data"),
    ):
        with pytest.raises(UserError, match=message) as error:
            prepare_features(prep, sources, **options)
        assert "\n" not in str(error.value)
    assert Prep.open(prep).vocab.features is None


def test_a_changed_table_is_noticed(prep: Path, tmp_path: Path) -> None:
    prepare_counts(cells_file(tmp_path / "other.h5ad", GENES, seed=2), tmp_path / "blood")
    prepare_features(prep, [tmp_path / "blood"])
    (prep / "gene_features.parquet").write_bytes(b"")
    with pytest.raises(UserError, match="missing or changed; make them again: grn-prep features"):
        Prep.open(prep)
