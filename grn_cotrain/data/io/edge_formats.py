"""One small parser for each way in which people write down a regulatory network.

Each takes a table and returns an :class:`~grn_cotrain.data.io.edge_list.EdgeList`: ``source, target, weight, sign,
evidence``, with what was left out counted and reported in ``notes``. Nothing here knows a vocabulary of genes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from grn_cotrain.data.gene_names import UNIPROT
from grn_cotrain.data.io.columns import find_ends, fold_column, pick
from grn_cotrain.data.io.edge_list import EDGE_COLUMNS, EdgeList, merge_pairs
from grn_cotrain.data.io.edge_matrix import is_dictionary, is_matrix, parse_dictionary, parse_matrix
from grn_cotrain.data.io.edge_roles import (
    TOLD,
    edge_frame,
    finish,
    need,
    read_roles,
    refuse_options,
    split_options,
    to_numbers,
    to_signs,
    to_text,
    unused_columns,
)
from grn_cotrain.data.vocab import name_some

__all__ = ["EDGE_COLUMNS", "FORMATS", "EdgeList", "detect_format", "merge_pairs"]

_COMPLEX = "COMPLEX:"
_LEVELS = ("A", "B", "C", "D", "E")


def _has(table: pd.DataFrame, *names: str) -> bool:
    """Whether the table has all these columns; case and separators do not count."""
    return {fold_column(name) for name in names} <= {fold_column(name) for name in table.columns}


def parse_tsv(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns of any known names: source or TF or regulator, target or gene; weight or importance; sign; evidence;
    relation, with source_space and target_space.

    Options: ``source=COLUMN``, ``target=COLUMN``, ``weight=COLUMN``, ``sign=COLUMN``, ``evidence=COLUMN`` and
    ``relation=COLUMN`` choose the columns, by name or, for the ends, by number from 1; ``header=no`` makes the first
    line an edge.
    """
    plain, told = split_options(options)
    refuse_options("tsv", plain, *(f"{name}=" for name in TOLD))
    refuse_options("tsv", told, *TOLD)
    return read_roles(table, "tsv", told)


