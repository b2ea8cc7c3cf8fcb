"""Cells of other people's files: coverage, zero-shot, cells without a token, copies of every format."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.io.counts import counts_from_anndata, load_counts
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.cells import cell_embeddings, embed_cells
from grn_cotrain.jobs.embed import OBSM_KEY
from grn_cotrain.manifest import Manifest
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder


@pytest.fixture
def world(tiny_world: Path) -> anndata.AnnData:
    """Cells 0 to 29 of the tiny world as a user has them, under other barcodes."""
    adata = Prep.open(tiny_world).to_anndata()[:30].copy()
    adata.obs_names = [f"user-{i}" for i in range(30)]
    return adata


@pytest.fixture
def published(tiny_run: Path, tmp_path: Path) -> Path:
    """What of a run is needed: model, recipe and record, on a machine without the data."""
    folder = tmp_path / "published"
    for name in ("model", "model_cells"):
        if (tiny_run / name).is_dir():
            shutil.copytree(tiny_run / name, folder / name)
    run = RunFolder(folder)
    recipe = (tiny_run / "recipe.yaml").read_text().replace(RunFolder(tiny_run).recipe().data.prep, "nowhere/prep")
    run.recipe_file.write_text(recipe)
    shutil.copy(tiny_run / "run.json", run.record_file)
    return folder


def said(run: Path, cells: Path, out: Path, **options: Any) -> list[str]:
    lines: list[str] = []
    embed_cells(run, cells, out, say=lines.append, **options)
    return lines


def one(lines: list[str], part: str) -> str:
    found = [line for line in lines if part in line]
    assert len(found) == 1, (part, lines)
    return found[0]


# -- what is said ------------------------------------------------------------------------------------------------------


def test_zero_shot_needs_no_data_and_says_what_the_model_knows(
    published: Path, tiny_run: Path, world: anndata.AnnData, tmp_path: Path
) -> None:
    world.write_h5ad(tmp_path / "cells.h5ad")
    lines = said(published, tmp_path / "cells.h5ad", tmp_path / "out.h5ad", zero_shot=True)
    record = RunFolder(tiny_run).record()
    first = lines[0]
    assert first.startswith("zero-shot: the model was trained on 160 cells x 80 genes")
    for key in ("cells_hash", "vocab_hash", "split_hash", "recipe_hash"):
        assert record[key] in first, key
    assert "counts" in first
    assert not [line for line in lines if line.startswith("warning")]
    about = anndata.read_h5ad(tmp_path / "out.h5ad").uns["grn_cotrain"][OBSM_KEY]
    assert bool(about["zero_shot"])
    assert about["cells_seen_in_training_data"] == -1  # not known: the data are not here
    with_data = embed_cells(tiny_run, tmp_path / "cells.h5ad", tmp_path / "with.h5ad", say=lambda line: None)
    np.testing.assert_array_equal(
        anndata.read_h5ad(tmp_path / "out.h5ad").obsm[OBSM_KEY], np.asarray(with_data.obsm[OBSM_KEY])
    )


def test_only_model_recipe_and_record_are_read(
    published: Path, world: anndata.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the prepared folder was opened")

    monkeypatch.setattr(Prep, "open", never)
    cell_embeddings(published, counts_from_anndata(world), zero_shot=True)
    (published / "run.json").unlink()
    embedded = cell_embeddings(published, counts_from_anndata(world), zero_shot=True)
    assert embedded.notes[0].startswith("zero-shot: the model was trained on 80 genes")


def test_cells_of_the_training_data_are_told_apart(tiny_run: Path, tiny_world: Path, world: anndata.AnnData) -> None:
    whole = Prep.open(tiny_world).to_anndata()[:40].copy()
    own = cell_embeddings(tiny_run, counts_from_anndata(whole))
    assert one(own.notes, "40 of 40 barcodes").endswith("these are its own cells, training cells among them")
    assert own.origin["cells_seen_in_training_data"] == 40
    assert not own.warnings
    shot = cell_embeddings(tiny_run, counts_from_anndata(whole), zero_shot=True)
    assert one(shot.warnings, "not zero-shot for every cell")
    new = cell_embeddings(tiny_run, counts_from_anndata(world), zero_shot=True)
    assert new.origin["cells_seen_in_training_data"] == 0
    assert not [line for line in new.notes if "barcodes" in line]
    some = whole.copy()
    some.obs_names = [*whole.obs_names[:3], *(f"new-{i}" for i in range(37))]
    assert one(cell_embeddings(tiny_run, counts_from_anndata(some)).notes, "3 of 40 barcodes").endswith("made from")


def test_another_folder_at_the_place_of_the_data_is_not_asked(
    published: Path, tiny_run: Path, tiny_world: Path
) -> None:
    """After scrubbing, ``data.prep`` is a bare name: whatever lies there must be the run's own data to count."""
    run = RunFolder(published)
    shutil.copy(tiny_run / "recipe.yaml", run.recipe_file)
    whole = Prep.open(tiny_world).to_anndata()[:10].copy()
    assert cell_embeddings(published, counts_from_anndata(whole)).origin["cells_seen_in_training_data"] == 10
    run.write_record({**run.record(), "cells_hash": "of other cells"})
    assert cell_embeddings(published, counts_from_anndata(whole)).origin["cells_seen_in_training_data"] == -1


