"""Every real data set goes through ``grn-prep counts`` and ``embed cells`` as it lies there, with a right report.

The numbers were checked by hand against the files (h5py, pandas); single values are read again here, past the readers.
"""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest

from data_prep.cli import app as prep_app
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from tests.worlds import tiny_recipe

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


@dataclass(frozen=True)
class Stranger:
    """One file, what is in it, and a value of its last cell."""

    file: str
    cells: int
    features: dict[str, int]
    kind: str
    species: str
    spots: dict[tuple[str, str], float]  # (part of the file, feature) of the last cell
    said: tuple[str, ...] = ()
    lost: int = 0  # genes that the model of Kang's genes does not know
    obs: tuple[str, ...] = field(default=())


FILES = {
    "beeline": Stranger(
        "beeline_genelink/expression/hESC_TFs+500.h5ad",
        758,
        {"gene": 910},
        "log",
        "human",
        {("", "ERCC-00074"): 15.60295719},
        ("on a log scale, not counts: fractions, at most 19.35", "28 ERCC spike-ins are graph nodes but never tokens"),
    ),
    "kang": Stranger(
        "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad",
        2000,
        {"gene": 9015},
        "counts",
        "human",
        {("", "MALAT1"): 75.0},
        ("whole numbers up to 2,950",),
        obs=("condition",),
    ),
    "h1": Stranger(
        "h1_snareseq_paired/h1_snareseq.h5mu",
        385,
        {"gene": 8595, "peak": 36954},
        "counts",
        "human",
        {("mod/rna", "GRID2"): 2.0, ("mod/atac", "chr2-148881654-148881927"): 1.0},
        ("modalities taken: rna (8,595 genes), atac (36,954 peaks)", "peaks: values are raw counts: only 0 and 1"),
        obs=("present_rna", "present_atac"),
    ),
    "mouse cortex": Stranger(
        "snareseq_mouse_cortex_paired/snareseq_mouse_cortex.h5mu",
        10309,
        {"gene": 1677, "peak": 25734},
        "counts",
        "mouse",
        {("mod/rna", "Malat1"): 12.0, ("mod/atac", "chr1-73933206-73933488"): 1.0},
        ("names are capitalised like", "peaks: values are raw counts: whole numbers up to 5"),
        obs=("cell_type", "batch"),
    ),
    "mixology": Stranger(
        "sc_mixology_celllines/sc_mixology_5batches.h5ad",
        1021,
        {"gene": 11505},
        "counts",
        "human",
        {("", "KRT81"): 71.0},
        ("whole numbers up to 2,973",),
        obs=("cell_line",),
    ),
    "pbmc3k": Stranger(
        "pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad",
        2638,
        {"gene": 2000},
        "counts",
        "human",
        {("", "MALAT1"): 63.0},
        ("whole numbers up to 419",),
        obs=("cell_type",),
    ),
    "cite 5k": Stranger(
        "pbmc_cite_scvi_test/pbmc_5k_protein_v3.h5ad",
        200,
        {"gene": 16581, "protein": 29},
        "counts",
        "human",
        {("", "MALAT1"): 350.0, ("obsm", "CD3_TotalSeqB"): 2512.0},
        ("29 proteins of obsm['protein_expression'] were taken too",),
    ),
    "cite 10k": Stranger(
        "pbmc_cite_scvi_test/pbmc_10k_protein_v3.h5ad",
        200,
        {"gene": 16727, "protein": 14},
        "counts",
        "human",
        {("", "S100A9"): 85.0, ("obsm", "CD16_TotalSeqB"): 2135.0},
        ("14 proteins of obsm['protein_expression'] were taken too",),
    ),
    "bmmc cite": Stranger(
        "bmmc_cite_neurips2021_mini/bmmc_cite_mini.h5mu",
        600,
        {"gene": 1000, "protein": 134},
        "counts",
        "human",
        {("mod/rna", "MALAT1"): 417.0, ("mod/prot", "CD5"): 602.0},
        ("modalities taken: rna (1,000 genes), prot (134 proteins)",),
        obs=("cell_type", "batch", "present_protein"),
    ),
    "bmmc multiome": Stranger(
        "bmmc_multiome_neurips2021_mini/bmmc_multiome_mini.h5mu",
        500,
        {"gene": 1134, "peak": 600},
        "counts",
        "human",
        {("mod/rna", "CCL5"): 15.0, ("mod/atac", "chr18-9136294-9137117"): 6.0},
    ),
    "bmmc multiome 2": Stranger(
        "bmmc_multiome_neurips2021_mini/bmmc_multiome_mini_set2.h5mu",
        500,
        {"gene": 600, "peak": 600},
        "counts",
        "human",
        {("mod/rna", "B2M"): 35.0, ("mod/atac", "chr19-45178030-45178957"): 5.0},
    ),
    "pbmc multiome": Stranger(
        "pbmc_multiome_40cells_fullfeatures/pbmc_multiome_40cells.h5mu",
        40,
        {"gene": 12685, "peak": 66484},
        "counts",
        "human",
        {("mod/rna", "MT-CO2"): 61.0, ("mod/atac", "chr17-7832492-7859042"): 14.0},
    ),
    "papalexi": Stranger(
        "papalexi_eccite_lowmoi/papalexi_lowmoi.h5ad",
        20729,
        {"gene": 299},
        "counts",
        "human",
        {("", "CYBA"): 24.0},
        ("whole numbers up to 278",),
        obs=("target",),
    ),
}


