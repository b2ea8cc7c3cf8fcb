"""Matrix Market: a matrix and two lists of names, as Cell Ranger, STARsolo, kallisto-bustools and others write them.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.column_words import CELL_NAME_WORDS, GENE_ID_WORDS, GENE_NAME_WORDS
from grn_cotrain.data.io.matrix_market import market_shape, read_market
from grn_cotrain.data.io.raw_matrix import RawMatrix, canonical_modality, frame
from grn_cotrain.data.io.side_files import NameList, Shape, match_lists, read_name_list
from grn_cotrain.data.io.sparse_check import checked
from grn_cotrain.data.vocab import is_ensembl_id
from grn_cotrain.errors import UserError

__all__ = ["is_matrix_name", "read_mtx"]

_PACKED = r"(?:\.gz|\.bz2|\.xz|\.zst)?"
_ENDINGS = ("", ".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class _Layout:
    """One program's names of the three files; ``{}`` is what the matrix's name has before its own part.

    ``genes_are_rows`` decides where a square matrix fits both ways.
    """

    matrix: str
    features: tuple[str, ...]
    barcodes: tuple[str, ...]
    genes_are_rows: bool
    program: str
    second_names: tuple[str, ...] = ()


_LAYOUTS = (
    _Layout(
        "matrix.mtx",
        ("{}features.tsv", "{}genes.tsv", "{}features.csv", "{}genes.csv", "{}features.txt", "{}genes.txt"),
        ("{}barcodes.tsv", "{}barcodes.csv", "{}barcodes.txt", "{}cells.tsv", "{}cells.csv"),
        True,
        "10x",
    ),
    _Layout("quants_mat.mtx", ("{}quants_mat_cols.txt",), ("{}quants_mat_rows.txt",), False, "alevin-fry"),
    _Layout("DGE.mtx", ("{}all_genes.csv", "{}genes.csv"), ("{}cell_metadata.csv", "{}cells.csv"), False, "split-pipe"),
    _Layout("count_matrix.mtx", ("{}all_genes.csv",), ("{}cell_metadata.csv",), False, "split-pipe"),
    # kallisto-bustools: cells_x_genes.mtx; any other X.mtx with X.genes.txt next to it is read alike.
    _Layout(
        ".mtx",
        ("{}.genes.txt", "{}.ec.txt", "{}.mtx_rows", "{}_features.tsv", "{}_genes.tsv", "features.tsv", "genes.tsv"),
        ("{}.barcodes.txt", "{}.mtx_cols", "{}_barcodes.tsv", "barcodes.tsv"),
        False,
        "kallisto-bustools",
        ("{}.genes.names.txt",),
    ),
)


def is_matrix_name(name: str) -> bool:
    """Whether a file is called like a Matrix Market file, packed or not."""
    return re.search(rf"\.mtx{_PACKED}$", name) is not None


def read_mtx(path: Path, what: str) -> RawMatrix:
    """Read a matrix with its lists of features and barcodes; ``path`` is the folder, or the matrix file in it.

    All three may share a prefix (``GSM123_sample_matrix.mtx.gz``), as public archives name them. Which axis holds the
    genes, and whether a list begins with a header line, is decided by the number of names.

    Raises
    ------
    UserError
        A file is missing or damaged; several matrices in the folder; names that do not fit the matrix.
    """
    import anndata

    matrix = _only_matrix(path, what) if path.is_dir() else path
    layout, prefix = _layout_of(matrix)
    features = _read_list(matrix.parent, prefix, layout.features, "features", what)
    barcodes = _read_list(matrix.parent, prefix, layout.barcodes, "barcodes", what)
    shape = market_shape(matrix, what)
    ways = match_lists(shape, features, barcodes, what, matrix.name)
    way = next((way for way in ways if way.genes_are_rows == layout.genes_are_rows), ways[0])
    notes = [
        "format: Matrix Market folder",
        *_said(way, ways, layout, matrix.name, features, barcodes),
        *features.notes,
        *barcodes.notes,
    ]
    values = read_market(matrix, what)
    values_CG, said = checked(values.T if way.genes_are_rows else values, f"{what}: {matrix.name}")
    notes += said
    names, columns = _feature_columns(features, way.features_header, notes)
    second = _found(matrix.parent, prefix, layout.second_names)
    if second is not None:
        symbols = read_name_list(second, "features")
        if len(symbols.rows) == len(names):
            columns["gene_ids"], names = names, [row[0] for row in symbols.rows]
            names = [name or known for name, known in zip(names, columns["gene_ids"], strict=True)]
    cells, obs = _cell_columns(barcodes, way.barcodes_header)
    adata = anndata.AnnData(X=values_CG, obs=frame(cells, obs), var=frame(names, columns))
    return RawMatrix(adata, notes)


# -- the files -------------------------------------------------------------------------------------------------------


def _only_matrix(folder: Path, what: str) -> Path:
    found = sorted(file for file in folder.iterdir() if file.is_file() and is_matrix_name(file.name))
    plain = [file for file in found if re.fullmatch(rf"matrix\.mtx{_PACKED}", file.name)]
    called = [file for file in found if re.search(rf"matrix\.mtx{_PACKED}$", file.name)]
    for choice in (plain[:1], called, found):
        if len(choice) == 1:
            return choice[0]
    if not found:
        raise UserError(
            f"{what}: holds no matrix.mtx (nor .gz); give a folder with matrix.mtx, features.tsv (or genes.tsv) and "
            "barcodes.tsv"
        )
    raise UserError(
        f"{what}: holds {len(found)} matrices ({name_some([file.name for file in found], 3)}); give the matrix file"
    )


def _layout_of(matrix: Path) -> tuple[_Layout, str]:
    """The first layout that the matrix's name fits and whose list of features is there."""
    stem = re.sub(rf"{_PACKED}$", "", matrix.name)
    fitting = [(layout, stem.removesuffix(layout.matrix)) for layout in _LAYOUTS if stem.endswith(layout.matrix)]
    whole = [(layout, prefix) for layout, prefix in fitting if _found(matrix.parent, prefix, layout.features)]
    return (whole or fitting or [(_LAYOUTS[0], "")])[0]


