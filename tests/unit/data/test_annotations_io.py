"""What stands beside counts (n_counts, cluster, Chr, __no_feature, TOTAL) is not a gene and enters no total."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from grn_cotrain.data.io.column_words import is_cell_annotation, is_gene_annotation
from grn_cotrain.data.io.counts import counts_from_anndata, load_counts
from grn_cotrain.errors import UserError
from tests.unit.data.matrix_files import (
    CELL_ROWS,
    CELLS,
    COUNTS,
    GENE_ROWS,
    GENES,
    IDS,
    adata,
    h5ad,
    holds_the_counts,
    mtx,
    notes_of,
    text,
)

TOTALS = COUNTS.sum(axis=1)
META = {
    "n_counts": TOTALS,
    "n_genes": (COUNTS > 0).sum(axis=1),
    "total_counts": TOTALS,
    "nCount_RNA": TOTALS,
    "cluster": np.arange(20) % 3,
    "leiden": np.arange(20) % 4,
    "louvain": np.arange(20) % 2,
    "RNA_snn_res.0.8": np.arange(20) % 5,
    "batch": np.ones(20, int),
    "percent_mito": np.linspace(0.01, 0.2, 20),
    "percent.mt": np.linspace(0.01, 0.2, 20),
    "pct_counts_mt": np.linspace(1, 20, 20),
    "doublet_score": np.linspace(0.1, 0.3, 20),
    "cell_type": ["T cell", "B cell"] * 10,
    "orig.ident": ["sample"] * 20,
    "is_doublet": ["True", "False"] * 10,
}


def with_columns(**columns) -> list[list]:
    return [
        [*CELL_ROWS[0], *columns],
        *([*row, *(values[i] for values in columns.values())] for i, row in enumerate(CELL_ROWS[1:])),
    ]


def test_columns_of_known_words_become_obs(tmp_path) -> None:
    counts = load_counts(text(tmp_path, with_columns(**META)))
    assert holds_the_counts(counts)
    obs = counts.adata.obs
    assert list(obs.columns) == list(META)
    assert np.array_equal(obs["cluster"], META["cluster"])
    assert np.allclose(obs["percent_mito"], META["percent_mito"])
    assert list(obs["cell_type"]) == META["cell_type"]
    assert any("kept in obs: n_counts, n_genes" in note for note in counts.notes)
    prep = prepare_counts(tmp_path / "t.csv", tmp_path / "prep")
    assert np.array_equal(prep.cells.size_factor_C, TOTALS), "annotation enters no total"


@pytest.mark.parametrize("first", [True, False])
def test_rows_of_known_words_alike(tmp_path, first) -> None:
    rows = [[name, *values] for name, values in META.items()]
    table = [GENE_ROWS[0], *rows, *GENE_ROWS[1:]] if first else [*GENE_ROWS, *rows]
    counts = load_counts(text(tmp_path, table, sep="\t"))
    assert holds_the_counts(counts)
    assert set(counts.adata.obs.columns) == set(META)
    assert list(counts.adata.obs["cell_type"]) == META["cell_type"]
    assert np.array_equal(counts.adata.obs["leiden"], META["leiden"])


def test_features_of_an_h5ad_alike(tmp_path) -> None:
    data = adata(pd.DataFrame(index=[*GENES[:-2], "cluster", "n_counts"]))
    counts = counts_from_anndata(data)
    assert list(counts.adata.var_names) == GENES[:-2]
    assert np.array_equal(counts.adata.obs["n_counts"], COUNTS[:, -1])
    assert data.shape == (20, 12), "the caller's data are never changed"
    data.write_h5ad(tmp_path / "cells.h5ad")
    assert list(load_counts(tmp_path / "cells.h5ad").adata.var_names) == GENES[:-2]
    data.obs["cluster"] = "mine"
    notes = counts_from_anndata(data).notes
    assert any("obs has columns of these names already, which stay: cluster" in note for note in notes)


def test_text_of_an_unknown_word_is_asked_for(tmp_path) -> None:
    path = text(tmp_path, with_columns(foo=["T cell"] * 20))
    with pytest.raises(UserError, match=r"column 'foo' holds text \('T cell'\).*annotations='foo'"):
        load_counts(path)
    assert "kept in obs: foo" in notes_of(path, annotations=["foo"])
    with pytest.raises(UserError, match=r"annotations='fo': .* no such column or feature \(did you mean 'foo'\?\)"):
        load_counts(path, annotations=["foo", "fo"])
    rows = text(tmp_path, [*GENE_ROWS, ["foo", *["a"] * 20]])
    with pytest.raises(UserError, match=r"the row 'foo' holds text \('a'\)"):
        load_counts(rows)


def test_numbers_of_an_unknown_word_are_annotation_if_the_user_says_so(tmp_path) -> None:
    path = text(tmp_path, with_columns(mine=np.arange(20) % 4, other=np.arange(20) % 3))
    assert load_counts(path).adata.n_vars == 14
    prep = prepare_counts(path, tmp_path / "prep", annotations="mine,other")
    assert prep.meta["num_genes"] == 12
    assert prep.meta["source"]["annotations"] == ["mine", "other"]
    data = adata(pd.DataFrame(index=["mine", *GENES[1:]]))
    assert list(counts_from_anndata(data, annotations=["mine"]).adata.var_names) == GENES[1:]


def test_a_score_beside_counts_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"features score1, score2 hold fractions .*annotations='score1,score2'"):
        load_counts(text(tmp_path, with_columns(score1=np.arange(20) / 7, score2=np.arange(20) / 9)))
    with pytest.raises(UserError, match=r"features my_score hold fractions while all others hold whole.*'my_score'"):
        load_counts(text(tmp_path, with_columns(my_score=np.arange(20) / 7)))


def test_a_slip_is_a_slip_and_not_annotation(tmp_path) -> None:
    rows = [list(row) for row in CELL_ROWS]
    rows[9][3] = "many"
    with pytest.raises(UserError, match=rf"'many' at {CELLS[8]}, CD3D is NaN or no number \(1 such\)"):
        load_counts(text(tmp_path, rows))


def test_feature_counts_and_other_annotation_of_genes(tmp_path) -> None:
    head = ["Geneid", "Chr", "Start", "End", "Strand", "Length", *CELLS]
    rows = [[name, "chr1;chr1", "1;5", "3;8", "+;+", 8, *COUNTS[:, i]] for i, name in enumerate(GENES)]
    before = '# Program:featureCounts v2.0.1; Command:"featureCounts" "-a" "genes.gtf"\n'
    said = notes_of(text(tmp_path, [head, *rows], sep="\t", before=before))
    assert "describe the genes and are not cells: Chr, Start, End, Strand, Length" in said
    assert "1 lines before the table were skipped: # Program:featureCounts" in said
    # The same number of exons in every gene: the semicolons then split all rows alike, and not the header.
    one = [[*head[:6], "a.bam"], *(row[:7] for row in rows)]
    counts = load_counts(text(tmp_path, one, sep="\t", before=before))
    assert list(counts.adata.var_names) == GENES
    assert counts.adata.obs_names.tolist() == ["a.bam"]
    # What scanpy adds to var.
    head = ["gene", "n_cells", "highly_variable", "total_counts", "pct_counts_mt", *CELLS]
    rows = [[name, 20, "True", COUNTS[:, i].sum(), 0.5, *COUNTS[:, i]] for i, name in enumerate(GENES)]
    assert "n_cells, highly_variable, total_counts, pct_counts_mt" in notes_of(text(tmp_path, [head, *rows]))
    head = ["gene_id", "gene_name", "description", *CELLS]
    rows = [[IDS[i], name, '"a, b"', *COUNTS[:, i]] for i, name in enumerate(GENES)]
    counts = load_counts(text(tmp_path, [head, *rows]))
    assert holds_the_counts(counts)
    assert list(counts.adata.var["gene_ids"]) == IDS


def test_reads_of_no_gene_are_no_genes(tmp_path) -> None:
    htseq = [["__no_feature", *[5] * 20], ["__ambiguous", *range(20)], ["__alignment_not_unique", *[1] * 20]]
    star = [["N_unmapped", *[5] * 20], ["N_multimapping", *[7] * 20], ["N_noFeature", *[1] * 20]]
    for rows in ([*GENE_ROWS, *htseq], [GENE_ROWS[0], *star, *GENE_ROWS[1:]]):
        counts = load_counts(text(tmp_path, rows, sep="\t"))
        assert holds_the_counts(counts)
        assert counts.adata.obs.shape[1] == 3
    features = "".join(f"{name}\n" for name in [*GENES[:-1], "__no_feature"])
    assert list(load_counts(mtx(tmp_path, features=features)).adata.var_names) == GENES[:-1]
    spiked = load_counts(text(tmp_path, [*GENE_ROWS, ["ERCC-00002", *[3] * 20]]))
    assert list(spiked.adata.var_names) == [*GENES, "ERCC-00002"], "spike-ins are features"


def test_sums_are_neither_genes_nor_cells(tmp_path) -> None:
    said = notes_of(text(tmp_path, [*CELL_ROWS, ["TOTAL", *COUNTS.sum(axis=0)]]))
    assert "the cell 'TOTAL' is the sum of the others and was left out" in said
    columns = [[*row, "Total" if i == 0 else sum(row[1:])] for i, row in enumerate(GENE_ROWS)]
    assert "the cell 'Total' is the sum" in notes_of(text(tmp_path, columns))
    assert "kept as columns of obs: TOTAL" in notes_of(text(tmp_path, [*GENE_ROWS, ["TOTAL", *TOTALS]]))
    unnamed = notes_of(text(tmp_path, with_columns(myreads=TOTALS)))
    assert "1 features equal the sum of all others in every cell: they were kept as columns of obs: myreads" in unnamed


def test_a_sample_may_be_called_treatment(tmp_path) -> None:
    rows = [["gene", "Control", "Treatment", "Total"], *([name, i, i + 1, 3] for i, name in enumerate(GENES))]
    counts = load_counts(text(tmp_path, rows))
    assert set(counts.adata.obs_names) == {"Control", "Treatment", "Total"}, "its total is not the sum, so it is a cell"
    assert list(counts.adata["Treatment"].X.toarray()[0]) == list(range(1, 13))


def test_words_that_are_genes_stay_genes(tmp_path) -> None:
    for name in ("PCA3", "TTN", "AGER", "SEXTANT", "DAYSLEEPER", "STIM1", "STIM2", "BATF", "TIMELESS", "CLU"):
        assert not is_cell_annotation(name)
        assert not is_gene_annotation(name)
    assert holds_the_counts(load_counts(h5ad(tmp_path)))