def names_in(group: h5py.Group, axis: str) -> list[str]:
    table = group[axis]
    return [value.decode() if isinstance(value, bytes) else value for value in table[table.attrs["_index"]][()]]


def last_cell(path: Path, part: str) -> tuple[str, dict[str, float]]:
    """Name and values of the last cell, read without any reader of this package."""
    with h5py.File(path) as file:
        group = file[part] if part.startswith("mod/") else file
        cell = names_in(group, "obs")[-1]
        if part == "obsm":
            names = [value.decode() for value in file["uns/protein_names"][()]]
            return cell, dict(zip(names, map(float, file["obsm/protein_expression"][-1]), strict=True))
        names, X = names_in(group, "var"), group["X"]
        row = np.zeros(len(names))
        if isinstance(X, h5py.Group):
            start, end = X["indptr"][-2:]
            row[X["indices"][start:end]] = X["data"][start:end]
        else:
            row = X[-1]
        return cell, dict(zip(names, map(float, row), strict=True))


def test_every_folder_of_cells_is_in_the_table(real_data: Path) -> None:
    found = {
        path.relative_to(real_data).as_posix() for kind in ("h5ad", "h5mu") for path in real_data.rglob(f"*.{kind}")
    }
    assert found == {stranger.file for stranger in FILES.values()}


@pytest.mark.parametrize("case", FILES)
def test_prepared_without_flags_and_with_a_right_report(case: str, real_data: Path, tmp_path: Path, capsys) -> None:
    stranger = FILES[case]
    path = real_data / stranger.file
    assert run_app(prep_app, ["counts", str(path), "--out", str(tmp_path / "prep")]) == 0
    out = capsys.readouterr().out
    prep = Prep.open(tmp_path / "prep")
    num_features = sum(stranger.features.values())
    assert (prep.meta["num_cells"], prep.vocab.num_features) == (stranger.cells, num_features)
    assert Counter(prep.vocab.modality) == stranger.features
    assert (prep.kind, prep.vocab.species) == (stranger.kind, stranger.species)
    report = prep.alignment
    assert (report.num_given, report.mapped) == (num_features, num_features)
    assert (report.renamed, report.duplicated, report.lost) == ([], [], [])
    for said in (*stranger.said, f"species: {stranger.species}"):
        assert said in out
    assert set(stranger.obs) <= set(prep.cells.obs.columns)
    values = prep.cells.values_CG
    for (part, feature), expected in stranger.spots.items():
        cell, row = last_cell(path, part)
        assert row[feature] == pytest.approx(expected)
        assert prep.cells.obs.index[-1] == cell
        kind = "protein" if part in ("mod/prot", "obsm") else None
        column = prep.vocab.index(feature, kind)
        assert values[-1, column] == pytest.approx(expected, rel=1e-6)
        # The whole cell, not a lucky entry: its sum over this part of the file.
        columns = [prep.vocab.index(name, kind) for name in row]
        assert float(values[-1, columns].sum()) == pytest.approx(sum(row.values()), rel=1e-5)
    genes = np.flatnonzero(np.asarray(prep.vocab.modality) == "gene")
    if stranger.kind == "counts":
        assert prep.cells.size_factor_C[-1] == pytest.approx(values[-1, genes].sum())


def test_a_table_of_text_too(real_data: Path, tmp_path: Path, capsys) -> None:
    path = real_data / "beeline_genelink/beeline_GSD/ExpressionData.csv.gz"
    assert run_app(prep_app, ["counts", str(path), "--out", str(tmp_path / "prep")]) == 0
    assert "19 genes (rows) x 2,000 cells (columns)" in capsys.readouterr().out
    with gzip.open(path, "rt") as file:
        table = pd.read_csv(file, index_col=0)
    prep = Prep.open(tmp_path / "prep")
    assert (prep.kind, prep.cells.num_cells, prep.cells.num_features) == ("log", 2000, 19)
    assert np.allclose(prep.cells.values_CG.toarray().T, table.to_numpy(), rtol=1e-6)


# -- embedding ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def human_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of Kang's genes, trained for three steps: what it has learned does not matter here."""
    from data_prep.counts import prepare_counts
    from data_prep.splits import prepare_splits
    from grn_cotrain.train.run import train

    folder = tmp_path_factory.mktemp("human")
    source = anndata.read_h5ad(real_data / FILES["kang"].file)[::20].copy()
    source.write_h5ad(folder / "cells.h5ad")
    prepare_counts(folder / "cells.h5ad", folder / "prep", grn=real_data / "grn_priors/trrust_v2_human.tsv.gz")
    prepare_splits(folder / "prep", "unseen-target")
    steps = {"max_steps": 3, "validate_every": 3, "checkpoint_every": 3, "gradient_cosine_every": 3}
    return train(tiny_recipe(folder / "prep", train=steps), folder / "run").folder