def test_coverage_is_counted(published: Path, world: anndata.AnnData) -> None:
    model, _ = load_model(published / "model")
    fewer = world[:, 30:].copy()
    fewer.X = fewer.X.tocsr()
    embedded = cell_embeddings(published, counts_from_anndata(fewer))
    detected_C = np.diff(fewer.X.indptr)
    seen_G = np.asarray((fewer.X > 0).sum(axis=0)).ravel() > 0
    low, five, median, most, high = np.quantile(detected_C, (0, 0.05, 0.5, 0.95, 1))
    line = one(embedded.notes, "tokens a cell")
    assert f"median {median:,.0f}, 5 to 95 % {five:,.0f} to {most:,.0f}, least {low:,.0f}, most {high:,.0f}" in line
    assert "100% of a cell's total" in line
    assert f"{seen_G.sum()} of 80 " in one(embedded.notes, "genes of the model")
    assert embedded.origin["model_genes_without_values"] == 80 - seen_G.sum()
    assert model.vocab.num_features == 80
    few = cell_embeddings(published, counts_from_anndata(world[:, 45:].copy()))
    assert one(few.warnings, "of the model's genes have no value in any of these cells")
    added = anndata.concat(
        [
            world,
            anndata.AnnData(np.full((30, 20), 3.0), world.obs[[]], pd.DataFrame(index=[f"X{i}" for i in range(20)])),
        ],
        axis=1,
    )
    added.X = added.X.tocsr() if hasattr(added.X, "tocsr") else added.X
    share = world.X.sum(axis=1) / (np.asarray(world.X.sum(axis=1)) + 60)
    line = one(cell_embeddings(published, counts_from_anndata(added)).notes, "tokens a cell")
    assert f"{float(np.median(np.asarray(share))):.0%} of a cell's total" in line


def test_values_of_another_kind_are_warned_of_and_strange_genes_refused(
    published: Path, world: anndata.AnnData, tmp_path: Path
) -> None:
    logged = world.copy()
    logged.X = logged.X.log1p()
    embedded = cell_embeddings(published, counts_from_anndata(logged))
    assert one(embedded.warnings, "these values are log, the model was trained on counts")
    strange = world.copy()
    strange.var_names = [name if i < 39 else f"OTHER{i}" for i, name in enumerate(world.var_names)]
    with pytest.raises(UserError, match="only 39 of 80 are in the vocabulary"):
        cell_embeddings(published, counts_from_anndata(strange))
    cell_embeddings(published, counts_from_anndata(strange), min_mapped=0.4)
    strange.write_h5ad(tmp_path / "strange.h5ad")
    with pytest.raises(UserError, match="min_mapped"):
        embed_cells(published, tmp_path / "strange.h5ad", tmp_path / "out.h5ad")
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".*"))
    assert OpenRun(published).species is None  # simulated


# -- what is written ---------------------------------------------------------------------------------------------------


