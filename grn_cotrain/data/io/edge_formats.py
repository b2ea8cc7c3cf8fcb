"""One small parser for each way in which people write down a regulatory network.

Each takes a table of text and returns an :class:`EdgeList`: ``source, target, weight, sign, evidence``, with what was
left out counted and said in ``notes``. Nothing here knows a vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["EDGE_COLUMNS", "FORMATS", "EdgeList", "detect_format", "merge_pairs"]

EDGE_COLUMNS = ("source", "target", "weight", "sign", "evidence")

_SOURCE_NAMES = ("source", "tf", "gene1", "regulator", "from", "source_symbol")
_TARGET_NAMES = ("target", "gene2", "gene", "regulated", "to", "target_symbol")
_SIGNS = {
    **dict.fromkeys(("1", "1.0", "+", "+1", "activation", "activates", "stimulation", "positive", "up"), 1),
    **dict.fromkeys(("-1", "-1.0", "-", "repression", "represses", "inhibition", "negative", "down"), -1),
    **dict.fromkeys(("0", "0.0", "", "unknown", "na", "nan", "none", "?"), 0),
}
_COMPLEX = "COMPLEX:"
_UNIPROT = re.compile(r"[OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z0-9]{2}\d){1,2}")
_LEVELS = ("A", "B", "C", "D", "E")


@dataclass
class EdgeList:
    """Edges as read: ``frame`` with :data:`EDGE_COLUMNS`, one row a distinct pair, in the file's order.

    Attributes
    ----------
    format
        Name of the parser.
    notes
        What a user must hear: what was detected, dropped, expanded.
    counts
        The same as numbers: ``rows``, ``duplicates``, ``conflicting_signs``, ``complexes``, ...
    conflicts
        Pairs whose rows say both activation and repression; their sign is 0.
    complexes
        Names of complexes that were dropped or expanded.
    """

    frame: pd.DataFrame
    format: str
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    complexes: list[str] = field(default_factory=list)


def merge_pairs(
    frame: pd.DataFrame, *, keys: tuple[str, str] = ("source", "target")
) -> tuple[pd.DataFrame, int, list[tuple[Any, Any]]]:
    """Merge rows of one pair: largest weight, agreeing sign (contradiction: 0), evidence joined by ``;``.

    A ``conflict`` column marks rows that contradict themselves already.

    Returns
    -------
    merged frame in order of first occurrence, number of rows merged away, pairs with conflicting signs
    """
    columns = [name for name in frame.columns if name not in (*keys, "conflict")]
    conflict = frame["conflict"] if "conflict" in frame else pd.Series(False, index=frame.index)
    twice = frame.duplicated(list(keys), keep=False)
    odd = set(frame.loc[conflict, list(keys)].itertuples(index=False, name=None))
    if not twice.any():
        return frame[[*keys, *columns]].reset_index(drop=True), 0, sorted(odd)
    rows = frame[twice].assign(_up=frame["sign"] > 0, _down=frame["sign"] < 0)
    groups = rows.groupby(list(keys), sort=False)
    how: dict[Hashable, Any] = {"weight": "max", "sign": "first", "evidence": _join}
    merged = groups.agg({name: how.get(name, "first") for name in columns} | {"_up": "any", "_down": "any"})
    odd |= set(merged.index[merged["_up"] & merged["_down"]])
    merged["sign"] = (merged.pop("_up").astype(np.int8) - merged.pop("_down").astype(np.int8)).astype(np.int8)
    merged = merged.reset_index()
    first = frame.loc[twice & ~frame.duplicated(list(keys)), :].index  # groupby(sort=False) keeps this order
    merged.index = first
    result = pd.concat([frame.loc[~twice, [*keys, *columns]], merged[[*keys, *columns]]]).sort_index()
    if odd:
        clash = pd.MultiIndex.from_frame(result[list(keys)]).isin(list(odd))
        result.loc[clash, "sign"] = np.int8(0)
    return result.reset_index(drop=True), len(frame) - len(result), sorted(odd)


def _join(values: pd.Series) -> str:
    parts = [part for value in values for part in str(value).split(";") if part]
    return ";".join(dict.fromkeys(parts))


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    lower = {str(column).lower(): str(column) for column in table.columns}
    return next((lower[name] for name in names if name in lower), None)


def _need(table: pd.DataFrame, format_name: str, *names: str) -> list[pd.Series]:
    lower = {str(column).lower(): column for column in table.columns}
    missing = [name for name in names if name.lower() not in lower]
    if missing:
        raise UserError(
            f"edge list: no column '{missing[0]}', which format {format_name} needs "
            f"(columns: {name_some([str(c) for c in table.columns], 8)}); give another --format, or auto"
        )
    return [table[lower[name.lower()]].str.strip() for name in names]


def _numbers(values: pd.Series, what: str) -> np.ndarray:
    numbers = pd.to_numeric(values.replace("", "1"), errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise UserError(
            f"edge list: {what} '{values.iloc[bad[0]]}' in data row {bad[0] + 1} is no finite number "
            f"({bad.size:,} such); repair or remove it"
        )
    return numbers


def _signs(values: pd.Series, what: str) -> np.ndarray:
    signs = values.str.lower().map(_SIGNS)
    if signs.isna().any():
        strange = values[signs.isna()].iloc[0]
        raise UserError(
            f"edge list: {what} '{strange}' is no sign; write 1, -1 or 0, or activation, repression, unknown"
        )
    return signs.to_numpy(np.int8)


def _frame(
    source: pd.Series,
    target: pd.Series,
    *,
    weight: np.ndarray | float = 1.0,
    sign: np.ndarray | int = 0,
    evidence: pd.Series | str = "",
    conflict: np.ndarray | bool = False,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": source.to_numpy(dtype=object),
            "target": target.to_numpy(dtype=object),
            "weight": np.broadcast_to(np.asarray(weight, dtype=np.float32), len(source)),
            "sign": np.broadcast_to(np.asarray(sign, dtype=np.int8), len(source)),
            "evidence": evidence.to_numpy(dtype=object) if isinstance(evidence, pd.Series) else evidence,
            "conflict": np.broadcast_to(conflict, len(source)),
        }
    )


def _finish(frame: pd.DataFrame, format_name: str, **extra: list[str]) -> EdgeList:
    """Leave nameless rows out, merge duplicates; count and say both."""
    edges = EdgeList(frame, format_name, extra.get("notes", []), {"rows": len(frame)}, [], extra.get("complexes", []))
    nameless = (frame["source"] == "") | (frame["target"] == "")
    if nameless.any():
        edges.counts["nameless"] = int(nameless.sum())
        edges.notes.append(f"{int(nameless.sum()):,} rows without a gene symbol were left out")
    edges.frame, duplicates, edges.conflicts = merge_pairs(frame[~nameless].reset_index(drop=True))
    edges.counts |= {"duplicates": duplicates, "conflicting_signs": len(edges.conflicts)}
    if duplicates:
        edges.notes.append(f"{duplicates:,} repeated rows were merged")
    if edges.conflicts:
        pairs = name_some([f"{a}->{b}" for a, b in edges.conflicts], 3)
        edges.notes.append(
            f"{len(edges.conflicts):,} pairs have rows of both signs, so their sign is unknown ({pairs})"
        )
    return edges


def _refuse_options(format_name: str, options: frozenset[str], *known: str) -> None:
    for option in sorted(options - set(known)):
        choices = ", ".join(known) or "none"
        raise UserError(
            f"--format '{format_name}:{option}': unknown option; known: {choices}{did_you_mean(option, known)}"
        )


# -- the formats ---------------------------------------------------------------------------------------------------


def parse_tsv(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns source, target (or TF, gene, regulator ...), optionally weight, sign (or mode, mor), evidence."""
    _refuse_options("tsv", options)
    source, target = _column(table, _SOURCE_NAMES), _column(table, _TARGET_NAMES)
    if source is None or target is None:
        if table.shape[1] < 2:
            raise UserError("edge list: only one column; give source and target, separated by tabs or commas")
        source, target = str(table.columns[0]), str(table.columns[1])
    if source == target:
        raise UserError(f"edge list: column '{source}' is taken for both ends; name the columns source and target")
    names = pd.concat([table[source], table[target]]).str.strip()
    accessions = names.map(lambda name: _UNIPROT.fullmatch(name) is not None)
    if accessions.mean() > 0.05:
        raise UserError(
            f"edge list: {int(accessions.sum()):,} of {len(names):,} names are UniProt accessions, like "
            f"{names[accessions].iloc[0]}; give gene symbols (columns source_symbol and target_symbol)"
        )
    weight, sign = _column(table, ("weight", "score")), _column(table, ("sign", "mode", "mor", "type", "effect"))
    weights = _numbers(table[weight].str.strip(), "weight") if weight else np.ones(len(table))
    if sign:
        signs = _signs(table[sign].str.strip(), sign)
    else:  # all-positive weights say nothing about the sign
        signs = np.sign(weights).astype(np.int8) if (weights < 0).any() else np.zeros(len(table), np.int8)
    evidence = _column(table, ("evidence", "reference", "references", "pmid", "sources"))
    frame = _frame(
        table[source].str.strip(),
        table[target].str.strip(),
        weight=np.abs(weights),
        sign=signs,
        evidence=table[evidence].str.strip() if evidence else "",
    )
    return _finish(frame, "tsv")


