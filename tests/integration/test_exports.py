"""``export genes``, ``embed cells`` and ``hub`` as a user types them: formats, refusals in one line, dry runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.run_folder import RunFolder
from tests.cases.skips import extra
from tests.integration.refusals import refused
from tests.unit.hub.fake_hub import FakeHub


def ok(*arguments: object) -> None:
    """Run a command that must succeed."""
    assert run_app(app, [str(argument) for argument in arguments]) == 0


@pytest.fixture
def cells(run: Path, tmp_path: Path) -> Path:
    """A user's file of thirty cells."""
    adata = Prep.open(RunFolder.open(run).recipe().data.prep).to_anndata()[:30].copy()
    adata.obs_names = [f"user-{i}" for i in range(30)]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_gene_embeddings_for_gensim_and_for_models(run: Path, capsys) -> None:
    from gensim.models import KeyedVectors

    expected = gene_embeddings(run, kind="static")
    ok("export", "genes", run, "--kind", "static", "--format", "word2vec")
    ok("export", "genes", run, "--kind", "static", "--format", "safetensors")
    said = capsys.readouterr().out
    vectors = KeyedVectors.load_word2vec_format(str(run / "genes_static.txt"), binary=False)
    np.testing.assert_array_equal(vectors[expected.names()], expected.matrix())
    np.testing.assert_array_equal(load_file(run / "genes_static.safetensors")["embeddings"], expected.matrix())
    for name in ("genes_static.txt", "genes_static.meta.json", "genes_static.safetensors", "genes_static.vocab.json"):
        assert str(run / name) in said, name


def test_gene_embeddings_beside_a_users_cells(run: Path, cells: Path, tmp_path: Path, capsys) -> None:
    adata = anndata.read_h5ad(cells)[:, ::-1].copy()
    adata.var_names = ["STRANGER", *adata.var_names[1:]]
    adata.write_h5ad(tmp_path / "mine.h5ad")
    before = (tmp_path / "mine.h5ad").read_bytes()
    out = tmp_path / "out.h5ad"
    ok("export", "genes", run, tmp_path / "mine.h5ad", "--format", "varm", "--out", out, "--key-added", "gc")
    said = capsys.readouterr().out
    assert "1 features have no embedding, their rows are NaN: STRANGER" in said
    assert "79 of 80 mapped" in said
    result = anndata.read_h5ad(out)
    expected = gene_embeddings(run).matrix()[::-1]
    np.testing.assert_array_equal(result.varm["gc"][1:], expected[1:])
    assert np.isnan(result.varm["gc"][0]).all()
    assert (tmp_path / "mine.h5ad").read_bytes() == before