def test_cells_without_a_token_keep_their_place_with_nan(
    published: Path, world: anndata.AnnData, tmp_path: Path
) -> None:
    values = world.X.toarray()
    values[3] = 0
    extra = np.zeros((30, 1), np.float32)
    extra[7] = 5
    values[7] = 0  # has counts, of a gene alone that the model does not know
    X = np.hstack([values, extra])
    adata = anndata.AnnData(X, world.obs, pd.DataFrame(index=[*world.var_names, "UNKNOWN"]))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    lines = said(published, tmp_path / "cells.h5ad", tmp_path / "out.h5ad")
    out = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert list(out.obs_names) == list(adata.obs_names)
    assert np.flatnonzero(np.isnan(out.obsm[OBSM_KEY]).any(axis=1)).tolist() == [3, 7]
    assert "2 cells have no value" in one(lines, "their rows are NaN: user-3, user-7")
    assert one(lines, "28 cells embedded")
    whole = cell_embeddings(published, counts_from_anndata(world))
    keep = [i for i in range(30) if i not in (3, 7)]
    np.testing.assert_allclose(out.obsm[OBSM_KEY][keep], whole.values_CD[keep], rtol=1e-4, atol=1e-5)


def test_a_zarr_store_keeps_what_it_holds(published: Path, world: anndata.AnnData, tmp_path: Path) -> None:
    world.layers["mine"] = world.X * 2
    world.write_zarr(tmp_path / "cells.zarr")
    world.write_h5ad(tmp_path / "cells.h5ad")
    embed_cells(published, tmp_path / "cells.zarr", tmp_path / "out.zarr", say=lambda line: None)
    embed_cells(published, tmp_path / "cells.h5ad", tmp_path / "out.h5ad", say=lambda line: None)
    stored = anndata.read_zarr(tmp_path / "out.zarr")
    np.testing.assert_array_equal(stored.obsm[OBSM_KEY], anndata.read_h5ad(tmp_path / "out.h5ad").obsm[OBSM_KEY])
    assert (stored.layers["mine"] != world.layers["mine"]).nnz == 0
    assert list(stored.obs.columns) == list(world.obs.columns)
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="other content"):
        embed_cells(published, tmp_path / "cells.h5ad", tmp_path / "folder.zarr")
    embed_cells(published, tmp_path / "cells.h5ad", tmp_path / "out.zarr", say=lambda line: None)  # its own is replaced


def test_an_h5mu_gets_obsm_of_its_own(published: Path, world: anndata.AnnData, tmp_path: Path) -> None:
    import mudata

    proteins = anndata.AnnData(
        np.random.default_rng(0).poisson(5, (30, 4)).astype(np.float32),
        pd.DataFrame(index=world.obs_names),
        pd.DataFrame(index=["CD3", "CD4", "CD8", "CD19"]),
    )
    both = mudata.MuData({"rna": world.copy(), "prot": proteins})
    both.write_h5mu(tmp_path / "cells.h5mu")
    before = (tmp_path / "cells.h5mu").read_bytes()
    lines = said(published, tmp_path / "cells.h5mu", tmp_path / "out.h5mu", modality="rna")
    assert one(lines, "modalities taken: rna")
    out = mudata.read_h5mu(tmp_path / "out.h5mu")
    expected = cell_embeddings(published, counts_from_anndata(world)).values_CD
    np.testing.assert_allclose(out.obsm[OBSM_KEY], expected, rtol=1e-4, atol=1e-5)
    assert set(out.mod) == {"rna", "prot"}
    assert (tmp_path / "cells.h5mu").read_bytes() == before
    embed_cells(published, tmp_path / "cells.h5mu", tmp_path / "out.h5ad", modality="rna", say=lambda line: None)
    np.testing.assert_allclose(anndata.read_h5ad(tmp_path / "out.h5ad").obsm[OBSM_KEY], expected, rtol=1e-4, atol=1e-5)
    world.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(UserError, match="h5mu is written for an h5mu alone"):
        embed_cells(published, tmp_path / "cells.h5ad", tmp_path / "no.h5mu")


def test_text_tables_are_embedded_too(published: Path, world: anndata.AnnData, tmp_path: Path) -> None:
    table = pd.DataFrame(world.X.toarray().astype(int), index=world.obs_names, columns=world.var_names)
    table.rename_axis("cell").to_csv(tmp_path / "cells.csv")
    embed_cells(published, tmp_path / "cells.csv", tmp_path / "out.h5ad", say=lambda line: None)
    expected = cell_embeddings(published, load_counts(tmp_path / "cells.csv")).values_CD
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "out.h5ad").obsm[OBSM_KEY], expected)


