"""An index of numbers never names genes: the column with the names is taken and said, or asked for by name."""

from __future__ import annotations

import h5py
import mudata
import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.errors import UserError
from tests.unit.data.matrix_files import (
    CELL_ROWS,
    CELLS,
    COUNTS,
    GENE_ROWS,
    GENES,
    IDS,
    NUMBERS,
    adata,
    h5ad,
    holds_the_counts,
    notes_of,
    text,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.mark.parametrize(
    "column",
    [
        *("features", "feature_name", "gene_name", "gene_symbols", "symbol", "gene_short_name", "SYMBOL", "names"),
        *("gene_id", "Gene Symbol", "hgnc_symbol", "gene", "index"),
    ],
)
def test_the_column_of_names_is_taken_and_said(tmp_path, column) -> None:
    path = h5ad(tmp_path, pd.DataFrame({column: GENES, "n_cells": range(12)}, index=NUMBERS))
    assert f"names were taken from the column '{column}'" in notes_of(path)


def test_symbols_go_before_ids_and_ids_fill_their_gaps(tmp_path) -> None:
    symbols = ["STAT1", None, *GENES[2:]]
    var = pd.DataFrame({"feature_id": IDS, "feature_name": symbols}, index=NUMBERS)
    counts = load_counts(h5ad(tmp_path, var))
    assert holds_the_counts(counts, ["STAT1", IDS[1], *GENES[2:]])
    assert list(counts.adata.var["gene_ids"]) == IDS
    assert holds_the_counts(load_counts(h5ad(tmp_path, var[["feature_id"]])), IDS)
    # A column is known by its content too: names under a word for ids, ids under a word for names.
    assert holds_the_counts(
        load_counts(h5ad(tmp_path, pd.DataFrame({"features": IDS, "symbol": GENES}, index=NUMBERS)))
    )


def test_an_index_with_gaps_is_numbers_too(tmp_path) -> None:
    path = h5ad(tmp_path, pd.DataFrame({"features": pd.Categorical(GENES)}, index=[str(7 * i + 3) for i in range(12)]))
    assert "holds numbers (3, 10, 17, ...)" in notes_of(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"symbol": GENES, "gene_name": GENES[::-1]}, r"'symbol', 'gene_name' may hold them.*--names 'symbol'"),
        ({"mystery": GENES}, r"'mystery' may hold them: name the column with grn-prep counts --names 'mystery'"),
        ({"n_cells": range(12), "chr": ["1"] * 12}, r"no column holds names \(has n_cells, chr\)"),
        ({}, "no column holds names"),
        ({"symbol": ["", *GENES[1:]]}, r"1 features have no name in the column 'symbol' \(rows 0"),
    ],
)
def test_what_cannot_be_decided_is_asked_for_by_name(tmp_path, columns, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_counts(h5ad(tmp_path, pd.DataFrame(columns, index=NUMBERS)))
    assert "holds numbers (0, 1, 2, ...), not names" in str(caught.value) or "have no name" in str(caught.value)


def test_columns_of_equal_content_are_one(tmp_path) -> None:
    assert "column 'symbol'" in notes_of(h5ad(tmp_path, pd.DataFrame({"symbol": GENES, "name": GENES}, index=NUMBERS)))


def test_the_user_names_the_column(tmp_path) -> None:
    path = h5ad(tmp_path, pd.DataFrame({"symbol": GENES[::-1], "alt": GENES}, index=NUMBERS))
    assert "column 'alt', as given" in notes_of(path, names="alt")
    assert list(load_counts(path, names="index").adata.var_names) == NUMBERS
    with pytest.raises(UserError, match=r"names='atl': .*choose from symbol, alt, index \(did you mean 'alt'\?\)"):
        load_counts(path, names="atl")
    prep = prepare_counts(path, tmp_path / "prep", names="alt")
    assert set(prep.vocab.symbols) == set(GENES)
    # Also where the index has names: the user's word counts.
    named = h5ad(tmp_path, pd.DataFrame({"alt": GENES, "symbol": GENES[::-1]}, index=IDS))
    assert notes_of(named, names="alt")


def test_zarr_h5mu_and_loom_alike(tmp_path) -> None:
    var = pd.DataFrame({"features": GENES}, index=NUMBERS)
    adata(var).write_zarr(tmp_path / "cells.zarr")
    assert "column 'features'" in notes_of(tmp_path / "cells.zarr")
    proteins = adata(pd.DataFrame({"names": [f"prot{i}" for i in range(12)]}, index=NUMBERS))
    mudata.MuData({"rna": adata(var), "prot": proteins}).write_h5mu(tmp_path / "cells.h5mu")
    both = load_counts(tmp_path / "cells.h5mu").adata
    assert list(both.var_names) == [*GENES, *(f"prot{i}" for i in range(12))]
    assert "column 'features'" in notes_of(tmp_path / "cells.h5mu", modality="rna")


@pytest.mark.parametrize("numbered", ["Gene", "var_names", None])
def test_attributes_of_a_loom(tmp_path, numbered) -> None:
    path = tmp_path / "cells.loom"
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T
        file["col_attrs/CellID"] = np.array(CELLS, dtype=object)
        file["row_attrs/gene_short_name" if numbered else "row_attrs/mine"] = np.array(GENES, dtype=object)
        if numbered:
            file[f"row_attrs/{numbered}"] = np.array(NUMBERS, dtype=object)
    if numbered:
        assert "column 'gene_short_name'" in notes_of(path)
    else:
        with pytest.raises(UserError, match="grn-prep counts --names 'mine'"):
            load_counts(path)
        assert notes_of(path, names="mine")


def test_symbols_of_other_words_beside_ensembl_ids(tmp_path) -> None:
    for word in ("gene_short_name", "features", "Gene Symbol", "external_gene_name"):
        assert "the file's symbols were taken" in notes_of(h5ad(tmp_path, pd.DataFrame({word: GENES}, index=IDS)))


def test_numbers_that_pandas_wrote_beside_a_table(tmp_path) -> None:
    numbered = [["", *GENE_ROWS[0]], *([i, *row] for i, row in enumerate(GENE_ROWS[1:]))]
    assert "column 'gene'" in notes_of(text(tmp_path, numbered))
    numbered[0][1] = "X"
    assert "the names of the rows are those of 'X'" in notes_of(text(tmp_path, numbered))
    twice = [["Unnamed: 0", "Unnamed: 0.1", *GENE_ROWS[0]], *([i, i, *row] for i, row in enumerate(GENE_ROWS[1:]))]
    assert "the column 'Unnamed: 0.1' numbers the rows and was left out" in notes_of(text(tmp_path, twice))
    cells = [["", "barcode", *GENES], *([i + 1, *row] for i, row in enumerate(CELL_ROWS[1:]))]
    counts = load_counts(text(tmp_path, cells))
    assert holds_the_counts(counts)
    assert list(counts.adata.obs_names) == CELLS


def test_cells_may_be_numbers_and_genes_may_not(tmp_path) -> None:
    numbered = [["", *GENES], *([i, *row[1:]] for i, row in enumerate(CELL_ROWS[1:]))]
    assert list(load_counts(text(tmp_path, numbered)).adata.obs_names) == [str(i) for i in range(20)]
    genes = [["cell", *NUMBERS], *CELL_ROWS[1:]]
    with pytest.raises(UserError, match=r"holds numbers \(0, 1, 2, \.\.\.\), not names"):
        load_counts(text(tmp_path, genes))


def test_numbered_cells_of_two_files_stay_apart(tmp_path) -> None:
    paths = []
    for name in ("one", "two"):
        paths.append(tmp_path / f"{name}.h5ad")
        adata(cells=[str(i) for i in range(20)]).write_h5ad(paths[-1])
    prep = prepare_counts(paths, tmp_path / "prep")
    assert prep.cells.obs.index.is_unique
    assert prep.meta["num_cells"] == 40