def parse_decoupler(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns source, target, weight: the sign of the weight is the mode of regulation."""
    _refuse_options("decoupler", options)
    source, target = _need(table, "decoupler", "source", "target")
    (weight,) = _need(table, "decoupler", "mor" if _column(table, ("weight",)) is None else "weight")
    weights = _numbers(weight, "weight")
    return _finish(_frame(source, target, weight=np.abs(weights), sign=np.sign(weights)), "decoupler")


def parse_beeline(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns Gene1, Gene2 (and Type), or TF, Target; several networks in one file need a selector."""
    _refuse_options("beeline", options)
    first = "Gene1" if _column(table, ("gene1",)) else "TF"
    source, target = _need(table, "beeline", first, "Gene2" if first == "Gene1" else "Target")
    kind = _column(table, ("type",))
    sign = _signs(table[kind].str.strip(), "Type") if kind else 0
    return _finish(_frame(source, target, sign=sign), "beeline")


def parse_trrust(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns TF, target, mode, pmid (the raw file has no header); several rows a pair."""
    _refuse_options("trrust", options)
    source, target, mode = _need(table, "trrust", "TF", "target", "mode")
    pmid = _column(table, ("pmid",))
    evidence: pd.Series | str = table[pmid].str.strip() if pmid else ""
    return _finish(_frame(source, target, sign=_signs(mode, "mode"), evidence=evidence), "trrust")


def parse_dorothea(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns tf, confidence, target, mor; levels A to C unless the option names others (``dorothea:AB``)."""
    source, confidence, target, mor = _need(table, "dorothea", "tf", "confidence", "target", "mor")
    levels = frozenset("".join(options).upper()) or frozenset("ABC")
    _refuse_options("dorothea", levels, *_LEVELS)
    keep = confidence.str.upper().isin(levels)
    weights = _numbers(mor[keep], "mor")
    frame = _frame(source[keep], target[keep], weight=np.abs(weights), sign=np.sign(weights), evidence=confidence[keep])
    note = f"levels {''.join(sorted(levels))}: {int(keep.sum()):,} of {len(table):,} rows kept"
    return _finish(frame, "dorothea", notes=[note])


def parse_collectri(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """OmniPath table: symbols from source_symbol and target_symbol, never from source and target.

    Options: ``expand`` gives each member of a complex its edges instead of dropping them; ``signed`` keeps only rows
    with a consensus sign.
    """
    _refuse_options("collectri", options, "expand", "signed")
    suffix = "genesymbol" if _column(table, ("source_genesymbol",)) else "symbol"
    source, target = _need(table, "collectri", f"source_{suffix}", f"target_{suffix}")
    source, target = _mark_complexes(table, "source", source), _mark_complexes(table, "target", target)
    up, down = (column.str.lower().isin(("true", "1")) for column in _consensus(table))
    evidence = table["sources"].str.strip() if "sources" in table else ""
    frame = _frame(
        source,
        target,
        sign=up.to_numpy(np.int8) - down.to_numpy(np.int8),
        evidence=evidence,
        conflict=(up & down).to_numpy(),
    )
    notes: list[str] = []
    if "signed" in options:
        known = (up | down).to_numpy()
        notes.append(f"{int((~known).sum()):,} of {len(known):,} rows have no consensus sign and were left out")
        frame = frame[known].reset_index(drop=True)
    is_complex = frame["source"].str.startswith(_COMPLEX) | frame["target"].str.startswith(_COMPLEX)
    ends = pd.concat([frame.loc[is_complex, "source"], frame.loc[is_complex, "target"]])
    complexes = sorted(set(ends[ends.str.startswith(_COMPLEX)]))
    if complexes:
        said = f"{len(complexes):,} complexes ({name_some(complexes, 3)}) in {int(is_complex.sum()):,} rows"
        if "expand" in options:
            frame, unresolved = _expand(frame, is_complex, _accessions(table, source, target))
            notes.append(f"{said} were expanded to their members" + _lost_members(unresolved))
        else:
            frame = frame[~is_complex].reset_index(drop=True)
            notes.append(f"{said} were dropped (--format collectri:expand keeps their members)")
    edges = _finish(frame, "collectri", notes=notes, complexes=complexes)
    edges.counts |= {"complexes": len(complexes), "complex_rows": int(is_complex.sum())}
    return edges


def _consensus(table: pd.DataFrame) -> list[pd.Series]:
    names = ("consensus_stimulation", "consensus_inhibition")
    return _need(table, "collectri", *(names if names[0] in table else ("is_stimulation", "is_inhibition")))


def _mark_complexes(table: pd.DataFrame, end: str, symbols: pd.Series) -> pd.Series:
    """OmniPath's own tables mark a complex in the column of accessions only; its symbols read ``FOS_JUN``."""
    if end not in table:
        return symbols
    marked = table[end].str.startswith(_COMPLEX) & ~symbols.str.startswith(_COMPLEX) & (symbols != "")
    return symbols.where(~marked, _COMPLEX + symbols)


def _accessions(table: pd.DataFrame, source: pd.Series, target: pd.Series) -> dict[str, str]:
    """UniProt accession -> symbol, learnt from the plain rows of the same file."""
    pairs = [(table["source"], source), (table["target"], target)] if {"source", "target"} <= set(table) else []
    return {
        raw: symbol
        for raws, symbols in pairs
        for raw, symbol in zip(raws, symbols, strict=True)
        if symbol and not raw.startswith(_COMPLEX)
    }


def _expand(frame: pd.DataFrame, is_complex: pd.Series, symbol_of: dict[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """Replace each complex by its members, both ends; return members that are no symbols (unknown accessions) too."""
    unresolved: set[str] = set()

    def members(name: str) -> list[str]:
        if not name.startswith(_COMPLEX):
            return [name]
        found = []
        for part in name.removeprefix(_COMPLEX).split("_"):
            if part in symbol_of:
                found.append(symbol_of[part])
            elif _UNIPROT.fullmatch(part):
                unresolved.add(part)
            else:
                found.append(part)
        return found

    expanded = frame.copy()
    for end in ("source", "target"):
        expanded[end] = expanded[end].map(members)
        expanded = expanded.explode(end)
    expanded = expanded.dropna(subset=["source", "target"])
    return expanded.reset_index(drop=True), sorted(unresolved)


def _lost_members(unresolved: list[str]) -> str:
    return f"; {len(unresolved):,} members without a symbol are lost ({name_some(unresolved, 3)})" if unresolved else ""


FORMATS: dict[str, Callable[[pd.DataFrame, frozenset[str]], EdgeList]] = {
    "tsv": parse_tsv,
    "beeline": parse_beeline,
    "trrust": parse_trrust,
    "dorothea": parse_dorothea,
    "collectri": parse_collectri,
    "decoupler": parse_decoupler,
}


def detect_format(table: pd.DataFrame) -> str:
    """Name the format by its columns; a plain table is ``tsv``."""
    columns = {str(column).lower() for column in table.columns}
    if {"source_symbol", "target_symbol"} <= columns or {"source_genesymbol", "target_genesymbol"} <= columns:
        return "collectri"
    if {"tf", "confidence", "target", "mor"} <= columns:
        return "dorothea"
    if {"tf", "target", "mode"} <= columns:
        return "trrust"
    if {"gene1", "gene2"} <= columns or ({"tf", "target"} <= columns and {"network", "cell", "set"} <= columns):
        return "beeline"
    if {"source", "target", "weight"} <= columns and "sign" not in columns:
        signed = pd.to_numeric(table[next(c for c in table if str(c).lower() == "weight")], errors="coerce") < 0
        return "decoupler" if signed.any() else "tsv"  # all-positive weights may be confidences
    return "tsv"
