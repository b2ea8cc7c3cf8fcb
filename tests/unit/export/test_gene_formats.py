"""Every format of gene embeddings, read back by the tool it is for or by its documented format."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from grn_cotrain.apply.identity import RunIdentity
from grn_cotrain.errors import UserError
from grn_cotrain.export.gene_formats import GENE_FORMATS, write_genes, write_safetensors
from grn_cotrain.export.gene_frame import GeneEmbeddings, tell_apart
from grn_cotrain.export.genes import export_genes, gene_embeddings

IDENTITY = RunIdentity("toy", "recipe0", "vocab0", "weights0", "1")
FACTS = {
    "run": "toy",
    "recipe_hash": "recipe0",
    "vocab_hash": "vocab0",
    "weights_sha256": "weights0",
    "version": "1",
    "kind": "graph",
    "species": "human",
}


def embeddings(rows: list[tuple[str, str, str]], groups: list[str] | None = None, width: int = 3) -> GeneEmbeddings:
    """Random rows with (symbol, id, modality)."""
    frame = pd.DataFrame(rows, columns=["symbol", "id", "modality"])
    if groups is not None:
        frame["group"] = groups
        frame["n"] = range(1, len(rows) + 1)
    values_GD = np.random.default_rng(0).normal(size=(len(rows), width)).astype(np.float32)
    values = pd.DataFrame(values_GD, columns=[f"d{i}" for i in range(width)])
    return GeneEmbeddings(pd.concat([frame, values], axis=1), "graph", "vocab0", IDENTITY, "human")


PLAIN = [("STAT1", "ENSG00000115415", "gene"), ("NA", "", "gene"), ("HLA-DRA", "", "gene")]
ODD = [
    *PLAIN,
    ("CD4", "ENSG00000010610", "gene"),
    ("CD4", "", "protein"),
    ("CD3 epsilon", "", "protein"),
    ("CD3_epsilon", "", "protein"),
]


# -- names -------------------------------------------------------------------------------------------------------------


def test_names_are_symbols_qualified_only_where_they_must_be() -> None:
    assert embeddings(ODD).names() == ["STAT1", "NA", "HLA-DRA", "CD4", "CD4|protein", "CD3 epsilon", "CD3_epsilon"]
    rows = [PLAIN[0], PLAIN[0], ("STAT1", "", "protein")]
    assert embeddings(rows, ["B", "T", "T"]).names() == ["STAT1|B", "STAT1|T", "STAT1|protein|T"]
    assert embeddings(rows[:2], ["", "x"]).names() == ["STAT1", "STAT1|x"]


def test_tell_apart_never_returns_a_name_twice() -> None:
    assert tell_apart(["a", "b"]) == ["a", "b"]
    for names in (["a", "a", "a|2", "a"], ["a|2", "a", "a"], ["a", "a|2", "a|2", "a", "a"]):
        told = tell_apart(names)
        assert len(set(told)) == len(names)
        assert told[0] == names[0]


# -- formats -----------------------------------------------------------------------------------------------------------


def test_word2vec_loads_in_gensim_with_exact_values(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    given = embeddings(ODD, width=5)
    notes = write_genes(given, tmp_path / "genes.txt", "word2vec")
    vectors = KeyedVectors.load_word2vec_format(str(tmp_path / "genes.txt"), binary=False)
    assert len(vectors) == len(ODD)
    names = ["STAT1", "NA", "HLA-DRA", "CD4", "CD4|protein", "CD3_epsilon", "CD3_epsilon|2"]
    assert vectors.index_to_key == names
    np.testing.assert_array_equal(np.stack([vectors[name] for name in names]), given.matrix())
    cosine = given.matrix() / np.linalg.norm(given.matrix(), axis=1, keepdims=True)
    expected = [names[i] for i in np.argsort(-(cosine @ cosine[0])) if i != 0]
    assert [name for name, _ in vectors.most_similar("STAT1", topn=6)] == expected
    assert "CD3 epsilon -> CD3_epsilon" in notes[-1]
    beside = json.loads((tmp_path / "genes.meta.json").read_text())
    assert {key: beside[key] for key in FACTS} == FACTS
    assert beside["rows"]["name"] == names
    assert beside["rows"]["symbol"][5] == "CD3 epsilon"
    assert beside["rows"]["id"][0] == "ENSG00000115415"


def test_word2vec_of_groups_has_a_row_a_group(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    given = embeddings([PLAIN[0], PLAIN[0]], ["B cells", "T cells"])
    write_genes(given, tmp_path / "genes.txt", "word2vec")
    vectors = KeyedVectors.load_word2vec_format(str(tmp_path / "genes.txt"), binary=False)
    assert vectors.index_to_key == ["STAT1|B_cells", "STAT1|T_cells"]
    assert json.loads((tmp_path / "genes.meta.json").read_text())["rows"]["n"] == [1, 2]


def test_safetensors_and_its_vocabulary(tmp_path: Path) -> None:
    from safetensors import safe_open

    given = embeddings(ODD)
    write_genes(given, tmp_path / "genes.safetensors", "safetensors")
    with safe_open(tmp_path / "genes.safetensors", framework="np") as file:
        assert list(file.keys()) == ["embeddings"]
        np.testing.assert_array_equal(file.get_tensor("embeddings"), given.matrix())
        metadata = file.metadata()
    assert {key: metadata[key] for key in FACTS} == FACTS
    assert json.loads(metadata["symbol"]) == [symbol for symbol, _, _ in ODD]
    assert json.loads(metadata["names"]) == given.names()
    vocab = json.loads((tmp_path / "genes.vocab.json").read_text())
    assert vocab == {name: row for row, name in enumerate(given.names())}


def test_the_documented_lines_give_a_model_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet for scGPT, GEARS and TxPert-like models is run as it stands in the documentation."""
    given = embeddings(ODD)
    write_genes(given, tmp_path / "genes.safetensors", "safetensors")
    monkeypatch.chdir(tmp_path)
    gene_list = ["CD4", "UNKNOWN", "STAT1"]
    scope: dict[str, object] = {"gene_list": gene_list}
    example = doctest.DocTestParser().get_doctest(write_safetensors.__doc__ or "", scope, "consumer", None, None)
    assert len(example.examples) >= 10
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0
    weight = example.globs["gene_embedding"].weight
    rows_GD = given.matrix()
    assert weight.requires_grad
    np.testing.assert_array_equal(weight.detach().numpy()[[0, 2]], rows_GD[[3, 0]])
    np.testing.assert_allclose(weight.detach().numpy()[1], rows_GD.mean(axis=0), rtol=1e-6)
    assert example.globs["ids"][0] == "ENSG00000115415"


