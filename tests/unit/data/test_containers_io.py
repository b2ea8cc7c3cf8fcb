"""h5mu, loom and zarr: the same cells as from h5ad; modalities, layers, mosaics; damage in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import zarr as zarr_library
from scipy import sparse

from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

GENES = ["STAT1", "GATA3", "IRF1"]
IDS = ["ENSG00000115415", "ENSG00000107485", "ENSG00000125347"]
CELLS = ["AAACCTGA-1", "AAACCTGC-1", "AAACCTGG-1", "AAACCTGT-1"]
COUNTS = np.array([[1, 0, 3], [0, 2, 0], [5, 0, 0], [0, 0, 7]], dtype=np.float32)
PROTEINS = np.array([[10, 0], [3, 4], [0, 9], [1, 1]], dtype=np.float32)
PEAKS = (np.arange(12).reshape(4, 3) % 2).astype(np.float32)


def rna(X=COUNTS, cells=CELLS, **options) -> anndata.AnnData:
    obs = pd.DataFrame({"type": list("aabb")[: len(cells)]}, index=list(cells))
    var = pd.DataFrame({"gene_ids": IDS}, index=GENES)
    return anndata.AnnData(sparse.csr_matrix(X), obs=obs, var=var, **options)


def other(X, names, cells=CELLS, **options) -> anndata.AnnData:
    obs = pd.DataFrame({"depth": np.asarray(X).sum(axis=1)}, index=list(cells))
    return anndata.AnnData(sparse.csr_matrix(X), obs=obs, var=pd.DataFrame(index=names), **options)


def modalities(**changes) -> dict[str, anndata.AnnData]:
    parts = {
        "rna": rna(),
        "prot": other(PROTEINS, ["CD3", "STAT1"]),
        "atac": other(PEAKS, ["chr1-10-20", "chr1-30-40", "chrX-5-9"]),
    }
    return {**parts, **changes}


def h5mu(folder: Path, parts: dict[str, anndata.AnnData] | None = None) -> Path:
    path = folder / "cells.h5mu"
    mudata.MuData(modalities() if parts is None else parts).write_h5mu(path)
    return path


def mu_zarr(folder: Path) -> Path:
    mudata.MuData(modalities()).write_zarr(folder / "mu.zarr")
    return folder / "mu.zarr"


def zarr(folder: Path, **options) -> Path:
    rna(**options).write_zarr(folder / "cells.zarr")
    return folder / "cells.zarr"


def loom(folder: Path, *, genes: str | None = "Gene", cells: str = "CellID", as_bytes: bool = False) -> Path:
    """By the documented layout, written without loompy."""
    path = folder / "cells.loom"
    text = (lambda names: np.array(names, dtype="S")) if as_bytes else (lambda names: np.array(names, dtype=object))
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T
        file["layers/spliced"], file["layers/logged"] = COUNTS.T - (COUNTS.T > 0), np.log1p(COUNTS.T)
        if genes is not None:
            file[f"row_attrs/{genes}"] = text(GENES)
        file["row_attrs/Accession"] = text(IDS)
        file["row_attrs/regulons"] = np.zeros((3, 2))
        file[f"col_attrs/{cells}"], file["col_attrs/type"] = text(CELLS), text(list("aabb"))
        file["col_attrs/Embedding"] = np.zeros(4, dtype=[("x", "f4"), ("y", "f4")])
        file["attrs/LOOM_SPEC_VERSION"] = "3.0.0"
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (zarr, "format: AnnData zarr"),
        (loom, "format: loom"),
        (lambda p: loom(p, as_bytes=True), "format: loom"),
        (lambda p: loom(p, genes="var_names", cells="obs_names"), "format: loom"),
        (lambda p: h5mu(p, {"rna": rna()}), "format: h5mu"),
    ],
)
def test_every_container_gives_the_same_cells(tmp_path, make, said) -> None:
    counts = load_counts(make(tmp_path))
    assert counts.kind == "counts"
    assert said in counts.notes
    assert list(counts.adata.obs_names) == CELLS
    assert list(counts.adata.var_names) == GENES
    assert list(counts.adata.var["gene_ids"]) == IDS
    assert list(counts.adata.obs["type"]) == list("aabb")
    assert list(counts.adata.obs.columns) == ["type"]
    assert np.array_equal(counts.adata.X.toarray(), COUNTS)
    assert counts.adata.X.dtype == np.float32


@pytest.mark.parametrize("make", [h5mu, mu_zarr])
def test_modalities_stand_side_by_side_each_under_its_name(tmp_path, make) -> None:
    counts = load_counts(make(tmp_path))
    assert np.array_equal(counts.adata.X.toarray(), np.hstack([COUNTS, PROTEINS, PEAKS]))
    assert list(counts.adata.var["modality"]) == ["gene"] * 3 + ["protein"] * 2 + ["peak"] * 3
    assert list(counts.adata.var_names)[:5] == [*GENES, "CD3", "STAT1"]  # a gene and a protein of one name
    assert "modalities taken: rna (3 genes), prot (2 proteins), atac (3 peaks)" in counts.notes
    assert counts.kinds == {"rna": "counts", "atac": "binary", "protein": "clr"}
    assert "genes: values are raw counts: whole numbers up to 7" in counts.notes
    assert "peaks: values are raw counts: only 0 and 1; taken as binary" in counts.notes
    assert "proteins: values are raw counts: whole numbers up to 10; taken as clr" in counts.notes
    assert {"type", "prot:depth", "atac:depth"} <= set(counts.adata.obs.columns)
    assert counts.adata.obs[["present_rna", "present_protein", "present_atac"]].all(axis=None)


@pytest.mark.parametrize(
    ("modality", "shape", "left"),
    [
        ("rna", 3, "prot, atac"),
        ("gene", 3, "prot, atac"),
        ("prot", 2, "rna, atac"),
        ("ADT", 2, "rna, atac"),
        ("rna,atac", 6, "prot"),
    ],
)
def test_one_modality_is_taken_and_the_others_are_named(tmp_path, modality, shape, left) -> None:
    counts = load_counts(h5mu(tmp_path), modality=modality)
    assert counts.adata.n_vars == shape
    assert counts.notes[1].endswith(f"left out: {left}")
    assert ("present_rna" in counts.adata.obs) == (modality == "rna,atac")


def test_modality_also_chooses_among_feature_types(tmp_path) -> None:
    data = rna()
    data.var["feature_types"] = ["Gene Expression", "Gene Expression", "Antibody Capture"]
    data.write_h5ad(tmp_path / "c.h5ad")
    assert list(load_counts(tmp_path / "c.h5ad", modality="rna").adata.var_names) == GENES[:2]
    assert list(load_counts(tmp_path / "c.h5ad", modality="prot").adata.var_names) == GENES[2:]
    with pytest.raises(UserError, match=r"modality='atac': .* choose from gene, protein"):
        load_counts(tmp_path / "c.h5ad", modality="atac")


def test_cells_that_lack_a_modality_have_zeros_and_say_so(tmp_path) -> None:
    parts = modalities(prot=other(PROTEINS[[2, 0]], ["CD3", "CD4"], [CELLS[2], CELLS[0]]))
    parts["prot"].obs["good"] = [True, False]
    del parts["atac"]
    extra = other(PROTEINS[:1], ["CD3", "CD4"], ["only-protein"])
    extra.obs["good"] = [True]
    parts["prot"] = anndata.concat([parts["prot"], extra])
    counts = load_counts(h5mu(tmp_path, parts))
    assert list(counts.adata.obs_names) == [*CELLS, "only-protein"]
    expected = np.zeros((5, 5))
    expected[:4, :3] = COUNTS
    expected[[2, 0, 4], 3:] = PROTEINS[[2, 0, 0]]
    assert np.array_equal(counts.adata.X.toarray(), expected)
    assert counts.adata.obs["present_rna"].tolist() == [True] * 4 + [False]
    assert counts.adata.obs["present_protein"].tolist() == [True, False, True, False, True]
    counts.adata.write_h5ad(tmp_path / "again.h5ad")  # columns that some cells lack can be written
    assert anndata.read_h5ad(tmp_path / "again.h5ad").obs["good"].isna().tolist() == [False, True, False, True, False]


def test_unknown_modalities_are_listed(tmp_path) -> None:
    path = h5mu(tmp_path, modalities(hashing=other(PROTEINS, ["H1", "H2"]), zz=other(PROTEINS, ["Z1", "Z2"])))
    with pytest.raises(UserError, match=r"modalities of unknown names: hashing, zz .*modality='rna'"):
        load_counts(path)
    assert load_counts(path, modality="rna").adata.n_vars == 3
    with pytest.raises(UserError, match="modality='hashing': neither genes, nor proteins, nor peaks"):
        load_counts(path, modality="hashing")
    with pytest.raises(UserError, match=r"modality='rma': .*choose from rna, .*did you mean 'rna'"):
        load_counts(path, modality="rma")


def test_modalities_are_known_by_feature_types_or_by_their_peaks_too(tmp_path) -> None:
    typed = other(PROTEINS, ["CD3", "CD4"])
    typed.var["feature_types"] = "Antibody Capture"
    parts = {"first": typed, "second": other(PEAKS, ["chr1:10-20", "chr1:30-40", "chrX:5-9"])}
    counts = load_counts(h5mu(tmp_path, parts))
    assert list(counts.adata.var["modality"]) == ["protein"] * 2 + ["peak"] * 3


def test_layers_of_all_containers(tmp_path) -> None:
    logged = rna(np.log1p(COUNTS), layers={"counts": sparse.csr_matrix(COUNTS)})
    logged.write_zarr(tmp_path / "l.zarr")
    path = h5mu(tmp_path, modalities(rna=logged))
    for place in (tmp_path / "l.zarr", path):
        assert np.array_equal(load_counts(place, "counts").adata.X.toarray()[:, :3], COUNTS)
    assert "layer counts: prot, atac has none, so its X was taken" in load_counts(path, "counts").notes
    assert load_counts(path).kinds == {"rna": "log", "atac": "binary", "protein": "clr"}  # each has its own
    assert load_counts(path, modality="rna").kind == "log"
    assert np.array_equal(load_counts(loom(tmp_path), "spliced").adata.X.toarray(), COUNTS - (COUNTS > 0))
    for place in (tmp_path / "l.zarr", path, tmp_path / "cells.loom"):
        with pytest.raises(UserError, match=r"layer='cuonts': .*no such layer; choose from "):
            load_counts(place, "cuonts")


@pytest.mark.parametrize("container", ["h5ad", "zarr", "h5mu", "loom"])
def test_a_counts_layer_is_named_but_not_taken(tmp_path, container) -> None:
    data = rna(np.log1p(COUNTS), layers={"counts": sparse.csr_matrix(COUNTS)})
    path = tmp_path / f"cells.{container}"
    if container == "h5mu":
        h5mu(tmp_path, {"rna": data})
    elif container == "loom":
        loom(tmp_path)
    else:
        getattr(data, f"write_{container}")(path)
    counts = load_counts(path, "logged" if container == "loom" else None)
    assert counts.kind == "log"
    wanted = "--layer spliced" if container == "loom" else "--layer counts"
    assert counts.notes[-1] == f"raw counts are there too, and were not taken: {wanted}"
    if container == "h5ad":
        data.raw = rna()
        del data.layers["counts"]
        data.write_h5ad(path)
        assert load_counts(path).notes[-1].endswith("not taken: --layer raw")
        assert not any("not taken" in note for note in load_counts(path, "raw").notes)


def test_proteins_in_obsm_come_along(tmp_path) -> None:
    path = tmp_path / "c.h5ad"
    data = rna()
    data.obsm["protein_expression"] = pd.DataFrame(PROTEINS, index=CELLS, columns=["CD3", "CD4"])
    data.write_h5ad(path)
    counts = load_counts(path)
    assert np.array_equal(counts.adata.X.toarray(), np.hstack([COUNTS, PROTEINS]))
    assert list(counts.adata.var["modality"]) == ["gene"] * 3 + ["protein"] * 2
    assert load_counts(path, modality="rna").adata.n_vars == 3
    data.obsm["protein_expression"] = PROTEINS
    data.write_h5ad(path)
    assert "obsm['protein_expression'] was left out: it has no names" in load_counts(path).notes
    data.uns["protein_names"] = np.array(["CD3", "CD4"])
    data.X = np.log1p(COUNTS)
    data.write_h5ad(path)
    counts = load_counts(path)
    assert counts.adata.n_vars == 5
    assert counts.kinds == {"rna": "log", "protein": "clr"}


def _without_chunk(path: Path) -> Path:
    """A lost part of a zarr array reads as zeros."""
    chunk = next(file for file in (path / "X" / "data").rglob("*") if file.name == "0")
    chunk.unlink()
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _without_obs(path: Path) -> Path:
    shutil.rmtree(path / "obs")
    return path


def _of_another_kind(path: Path) -> Path:
    zarr_library.open_group(str(path), mode="w").create_group("images")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: _without_chunk(zarr(p)), "1 of 1 parts of X are missing"),
        (lambda p: _without_obs(zarr(p)), "damaged or cut short"),
        (lambda p: _of_another_kind(p / "c.zarr"), r"neither an AnnData nor a MuData \(holds images\)"),
        (lambda p: _cut(loom(p)), "damaged or cut short"),
        (lambda p: _cut(h5mu(p)), "damaged or cut short"),
        (lambda p: loom(p, genes="regulator_name", cells="barcode_id"), "/col_attrs holds no names of the cells"),
    ],
)
def test_damage_is_one_line(tmp_path, make, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_counts(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_loom_without_symbols_is_named_by_its_accessions(tmp_path) -> None:
    assert list(load_counts(loom(tmp_path, genes=None)).adata.var_names) == IDS
