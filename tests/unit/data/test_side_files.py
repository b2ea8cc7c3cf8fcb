"""Matrix Market: the lists beside a matrix are read against its shape, so nothing is shifted, lost or transposed."""

from __future__ import annotations

import gzip

import pytest
from scipy import sparse
from scipy.io import mmwrite

from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.errors import UserError
from tests.unit.data.matrix_files import (
    BARCODES,
    CELLS,
    COUNTS,
    FEATURES,
    GENES,
    IDS,
    TENX,
    holds_the_counts,
    mtx,
    notes_of,
)

LINES = FEATURES.splitlines(keepends=True)
PLAIN = "".join(f"{name}\n" for name in GENES)
ENSEMBL = "ENSEMBL\tSYMBOL\tCHR\tSTART\tEND\tSTRAND\tBIOTYPE\n" + "".join(
    f"{known}\t{name}\t1\t{i}\t{i + 9}\t+\tprotein_coding\n"
    for i, (known, name) in enumerate(zip(IDS, GENES, strict=True))
)


def columns(*extra: str, end: str = "\n") -> str:
    return "".join("\t".join([*line.split(), *extra]) + end for line in LINES)


@pytest.mark.parametrize("cells_are_rows", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("features", "said"),
    [
        (FEATURES, "format"),
        (PLAIN, "format"),
        (columns("Gene Expression"), "format"),
        (columns("Gene Expression", "chr1", "1", "2", end="\r\n"), "format"),
        (columns("1"), "format"),
        ("".join(f"{line.split()[1]}\t{line.split()[0]}\n" for line in LINES), "its second column holds the ids"),
        ("gene\n" + PLAIN, "its first line (gene) is a header and was skipped"),
        (ENSEMBL, "its first line (ENSEMBL, SYMBOL, CHR and 4 more) is a header and was skipped"),
        ("gene_id\tgene_name\n" + FEATURES, "is a header"),
        ('"","x"\n' + "".join(f'"{i + 1}","{name}"\n' for i, name in enumerate(GENES)), "numbers the rows"),
    ],
)
def test_every_list_of_features(tmp_path, features, said, zipped, cells_are_rows) -> None:
    notes = notes_of(mtx(tmp_path, features=features, zipped=zipped, cells_are_rows=cells_are_rows))
    assert said in notes
    assert ("matrix.mtx" in notes and "is cells x genes, as the numbers of names show" in notes) == cells_are_rows


@pytest.mark.parametrize(
    ("barcodes", "said"),
    [
        ("x\n" + BARCODES, "barcodes.tsv: its first line (x) is a header and was skipped"),
        ("barcode\n" + BARCODES, "barcodes.tsv: its first line (barcode) is a header"),
        ("".join(f'"{name}"\r\n' for name in ["x", *CELLS]), "is a header"),
        ('"","x"\n' + "".join(f'"{i + 1}","{name}"\n' for i, name in enumerate(CELLS)), "numbers the rows"),
        ("x\n" + "".join(f"{i + 1} {name}\n" for i, name in enumerate(CELLS)), "numbers the rows"),
        (BARCODES + "\n\n", "format"),
    ],
)
def test_every_list_of_barcodes(tmp_path, barcodes, said) -> None:
    folder = mtx(tmp_path, barcodes=barcodes)
    assert said in notes_of(folder)
    assert list(load_counts(folder).adata.obs_names) == CELLS


@pytest.mark.parametrize(
    ("names", "features", "barcodes"),
    [
        (("cells_x_genes.mtx", "cells_x_genes.genes.txt", "cells_x_genes.barcodes.txt"), PLAIN, BARCODES),
        (("spliced.mtx", "spliced.genes.txt", "spliced.barcodes.txt"), PLAIN, BARCODES),
        (("quants_mat.mtx", "quants_mat_cols.txt", "quants_mat_rows.txt"), PLAIN, BARCODES),
        (("matrix.mtx", "genes.tsv", "barcodes.tsv"), FEATURES, BARCODES),
        (("GSM1_s_matrix.mtx", "GSM1_s_genes.tsv", "GSM1_s_barcodes.tsv"), FEATURES, BARCODES),
        (("counts.mtx", "genes.tsv", "barcodes.tsv"), FEATURES, BARCODES),
        (("E-1.mtx", "E-1.mtx_rows", "E-1.mtx_cols"), FEATURES, BARCODES),
        (
            ("DGE.mtx", "all_genes.csv", "cell_metadata.csv"),
            "gene_id,gene_name,genome\n" + "".join(f"{line.replace(chr(9), ',').strip()},hg38\n" for line in LINES),
            "bc_wells,sample,gene_count\n" + "".join(f"{name},s,3\n" for name in CELLS),
        ),
    ],
)
@pytest.mark.parametrize("cells_are_rows", [False, True])
def test_names_of_other_programs(tmp_path, names, features, barcodes, cells_are_rows) -> None:
    folder = mtx(tmp_path, names=names, features=features, barcodes=barcodes, cells_are_rows=cells_are_rows)
    assert notes_of(folder)
    assert notes_of(folder / names[0]), "the matrix file says the same as its folder"
    counts = load_counts(folder)
    assert list(counts.adata.obs_names) == CELLS
    if names[0] == "DGE.mtx":
        assert list(counts.adata.obs.columns) == ["sample", "gene_count"]


