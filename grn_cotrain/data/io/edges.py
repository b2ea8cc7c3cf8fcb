"""Edge lists of every format, read into one frame; what was detected and left out is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from grn_cotrain.data.io.columns import find_ends
from grn_cotrain.data.io.edge_files import EdgeTable, open_table
from grn_cotrain.data.io.edge_formats import EDGE_COLUMNS, FORMATS, EdgeList, detect_format
from grn_cotrain.data.io.edge_roles import TOLD, split_options, to_text
from grn_cotrain.data.io.tables import split_selector
from grn_cotrain.errors import UserError, did_you_mean

__all__ = [
    "EDGE_COLUMNS",
    "FORMATS",
    "EdgeList",
    "PairList",
    "load_edges",
    "load_pairs",
    "parse_format",
]


_BEELINE_KEYS = ("network", "cell", "set")
_OTHERS = ("auto", "gmt")
_YES_NO = {"yes": True, "no": False}
_WHOLE = ("matrix", "dictionary")  # one row of the file is not one edge


@dataclass
class PairList:
    """Pairs of a file, unchanged: ``frame`` with ``source, target``, one row a row, and lines to report."""

    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def parse_format(text: str) -> tuple[str, frozenset[str]]:
    """``collectri:expand,signed`` -> its name and options; :class:`UserError` for an unknown name."""
    name, _, options = text.partition(":")
    name = name.strip().lower()
    if name not in FORMATS and name not in _OTHERS:
        raise UserError(
            f"--format '{text}': unknown; choose from auto, {', '.join(FORMATS)}, gmt"
            f"{did_you_mean(name, [*FORMATS, 'gmt'])}"
        )
    return name, frozenset(option.strip() for option in options.split(",") if option.strip())


def load_edges(path: str | Path, format: str = "auto") -> EdgeList:
    """Read an edge list with its notes and counts.

    Parameters
    ----------
    path
        TSV or CSV, gzipped or not; parquet, GraphML, GMT, CellOracle's base network, or an h5ad with a matrix in
        ``varp``: the content decides. A file of several networks takes a selector:
        ``edges.tsv.gz:specific_chipseq/hESC/TFs+500``, ``network.h5ad:KEY``.
    format
        ``auto``, or one of :data:`FORMATS` or ``gmt``, with options after a colon: ``dorothea:AB`` (levels),
        ``collectri:expand`` (members of complexes), ``collectri:signed`` (only with a consensus sign),
        ``tsv:source=reg,target=gene`` (which column is which), ``tsv:header=no`` (the first line is an edge),
        ``matrix:rows=tf``.

    Raises
    ------
    UserError
        A missing, empty or damaged file, an unknown format, columns that do not show which is the TF and which the
        target, values that are not numbers or signs.
    """
    opened, name, options, notes = _open(path, format)
    try:
        edges = FORMATS[name](opened.table, options)
    except UserError as error:
        raise _named(error, path) from None
    if edges.frame.empty:
        raise UserError(
            f"edge list '{path}': no edge is left ({'; '.join(edges.notes) or 'no rows'}); give another file"
        )
    edges.notes = notes + edges.notes
    return edges


def load_pairs(path: str | Path, format: str = "auto") -> PairList:
    """Read the pairs of a file row by row: nothing is merged, left out or moved.

    Parameters
    ----------
    path, format
        As :func:`load_edges` takes them.

    Raises
    ------
    UserError
        As :func:`load_edges`.
    """
    opened, name, options, notes = _open(path, format)
    _, told = split_options(options)
    try:
        if name in _WHOLE:
            edges = FORMATS[name](opened.table, options)
            return PairList(edges.frame[["source", "target"]], notes + edges.notes)
        ends = find_ends(opened.table, source=told.get("source"), target=told.get("target"))
    except UserError as error:
        raise _named(error, path) from None
    pairs = {"source": to_text(opened.table[ends.source]), "target": to_text(opened.table[ends.target])}
    return PairList(pd.DataFrame(pairs).reset_index(drop=True), notes)


def _named(error: UserError, path: str | Path) -> UserError:
    return UserError(str(error).replace("edge list:", f"edge list '{path}':", 1))


def _open(path: str | Path, format: str) -> tuple[EdgeTable, str, frozenset[str], list[str]]:
    """The file as a table of named columns, and the parser with its options."""
    name, options = parse_format(format)
    plain, told = split_options(options)
    header = told.pop("header", None)
    if header is not None and header not in _YES_NO:
        raise UserError(f"--format '{format}': header={header}; choose from header=yes, header=no")
    options = plain | {f"{key}={value}" for key, value in told.items()}
    file, selector = split_selector(path)
    gmt = True if name == "gmt" else None if name == "auto" and not told else False
    try:
        opened = open_table(file, selector, header=None if header is None else _YES_NO[header], gmt=gmt)
    except UserError as error:
        raise _named(error, path) from None
    opened.table, selected = _select(opened.table, opened.selector, file)
    notes = [*opened.notes, *selected]
    if name in _OTHERS:
        by_option = "tsv" if set(told) & set(TOLD) else "matrix" if "rows" in told else None
        name = by_option or ("dictionary" if "keys" in told else detect_format(opened.table))
        notes.append(f"format detected: {name}")
    return opened, name, options, notes


def _select(table: pd.DataFrame, selector: str | None, file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Rows of one BEELINE network of a file that holds several."""
    if not set(_BEELINE_KEYS) <= set(table.columns):
        if selector is not None:
            raise UserError(
                f"edge list '{file}:{selector}': the file has no columns {', '.join(_BEELINE_KEYS)}; "
                f"leave ':{selector}' out"
            )
        return table, []
    keys = table["network"] + "/" + table["cell"] + "/" + table["set"]
    choices = list(dict.fromkeys(keys))
    if selector is None:
        if len(choices) > 1:
            raise UserError(
                f"edge list '{file}': holds {len(choices)} networks; name one, for example '{file}:{choices[0]}'"
            )
        return table, []
    chosen = keys == selector
    if not chosen.any():
        raise UserError(
            f"edge list '{file}:{selector}': no such network; choose from {', '.join(choices)}"
            f"{did_you_mean(selector, choices)}"
        )
    return table[chosen].reset_index(drop=True), [f"network {selector}: {int(chosen.sum()):,} rows"]