def parse_decoupler(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns source, target, weight (or mor): the sign of the weight is the mode of regulation."""
    refuse_options("decoupler", options)
    need(table, "decoupler", "source", "target", "weight" if _has(table, "weight") else "mor")
    return read_roles(table, "decoupler", signed=True)


def parse_beeline(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns Gene1, Gene2 (EdgeWeight, Type), or TF, Target; several networks in one file need a selector."""
    refuse_options("beeline", options)
    first = "Gene1" if _has(table, "Gene1") else "TF"
    need(table, "beeline", first, "Gene2" if first == "Gene1" else "Target")
    return read_roles(table, "beeline")


def parse_trrust(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns TF, target, mode, pmid (the raw file has no header); several rows a pair."""
    refuse_options("trrust", options)
    source, target, mode = need(table, "trrust", "TF", "target", "mode")
    evidence: pd.Series | str = need(table, "trrust", "pmid")[0] if _has(table, "pmid") else ""
    used = [name for name in table.columns if fold_column(name) in ("tf", "target", "mode", "pmid")]
    frame = edge_frame(source, target, sign=to_signs(mode, "mode"), evidence=evidence)
    return finish(frame, "trrust", notes=unused_columns(table, used))


def parse_dorothea(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """Columns tf (or source), confidence, target, mor (or weight); levels A to C unless the option names others.

    ``dorothea:AB`` takes the levels A and B. The sign is that of mor, its size is the weight.
    """
    (confidence,) = need(table, "dorothea", "confidence")
    ends = find_ends(table)
    levels = frozenset("".join(options).upper()) or frozenset("ABC")
    refuse_options("dorothea", levels, *_LEVELS)
    mode = next((name for name in ("mor", "weight") if _has(table, name)), None)
    keep = confidence.str.upper().isin(levels)
    source, target = (to_text(table[name])[keep] for name in (ends.source, ends.target))
    weights = np.zeros(len(source)) if mode is None else to_numbers(need(table, "dorothea", mode)[0][keep], mode)
    frame = edge_frame(
        source,
        target,
        weight=1.0 if mode is None else np.abs(weights),
        sign=np.sign(weights),
        evidence=confidence[keep],
    )
    note = f"levels {''.join(sorted(levels))}: {int(keep.sum()):,} of {len(table):,} rows kept"
    if levels == frozenset("ABC") and not keep.all():
        note += " (--format dorothea:ABCDE keeps all)"
    used = [name for name in table.columns if fold_column(name) in ("confidence", mode)]
    return finish(frame, "dorothea", notes=[note, *unused_columns(table, [*used, ends.source, ends.target])])


def parse_collectri(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """OmniPath table: symbols from source_symbol and target_symbol, never from source and target.

    Options: ``expand`` gives each member of a complex its edges instead of dropping them; ``signed`` keeps only rows
    with a consensus sign.
    """
    refuse_options("collectri", options, "expand", "signed")
    suffix = "genesymbol" if _has(table, "source_genesymbol") else "symbol"
    source, target = need(table, "collectri", f"source_{suffix}", f"target_{suffix}")
    source, target = _mark_complexes(table, "source", source), _mark_complexes(table, "target", target)
    up, down = (column.str.lower().isin(("true", "1")) for column in _consensus(table))
    evidence = to_text(table["sources"]) if "sources" in table else ""
    frame = edge_frame(
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
    edges = finish(frame, "collectri", notes=notes, complexes=complexes)
    edges.counts |= {"complexes": len(complexes), "complex_rows": int(is_complex.sum())}
    return edges


def _consensus(table: pd.DataFrame) -> list[pd.Series]:
    names = ("consensus_stimulation", "consensus_inhibition")
    return need(table, "collectri", *(names if names[0] in table else ("is_stimulation", "is_inhibition")))


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
            elif UNIPROT.fullmatch(part):
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
    "matrix": parse_matrix,
    "dictionary": parse_dictionary,
}


def detect_format(table: pd.DataFrame) -> str:
    """Name the format by its columns; a plain table is ``tsv``."""
    return next((name for name, fits in _DETECTED_BY.items() if fits(table)), "tsv")


def _is_collectri(table: pd.DataFrame) -> bool:
    symbols = _has(table, "source_symbol", "target_symbol") or _has(table, "source_genesymbol", "target_genesymbol")
    modes = _has(table, "consensus_stimulation", "consensus_inhibition") or _has(
        table, "is_stimulation", "is_inhibition"
    )
    return symbols and modes


def _is_dorothea(table: pd.DataFrame) -> bool:
    if not (_has(table, "confidence", "target") and (_has(table, "tf") or _has(table, "source"))):
        return False
    found = {str(value).strip().upper() for value in need(table, "dorothea", "confidence")[0].unique()}
    return _has(table, "tf", "mor") or found <= set(_LEVELS)


def _is_decoupler(table: pd.DataFrame) -> bool:
    """All-positive weights may be confidences: they show nothing about signs."""
    if not _has(table, "source", "target") or pick(table.columns, "sign") not in ([], ["mor"]):
        return False
    weight = next((name for name in table.columns if fold_column(name) in ("weight", "mor")), None)
    return weight is not None and bool((pd.to_numeric(table[weight], errors="coerce") < 0).any())


def _is_beeline(table: pd.DataFrame) -> bool:
    return _has(table, "gene1", "gene2") or _has(table, "tf", "target", "network", "cell", "set")


_DETECTED_BY: dict[str, Callable[[pd.DataFrame], bool]] = {
    "dictionary": is_dictionary,
    "collectri": _is_collectri,
    "dorothea": _is_dorothea,
    "trrust": lambda table: _has(table, "tf", "target", "mode"),
    "beeline": _is_beeline,
    "matrix": is_matrix,
    "decoupler": _is_decoupler,
}