def test_existing_keys_and_bad_outputs_are_refused(published: Path, world: anndata.AnnData, tmp_path: Path) -> None:
    world.obsm[OBSM_KEY] = np.zeros((30, 2))
    world.uns["grn_cotrain"] = {"earlier": {"run": "x"}}
    path = tmp_path / "cells.h5ad"
    world.write_h5ad(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"obsm '{OBSM_KEY}': is there already.*key_added.*overwrite=True"):
        embed_cells(published, path, tmp_path / "out.h5ad")
    with pytest.raises(UserError, match="is the input itself"):
        embed_cells(published, path, path, overwrite=True)
    (tmp_path / "link.h5ad").symlink_to(path)
    with pytest.raises(UserError, match="is the input itself"):
        embed_cells(published, path, tmp_path / "link.h5ad", overwrite=True)
    for name, message in (("out.csv", "written are h5ad, zarr"), ("out", "written are h5ad, zarr")):
        with pytest.raises(UserError, match=message):
            embed_cells(published, path, tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.h5ad", "link.h5ad", "published"]
    embed_cells(published, path, tmp_path / "out.h5ad", overwrite=True, say=lambda line: None)
    out = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert out.obsm[OBSM_KEY].shape == (30, 16)
    assert set(out.uns["grn_cotrain"]) == {"earlier", OBSM_KEY}
    assert path.read_bytes() == before


def test_progress_is_told_in_cells(published: Path, world: anndata.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grn_cotrain.apply.cells.TOKENS_PER_BATCH", 300)
    told: list[tuple[int, int]] = []
    many = cell_embeddings(
        published, counts_from_anndata(world), progress=lambda done, total: told.append((done, total))
    )
    assert len(told) > 2
    assert told[-1] == (30, 30)
    monkeypatch.setattr("grn_cotrain.apply.cells.TOKENS_PER_BATCH", 32_768)
    np.testing.assert_allclose(
        cell_embeddings(published, counts_from_anndata(world)).values_CD, many.values_CD, rtol=1e-4, atol=1e-5
    )


# -- read depth --------------------------------------------------------------------------------------------------------


def test_the_direction_of_depth_is_taken_out_unless_it_is_kept(tiny_run: Path, world: anndata.AnnData) -> None:
    opened = OpenRun(tiny_run, side="cells")
    assert opened.depth is not None
    kept = cell_embeddings(opened, counts_from_anndata(world), keep_depth=True)
    found = cell_embeddings(opened, counts_from_anndata(world))
    np.testing.assert_allclose(found.values_CD, opened.depth.removed(kept.values_CD))
    assert not np.allclose(found.values_CD, kept.values_CD)
    assert (kept.origin["depth_taken_out"], found.origin["depth_taken_out"]) == ([], ["rna"])
    assert [note for note in found.notes if "direction of read depth is taken out" in note]
    assert not [note for note in kept.notes if "depth is taken out" in note]


def test_training_cells_hold_no_linear_trace_of_depth(tiny_run: Path) -> None:
    run = OpenRun(tiny_run, side="cells")
    data = run.data()
    rows_C = data.cell_split.train_C
    adata = Prep.open(run.recipe.data.prep).to_anndata()[rows_C].copy()
    log_C = np.log(data.cells.size_factor_C[rows_C])
    for keep, low, high in ((True, 1e-3, 1.0), (False, 0.0, 1e-6)):
        values_CD = cell_embeddings(run, counts_from_anndata(adata), keep_depth=keep).values_CD.astype(np.float64)
        covariance_D = (values_CD - values_CD.mean(0)).T @ (log_C - log_C.mean()) / len(log_C)
        share = covariance_D @ covariance_D / log_C.var() / values_CD.var(0).sum()
        assert low <= share <= high, (keep, share)


def test_a_run_of_before_gives_the_states_that_it_gave(published: Path, world: anndata.AnnData) -> None:
    with_depth = cell_embeddings(published, counts_from_anndata(world), keep_depth=True).values_CD
    for file in published.glob("model*/depth.json"):
        file.unlink()
    for file in published.glob("model*/model_manifest.json"):
        manifest = Manifest.read(file)
        files = {name: row for name, row in manifest.files.items() if name != "depth.json"}
        Manifest(manifest.facts, files).write(file)
    found = cell_embeddings(published, counts_from_anndata(world))
    np.testing.assert_array_equal(found.values_CD, with_depth)
    assert found.origin["depth_taken_out"] == []
