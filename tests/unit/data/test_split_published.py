"""Published files: labels kept as they are, indices through the table, mixtures refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.split_published import published_split, read_gene_index
from grn_cotrain.errors import UserError
from tests.cases.networks import vocab_of

INDEX = "genes.tsv.gz:specific/demo/TFs+5"


def write(folder: Path, name: str, rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(gzip.compress(rows.encode()))
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    # Index i of the file is gene 9 - i of the vocabulary: an index taken for a gene index would be seen.
    genes = "".join(f"specific\tdemo\tTFs+5\t{i}\tGENE{9 - i}\t{i < 2}\n" for i in range(10))
    genes += "specific\tother\tTFs+5\t0\tGENE0\tTrue\n"
    write(tmp_path / "networks", "genes.tsv.gz", "network\tcell\tset\tindex\tgene\tis_tf\n" + genes)
    rows = {
        "train": [(s, t, int(t < 5)) for s in (0, 1) for t in (2, 3, 4, 5, 6)],
        "validation": [(0, 7, 1), (1, 7, 0)],
        "test": [(0, 8, 1), (0, 9, 0), (1, 8, 0), (1, 9, 1)],
    }
    return {
        part: write(
            tmp_path / "splits",
            f"{part}.tsv.gz",
            "TF\tTarget\tLabel\n" + "".join(f"{a}\t{b}\t{label}\n" for a, b, label in lines),
        )
        for part, lines in rows.items()
    }


def test_indices_resolve_through_the_table(files: dict[str, Path]) -> None:
    split = published_split(files["train"], files["validation"], files["test"], vocab=vocab_of(10), index=INDEX)
    np.testing.assert_array_equal(split.test_2E, [[8, 9], [0, 1]])
    np.testing.assert_array_equal(split.test_negatives_2N, [[8, 9], [1, 0]])
    np.testing.assert_array_equal(split.validation_2E, [[9], [2]])
    np.testing.assert_array_equal(split.train_sources_S, [8, 9])
    assert split.counts("train") == (6, 10)
    assert split.kind == "published"
    assert split.labelled


def test_a_tenth_of_train_validates_where_no_file_does(files: dict[str, Path], tmp_path: Path) -> None:
    lines = "".join(f"{s}\t{t}\t{int(t % 4 == 0)}\n" for s in (0, 1) for t in range(2, 42))
    train = write(tmp_path, "train.tsv.gz", "TF\tTarget\tLabel\n" + lines)
    test = write(tmp_path, "test.tsv.gz", "TF\tTarget\tLabel\n0\t42\t1\n1\t42\t0\n")
    symbols = {path: path.read_bytes() for path in (train, test)}
    for path, content in symbols.items():
        head, *rows = gzip.decompress(content).decode().splitlines()
        named = [f"GENE{a}\tGENE{b}\t{label}" for a, b, label in (row.split("\t") for row in rows)]
        path.write_bytes(gzip.compress("\n".join([head, *named]).encode()))
    first, second, other = (published_split(train, None, test, vocab=vocab_of(43), seed=seed) for seed in (0, 0, 1))
    assert first.content_hash == second.content_hash != other.content_hash
    assert first.counts("validation") == (2, 8)
    assert first.counts("train") == (18, 72)
    del files


def test_files_that_are_not_one_split_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="10 of 10 pairs are in train too"):
        published_split(files["train"], files["validation"], files["train"], vocab=vocab_of(10), index=INDEX)
    with pytest.raises(UserError, match="4 of 4 pairs are in validation too"):
        published_split(files["train"], files["test"], files["test"], vocab=vocab_of(10), index=INDEX)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("genes.tsv.gz", "write PATH:NETWORK/CELL/SET"),
        ("nowhere.tsv:specific/demo/TFs+5", "no such file"),
        ("genes.tsv.gz:specific/demos/TFs+5", "did you mean 'specific/demo/TFs"),
        ("genes.tsv.gz:specific/other/TFs+5", "which the index table does not"),
    ],
)
def test_a_wrong_index_is_named(files: dict[str, Path], index: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        published_split(files["train"], None, files["test"], vocab=vocab_of(10), index=index)


def test_read_gene_index(files: dict[str, Path]) -> None:
    genes = read_gene_index(INDEX, beside=files["train"])
    assert genes[0] == "GENE9"
    assert len(genes) == 10


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("TF\tTarget\nGENE0\tGENE1\n", "no column Label"),
        ("TF\tTarget\tLabel\nGENE0\tGENE1\t2\n", "neither 0 nor 1"),
        ("TF\tTarget\tLabel\nGENE0\tGENE1\t1\nGENE0\tGENE1\t0\n", "both labels"),
        ("TF\tTarget\tLabel\nGENE0\tELSE\t1\n", "not in the vocabulary"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    train = write(tmp_path, "train.tsv.gz", rows)
    test = write(tmp_path, "test.tsv.gz", "TF\tTarget\tLabel\nGENE0\tGENE2\t1\n")
    with pytest.raises(UserError, match=message):
        published_split(train, None, test, vocab=vocab_of(5))


def test_a_truncated_file_is_refused(files: dict[str, Path]) -> None:
    files["test"].write_bytes(files["test"].read_bytes()[:30])
    with pytest.raises(UserError, match="cannot be read"):
        published_split(files["train"], None, files["test"], vocab=vocab_of(10), index=INDEX)


@pytest.mark.parametrize(
    "header",
    [
        "source\ttarget\tlabel",
        "Gene1\tGene2\tLabel",
        "regulator\ttarget_gene\ty",
        "TF_name\tTarget symbol\tis_positive",
        "Label\tTarget\tTF",
    ],
)
def test_columns_have_any_name_that_an_edge_list_may_have(tmp_path: Path, header: str) -> None:
    vocab = vocab_of(6)
    rows = {"train": [(0, 1, 1), (0, 2, 0)], "validation": [(1, 3, 1), (1, 4, 0)], "test": [(2, 4, 1), (2, 5, 0)]}
    paths = {}
    for part, lines in rows.items():
        table = [(f"GENE{a}", f"GENE{b}", str(y)) for a, b, y in lines]
        table = [line[::-1] for line in table] if header.startswith("Label") else table
        text = header + "\n" + "".join("\t".join(line) + "\n" for line in table)
        paths[part] = write(tmp_path, f"{part}.tsv.gz", text)
    split = published_split(paths["train"], paths["validation"], paths["test"], vocab=vocab)
    assert split.positives("test").T.tolist() == [[2, 4]]
    assert split.train_2E.T.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a\tb\tLabel\nGENE0\tGENE1\t1\n", r"train .*which is the source.*; name the columns source, target and label"),
        ("TF\tTarget\tLabel\ty\nGENE0\tGENE1\t1\t1\n", r"2 columns of labels \(Label, y\)"),
    ],
)
def test_columns_that_do_not_decide_are_refused(tmp_path: Path, text: str, match: str) -> None:
    vocab = vocab_of(6)
    train = write(tmp_path, "train.tsv.gz", text)
    with pytest.raises(UserError, match=match):
        published_split(train, None, train, vocab=vocab)