def _found(folder: Path, prefix: str, patterns: tuple[str, ...]) -> Path | None:
    places = (folder / f"{pattern.format(prefix)}{ending}" for pattern in patterns for ending in _ENDINGS)
    return next((place for place in places if place.is_file()), None)


def _read_list(folder: Path, prefix: str, patterns: tuple[str, ...], kind: str, what: str) -> NameList:
    path = _found(folder, prefix, patterns)
    if path is None:
        names = [pattern.format(prefix) for pattern in patterns][:2]
        raise UserError(
            f"{what}: holds no {' or '.join(names)} (nor .gz) next to the matrix; "
            "give a folder with matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv"
        )
    return read_name_list(path, kind)


# -- what the lists mean ---------------------------------------------------------------------------------------------


def _said(
    way: Shape, ways: list[Shape], layout: _Layout, matrix: str, features: NameList, barcodes: NameList
) -> list[str]:
    notes = []
    for names, header in ((features, way.features_header), (barcodes, way.barcodes_header)):
        if header:
            notes.append(f"{names.file}: its first line ({name_some(names.rows[0], 3)}) is a header and was skipped")
    if len(ways) > 1:
        order = "genes x cells" if way.genes_are_rows else "cells x genes"
        notes.append(f"{matrix} is square, its shape does not decide: taken as {order}, as {layout.program} writes it")
    elif way.genes_are_rows != layout.genes_are_rows or not way.genes_are_rows:
        order = "genes x cells" if way.genes_are_rows else "cells x genes"
        notes.append(f"{matrix} is {order}, as the numbers of names show")
    return notes


def _feature_columns(features: NameList, header: bool, notes: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Names, and ids, types and whatever else the list knows."""
    columns = features.columns(header)
    named = [word for word in (*GENE_NAME_WORDS, *GENE_ID_WORDS) if word in columns]
    if named:  # a header has named the columns
        symbol = named[0]
        ids = next((word for word in GENE_ID_WORDS if word in columns and word != symbol), None)
        names = columns[symbol]
        if ids is not None:
            names = [name or known for name, known in zip(names, columns[ids], strict=True)]
        return names, {word: values for word, values in columns.items() if word != symbol}
    values = list(columns.values())
    if len(values) >= 2 and _share_of_ids(values[1]) > 0.5 >= _share_of_ids(values[0]):
        values[0], values[1] = values[1], values[0]
        notes.append(f"{features.file}: its second column holds the ids, its first the names")
    result: dict[str, Any] = {}
    if len(values) >= 2:
        result["gene_ids"] = values[0]
    if len(values) >= 3 and not _chromosomes(values[2]):
        result["feature_types"] = values[2]
    if len(values) >= 2:
        return [name or known for name, known in zip(values[1], values[0], strict=True)], result
    return values[0], result


def _share_of_ids(values: list[str]) -> float:
    return sum(map(is_ensembl_id, values)) / max(1, len(values))


def _chromosomes(values: list[str]) -> bool:
    """Whether a third column holds chromosomes, as some old files have it, and not feature types."""
    kinds = {value for value in values if value}
    return not any(map(canonical_modality, kinds)) and any(
        re.fullmatch(r"(?:chr)?(?:\d+|X|Y|M|MT)", kind) for kind in kinds
    )


def _cell_columns(barcodes: NameList, header: bool) -> tuple[list[str], dict[str, Any]]:
    """Names of the cells: the column known by its word, else the first; further columns of a header are kept."""
    columns = barcodes.columns(header)
    word = next((word for word in CELL_NAME_WORDS if word in columns), next(iter(columns)))
    others = {key: values for key, values in columns.items() if key != word} if header else {}
    return columns[word], others
