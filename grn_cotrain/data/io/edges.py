"""Edge lists of every format, read into one frame; what was detected and left out is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from grn_cotrain.data.io.edge_formats import EDGE_COLUMNS, FORMATS, EdgeList, detect_format
from grn_cotrain.data.io.tables import read_table, split_selector
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["EDGE_COLUMNS", "FORMATS", "EdgeList", "load_edges", "parse_format", "read_edges"]

logger = logging.getLogger(__name__)

_BEELINE_KEYS = ("network", "cell", "set")
_TRRUST_MODES = {"activation", "repression", "unknown"}
_KNOWN_COLUMNS = {
    *("source", "target", "tf", "gene", "gene1", "gene2", "regulator", "regulated", "from", "to"),
    *("source_symbol", "target_symbol", "source_genesymbol", "target_genesymbol"),
}


def read_edges(path: str | Path, format: str = "auto") -> pd.DataFrame:
    """Read an edge list; see :func:`load_edges`, which also returns what was left out.

    Returns
    -------
    DataFrame
        ``source, target`` (names as written), ``weight`` float32, ``sign`` int8 (-1, 0, 1), ``evidence`` text; one row
        for each distinct pair.
    """
    edges = load_edges(path, format)
    for note in edges.notes:
        logger.info("%s: %s", path, note)
    return edges.frame


def parse_format(text: str) -> tuple[str, frozenset[str]]:
    """``collectri:expand,signed`` -> its name and options; :class:`UserError` for an unknown name."""
    name, _, options = text.partition(":")
    name = name.strip().lower()
    if name not in FORMATS and name != "auto":
        raise UserError(
            f"--format '{text}': unknown; choose from auto, {', '.join(FORMATS)}{did_you_mean(name, FORMATS)}"
        )
    return name, frozenset(option.strip() for option in options.split(",") if option.strip())


def load_edges(path: str | Path, format: str = "auto") -> EdgeList:
    """Read an edge list with its notes and counts.

    Parameters
    ----------
    path
        TSV or CSV, gzipped or not. A file of several BEELINE networks takes a selector:
        ``edges.tsv.gz:specific_chipseq/hESC/TFs+500``.
    format
        ``auto``, or one of :data:`FORMATS`, with options after a colon: ``dorothea:AB`` (levels),
        ``collectri:expand`` (members of complexes), ``collectri:signed`` (only with a consensus sign).

    Raises
    ------
    UserError
        A missing, empty or damaged file, an unknown format, missing columns, values that are no numbers or signs.
    """
    name, options = parse_format(format)
    file, selector = split_selector(path)
    table = _with_header(read_table(file, what="edge list", header=False), file)
    table, notes = _select(table, selector, file)
    if name == "auto":
        name = detect_format(table)
        notes.append(f"format detected: {name}")
    try:
        edges = FORMATS[name](table, options)
    except UserError as error:
        raise UserError(str(error).replace("edge list:", f"edge list '{path}':", 1)) from None
    if edges.frame.empty:
        raise UserError(
            f"edge list '{path}': no edge is left ({'; '.join(edges.notes) or 'no rows'}); give another file"
        )
    edges.notes = notes + edges.notes
    return edges


def _with_header(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Name the columns: by the first line, unless that is an edge already (TRRUST's raw file, bare columns)."""
    first = [str(value).strip() for value in table.iloc[0]]
    lower = [value.lower() for value in first]
    if len(first) == 4 and lower[2] in _TRRUST_MODES:
        return table.set_axis(["TF", "target", "mode", "pmid"], axis=1)
    if _KNOWN_COLUMNS & set(lower) or len(first) not in (2, 3):
        body = table.iloc[1:].reset_index(drop=True).set_axis(first, axis=1)
        if body.empty:
            raise UserError(f"edge list '{file}': holds no rows below its header; give a table with content")
        return body
    # No column has a known name: bare edges, or a header nobody knows, which is then counted as a lost edge.
    names = ["source", "target", "weight"][: len(first)]
    if len(first) == 3 and pd.to_numeric(table[2], errors="coerce").isna().any():
        names[2] = "sign"
    return table.set_axis(names, axis=1)


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