def num_known(names: list[str], real_data: Path) -> int:
    """How many of these names are genes of Kang's, ignoring case."""
    with h5py.File(real_data / FILES["kang"].file) as file:
        known = {name.casefold() for name in names_in(file, "var")}
    return sum(name.casefold() in known for name in names)


def gene_names(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return names_in(file["mod/rna"] if "mod" in file else file, "var")


@pytest.mark.parametrize(
    "case",
    [
        *("beeline", "bmmc cite", "bmmc multiome", "bmmc multiome 2", "pbmc multiome", "h1", "pbmc3k"),
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("cite 5k", "cite 10k", "mixology", "papalexi")),
    ],
)
def test_embedded_without_flags(case: str, human_run: Path, real_data: Path, tmp_path: Path, capsys) -> None:
    stranger = FILES[case]
    path = real_data / stranger.file
    out = tmp_path / "embedded.h5ad"
    assert run_app(app, ["embed", "cells", str(human_run), str(path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    names = gene_names(path)
    known = num_known(list(names), real_data)
    assert f"{known:,} of {len(names):,} mapped" in said
    embedded = anndata.read_h5ad(out)
    assert embedded.obsm["X_grn_cotrain"].shape == (stranger.cells, 16)
    assert np.isfinite(embedded.obsm["X_grn_cotrain"]).all()
    for modality in set(stranger.features) - {"gene"}:
        assert f"{stranger.features[modality]:,} {modality}s were left out, the vocabulary has none" in said
    if stranger.kind == "log":
        assert "log" in said


def test_an_h5mu_stays_one(human_run: Path, real_data: Path, tmp_path: Path) -> None:
    path = real_data / FILES["bmmc cite"].file
    arguments = ["embed", "cells", str(human_run), str(path), "--out", str(tmp_path / "out.h5mu")]
    assert run_app(app, arguments) == 0
    assert mudata.read_h5mu(tmp_path / "out.h5mu").obsm["X_grn_cotrain"].shape == (600, 16)


def test_mouse_cells_need_orthologs_and_then_pass(human_run: Path, real_data: Path, tmp_path: Path, capsys) -> None:
    path = real_data / FILES["mouse cortex"].file
    out = tmp_path / "mouse.h5ad"
    arguments = ["embed", "cells", str(human_run), str(path), "--out", str(out)]
    assert run_app(app, arguments) == 2
    assert "look like mouse" in capsys.readouterr().err
    assert not out.exists()
    human = pd.read_csv(real_data / "gene_annotation/hg38_genes.tsv.gz", sep="\t")["gene"].astype(str)
    mouse = pd.read_csv(real_data / "gene_annotation/mm10_genes.tsv.gz", sep="\t")["gene"].astype(str)
    by_fold = {name.upper(): name for name in human.unique()}
    pairs = [(by_fold[name.upper()], name) for name in mouse.unique() if name.upper() in by_fold]
    lines = "".join(f"{a}\t{b}\n" for a, b in pairs)
    (tmp_path / "orthologs.tsv").write_text(f"human\tmouse\n{lines}")
    small = tmp_path / "mouse.h5mu"
    whole = mudata.read_h5mu(path)
    whole[:300].copy().write_h5mu(small)
    del whole
    arguments = ["embed", "cells", str(human_run), str(small), "--out", str(out)]
    arguments += ["--orthologs", str(tmp_path / "orthologs.tsv")]
    names = set(gene_names(path))
    converted = [(h, m) for h, m in pairs if m in names]
    known = num_known([h for h, _ in converted], real_data)
    assert run_app(app, arguments) == 2  # a model of blood knows few genes of the cortex, and says so
    assert f"only {known} of {len(converted):,} are in the vocabulary of 9,015" in capsys.readouterr().err
    assert run_app(app, [*arguments, "--min-mapped", "0.3"]) == 0
    said = capsys.readouterr().out
    assert f"orthologs: {len(converted):,} of 1,677 mouse genes took their human names" in said
    assert f"{known:,} of {len(converted):,} mapped" in said
    assert anndata.read_h5ad(out).obsm["X_grn_cotrain"].shape == (300, 16)


def test_too_few_known_genes_are_refused_with_the_numbers(
    human_run: Path, real_data: Path, tmp_path: Path, capsys
) -> None:
    source = real_data / "beeline_genelink/beeline_GSD/ExpressionData.csv.gz"
    shutil.copy(source, tmp_path / "gsd.csv.gz")
    names = pd.read_csv(source, usecols=[0]).iloc[:, 0]
    known = num_known(list(names), real_data)
    assert known < 0.5 * len(names)
    arguments = ["embed", "cells", str(human_run), str(tmp_path / "gsd.csv.gz"), "--out", str(tmp_path / "o.h5ad")]
    assert run_app(app, arguments) == 2
    assert f"only {known} of 19 are in the vocabulary of 9,015" in capsys.readouterr().err