def test_tables_give_back_every_bit(tmp_path: Path) -> None:
    given = embeddings(ODD)
    write_genes(given, tmp_path / "genes.tsv", "tsv")
    text = pd.read_csv(tmp_path / "genes.tsv", sep="\t", comment="#", keep_default_na=False)
    assert list(text["symbol"]) == [symbol for symbol, _, _ in ODD]  # the gene NA is no missing value
    np.testing.assert_array_equal(text[given.dimensions].to_numpy(np.float32), given.matrix())
    header = (tmp_path / "genes.tsv").read_text().split("\n", 1)[0]
    for key, value in FACTS.items():
        assert value in header, key
    write_genes(given, tmp_path / "genes.parquet", "parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "genes.parquet"), given.frame)
    metadata = pq.read_schema(tmp_path / "genes.parquet").metadata
    assert {key: metadata[f"grn_cotrain.{key}".encode()].decode() for key in FACTS} == FACTS


def test_h5ad_has_unique_names_and_all_columns(tmp_path: Path) -> None:
    given = embeddings(ODD)
    write_genes(given, tmp_path / "genes.h5ad", "h5ad")
    data = anndata.read_h5ad(tmp_path / "genes.h5ad")
    assert data.obs_names.is_unique
    np.testing.assert_array_equal(data.X, given.matrix())
    assert list(data.obs["id"]) == [known for _, known, _ in ODD]
    assert dict(data.uns["grn_cotrain"]) == FACTS


@pytest.mark.parametrize("format", sorted(GENE_FORMATS))
def test_every_format_takes_a_table_made_by_hand(format: str, tmp_path: Path) -> None:
    frame = embeddings(PLAIN).frame
    write_genes(GeneEmbeddings(frame, "static", "v"), tmp_path / f"x.{GENE_FORMATS[format].suffix}", format)
    assert (tmp_path / f"x.{GENE_FORMATS[format].suffix}").is_file()


def test_cells_belong_to_varm_alone(tiny_run: Path, tmp_path: Path) -> None:
    given = embeddings(PLAIN)
    with pytest.raises(UserError, match="belongs to format='varm'"):
        export_genes(tiny_run, tmp_path / "c.h5ad", tmp_path / "x.tsv", format="tsv")
    with pytest.raises(UserError, match=r"name them: CELLS\.h5ad after RUN"):
        export_genes(tiny_run, out=tmp_path / "x.h5ad", format="varm")
    with pytest.raises(UserError, match=r"format='word2vek': choose from .*did you mean 'word2vec'"):
        write_genes(given, tmp_path / "x", "word2vek")
    assert list(tmp_path.iterdir()) == []


# -- computing ---------------------------------------------------------------------------------------------------------


def test_embeddings_of_a_run_are_computed_without_a_file(tiny_run: Path) -> None:
    before = sorted(path.name for path in tiny_run.iterdir())
    static, graph = gene_embeddings(tiny_run, kind="static"), gene_embeddings(tiny_run)
    assert sorted(path.name for path in tiny_run.iterdir()) == before
    assert static.matrix().shape == graph.matrix().shape == (80, 16)
    assert static.matrix().dtype == np.float32
    assert not np.allclose(static.matrix(), graph.matrix())
    config = json.loads((tiny_run / "model" / "config.json").read_text())
    record = json.loads((tiny_run / "run.json").read_text())
    assert graph.identity is not None
    assert graph.identity.run == "tiny"
    assert graph.identity.recipe_hash == record["recipe_hash"]
    assert graph.identity.vocab_hash == graph.vocab_hash == config["vocab_hash"]
    assert graph.identity.weights_sha256 == config["sha256"]["model.safetensors"]
    graph.matrix()[:] = 0  # a copy
    assert graph.matrix().any()


def test_contextual_embeddings_tell_progress(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grn_cotrain.apply.cells.TOKENS_PER_BATCH", 400)
    told: list[tuple[int, int]] = []
    gene_embeddings(tiny_run, kind="contextual", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (160, 160)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 3
