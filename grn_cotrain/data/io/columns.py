"""Vocabulary of column names: which column of a table of edges is the TF, the target, the weight, the sign.

A name is read word by word; case, spaces, dots, dashes and underscores do not count. ``TF_name``, ``Regulatory gene``
and ``sourceGeneSymbol`` are ends since each of their words is known; ``tf_family`` is not an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import pandas as pd

from grn_cotrain.data.gene_names import name_kind
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError

__all__ = ["ROLES", "SIGNED_WEIGHTS", "Ends", "end_of", "find_ends", "fold_column", "is_index", "pick", "symbol_column"]

End = Literal["source", "target"]

_SOURCE = frozenset(
    ("source", "src", "tf", "tfs", "regulator", "regulators", "regulatory", "regulating", "reg", "from", "upstream",
     "transcriptionfactor", "transcriptionfactors", "transcription", "parent", "effector", "regulatedby", "regulon")
)  # fmt: skip
_TARGET = frozenset(
    ("target", "targets", "tg", "tgt", "regulated", "regulatee", "to", "downstream", "sink", "child", "targeted")
)
_FIRST, _SECOND = frozenset(("1", "a")), frozenset(("2", "b"))
_THING = frozenset(("gene", "genes", "factor", "factors", "node", "protein", "entity"))
_NAME = frozenset(("symbol", "symbols", "name", "names", "hgnc", "mgi", "short", "official", "approved", "label"))
_ID = frozenset(
    ("id", "ids", "identifier", "ensembl", "ensg", "entrez", "ncbi", "uniprot", "accession", "ac", "stable")
)
_WORDS = _SOURCE | _TARGET | _FIRST | _SECOND | _THING | _NAME | _ID

ROLES: dict[str, tuple[str, ...]] = {
    "weight": ("weight", "weights", "edgeweight", "importance", "mor", "genie3weight", "coefmean", "coef",
               "coefficient", "strength", "combinedscore", "probability", "likelihood", "score",
               "confidence", "confidencescore"),
    "sign": ("sign", "mode", "mor", "modeofregulation", "regulationtype", "typeofregulation", "regulation", "effect",
             "type", "interaction", "interactiontype", "direction", "moa"),
    "evidence": ("evidence", "reference", "references", "pmid", "pmids", "pubmed", "pubmedid", "sources"),
}  # fmt: skip
"""Folded names of the other columns that are read, the preferred ones first."""

SIGNED_WEIGHTS = frozenset(("weight", "weights", "edgeweight", "mor", "coefmean", "coef", "coefficient", "strength"))
"""Weights whose minus means repression; others are strengths, and a minus in them means something else."""

_HINT = "name both with --format 'tsv:source=COLUMN,target=COLUMN'"


def fold_column(name: object) -> str:
    """A column's name as it is compared: lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]+", "", str(name).lower())


@lru_cache(maxsize=4096)
def _words(folded: str) -> tuple[str, ...] | None:
    """The known words that a folded name consists of, longest first; None if anything else is in it."""
    if not folded:
        return ()
    for size in range(min(len(folded), 20), 0, -1):
        if folded[:size] in _WORDS and (rest := _words(folded[size:])) is not None:
            return (folded[:size], *rest)
    return None


@dataclass(frozen=True)
class _Reading:
    end: End
    rank: int  # 0 symbols of an end, 1 the end alone, 2 a gene of no named end, 3 and more ids


def end_of(name: object) -> End | None:
    """Which end of an edge a column of this name holds, or None if the name does not decide."""
    reading = _reading(fold_column(name))
    return None if reading is None else reading.end


def _reading(folded: str) -> _Reading | None:
    words = frozenset(_words(folded) or ())
    if not words or folded in ("a", "b", "1", "2"):
        return None
    source, target = bool(words & _SOURCE), bool(words & _TARGET)
    things = bool(words & (_THING | _NAME | _ID))
    if not source and not target and things and words & (_FIRST | _SECOND):
        source, target = bool(words & _FIRST), bool(words & _SECOND)
    rank = 1 + 2 * bool(words & _ID) - bool(words & _NAME)
    if words & _ID and words & _NAME:
        rank = 1
    if target:  # "TF target" is the target of a TF
        return _Reading("target", rank)
    if source:
        return _Reading("source", rank)
    if words & _THING or words & frozenset(("symbol", "symbols", "hgnc", "mgi")):
        return _Reading("target", 2 + bool(words & _ID) * 2)
    return None


@dataclass(frozen=True)
class Ends:
    """Names of the columns that hold the TF and the target."""

    source: str
    target: str


