"""The lists of names that belong to a matrix: features and barcodes, each with or without a header line.

How many lines a list has is compared with the matrix's shape, so that neither a header nor an orientation is guessed.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grn_cotrain.data.io.column_words import (
    CELL_NAME_WORDS,
    GENE_ID_WORDS,
    GENE_NAME_WORDS,
    are_running,
    folded,
    is_cell_annotation,
    is_gene_annotation,
    like_a_barcode,
)
from grn_cotrain.data.io.tables import read_text
from grn_cotrain.data.vocab import is_ensembl_id
from grn_cotrain.errors import UserError

__all__ = ["NameList", "Shape", "match_lists", "read_name_list"]

_HEADER_WORDS = {*GENE_NAME_WORDS, *GENE_ID_WORDS, *CELL_NAME_WORDS, "x", "v1", "cb", "ensembl", "ensembl_gene", "id"}


@dataclass
class NameList:
    """A list of names, read as a table.

    Attributes
    ----------
    file
        Its name.
    kind
        ``features`` or ``barcodes``.
    rows
        All lines, a possible header among them.
    may_have_header, must_have_header
        Whether the first line can be a header by its look; whether it cannot be a name.
    notes
        Lines about what was met while reading.
    """

    file: str
    kind: str
    rows: list[list[str]]
    may_have_header: bool = False
    must_have_header: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> list[tuple[int, bool]]:
        """``(number of names, whether the first line is a header)``: what the list can mean."""
        whole, rest = (len(self.rows), False), (len(self.rows) - 1, True)
        if self.must_have_header:
            return [rest]
        return [whole, rest] if self.may_have_header else [whole]

    def columns(self, header: bool) -> dict[str, list[str]]:
        """Columns by the words of the header, or by their places: ``0``, ``1``, ..."""
        body = self.rows[1:] if header else self.rows
        width = len(body[0])
        words = [folded(word) or str(i) for i, word in enumerate(self.rows[0])] if header else []
        if len(words) != width or len(set(words)) != width:
            words = [str(i) for i in range(width)]
        return {word: [row[i] for row in body] for i, word in enumerate(words)}


@dataclass(frozen=True)
class Shape:
    """How a matrix stands: whether its rows are genes, and which lists begin with a header line."""

    genes_are_rows: bool
    features_header: bool
    barcodes_header: bool


def read_name_list(path: Path, kind: str) -> NameList:
    """Read one list: tab, comma or white space between columns, quotes, CRLF, gzipped or not; blank lines are skipped.

    Raises
    ------
    UserError
        A missing or damaged file; lines of different widths.
    """
    lines = [line for line in read_text(path, what=kind).splitlines() if line.strip()]
    try:
        rows = _split(lines, kind)
    except csv.Error as error:
        raise UserError(f"{kind} '{path}': is not a list of names ({error}); give one name a line") from None
    notes: list[str] = []
    first_width, width = len(rows[0]), Counter(map(len, rows[1:] or rows)).most_common(1)[0][0]
    if len(rows) > 1 and first_width == width - 1:  # R's header has no cell above the row names
        rows[0] = ["", *rows[0]]
    uneven = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if uneven is not None and kind == "barcodes":  # names with spaces or commas: the whole line is the name
        rows = [[line.strip().strip('"')] for line in lines]
    elif uneven is not None:
        raise UserError(
            f"{kind} '{path}': line {uneven + 1} has {len(rows[uneven])} columns, most lines have {width}; "
            "give one width throughout"
        )
    body = [row[0] for row in rows[1:]]
    if len(rows[0]) > 1 and (are_running(body) or are_running([row[0] for row in rows])):
        rows = [row[1:] for row in rows]
        notes.append(f"{path.name}: its first column numbers the rows and was skipped")
    result = NameList(path.name, kind, rows, notes=notes)
    result.may_have_header, result.must_have_header = _header(rows, kind)
    return result


def _split(lines: Sequence[str], kind: str) -> list[list[str]]:
    for delimiter in ("\t", ","):
        if sum(delimiter in line for line in lines) > 0.5 * len(lines):
            return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    quoted = list(csv.reader(lines, delimiter=" ", skipinitialspace=True))
    widths = {len(row) for row in quoted[1:]} or {len(quoted[0])}
    if len(widths) == 1 and (kind == "features" or are_running([row[0] for row in quoted[1:]])):
        return quoted
    return [[line.strip().strip('"')] for line in lines]


def _header(rows: Sequence[Sequence[str]], kind: str) -> tuple[bool, bool]:
    """Whether the first line may be, and must be, a header: it has other words than the lines below it."""
    first, body = rows[0], rows[1:]
    words = [folded(word) for word in first]
    known = [word in _HEADER_WORDS or is_gene_annotation(word) or is_cell_annotation(word) for word in words]
    if not body:
        return False, False
    if kind == "features":
        unlike = any(
            not is_ensembl_id(first[i]) and sum(is_ensembl_id(row[i]) for row in body) > 0.9 * len(body)
            for i in range(len(first))
        )
    else:
        unlike = not like_a_barcode(first[0]) and sum(like_a_barcode(row[0]) for row in body) > 0.9 * len(body)
    several = sum(known) >= 2
    return any(known) or unlike, (unlike and any(known)) or several


def match_lists(shape: tuple[int, int], features: NameList, barcodes: NameList, what: str, matrix: str) -> list[Shape]:
    """Every way in which the two lists fit a matrix of ``shape``; of these, those with the fewest headers.

    Raises
    ------
    UserError
        None fits: which list has how many names, and how many the matrix expects.
    """
    ways = [
        Shape(genes_are_rows, features_header, barcodes_header)
        for genes_are_rows in (True, False)
        for num_features, features_header in features.sizes
        for num_barcodes, barcodes_header in barcodes.sizes
        if ((num_features, num_barcodes) if genes_are_rows else (num_barcodes, num_features)) == shape
    ]
    if not ways:
        raise UserError(f"{what}: {_misfit(shape, features, barcodes, matrix)}")
    fewest = min(way.features_header + way.barcodes_header for way in ways)
    return [way for way in ways if way.features_header + way.barcodes_header == fewest]


def _misfit(shape: tuple[int, int], features: NameList, barcodes: NameList, matrix: str) -> str:
    said = f"{matrix} is {shape[0]:,} rows x {shape[1]:,} columns, but {_counted(features)} and {_counted(barcodes)}"
    for fitting, other in ((features, barcodes), (barcodes, features)):
        for axis in (0, 1):
            if any(size == shape[axis] for size, _ in fitting.sizes):
                return (
                    f"{said}: {fitting.file} fits, and {other.file} must hold {shape[1 - axis]:,} names, one a line; "
                    f"{other.file} and the matrix do not belong together"
                )
    return f"{said}: neither fits; the files do not belong together"


def _counted(names: NameList) -> str:
    size, header = names.sizes[0]
    return f"{names.file} holds {size:,} names" + (" below a header line" if header else "")
