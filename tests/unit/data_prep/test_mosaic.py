"""A mosaic: cells with RNA only, ATAC only, and both. Nothing crosses assays, and nothing unmeasured is a zero."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from data_prep.counts import prepare_counts
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig

GENES = [f"GENE{i}" for i in range(30)]
PEAKS = [f"chr1:{1000 * i + 1}-{1000 * i + 500}" for i in range(60)]
ALONE, SHARED = 20, 10


def rna(number: int, prefix: str, seed: int = 0) -> anndata.AnnData:
    values = np.random.default_rng(seed).poisson(1.5, (number, len(GENES))).astype(np.float32)
    values[:, 0] = 2
    return table(values, GENES, prefix)


def atac(number: int, prefix: str, seed: int = 1, most: int = 1) -> anndata.AnnData:
    draws = np.random.default_rng(seed)
    values = (draws.random((number, len(PEAKS))) < 0.3).astype(np.float32) * draws.integers(
        1, most + 1, (number, len(PEAKS))
    )
    values[:, 0] = 1
    return table(values, PEAKS, prefix)


def table(values: np.ndarray, names: list[str], prefix: str) -> anndata.AnnData:
    obs = pd.DataFrame({"batch": prefix}, index=[f"{prefix}{i}" for i in range(len(values))])
    return anndata.AnnData(sparse.csr_matrix(values.astype(np.float32)), obs=obs, var=pd.DataFrame(index=names))


def mosaic(folder: Path, most: int = 1, order: tuple[str, str] = ("rna", "atac")) -> Path:
    import mudata

    parts = {
        "rna": anndata.concat([rna(ALONE, "r"), rna(SHARED, "b", 3)]),
        "atac": anndata.concat([atac(ALONE, "a", most=most), atac(SHARED, "b", 4, most)]),
    }
    mudata.MuData({name: parts[name] for name in order}).write(folder / "m.h5mu")
    return folder / "m.h5mu"


def prepared(folder: Path, **options: object) -> Prep:
    return prepare_counts(mosaic(folder, **options), folder / "prep")  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [("rna", "atac"), ("atac", "rna")])
def test_presence_kind_and_depth_are_those_of_each_assay(tmp_path: Path, order: tuple[str, str]) -> None:
    prep = prepared(tmp_path, order=order)
    cells, names = prep.cells, [str(name)[0] for name in prep.cells.obs.index]
    assert list(cells.assays) == ["rna", "atac"]
    assert {name: assay.kind for name, assay in cells.assays.items()} == {"rna": "counts", "atac": "binary"}
    assert prep.vocab.modality[:30] == ("gene",) * 30
    assert prep.vocab.num_genes == 30
    for name, letter in (("rna", "a"), ("atac", "r")):
        assert cells.present(name).tolist() == [one != letter for one in names]
        assert cells.obs[f"present_{name}"].tolist() == cells.present(name).tolist()
        present = np.flatnonzero(cells.present(name))
        stored = cells.rows(present)[name]
        assert cells.assays[name].size_factor_C[present].tolist() == stored.sum(axis=1).ravel().tolist()[0]
    assert "rna: measured in 30 of 50 cells" in prep.meta["notes"]
    assert "atac: measured in 30 of 50 cells" in prep.meta["notes"]


def test_the_same_open_peak_reads_the_same_in_every_cell(tmp_path: Path) -> None:
    cells = prepared(tmp_path).cells
    peak = cells.normalised(assay="atac")[:, 0].toarray().ravel()
    assert set(peak[cells.present("atac")]) == {1.0}
    assert set(peak[~cells.present("atac")]) == {0.0}


def test_peaks_of_counts_have_their_own_depth(tmp_path: Path) -> None:
    cells = prepared(tmp_path, most=3).cells
    assert cells.assays["atac"].kind == "counts"
    rows = np.flatnonzero(cells.present("atac"))
    stored = cells.rows(rows)["atac"].toarray()
    expected = np.log1p(stored * 1e4 / stored.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(cells.normalised(rows, "atac").toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize("zeros", [3, "all"])
@pytest.mark.parametrize("seed", [None, 0])
def test_no_token_is_of_a_feature_that_was_not_measured(tmp_path: Path, zeros: int | str, seed: int | None) -> None:
    cells = prepared(tmp_path).cells
    tokenizer = Tokenizer(cells, TokenConfig(zeros_per_cell=zeros))  # type: ignore[arg-type]
    draws = None if seed is None else np.random.default_rng(seed)
    batch = tokenizer.batch(np.arange(cells.num_cells), draws)
    for name, part in batch.assays.items():
        assert part.cells_A.tolist() == np.flatnonzero(cells.present(name)).tolist()
        space = cells.assays[name].space
        assert (
            (part.feature_ids_T >= space.start + NUM_SPECIAL) & (part.feature_ids_T < space.stop + NUM_SPECIAL)
        ).all()
        assert MODALITIES[part.modality] == space.name
    packed = batch.pack()
    assert packed.cu_lens.diff().tolist() == tokenizer.lengths_C.tolist()
    is_peak_T = packed.modality_T == 1
    lacks_T = ~np.asarray(cells.present("atac"))[packed.cell_of_token_T.numpy()]
    assert not (is_peak_T.numpy() & lacks_T).any()
    zeros_C = np.bincount(packed.cell_of_token_T.numpy(), ((packed.bins_T == 0) & (packed.feature_ids_T > 2)).numpy())
    if zeros != "all":
        assert zeros_C.min() >= 1
        assert zeros_C.max() == 3


def test_a_pack_of_one_assay_has_the_cells_that_have_it(tmp_path: Path) -> None:
    cells = prepared(tmp_path).cells
    batch = Tokenizer(cells, TokenConfig()).batch(np.arange(cells.num_cells)[::-1])
    packed = batch.pack(["atac"])
    rows = np.arange(cells.num_cells)[::-1]
    assert packed.cell_index_B.tolist() == [row for row in rows.tolist() if cells.present("atac")[row]]
    assert packed.cells_B is not None
    assert rows[packed.cells_B.numpy()].tolist() == packed.cell_index_B.tolist()
    assert set(packed.modality_T[packed.feature_ids_T > 2].tolist()) == {1}
    with pytest.raises(UserError, match=r"reads 'atak': .*choose from rna, atac.*did you mean 'atac'"):
        batch.pack(["atak"])


def test_a_cap_is_shared_by_the_assays_of_a_cell(tmp_path: Path) -> None:
    cells = prepared(tmp_path).cells
    batch = Tokenizer(cells, TokenConfig(max_tokens=13, zeros_per_cell=2)).batch(np.arange(cells.num_cells))
    packed = batch.pack()
    assert packed.max_len == 13
    both = int(np.flatnonzero(cells.present("rna") & cells.present("atac"))[0])
    values = packed.values_T[packed.cu_lens[both] + 1 : packed.cu_lens[both + 1]]
    kinds = packed.modality_T[packed.cu_lens[both] + 1 : packed.cu_lens[both + 1]]
    assert [int(((kinds == code) & (values > 0)).sum()) for code in (0, 1)] == [5, 5]
    assert [int(((kinds == code) & (values == 0)).sum()) for code in (0, 1)] == [1, 1]


def test_files_of_one_assay_each_join_to_a_mosaic(tmp_path: Path) -> None:
    rna(6, "r").write_h5ad(tmp_path / "r.h5ad")
    atac(5, "a").write_h5ad(tmp_path / "a.h5ad")
    import mudata

    mudata.MuData({"rna": rna(4, "b", 3), "atac": atac(4, "b", 4)}).write(tmp_path / "b.h5mu")
    prep = prepare_counts([tmp_path / name for name in ("a.h5ad", "r.h5ad", "b.h5mu")], tmp_path / "prep")
    cells = prep.cells
    assert cells.present("rna").tolist() == [False] * 5 + [True] * 10
    assert cells.present("atac").tolist() == [True] * 5 + [False] * 6 + [True] * 4
    assert prep.vocab.modality == ("gene",) * 30 + ("peak",) * 60
    assert prep.vocab.space("peak").intervals[PEAKS[1]] == ("chr1", 1001, 1500)
    dense = cells.rows(np.arange(5))["atac"].toarray()
    assert np.array_equal(dense, atac(5, "a").X.toarray())
    assert "no genes in a: present_rna is False there" in prep.meta["notes"]


def test_a_padded_matrix_says_what_was_measured_in_a_column_of_obs(tmp_path: Path) -> None:
    values = sparse.hstack([rna(6, "x").X, atac(6, "x").X]).tolil()
    values[:3, len(GENES) :] = 0  # a padded matrix, as some tools make them
    data = table(values.toarray(), [*GENES, *PEAKS], "x")
    data.var["feature_types"] = ["Gene Expression"] * len(GENES) + ["Peaks"] * len(PEAKS)
    data.write_h5ad(tmp_path / "x.h5ad")
    prep = prepare_counts(tmp_path / "x.h5ad", tmp_path / "prep")
    assert prep.cells.present("atac").all()
    assert any("3 of these cells have no peak at all" in note and "present_atac" in note for note in prep.meta["notes"])
    data.obs["present_atac"] = [False] * 3 + [True] * 3
    data.write_h5ad(tmp_path / "x.h5ad")
    prep = prepare_counts(tmp_path / "x.h5ad", tmp_path / "prep")
    assert prep.cells.present("atac").tolist() == [False] * 3 + [True] * 3
    data.obs["present_atac"] = False
    data.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(UserError, match=r"obs\['present_atac'\] is false in 3 cells that have peaks"):
        prepare_counts(tmp_path / "x.h5ad", tmp_path / "prep")