def test_kallisto_has_symbols_in_a_second_list(tmp_path) -> None:
    names = ("cells_x_genes.mtx", "cells_x_genes.genes.txt", "cells_x_genes.barcodes.txt")
    folder = mtx(tmp_path, names=names, features="".join(f"{known}\n" for known in IDS), cells_are_rows=True)
    assert holds_the_counts(load_counts(folder), IDS)
    (folder / "cells_x_genes.genes.names.txt").write_text(PLAIN)
    counts = load_counts(folder)
    assert holds_the_counts(counts)
    assert list(counts.adata.var["gene_ids"]) == IDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"barcodes": BARCODES.split("\n", 1)[1]}, r"features.tsv fits, and barcodes.tsv must hold 20 names"),
        ({"features": "".join(LINES[2:])}, r"holds 10 names .* and features.tsv must hold 12 names"),
        ({"features": "FOXP3\n" + PLAIN}, r"features.tsv holds 13 names"),
        ({"features": "gene_id\tgene_name\n" + "".join(LINES[1:])}, "features.tsv holds 11 names below a header line"),
        ({"features": PLAIN + "A\n", "barcodes": BARCODES + "ACGTACGTAA\n"}, "neither fits; the files do not belong"),
        ({"features": FEATURES + "one\ttwo\tthree\n"}, "line 13 has 3 columns, most lines have 2"),
        ({"features": PLAIN + "A" * 200_000 + "\n"}, "features.tsv.*is not a list of names"),
    ],
)
@pytest.mark.parametrize("cells_are_rows", [False, True])
def test_a_list_of_another_length_is_named(tmp_path, changes, message, cells_are_rows) -> None:
    with pytest.raises(UserError, match=message):
        load_counts(mtx(tmp_path, cells_are_rows=cells_are_rows, **changes))


@pytest.mark.parametrize(("name", "lists"), [("matrix.mtx", TENX[1:]), ("a.mtx", ("a.genes.txt", "a.barcodes.txt"))])
def test_a_square_matrix_is_taken_as_its_program_writes_it(tmp_path, name, lists) -> None:
    square = COUNTS[:12]
    mmwrite(tmp_path / "made.mtx", sparse.coo_matrix(square.T if name == "matrix.mtx" else square))
    (tmp_path / "made.mtx").rename(tmp_path / name)
    (tmp_path / lists[0]).write_text(PLAIN)
    (tmp_path / lists[1]).write_text("".join(f"{cell}\n" for cell in CELLS[:12]))
    counts = load_counts(tmp_path)
    assert (counts.adata.X.toarray() == square).all()
    assert any(f"{name} is square, its shape does not decide" in note for note in counts.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is an empty file|first line is not that"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 1\n13 1 3\n", r"entry is in row 13 of 12"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 1\n0 1 3\n", r"entry is in row 0 of 12"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 1\n1 21 3\n", r"entry is in column 21 of 20"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 3\n1 2 3\n", "declares 3 entries and holds 1"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 1\n1 2\n", "an entry lacks"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 1\n1 2 x\n", "damaged or cut short"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 1\n1 2 3 4\n", "damaged or cut short"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20\n1 2 3\n", "no line of sizes"),
        ("%%MatrixMarket matrix coordinate integer general\n12 20 " + "9" * 6000 + "\n", "no line of sizes"),
        ("%%MatrixMarket matrix coordinate integer general\n99999999999 99999999999 1\n1 1 1\n", "neither fits"),
        ("%%MatrixMarket matrix coordinate complex general\n12 20 1\n1 1 1 1\n", "of complex values, general"),
        ("%%MatrixMarket matrix coordinate integer symmetric\n12 20 1\n1 1 1\n", "integer values, symmetric"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_damage_of_a_matrix_is_one_line(tmp_path, content, message, zipped) -> None:
    folder = mtx(tmp_path)
    (folder / "matrix.mtx").write_text(content)
    if zipped:
        (folder / "matrix.mtx.gz").write_bytes(gzip.compress(content.encode()))
        (folder / "matrix.mtx").unlink()
    with pytest.raises(UserError, match=message) as caught:
        load_counts(folder)
    assert "\n" not in str(caught.value)


def test_dense_and_pattern_files(tmp_path) -> None:
    folder = mtx(tmp_path)
    (folder / "matrix.mtx").unlink()
    mmwrite(folder / "matrix.mtx", COUNTS.T)
    assert notes_of(folder)
    (folder / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate pattern general\n%\n12 20 2\n1 1\n2 20\n")
    counts = load_counts(folder).adata
    assert counts.X.sum() == 2
    assert counts[CELLS[19], GENES[1]].X.sum() == 1


def test_two_matrices_in_a_folder_are_named(tmp_path) -> None:
    folder = mtx(tmp_path, names=("spliced.mtx", "spliced.genes.txt", "spliced.barcodes.txt"), features=PLAIN)
    (folder / "unspliced.mtx").write_bytes((folder / "spliced.mtx").read_bytes())
    with pytest.raises(UserError, match=r"holds 2 matrices \(spliced.mtx, unspliced.mtx\); give the matrix file"):
        load_counts(folder)
    assert notes_of(folder / "spliced.mtx")
