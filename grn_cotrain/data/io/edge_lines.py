"""Lines of edges that are no table: SIF, and names with an arrow between them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from grn_cotrain.data.gene_names import clean_name
from grn_cotrain.data.io.columns import end_of
from grn_cotrain.data.io.signs import SIGN_WORDS
from grn_cotrain.errors import UserError

__all__ = ["arrows_to_tabs", "is_sif", "read_sif"]

_ARROW = re.compile(r"^(\S+?)[ \t]*(-{1,2}>|-{1,2}\||=>|=\||\u2192|\u22a3)[ \t]*([^\s,;]+)(?:[\s,;]+(.*))?$")
_RELATIONS = frozenset(
    ("pd", "pp", "pr", "rc", "cr", "gl", "pm", "mp", "gg", "dp", "interacts", "interaction", "regulates", "binds",
     *(word for word in SIGN_WORDS if word.isalpha() and word not in ("na", "nan")))
)  # fmt: skip
_MANY = 200_000  # characters that are looked at where a file's name does not decide


def is_sif(path: Path, text: str) -> bool:
    """Whether lines are those of SIF: by the file's name, or by a relation in each line and several targets in one."""
    if ".sif" in path.suffixes:
        return True
    lines = [cells for _, cells in _lines(text[:_MANY])]
    return (
        len({len(cells) for cells in lines}) > 1
        and all(len(cells) > 2 and cells[1].lower() in _RELATIONS for cells in lines)
        and not any(re.fullmatch(r"[\d.;|,eE+-]+", cell) for cells in lines for cell in cells[2:])
    )


def read_sif(path: Path, text: str) -> tuple[pd.DataFrame, list[str]]:
    """A line of SIF is a source, a relation and its targets; a node alone has no edge.

    Returns
    -------
    DataFrame, list of str
        Columns source, interaction, target, one row an edge; what was left out.

    Raises
    ------
    UserError
        A line of two cells, which is neither an edge nor a node.
    """
    rows: list[tuple[str, str, str]] = []
    alone = 0
    for number, cells in _lines(text):
        if len(cells) == 2:
            raise UserError(
                f"edge list '{path}': line {number} has two cells, but a line of SIF is a source, a relation and "
                "targets; give a SIF file, or a table under another name"
            )
        if len(cells) == 1:
            alone += 1
        elif not (not rows and len(cells) == 3 and end_of(cells[0]) == "source" and end_of(cells[2]) == "target"):
            rows += [(cells[0], cells[1], target) for target in cells[2:]]
    if not rows:
        raise UserError(f"edge list '{path}': holds no edge; give a SIF file with edges")
    notes = ["file: SIF, a source, a relation and its targets a line"]
    notes += [f"nodes without an edge in the file: {alone:,}"] if alone else []
    return pd.DataFrame(rows, columns=["source", "interaction", "target"]), notes


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """Line numbers and cells; tabs part the cells where the file has any, else white space does."""
    tabs = "\t" in text
    cut = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            cells = [clean_name(cell) for cell in (line.split("\t") if tabs else line.split())]
            cut.append((number, [cell for cell in cells if cell]))
    return cut


def arrows_to_tabs(text: str) -> str:
    """``STAT1 -> IRF1`` becomes three cells, where every line is written so; other text as it is."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    matches = []
    for line in lines:
        if (match := _ARROW.match(line)) is None:
            return text
        matches.append(match)
    return "".join(f"{m[1]}\t{m[2]}\t{m[3]}{'' if m[4] is None else chr(9) + m[4]}\n" for m in matches)
