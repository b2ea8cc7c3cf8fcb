"""The prepared folder: round trip, and every way in which its files may not belong together."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.prep import Prep, check_output, write_grn, write_prep, write_split
from grn_cotrain.data.splits import make_split
from grn_cotrain.data.vocab import AlignmentReport, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json

NUM_GENES = 30
RNA = "assays/rna"
VALUES, FEATURES = f"{RNA}/values.h5ad", f"{RNA}/features.parquet"


def make_vocab(num: int = NUM_GENES) -> FeatureVocab:
    return FeatureVocab.from_symbols([f"GENE{i}" for i in range(num - 1)] + ["ERCC-00002"])


def make_cells(vocab: FeatureVocab, seed: int = 0, kind: str = "counts") -> MemoryStore:
    rng = np.random.default_rng(seed)
    values = rng.poisson(1.0, (12, vocab.num_features)).astype(np.float32)
    if kind == "log":
        values = np.log1p(values * 0.3)
    obs = pd.DataFrame({"type": pd.Categorical(["a", "b"] * 6)}, index=[f"c{i}" for i in range(12)])
    size = values.sum(axis=1) * 2.0 if kind == "counts" else None
    return MemoryStore.build(vocab, values, kind=kind, obs=obs, size_factor_C=size)


def make_grn(vocab: FeatureVocab, seed: int = 0) -> GRN:
    rng = np.random.default_rng(seed)
    pairs = [(f"GENE{a}", f"GENE{b}") for a in range(6) for b in rng.choice(29, 12, replace=False)]
    return GRN.from_frame(pd.DataFrame(pairs, columns=["source", "target"]).assign(sign=1, evidence="x"), vocab)


@pytest.fixture
def folder(tmp_path):
    vocab = make_vocab()
    write_prep(
        tmp_path / "prep",
        vocab,
        make_cells(vocab),
        report=AlignmentReport(31, 30, [("gene0", "GENE0")], [], ["LOST"]),
        grn=make_grn(vocab),
        tfs=["GENE9", "GENE7"],
        meta={"notes": ["hello"]},
    )
    return tmp_path / "prep"


@pytest.mark.parametrize("kind", ["counts", "log"])
def test_round_trip(tmp_path, kind) -> None:
    vocab = make_vocab()
    cells, grn = make_cells(vocab, kind=kind), make_grn(vocab)
    written = write_prep(tmp_path / "prep", vocab, cells, grn=grn, tfs=["GENE9"])
    prep = Prep.open(tmp_path / "prep")
    assert prep.vocab == vocab
    assert (prep.kind, prep.cells.kind) == (kind, kind)
    assert prep.cells.content_hash == cells.content_hash
    assert prep.cells is prep.cells
    assert np.array_equal(prep.cells.size_factor_C, cells.size_factor_C)
    assert prep.cells.obs.equals(cells.obs)
    assert prep.grn.content_hash == grn.content_hash
    assert prep.grn.report == grn.report
    assert prep.tf_index.tolist() == [0, 1, 2, 3, 4, 5, 9]
    assert prep.content_hash == written.content_hash
    assert prep.alignment.mapped == NUM_GENES


def test_everything_expected_is_there_and_nothing_else(folder) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["prep.json", "obs.parquet", "assays", "alignment.json", "graph.parquet", "graph.json"]
    )
    assert [path.name for path in (folder / "assays").iterdir()] == ["rna"]
    assert sorted(path.name for path in (folder / "assays" / "rna").iterdir()) == [
        "features.parquet",
        "meta.json",
        "values.h5ad",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["prep"]
    prep = Prep.open(folder)
    assert prep.alignment.lost == ["LOST"]
    assert prep.meta["notes"] == ["hello"]
    assert prep.meta["tfs"] == ["GENE7", "GENE9"]


def test_same_input_same_hash_other_input_other_hash(folder, tmp_path) -> None:
    vocab = make_vocab()
    first = Prep.open(folder).content_hash

    def remade(**changes) -> str:
        options = {"cells": make_cells(vocab), "grn": make_grn(vocab), "tfs": ["GENE9", "GENE7"], **changes}
        return write_prep(tmp_path / "other", vocab, options.pop("cells"), **options).content_hash

    assert remade() == first
    hashes = [remade(cells=make_cells(vocab, 1)), remade(grn=make_grn(vocab, 1)), remade(tfs=[]), remade(grn=None)]
    assert len({first, *hashes}) == 5


def test_splits_are_kept_beside_and_checked(folder) -> None:
    prep = Prep.open(folder)
    assert prep.split_names() == []
    with pytest.raises(UserError, match="none were made"):
        prep.split("random-seed0")
    (split,) = make_split(prep.grn, "random")
    write_split(folder, split)
    assert prep.split_names() == ["random-seed0"]
    assert prep.split("random-seed0").content_hash == split.content_hash
    with pytest.raises(UserError, match="did you mean 'random-seed0'"):
        prep.split("random-seed1")
    write_grn(folder, make_grn(prep.vocab, seed=5))
    with pytest.raises(UserError, match="another vocabulary or network"):
        Prep.open(folder).split("random-seed0")


def test_split_of_another_vocabulary_is_not_written(folder) -> None:
    other = make_vocab(NUM_GENES + 1)
    (split,) = make_split(make_grn(other), "random")
    with pytest.raises(UserError, match="another vocabulary"):
        write_split(folder, split)


def test_network_of_another_vocabulary_is_not_written(folder) -> None:
    with pytest.raises(UserError, match="another vocabulary"):
        write_grn(folder, make_grn(make_vocab(NUM_GENES + 1)))


def test_folder_without_network_says_how_to_add_one(tmp_path) -> None:
    vocab = make_vocab()
    prep = write_prep(tmp_path / "prep", vocab, make_cells(vocab), tfs=["GENE3"])
    assert not prep.has_grn
    assert prep.tf_index.tolist() == [3]
    with pytest.raises(UserError, match="grn-prep grn EDGES --prep"):
        _ = prep.grn


def _swap(name: str):
    """Exchange one file for that of another, equally shaped folder."""

    def change(folder) -> None:
        other = folder.parent / "other"
        vocab = make_vocab() if name != FEATURES else FeatureVocab.from_symbols([f"X{i}" for i in range(NUM_GENES)])
        cells = make_cells(make_vocab(NUM_GENES + 1) if name == VALUES else vocab, seed=1)
        grn = make_grn(vocab, 1) if name == "graph.parquet" else None
        write_prep(other, cells.vocab, cells, grn=grn)
        shutil.copy(other / name, folder / name)

    return change


def _other_values(folder) -> None:
    """The same vocabulary but other cells: only the hash of the values can tell."""
    other = folder.parent / "other"
    write_prep(other, make_vocab(), make_cells(make_vocab(), seed=1))
    shutil.copy(other / VALUES, folder / VALUES)


def _edit_json(name: str, **changes):
    def change(folder) -> None:
        """With the checksum repaired, where there is one: what the content says has to do."""
        checked = "checksum" in json.loads((folder / name).read_text())
        write_json(folder / name, {**read_json(folder / name), **changes}, checked=checked)

    return change


def _flip_digit(name: str):
    def change(folder) -> None:
        text = (folder / name).read_text()
        at = next(i for i, letter in enumerate(text) if letter in "2345678" and text[i - 1] == " ")
        (folder / name).write_text(text[:at] + str(int(text[at]) ^ 1) + text[at + 1 :])

    return change


def _edit_obs(edit):
    def change(folder) -> None:
        edit(pd.read_parquet(folder / "obs.parquet")).to_parquet(folder / "obs.parquet")

    return change


def _one_byte(name: str):
    """Of the same size: only the checksum can tell."""

    def change(folder) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(bytes(data))

    return change


def _cut(name: str):
    def change(folder) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swap(FEATURES), "features.parquet.* does not belong"),
        (_swap(VALUES), "values.h5ad does not belong"),
        (_other_values, "values.h5ad does not belong"),
        (_one_byte(VALUES), "values.h5ad does not belong"),
        (_swap("graph.parquet"), "graph.parquet does not belong"),
        (_edit_json("prep.json", vocab_hash="0"), "does not belong"),
        (_edit_json("prep.json", format_version=99), "has format 99"),
        (_edit_json("prep.json", format_version=1), "has format 1, .*convert it: grn-prep convert"),
        (_edit_json("prep.json", species="mouse"), "does not belong"),
        (_edit_json(f"{RNA}/meta.json", kind="raw"), "kind 'raw'; choose from binary, clr, counts, log"),
        (_flip_digit("prep.json"), "prep.json.*checksum"),
        (_flip_digit("graph.json"), "graph.json.*checksum"),
        (_edit_obs(lambda obs: obs.assign(type=obs["type"].to_numpy()[::-1])), r"obs.parquet is not .* \(type\)"),
        (_edit_obs(lambda obs: obs.drop(columns="type")), r"obs.parquet is not .* \(type\)"),
        (_edit_obs(lambda obs: obs.set_axis([f"x{name}" for name in obs.index])), "the names of the cells"),
        (_cut(VALUES), "does not belong.*damaged"),
        (_cut("graph.parquet"), "cannot be read"),
        (_cut("prep.json"), "prepared folder"),
        (_cut(FEATURES), "cannot be read"),
        (_cut("obs.parquet"), "cannot be read"),
        (lambda folder: (folder / VALUES).unlink(), "no such file"),
        (lambda folder: (folder / "obs.parquet").unlink(), "no such file"),
        (_edit_obs(lambda obs: obs.drop(columns="present_rna")), "present_rna or size_factor_rna is missing"),
        (lambda folder: (folder / "prep.json").unlink(), "holds no prep.json"),
        (lambda folder: shutil.rmtree(folder), "no such folder"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(folder, change, message) -> None:
    def read() -> None:
        prep = Prep.open(folder)
        assert prep.cells.num_cells
        assert prep.grn.num_edges

    read()
    change(folder)
    with pytest.raises(UserError, match=message) as caught:
        read()
    assert "\n" not in str(caught.value)


def test_a_column_may_be_added_to_obs(folder) -> None:
    _edit_obs(lambda obs: obs.assign(mine="x"))(folder)
    assert set(Prep.open(folder).cells.obs["mine"]) == {"x"}


def test_foreign_folders_are_never_replaced(tmp_path, folder) -> None:
    assert check_output(folder)
    assert not check_output(tmp_path / "new")
    (tmp_path / "work").mkdir()
    assert not check_output(tmp_path / "work")
    (tmp_path / "work" / "thesis.tex").write_text("years")
    vocab = make_vocab()
    for path in (tmp_path / "work", tmp_path / "work" / "thesis.tex"):
        with pytest.raises(UserError, match="out"):
            write_prep(path, vocab, make_cells(vocab))
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years"


def test_a_failed_rewrite_leaves_the_earlier_folder(folder, monkeypatch) -> None:
    before = Prep.open(folder).content_hash
    monkeypatch.setattr("grn_cotrain.data.prep.write_grn", lambda *_: (_ for _ in ()).throw(RuntimeError("power cut")))
    vocab = make_vocab()
    with pytest.raises(RuntimeError, match="power cut"):
        write_prep(folder, vocab, make_cells(vocab, 3), grn=make_grn(vocab))
    assert Prep.open(folder).content_hash == before
    assert [path.name for path in folder.parent.iterdir()] == ["prep"]


def test_cells_of_another_vocabulary_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="another vocabulary"):
        write_prep(tmp_path / "prep", make_vocab(), make_cells(make_vocab(NUM_GENES + 1)))
