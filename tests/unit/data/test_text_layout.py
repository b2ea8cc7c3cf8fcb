"""Text tables: where they begin and how they are written is read off many lines; numbers are streamed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from grn_cotrain.data.io import text_chunks
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.errors import UserError
from tests.unit.data.matrix_files import (
    CELL_ROWS,
    CELLS,
    COUNTS,
    GENE_ROWS,
    GENES,
    IDS,
    holds_the_counts,
    notes_of,
    text,
)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("# made by a program\n", "1 lines before the table were skipped: # made by a program"),
        ("####\n## BD Rhapsody, version 1.9\n## Sample: S1\n####\n", "4 lines before the table were skipped: ####"),
        ("%a\n%b\n\n", "2 lines before the table were skipped"),
        ("Program v1.2\nSample S1, run 3\n", "2 lines before the table were skipped: Program v1.2"),
        ("\n\n", "format"),
    ],
)
@pytest.mark.parametrize("rows", [GENE_ROWS, CELL_ROWS])
def test_what_stands_before_the_table_is_skipped_and_said(tmp_path, before, said, rows) -> None:
    assert said in notes_of(text(tmp_path, rows, before=before))


def test_cell_index_of_bd_rhapsody(tmp_path) -> None:
    rows = [["Cell_Index", *GENES], *([1000 + i, *row[1:]] for i, row in enumerate(CELL_ROWS[1:]))]
    counts = load_counts(text(tmp_path, rows, before="## BD\n"))
    assert holds_the_counts(counts)
    assert list(counts.adata.obs_names[:2]) == ["1000", "1001"]


def test_gct_and_headers_in_comments(tmp_path) -> None:
    gct = [["Name", "Description", *CELLS], *([IDS[i], *row] for i, row in enumerate(GENE_ROWS[1:]))]
    path = text(tmp_path, gct, sep="\t", before="#1.2\n12\t20\n")
    assert holds_the_counts(load_counts(path), IDS)
    assert notes_of(path, names="Description")
    for before in ("", "# made by a program\n"):
        assert notes_of(text(tmp_path, [["#gene", *CELLS], *GENE_ROWS[1:]], sep="\t", before=before))


@pytest.mark.parametrize("sep", [",", "\t", ";", " ", "|"])
def test_delimiters_quotes_and_encodings(tmp_path, sep) -> None:
    quoted = [[f'"{cell}"' if isinstance(cell, str) else cell for cell in row] for row in GENE_ROWS]
    for rows in (GENE_ROWS, quoted, [GENE_ROWS[0][1:], *GENE_ROWS[1:]]):
        path = text(tmp_path, rows, sep=sep)
        assert holds_the_counts(load_counts(path))
        content = path.read_text()
        for encoding in ("utf-8-sig", "utf-16"):
            path.write_bytes(content.replace("\n", "\r\n").encode(encoding))
            assert holds_the_counts(load_counts(path))


def test_delimiters_at_the_end_of_lines(tmp_path) -> None:
    assert notes_of(text(tmp_path, [[*row, ""] for row in GENE_ROWS]))
    assert notes_of(text(tmp_path, [GENE_ROWS[0], *([*row, ""] for row in GENE_ROWS[1:])]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GENE_ROWS[1:], r"first line holds numbers \(.*\) where names of columns belong"),
        (CELL_ROWS[1:], "the header line is missing"),
        ([GENE_ROWS[0][:-3], *GENE_ROWS[1:]], "line 1 has 18 columns and the lines below it 21"),
        ([*GENE_ROWS[:5], [*GENE_ROWS[5], 3], *GENE_ROWS[6:]], "not a table of one width .* give 21 cells"),
        (
            [*GENE_ROWS[:5], GENE_ROWS[5][:-1], *GENE_ROWS[6:]],
            rf"'' at LYZ, {CELLS[-1]} is NaN or no number \(1 such\)",
        ),
        ([GENE_ROWS[0]], "a single row or column"),
    ],
)
def test_a_line_is_never_lost(tmp_path, rows, message) -> None:
    with pytest.raises(UserError, match=message):
        load_counts(text(tmp_path, rows))


def test_numbers_as_names_of_cells_need_a_word_in_the_corner_or_an_order(tmp_path) -> None:
    assert notes_of(text(tmp_path, [["gene", *range(20)], *GENE_ROWS[1:]]))
    assert notes_of(text(tmp_path, [["gene", *range(7, 147, 7)], *GENE_ROWS[1:]]))
    with pytest.raises(UserError, match="header line is missing"):
        load_counts(text(tmp_path, [["TP53", *range(7, 147, 7)], *GENE_ROWS[1:]]))


@pytest.mark.parametrize("values", [1, 7, 50, 240])
def test_pieces_of_any_size_give_the_same_cells(tmp_path, monkeypatch, values) -> None:
    monkeypatch.setattr(text_chunks, "_CHUNK_VALUES", values)
    monkeypatch.setattr(text_chunks, "_LEAST_ROWS", 1)
    rows = [*GENE_ROWS, ["cell_type", *["a"] * 20], ["percent_mito", *np.linspace(0, 1, 20)]]
    rows = [[*row, "chr1" if i else "Chr"] for i, row in enumerate(rows)]
    counts = load_counts(text(tmp_path, rows))
    assert holds_the_counts(counts)
    assert list(counts.adata.obs["cell_type"]) == ["a"] * 20


def test_lines_longer_than_a_cell_of_a_csv_may_be(tmp_path) -> None:
    """Under a delimiter that the table does not have, a line is one cell."""
    names = [f"GENE{i}" for i in range(30_000)]
    row = ["1"] * 30_000
    for quote in ("", '"'):
        rows = [["cell", *(f"{quote}{name}{quote}" for name in names)], [f"{quote}c1{quote}", *row], ["c2", *row]]
        assert load_counts(text(tmp_path, rows)).adata.shape == (2, 30_000)


def test_log_values_keep_their_precision(tmp_path) -> None:
    logs = np.log1p(COUNTS)
    counts = load_counts(text(tmp_path, [GENE_ROWS[0], *([name, *logs[:, i]] for i, name in enumerate(GENES))]))
    assert counts.kind == "log"
    assert np.array_equal(counts.adata.X.toarray(), logs.astype(np.float32))


_PEAK = """
import resource, sys
from grn_cotrain.data.io.counts import load_counts
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shape = load_counts(sys.argv[1]).adata.shape
print(*shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_a_table_costs_no_multiple_of_its_dense_matrix(tmp_path) -> None:
    """The dense table of 4,000 x 1,000 is 16 MB as float32; as text in memory it took eight times that."""
    rng = np.random.default_rng(0)
    cells = [f"cell_{i}" for i in range(1000)]
    rows = ((f"GENE{i}", *(rng.random(1000) < 0.03).astype(int) * 3) for i in range(4000))
    path = text(tmp_path, [["gene", *cells], *rows])
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    num_cells, num_genes, peak = map(int, done.stdout.split())
    assert (num_cells, num_genes) == (1000, 4000)
    assert peak < 4 * 4 * num_cells * num_genes + 48 * 2**20, (
        f"{peak:,} bytes, of which 48 MiB for libraries and pieces"
    )