def find_ends(table: pd.DataFrame, *, source: str | None = None, target: str | None = None) -> Ends:
    """Columns of TF and target: as asked, else by their names; symbols win over ids. Nothing is guessed by position.

    Parameters
    ----------
    table
        Columns of names.
    source, target
        Names of columns as the user gives them, or numbers from 1.

    Raises
    ------
    UserError
        A column that was asked for is missing, an end has no column by name, or two columns have it by name.
    """
    given = {"source": source, "target": target}
    taken = {end: None if value is None else _told(table, end, value) for end, value in given.items()}
    others = [name for name in taken.values() if name is not None]
    found = {end: name or _by_name(table, end, others) for end, name in taken.items()}
    missing = [end for end, name in found.items() if name is None]
    if missing:
        raise UserError(_unknown_ends(table, found, missing))
    ends = Ends(str(found["source"]), str(found["target"]))
    if ends.source == ends.target:
        raise UserError(f"edge list: column '{ends.source}' is taken for both ends; {_HINT}")
    return ends


def _unknown_ends(table: pd.DataFrame, found: dict[str, str | None], missing: Sequence[str]) -> str:
    columns = [str(name) for name in table.columns]
    if len(columns) == 1:
        return f"edge list: only one column ('{columns[0]}'); give source and target, separated by tabs or commas"
    known = [f"'{name}' is the {end}" for end, name in found.items() if name is not None]
    text = f"edge list: no column name shows which is the {' and which the '.join(missing)}"
    return f"{text} ({'; '.join([*known, 'columns: ' + name_some(columns, 8)])}); {_HINT}"


def _told(table: pd.DataFrame, end: str, value: str) -> str:
    columns = {str(name): str(name) for name in table.columns}
    folded = {fold_column(name): name for name in columns}
    if value in columns or fold_column(value) in folded:
        return columns.get(value) or folded[fold_column(value)]
    if value.isdigit() and 1 <= int(value) <= table.shape[1]:
        return str(table.columns[int(value) - 1])
    raise UserError(
        f"--format '{end}={value}': the table has no such column (columns: {name_some(list(columns), 8)}); name one of "
        "these, or give its number from 1"
    )


def _by_name(table: pd.DataFrame, end: str, taken: Iterable[str]) -> str | None:
    free = [str(name) for name in table.columns if str(name) not in taken]
    readings = [(name, reading) for name in free if (reading := _reading(fold_column(name))) is not None]
    fitting = [(name, reading.rank) for name, reading in readings if reading.end == end]
    if not fitting:
        return None
    ranked = sorted(fitting, key=lambda item: (_holds_ids(table[item[0]]), item[1]))
    best = [
        name
        for name, rank in ranked
        if (_holds_ids(table[name]), rank) == (_holds_ids(table[ranked[0][0]]), ranked[0][1])
    ]
    if len(best) > 1 and any(not table[best[0]].equals(table[name]) for name in best[1:]):
        raise UserError(
            f"edge list: columns {' and '.join(repr(name) for name in best)} could both be the {end}; {_HINT}"
        )
    return best[0]


def _holds_ids(values: pd.Series) -> bool:
    """Whether most of the first values are accessions or numbers, which a column of symbols next to them outdoes."""
    some = [str(value).strip() for value in values.iloc[:200] if str(value).strip()]
    return sum(name_kind(value) != "symbols" for value in some) > 0.5 * len(some)


def pick(columns: Iterable[str], role: str) -> list[str]:
    """Columns of a role, the preferred ones first."""
    folded: dict[str, str] = {}
    for name in columns:
        folded.setdefault(fold_column(name), str(name))
    return [folded[name] for name in ROLES[role] if name in folded]


def is_index(name: object, values: pd.Series) -> bool:
    """Whether a column below a header is the index that pandas or R wrote: no name of its own, and whole numbers."""
    text = str(name).strip().lower()
    unnamed = text in ("", "index", "nan") or text.startswith("unnamed:")
    numbers = pd.to_numeric(values, errors="coerce")
    return unnamed and bool(numbers.notna().all()) and bool((numbers % 1 == 0).all())  # rows that were chosen have gaps


_SYMBOLS = ("hgncsymbol", "genesymbol", "symbol", "approvedsymbol", "symbols", "tfsymbol", "genename", "tfname", "tf",
            "tfs", "gene", "genes", "transcriptionfactor", "transcriptionfactors", "regulator", "regulators", "source",
            "target", "targets", "name", "names", "externalgenename", "markersymbol", "featurename", "mgisymbol",
            "genesymbols", "genenames")  # fmt: skip


def symbol_column(names: Sequence[str]) -> int | None:
    """Position of the column that holds symbols by its name, or None."""
    place = {fold_column(name): i for i, name in reversed(list(enumerate(names)))}
    return next((place[name] for name in _SYMBOLS if name in place), None)
