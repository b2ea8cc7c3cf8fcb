"""Files of edges by what they hold: text, parquet, AnnData, GraphML, GMT, JSON. Each becomes one table."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from grn_cotrain.data.grn_convert import frame_from_networkx, frame_from_varp
from grn_cotrain.data.io.columns import end_of
from grn_cotrain.data.io.edge_lines import arrows_to_tabs, is_sif, read_sif
from grn_cotrain.data.io.header import with_header
from grn_cotrain.data.io.tables import decode, parse_table, read_bytes
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.strict import parse_json

__all__ = ["EdgeTable", "open_table"]

_WHAT = "edge list"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_REGULON = re.compile(r"(?P<tf>.+?)(?:_extended)?[_ ]?\((?:(?P<sign>[+\-?])|\d+ ?g(?:enes)?)\)")
_MARKS = {"+": "1", "-": "-1", "?": "0", None: "0"}


@dataclass
class EdgeTable:
    """A table with named columns, how it was read, and what its file takes from a selector."""

    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    selector: str | None = None


def open_table(
    path: Path, selector: str | None = None, *, header: bool | None = None, gmt: bool | None = None
) -> EdgeTable:
    """Read any file of edges; its kind is detected from its content.

    Parameters
    ----------
    path
        The file, gzipped or not.
    selector
        Part to take from it: a key of ``varp`` of an AnnData file; passed on for text.
    header, gmt
        Facts about a text file given by the user; None: they are detected.

    Raises
    ------
    UserError
        A file that cannot be read, or one that holds no edges.
    """
    with_head = _head(path)
    for kind in _BINARY:
        if with_head.startswith(kind.magic):
            return kind.read(path, selector)
    text = decode(read_bytes(path, what=_WHAT), path, what=_WHAT)
    start = text.lstrip()[:2000]
    if start.startswith("<"):
        return _graphml(path, text)
    if start.startswith(("{", "[")):
        return _dictionary(path, text)
    if gmt or (gmt is None and _looks_like_gmt(path, text)):
        return _gmt(path, text)
    if header is None and is_sif(path, text):
        return EdgeTable(*read_sif(path, text))
    raw = parse_table(arrows_to_tabs(text), path, what=_WHAT)
    try:
        table, notes = with_header(raw.frame, told=header, ragged=raw.ragged)
    except UserError as error:
        raise UserError(str(error).replace("edge list:", f"edge list '{path}':", 1)) from None
    return EdgeTable(table, [*raw.notes, *notes], selector)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as handle:
        return handle.read(16)


# -- files that are no text ------------------------------------------------------------------------------------------


def _parquet(path: Path, selector: str | None) -> EdgeTable:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises its own kinds, and OSError for a cut file
        raise UserError(f"{_WHAT} '{path}': not a readable parquet file ({_first(error)}); give a whole one") from None
    if any(name is not None for name in table.index.names) and not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    return _typed(path, table, "parquet", selector)


def _h5ad(path: Path, selector: str | None) -> EdgeTable:
    """``varp[KEY]`` of an AnnData (row: TF, column: target), or geneRNIB's table ``uns["prediction"]``."""
    import anndata

    try:
        adata = anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise many kinds
        raise UserError(f"{_WHAT} '{path}': cannot be read as h5ad ({_first(error)}); give a whole file") from None
    prediction = adata.uns.get("prediction")
    if selector is None and isinstance(prediction, pd.DataFrame):
        return _typed(path, prediction.reset_index(drop=True), "AnnData, uns['prediction']", None)
    keys = [key for key in adata.varp if not key.endswith("_sign")]
    if selector is not None and selector not in keys:
        raise UserError(
            f"{_WHAT} '{path}:{selector}': no such matrix in varp; choose from {', '.join(keys) or 'none'}"
            f"{did_you_mean(selector, keys)}"
        )
    if selector is None and len(keys) != 1:
        found = f"{len(keys)} matrices in varp" if keys else "no matrix in varp"
        raise UserError(
            f"{_WHAT} '{path}': is an AnnData file with {found}; "
            + (f"name one, for example '{path}:{keys[0]}'" if keys else "give a list of edges")
        )
    key = selector or keys[0]
    frame = frame_from_varp(adata, key)
    if frame.empty:
        raise UserError(f"{_WHAT} '{path}': varp['{key}'] holds no edge; give a matrix with content")
    return EdgeTable(frame, [f"file: AnnData, varp['{key}'] (rows are TFs)"])


