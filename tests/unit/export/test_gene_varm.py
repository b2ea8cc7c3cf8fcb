"""Gene embeddings beside a user's genes: aligned by name, NaN where there is none, nothing else touched."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.io.names import AliasTable, OrthologTable
from grn_cotrain.errors import UserError
from grn_cotrain.export.gene_varm import annotate_genes, write_varm
from grn_cotrain.jobs.genes import IntoOptions
from tests.unit.export.test_gene_formats import FACTS, embeddings

GENES = [
    ("STAT1", "ENSG00000115415", "gene"),
    ("IRF9", "ENSG00000213928", "gene"),
    ("CD4", "ENSG00000010610", "gene"),
    ("CD4", "", "protein"),
]


def cells(names: list[str], **columns: list[str]) -> anndata.AnnData:
    var = pd.DataFrame(columns, index=pd.Index(names, dtype=object))
    return anndata.AnnData(X=np.ones((4, len(names)), np.float32), var=var)


def test_rows_follow_the_names_and_missing_genes_are_nan() -> None:
    given = embeddings(GENES)
    adata = cells(["OTHER", "IRF9", "stat1", "CD4"])
    notes = annotate_genes(adata, given)
    rows_ND = adata.varm["grn_cotrain"]
    assert rows_ND.dtype == np.float32
    np.testing.assert_array_equal(rows_ND[[1, 2, 3]], given.matrix()[[1, 0, 2]])
    assert np.isnan(rows_ND[0]).all()
    assert any("1 features have no embedding, their rows are NaN: OTHER" in note for note in notes)
    about = adata.uns["grn_cotrain"]["grn_cotrain"]
    assert {key: about[key] for key in FACTS} == FACTS
    assert (about["features_given"], about["features_mapped"]) == (4, 3)
    assert list(about["features_lost"]) == ["OTHER"]


def test_proteins_get_rows_of_proteins_and_ids_find_genes() -> None:
    given = embeddings(GENES)
    adata = cells(
        ["CD4", "CD4_TotalSeq", "newer name"],
        feature_types=["Gene Expression", "Antibody Capture", "Gene Expression"],
        gene_ids=["ENSG00000010610", "CD4", "ENSG00000213928.12"],
    )
    annotate_genes(adata, given)
    np.testing.assert_array_equal(adata.varm["grn_cotrain"], given.matrix()[[2, 3, 1]])


def test_ensembl_names_with_symbols_beside_them() -> None:
    given = embeddings([(symbol, "", modality) for symbol, _, modality in GENES])  # a model that knows no ids
    adata = cells(
        ["ENSG00000115415.21", "ENSG00000213928", "ENSG00000000001"], feature_name=["STAT1", "IRF9", "UNKNOWN"]
    )
    annotate_genes(adata, given)
    rows_ND = adata.varm["grn_cotrain"]
    np.testing.assert_array_equal(rows_ND[:2], given.matrix()[:2])
    assert np.isnan(rows_ND[2]).all()


def test_aliases_and_orthologs_find_more(tmp_path: Path) -> None:
    (tmp_path / "aliases.tsv").write_text("symbol\talias\nIRF9\tISGF3G\n")
    (tmp_path / "orthologs.tsv").write_text("human\tmouse\nSTAT1\tStat1\nIRF9\tIrf9\nCD4\tCd4\n")
    given = embeddings(GENES)
    old = cells(["STAT1", "ISGF3G"])
    annotate_genes(old, given, aliases=AliasTable.read(tmp_path / "aliases.tsv"))
    np.testing.assert_array_equal(old.varm["grn_cotrain"], given.matrix()[:2])
    mouse = cells(["Stat1", "Irf9", "Cd4", "Gapdh", "Actb", "Xkr4"])
    annotate_genes(mouse, given, orthologs=OrthologTable.read(tmp_path / "orthologs.tsv"))
    np.testing.assert_array_equal(mouse.varm["grn_cotrain"][:3], given.matrix()[:3])
    assert np.isnan(mouse.varm["grn_cotrain"][3:]).all()


def test_groups_have_keys_of_their_own() -> None:
    given = embeddings([GENES[0], GENES[1], GENES[0]], ["B", "B", "T/NK"])
    adata = cells(["IRF9", "STAT1"])
    annotate_genes(adata, given, key_added="gc")
    np.testing.assert_array_equal(adata.varm["gc_B"], given.matrix()[[1, 0]])
    np.testing.assert_array_equal(adata.varm["gc_T_NK"][1], given.matrix()[2])
    assert np.isnan(adata.varm["gc_T_NK"][0]).all()  # IRF9 is a token of no T cell
    assert adata.uns["grn_cotrain"]["gc_T_NK"]["group"] == "T/NK"
    twins = embeddings([GENES[0], GENES[0]], ["a/b", "a_b"])
    with pytest.raises(UserError, match="share a key"):
        annotate_genes(cells(["STAT1"]), twins)


def test_refusals_leave_the_object_as_it_was() -> None:
    given = embeddings(GENES)
    adata = cells(["STAT1", "IRF9"])
    adata.varm["grn_cotrain"] = np.zeros((2, 2))
    adata.uns["grn_cotrain"] = {"other": {"a": 1}}
    with pytest.raises(UserError, match=r"varm 'grn_cotrain': is there already.*overwrite=True"):
        annotate_genes(adata, given)
    assert not adata.varm["grn_cotrain"].any()
    annotate_genes(adata, given, overwrite=True)
    assert adata.varm["grn_cotrain"].shape == (2, 3)
    assert set(adata.uns["grn_cotrain"]) == {"other", "grn_cotrain"}
    strangers = cells(["AAA", "BBB"])
    with pytest.raises(UserError, match=r"none of 2 \(AAA, BBB\) has an embedding"):
        annotate_genes(strangers, given)
    assert not list(strangers.varm)
    assert not strangers.uns
    taken = cells(["STAT1"])
    taken.uns["grn_cotrain"] = "a note of mine"
    with pytest.raises(UserError, match="no mapping"):
        annotate_genes(taken, given)
    with pytest.raises(UserError, match="without '/'"):
        annotate_genes(cells(["STAT1"]), given, key_added="a/b")


def test_mouse_genes_are_not_taken_for_human_ones() -> None:
    names = ["Stat1", "Irf9", "Cd4", "Gapdh", "Actb", "Xkr4", "Sox17"]
    with pytest.raises(UserError, match="look like mouse"):
        annotate_genes(cells(names), embeddings(GENES))


def test_a_copy_of_the_file_is_written_and_the_file_stays(tmp_path: Path) -> None:
    given = embeddings(GENES)
    adata = cells(["STAT1", "OTHER"])
    adata.layers["mine"] = adata.X * 2
    adata.obsm["X_umap"] = np.ones((4, 2))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    before = (tmp_path / "cells.h5ad").read_bytes()
    write_varm(given, tmp_path / "out.h5ad", tmp_path / "cells.h5ad", IntoOptions(key_added="gc"))
    assert (tmp_path / "cells.h5ad").read_bytes() == before
    out = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(out.varm["gc"][0], given.matrix()[0])
    assert np.isnan(out.varm["gc"][1]).all()
    np.testing.assert_array_equal(out.layers["mine"], adata.layers["mine"])
    np.testing.assert_array_equal(out.obsm["X_umap"], adata.obsm["X_umap"])
    assert list(out.uns["grn_cotrain"]["gc"]["features_lost"]) == ["OTHER"]
    with pytest.raises(UserError, match="never changed"):
        write_varm(given, tmp_path / "cells.h5ad", tmp_path / "cells.h5ad", IntoOptions())
    with pytest.raises(UserError, match=r"ends in \.h5ad"):
        write_varm(given, tmp_path / "out.zarr", tmp_path / "cells.h5ad", IntoOptions())
    with pytest.raises(UserError, match="no such file"):
        write_varm(given, tmp_path / "new.h5ad", tmp_path / "no.h5ad", IntoOptions())
    (tmp_path / "bad.h5ad").write_text("not HDF5")
    with pytest.raises(UserError, match="is not a readable h5ad"):
        write_varm(given, tmp_path / "new.h5ad", tmp_path / "bad.h5ad", IntoOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.h5ad", "cells.h5ad", "out.h5ad"]


def test_the_record_survives_the_file(tmp_path: Path) -> None:
    adata = cells(["STAT1", "IRF9"])
    annotate_genes(adata, embeddings(GENES))
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for back in (anndata.read_h5ad(tmp_path / "a.h5ad"), anndata.read_zarr(tmp_path / "a.zarr")):
        assert back.uns["grn_cotrain"]["grn_cotrain"]["recipe_hash"] == "recipe0"
        assert len(back.uns["grn_cotrain"]["grn_cotrain"]["features_lost"]) == 0