def test_zero_shot_without_the_data(run: Path, cells: Path, tmp_path: Path, capsys) -> None:
    """The prepared folder is moved away: model and recipe are enough."""
    world = Path(RunFolder.open(run).recipe().data.prep)
    home = Path(shutil.copytree(world, tmp_path / "prep"))
    recipe = (run / "recipe.yaml").read_text().replace(str(world), str(home))
    (run / "recipe.yaml").write_text(recipe)
    ok("embed", "cells", run, cells, "--out", tmp_path / "with.h5ad", "--zero-shot")
    home.rename(tmp_path / "elsewhere")
    for name in ("checkpoints", "metrics.jsonl", "metrics.csv"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    capsys.readouterr()
    ok("embed", "cells", run, cells, "--out", tmp_path / "without.h5ad", "--zero-shot", "--key-added", "X_mine")
    said = capsys.readouterr().out
    assert said.startswith("zero-shot: the model was trained on 160 cells x 80 genes")
    np.testing.assert_array_equal(
        anndata.read_h5ad(tmp_path / "without.h5ad").obsm["X_mine"],
        anndata.read_h5ad(tmp_path / "with.h5ad").obsm["X_grn_cotrain"],
    )


def test_cells_with_old_names_and_into_zarr(run: Path, cells: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(cells)
    old = [f"FORMER{i}" if i % 2 else name for i, name in enumerate(adata.var_names)]
    table = pd.DataFrame({"symbol": adata.var_names[1::2], "alias": old[1::2]})
    table.to_csv(tmp_path / "aliases.tsv", sep="\t", index=False)
    adata.var_names = old
    adata.write_h5ad(tmp_path / "old.h5ad")
    ok("embed", "cells", run, cells, "--out", tmp_path / "new.zarr")
    ok(
        "embed",
        "cells",
        run,
        tmp_path / "old.h5ad",
        "--out",
        tmp_path / "old.zarr",
        "--aliases",
        tmp_path / "aliases.tsv",
    )
    rows = [anndata.read_zarr(tmp_path / name).obsm["X_grn_cotrain"] for name in ("new.zarr", "old.zarr")]
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4, atol=1e-5)


def test_hub_there_and_back(run: Path, cells: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    huggingface_hub = extra("huggingface_hub")
    fake = FakeHub(tmp_path / "hub", tmp_path / "downloads")
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    ok("hub", "push", run, "me/tiny", "--dry-run", tmp_path / "dry", "--license", "mit")
    said = capsys.readouterr().out
    assert "model/model.safetensors" in said
    assert "nothing was pushed" in said
    assert not fake.root.exists()
    ok("hub", "push", run, "me/tiny", "--license", "mit", "--public")
    assert fake.private == {"me/tiny": False}
    pushed = {path.relative_to(fake.root / "me/tiny/main").as_posix() for path in (fake.root / "me").rglob("*.*")}
    dry = {path.relative_to(tmp_path / "dry").as_posix() for path in (tmp_path / "dry").rglob("*.*")}
    assert pushed == dry | {".gitattributes"}
    ok("hub", "fetch", "me/tiny", "--out", tmp_path / "fetched")
    ok("embed", "cells", tmp_path / "fetched", cells, "--out", tmp_path / "a.h5ad", "--zero-shot")
    ok("embed", "cells", run, cells, "--out", tmp_path / "b.h5ad")
    rows = [anndata.read_h5ad(tmp_path / name).obsm["X_grn_cotrain"] for name in ("a.h5ad", "b.h5ad")]
    np.testing.assert_array_equal(*rows)
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    ok("export", "genes", "hf://me/tiny", "--out", tmp_path / "genes.parquet")
    np.testing.assert_array_equal(
        pd.read_parquet(tmp_path / "genes.parquet").filter(regex=r"^d\d+$").to_numpy(), gene_embeddings(run).matrix()
    )
    refused("--out: not given, and RUN is on a hub", "export", "genes", "hf://me/tiny", capsys=capsys)


Case = Callable[[Path, Path, Path], list[object]]  # run, cells, folder -> arguments
REFUSALS: dict[str, tuple[Case, str]] = {
    "varm without cells": (
        lambda r, c, p: ["export", "genes", r, "--format", "varm", "--out", p / "o.h5ad"],
        "name them: CELLS.h5ad after RUN",
    ),
    "varm without out": (
        lambda r, c, p: ["export", "genes", r, c, "--format", "varm"],
        "give --out OUT.h5ad",
    ),
    "varm over its input": (
        lambda r, c, p: ["export", "genes", r, c, "--format", "varm", "--out", c],
        "is the input itself",
    ),
    "into of another format": (
        lambda r, c, p: ["export", "genes", r, c, "--format", "tsv"],
        "belongs to --format varm",
    ),
    "into absent": (
        lambda r, c, p: ["export", "genes", r, p / "no.h5ad", "--format", "varm", "--out", p / "o.h5ad"],
        "no such file; give an h5ad",
    ),
    "unknown gene format": (
        lambda r, c, p: ["export", "genes", r, "--format", "word2vek"],
        "did you mean 'word2vec'?",
    ),
    "aliases absent": (
        lambda r, c, p: ["embed", "cells", r, c, "--out", p / "o.h5ad", "--aliases", p / "no.tsv"],
        "no.tsv",
    ),
    "cells over their input": (lambda r, c, p: ["embed", "cells", r, c, "--out", c], "is the input itself"),
    "cells as something else": (
        lambda r, c, p: ["embed", "cells", r, c, "--out", p / "o.csv"],
        "written are h5ad, zarr and, for an h5mu, h5mu",
    ),
    "cells into a folder": (lambda r, c, p: ["embed", "cells", r, c, "--out", (p / "d.h5ad").parent], "--out"),
    "key with a slash": (
        lambda r, c, p: ["embed", "cells", r, c, "--out", p / "o.h5ad", "--key-added", "a/b"],
        "without '/'",
    ),
    "key of obs": (
        lambda r, c, p: ["embed", "cells", r, c, "--out", p / "o.h5ad", "--key-added", ""],
        "--key-added ''",
    ),
    "share above one": (
        lambda r, c, p: ["embed", "cells", r, c, "--out", p / "o.h5ad", "--min-mapped", "2"],
        "--min-mapped",
    ),
    "modality absent": (
        lambda r, c, p: ["embed", "cells", r, c, "--out", p / "o.h5ad", "--modality", "atac"],
        "--modality 'atac'",
    ),
    "run of no model": (lambda r, c, p: ["embed", "cells", p, c, "--out", p / "o.h5ad"], "no run folder"),
    "repository name": (lambda r, c, p: ["hub", "push", r, "tiny"], "not of the form NAME/REPOSITORY"),
    "repository name to fetch": (lambda r, c, p: ["hub", "fetch", "tiny", "--out", p / "o"], "NAME/REPOSITORY"),
    "dry run over something": (
        lambda r, c, p: ["hub", "push", r, "me/tiny", "--dry-run", p],
        "exists and is not empty",
    ),
    "push of no run": (lambda r, c, p: ["hub", "push", p, "me/tiny", "--dry-run", p / "o"], "no run folder"),
    "push of a pickle": (
        lambda r, c, p: ["hub", "push", r, "me/tiny", "--dry-run", p / "o", "--include", "x.pkl"],
        "only safetensors, JSON",
    ),
    "hub run of a bad name": (
        lambda r, c, p: ["embed", "cells", "hf://tiny", c, "--out", p / "o.h5ad"],
        "not of the form NAME/REPOSITORY",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_requests_are_one_line(case: str, run: Path, cells: Path, tmp_path: Path, capsys) -> None:
    make, message = REFUSALS[case]
    refused(message, *make(run, cells, tmp_path), capsys=capsys, watch=tmp_path)


def test_an_interrupted_write_leaves_nothing(
    run: Path, cells: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device", str(self))

    (tmp_path / "o.h5ad").write_bytes(b"an earlier result")
    monkeypatch.setattr(Path, "write_bytes", full)
    before = sorted(path.name for path in tmp_path.iterdir())
    for arguments in (
        ["embed", "cells", run, cells, "--out", tmp_path / "o.h5ad"],
        ["export", "genes", run, cells, "--format", "varm", "--out", tmp_path / "o.h5ad"],
        ["export", "genes", run, "--format", "h5ad", "--out", tmp_path / "o.h5ad"],
    ):
        assert run_app(app, [str(argument) for argument in arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "No space left on device" in error
    assert (tmp_path / "o.h5ad").read_bytes() == b"an earlier result"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_help_names_every_format(capsys) -> None:
    from grn_cotrain.export.gene_formats import FORMATS

    ok("export", "genes", "--help")
    said = capsys.readouterr().out
    for name in FORMATS:
        assert name in said, name


def test_records_of_an_export_name_the_run(run: Path, tmp_path: Path) -> None:
    ok("export", "genes", run, "--format", "word2vec", "--out", tmp_path / "g.txt")
    beside = json.loads((tmp_path / "g.meta.json").read_text())
    assert beside["recipe_hash"] == RunFolder.open(run).record()["recipe_hash"]
    assert str(run) not in (tmp_path / "g.meta.json").read_text()
