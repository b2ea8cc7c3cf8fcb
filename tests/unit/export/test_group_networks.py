"""Networks of groups of cells: what they hold, what they refuse, and that signal in one group is found there."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import grn_cotrain.tl as tl
from grn_cotrain.apply import OpenRun
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_file import export_edges
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.group_networks import GROUP_COLUMNS, group_networks
from grn_cotrain.export.known_edges import known_edges


def quiet(line: str) -> None:
    del line


@pytest.fixture(scope="module")
def cells(tiny_world: Path) -> anndata.AnnData:
    """The world's cells in two halves and a group of three cells."""
    store = Prep.open(tiny_world).cells
    group = np.where(np.arange(store.num_cells) % 2, "a", "b").astype(object)
    group[:3] = "rare"
    obs = pd.DataFrame({"half": group}, index=list(map(str, store.obs.index)))
    var = pd.DataFrame(index=list(store.vocab.symbols))
    return anndata.AnnData(store.rows(np.arange(store.num_cells))["rna"], obs=obs, var=var)


def test_a_row_for_each_edge_and_group(
    tiny_run: Path, cells: anndata.AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    plain = tl.infer_grn(tiny_run)
    found = tl.infer_grn(tiny_run, by="half", cells=cells, min_cells=5)
    assert len(found) == 2 * len(plain)
    assert list(found["group"].unique()) == ["a", "b"]
    assert set(plain.columns) | set(GROUP_COLUMNS) == set(found.columns)
    assert "rare (3)" in caplog.text
    for _, part in found.groupby("group"):
        assert set(zip(part["source"], part["target"], strict=True)) == set(
            zip(plain["source"], plain["target"], strict=True)
        )
        assert part["conditioned"].is_monotonic_decreasing
        assert part["acts"].between(0, 1).all()
        unseen = (part["source_detected"] == 0) | (part["target_detected"] == 0)
        assert (part.loc[unseen, "acts"] == 0).all()
    assert [fact["group"] for fact in found.attrs["grn_cotrain"]["groups"]] == ["a", "b"]


def test_files_hold_the_groups(tiny_run: Path, cells: anndata.AnnData, tmp_path: Path) -> None:
    options = {"by": "half", "cells": cells, "min_cells": 5}
    table = export_edges(tiny_run, "tsv", tmp_path / "net.tsv", say=quiet, **options).frame
    read = pd.read_csv(tmp_path / "net.tsv", sep="\t")
    assert list(read.columns) == list(table.columns)
    assert len(read) == len(table)
    export_edges(tiny_run, "h5ad", tmp_path / "net.h5ad", say=quiet, **options)
    file = anndata.read_h5ad(tmp_path / "net.h5ad")
    assert {"grn_cotrain_a", "grn_cotrain_b"} <= set(file.varp)
    edge = table[(table["group"] == "a") & (table["conditioned"] > 0)].iloc[0]
    value = file.varp["grn_cotrain_a"][file.var_names.get_loc(edge["source"]), file.var_names.get_loc(edge["target"])]
    assert abs(value) == pytest.approx(edge["conditioned"], rel=1e-5)
    with pytest.raises(UserError, match=r"by='half': format gmt holds one network; choose from .*parquet"):
        export_edges(tiny_run, "gmt", tmp_path / "net.gmt", say=quiet, **options)


def test_the_command_reads_a_file_of_cells(tiny_run: Path, cells: anndata.AnnData, tmp_path: Path) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    out = tmp_path / "net.parquet"
    command = ["export", "edges", str(tiny_run), "--out", str(out), "--by", "half"]
    assert run_app(app, [*command, "--cells", str(tmp_path / "cells.h5ad"), "--min-cells", "5"]) == 0
    expected = tl.infer_grn(tiny_run, by="half", cells=cells, min_cells=5)
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected, check_dtype=False)


def test_errors_name_the_option(tiny_run: Path, cells: anndata.AnnData) -> None:
    with pytest.raises(UserError, match="by='half2': no such column of obs"):
        tl.infer_grn(tiny_run, by="half2", cells=cells)
    with pytest.raises(UserError, match=r"by: no group has 100,000 cells: .*; give a smaller min_cells"):
        tl.infer_grn(tiny_run, by="half", cells=cells, min_cells=100000)
    with pytest.raises(UserError, match="cells: cells are read for groups alone"):
        tl.infer_grn(tiny_run, cells=cells)


def test_a_feature_that_was_not_measured_is_not_absent(tiny_run: Path, cells: anndata.AnnData) -> None:
    source = tl.infer_grn(tiny_run)["source"].iloc[0]
    found = tl.infer_grn(tiny_run, by="half", cells=cells[:, cells.var_names != source].copy(), min_cells=5)
    mine = found[found["source"] == source]
    assert mine["source_detected"].isna().all()
    assert mine["co_expression"].isna().all()
    assert (mine.loc[mine["target_detected"] > 0.5, "acts"] > 0).all()


def test_a_regulon_raised_in_a_group_acts_there(tiny_run: Path) -> None:
    """Targets of one TF are raised in half of the cells: its edges must act there more than elsewhere."""
    opened = OpenRun(tiny_run, side="links")
    known, _ = known_edges(opened)
    edges = predict_edges(opened, top_per_tf="training", say=quiet)
    assert known.cells is not None
    counts = known.cells.rows(np.arange(known.cells.num_cells))["rna"].toarray()
    labels = pd.Series(np.where(np.arange(len(counts)) % 2, "raised", "rest"), dtype=object)
    source = int(np.bincount(known.train_sources).argmax())
    targets = known.keys_E[known.part_E == 1] % known.num_genes
    mine = targets[known.train_sources == source]
    signs = known.sign_E[known.part_E == 1][known.train_sources == source]
    counts[np.ix_(labels == "raised", mine[signs >= 0])] += 20
    from grn_cotrain.data.cells import MemoryStore

    store = MemoryStore.build(known.cells.vocab, counts, kind="counts")
    found = group_networks(edges, known, store, labels, say=quiet).edges.frame
    name = edges.vocab.symbols[source]
    activity = found[found["source"] == name].groupby("group")["activity"].first()
    assert activity["raised"] > 3 > -3 > activity["rest"]