def _typed(path: Path, table: pd.DataFrame, kind: str, selector: str | None) -> EdgeTable:
    """A table whose columns have types: numbers stay numbers, all else is text."""
    if table.empty:
        raise UserError(f"{_WHAT} '{path}': holds no rows; give a table with content")
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    for name in table.columns:
        values = table[name]
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            table[name] = values.astype(object).where(values.notna(), "").astype(str)
    return EdgeTable(table, [f"file: {kind}"], selector)


@dataclass(frozen=True)
class _Kind:
    magic: bytes
    read: Callable[[Path, str | None], EdgeTable]


_BINARY = (_Kind(b"PAR1", _parquet), _Kind(_HDF5, _h5ad))


# -- text that is no table -------------------------------------------------------------------------------------------


def _graphml(path: Path, text: str) -> EdgeTable:
    import networkx

    if re.match(r"\s*<(?:!doctype\s+html|html|head)", text, re.IGNORECASE):
        raise UserError(
            f"{_WHAT} '{path}': is a web page, not a table: the download gave a page instead of the data; "
            "fetch the file itself"
        )
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{_WHAT} '{path}': is XML with definitions of its own; give plain GraphML")
    if "<graphml" not in text[:10_000]:
        raise UserError(f"{_WHAT} '{path}': is XML or HTML, but not GraphML; give a table of edges")
    try:
        graph: Any = networkx.read_graphml(io.BytesIO(text.encode("utf-8")))
    except Exception as error:  # ParseError, NetworkXError, KeyError, ValueError: all of them a broken file
        raise UserError(f"{_WHAT} '{path}': not readable GraphML ({_first(error)}); give a whole file") from None
    frame = frame_from_networkx(graph)
    if frame.empty:
        raise UserError(f"{_WHAT} '{path}': the graph has no edges; give one with content")
    return EdgeTable(frame, ["file: GraphML"])


def _dictionary(path: Path, text: str) -> EdgeTable:
    if text.lstrip().startswith("{") and len(lines := text.split("\n")) > 1 and lines[0].rstrip().endswith("}"):
        text = f"[{','.join(line for line in lines if line.strip())}]"  # one object a line
    content = parse_json(text, f"{_WHAT} '{path}'")
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return _typed(path, pd.DataFrame(content), "JSON, one object an edge", None)
    pairs: Any = content.items() if isinstance(content, dict) else ()
    rows = [(key, name) for key, names in pairs if isinstance(names, list) for name in names if isinstance(name, str)]
    if not rows or len(rows) != sum(len(names) if isinstance(names, list) else 1 for _, names in pairs):
        raise UserError(
            f"{_WHAT} '{path}': is JSON, but not a dictionary of gene -> list of genes, nor a list of edges; "
            "give a table"
        )
    return EdgeTable(pd.DataFrame(rows, columns=["key", "value"]), ["file: JSON dictionary"])


def _looks_like_gmt(path: Path, text: str) -> bool:
    lines = [line.split("\t") for line in text[:500_000].splitlines()[:200] if line.strip() and line[0] != "#"]
    if not lines or any(len(line) < 3 for line in lines):
        return False
    if ".gmt" in path.suffixes:
        return True
    widths = {len(line) for line in lines}
    if sum(_REGULON.fullmatch(line[0].strip()) is not None for line in lines) > 0.5 * len(lines):
        return len(widths) > 1 or max(widths) > 6
    return len(widths) > 2 and max(widths) > 6 and not any(end_of(cell) for cell in lines[0][:3])


def _gmt(path: Path, text: str) -> EdgeTable:
    """A line a regulon: ``STAT1(+)``, a description, the targets; ``GENE,0.5`` carries a weight."""
    rows: list[tuple[str, str, str, str]] = []
    sets = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = (cell.strip() for cell in line.split("\t"))
        genes = [gene for gene in rest[1:] if gene]
        if not name or not genes:
            raise UserError(
                f"{_WHAT} '{path}': line {number} is not a line of GMT (name, description, genes, with tabs between); "
                "give a GMT file"
            )
        match = _REGULON.fullmatch(name)
        tf, sign = (name, "0") if match is None else (match["tf"], _MARKS[match["sign"]])
        sets += 1
        for gene in genes:
            gene, _, weight = gene.partition(",")
            rows.append((tf, gene, weight, sign))
    if not rows:
        raise UserError(f"{_WHAT} '{path}': holds no gene sets; give a GMT file with content")
    table = pd.DataFrame(rows, columns=["source", "target", "weight", "sign"])
    if not (table["weight"] != "").any():
        table = table.drop(columns="weight")
    names = name_some(list(dict.fromkeys(table["source"])), 3)
    return EdgeTable(table, [f"file: GMT, {sets:,} gene sets; a set's name is its TF ({names})"])


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
