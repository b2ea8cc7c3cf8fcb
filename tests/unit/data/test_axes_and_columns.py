"""Barcodes where genes belong, columns of cells that no list of words knows, and numbers with commas."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from grn_cotrain.data.io.counts import counts_from_anndata, load_counts
from grn_cotrain.errors import UserError

GENES = ["STAT1", "IRF1", "CD3D", "MS4A1", "LYZ", "NKG7", "GNLY", "HLA-A"]
RANDOM = np.random.default_rng(0)
CELLS = ["".join(RANDOM.choice(list("ACGT"), 16)) + "-1" for _ in range(12)]
X = RANDOM.poisson(3, (len(CELLS), len(GENES))) + 1
TABLE = pd.DataFrame(X, index=CELLS, columns=GENES)


def test_exchanged_axes_are_refused_in_memory_and_in_exchanged_lists(tmp_path: Path) -> None:
    exchanged = anndata.AnnData(X.T.astype(np.float32), pd.DataFrame(index=GENES), pd.DataFrame(index=CELLS))
    with pytest.raises(UserError, match=r"its features are called like barcodes \([ACGT]{16}-1\).* \(STAT1\)"):
        counts_from_anndata(exchanged)
    io.mmwrite(str(tmp_path / "matrix.mtx"), sparse.coo_matrix(X.T), field="integer")
    (tmp_path / "genes.tsv").write_text("\n".join(CELLS) + "\n")
    (tmp_path / "barcodes.tsv").write_text("\n".join(GENES) + "\n")
    with pytest.raises(UserError, match="genes and cells are exchanged; transpose the matrix, or exchange the two"):
        load_counts(tmp_path)


def test_columns_with_words_of_cells_in_their_names_become_no_genes(tmp_path: Path) -> None:
    names = ["my_cluster", "patientID", "barcode2", "is_tumor", "hasMutation", "donor_nr"]
    path = tmp_path / "cells.csv"
    TABLE.assign(**dict.fromkeys(names, 1)).to_csv(path)
    counts = load_counts(path)
    assert list(counts.adata.var_names) == GENES
    assert set(names) <= set(counts.adata.obs)
    np.testing.assert_array_equal(counts.adata.X.toarray(), X)


def test_a_gene_that_is_written_unlike_the_others_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    TABLE.assign(age_years=1).to_csv(path)
    notes = load_counts(path).notes
    assert any("1 columns are written unlike the other genes (age_years)" in note for note in notes)
    assert list(load_counts(path, annotations=["age_years"]).adata.var_names) == GENES
    TABLE.to_csv(path)
    assert not any("unlike" in note for note in load_counts(path).notes)


@pytest.mark.parametrize("written", ["3,0", "1.234,5", "1,234"])
def test_numbers_with_commas_are_named(tmp_path: Path, written: str) -> None:
    path = tmp_path / "cells.csv"
    TABLE.astype(str).map(lambda _: written).to_csv(path, sep=";")
    with pytest.raises(UserError, match=f"its numbers are written with commas \\('{written}'\\); write them with a"):
        load_counts(path)
