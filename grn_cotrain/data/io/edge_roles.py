"""From the named columns of a table to edges: ends, weight, sign, evidence, and the columns that were not used."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from grn_cotrain.data.gene_names import UNIPROT, clean_name
from grn_cotrain.data.io.columns import ROLES, SIGNED_WEIGHTS, find_ends, fold_column, pick
from grn_cotrain.data.io.edge_list import RELATION_COLUMNS, EdgeList, merge_pairs
from grn_cotrain.data.io.signs import SIGN_WORDS
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError, did_you_mean

__all__ = [
    "edge_frame",
    "finish",
    "need",
    "read_roles",
    "refuse_options",
    "split_options",
    "to_numbers",
    "to_signs",
    "to_text",
    "unused_columns",
]

TOLD = ("source", "target", "weight", "sign", "evidence", "relation")
_STRICT = frozenset(("weight", "weights", "importance", "sign", "mode"))
_REGULON = re.compile(r"(.+?)[_ ]?\(([+\-?])\)")
_P_VALUES = frozenset(("p", "pval", "pvalue", "padj", "pvaladj", "adjpvalue", "adjpval", "fdr", "q", "qval", "qvalue"))
_SELECTORS = frozenset(("network", "cell", "set"))


def split_options(options: Iterable[str]) -> tuple[frozenset[str], dict[str, str]]:
    """Plain options, and those of the form ``NAME=VALUE``."""
    told = dict(option.split("=", 1) for option in options if "=" in option)
    plain = frozenset(option for option in options if "=" not in option)
    return plain, {key.strip(): value.strip() for key, value in told.items()}


def refuse_options(format_name: str, options: Iterable[str], *known: str) -> None:
    """Raise for an option that a format does not have."""
    for option in sorted(set(options) - set(known)):
        choices = ", ".join(known) or "none"
        raise UserError(
            f"--format '{format_name}:{option}': unknown option; known: {choices}{did_you_mean(option, known)}"
        )


def to_text(values: pd.Series) -> pd.Series:
    """A column as cleaned text; each distinct value is cleaned once."""
    codes, distinct = pd.factorize(values.astype(object), use_na_sentinel=True)
    cleaned = np.array([*(clean_name(str(value)) for value in distinct), ""], dtype=object)
    return pd.Series(cleaned[codes], index=values.index, name=values.name)


def to_numbers(values: pd.Series, what: str) -> np.ndarray:
    """A column as finite float64; empty cells are 1.

    Raises
    ------
    UserError
        A value that is not a finite number, with its row.
    """
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(np.float64)
    else:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, copy=True)
        odd = np.flatnonzero(~np.isfinite(numbers))
        if odd.size:
            text = _plain_marks(values.iloc[odd].str.strip().replace("", "1"), what)
            numbers[odd] = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise UserError(
            f"edge list: {what} '{values.iloc[wrong[0]]}' in data row {wrong[0] + 1} is not a finite number "
            f"({wrong.size:,} such); repair or remove it"
        )
    return numbers


def _plain_marks(text: pd.Series, what: str) -> pd.Series:
    """Numbers with a comma as Python writes them; where both marks occur, the last one is the decimal mark."""
    thousands = text.str.fullmatch(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
    commas = text[text.str.contains(",", regex=False)]
    grouped = text.str.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+\.\d*|[+-]?\d{1,3}(?:,\d{3}){2,}")
    if len(commas) and thousands[commas.index].all() and not grouped.any():
        raise UserError(
            f"edge list: {what} '{commas.iloc[0]}' may be {commas.iloc[0].replace(',', '')} or "
            f"{commas.iloc[0].replace(',', '.')}; write numbers without marks of thousands, and with a decimal point"
        )
    continental = text.str.fullmatch(r"[+-]?\d{1,3}(?:\.\d{3})*,\d+(?:[eE][+-]?\d+)?|[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
    if grouped.any():
        return text.where(~(grouped | thousands), text.str.replace(",", ""))
    return text.where(~continental, text.str.replace(".", "").str.replace(",", "."))


def to_signs(values: pd.Series, what: str) -> np.ndarray:
    """A column as int8 signs.

    Raises
    ------
    UserError
        A word that is not a sign.
    """
    text = to_text(values).str.lower()
    signs = text.map(SIGN_WORDS)
    if signs.isna().any():
        strange = values[signs.isna()].iloc[0]
        raise UserError(
            f"edge list: {what} '{strange}' is not a sign; write 1, -1 or 0, or activation, repression, unknown"
        )
    return signs.to_numpy(np.int8)


def need(table: pd.DataFrame, format_name: str, *names: str) -> list[pd.Series]:
    """Columns by name, as text; a :class:`UserError` for one that is missing."""
    folded = {fold_column(column): column for column in reversed(list(table.columns))}
    missing = [name for name in names if fold_column(name) not in folded]
    if missing:
        raise UserError(
            f"edge list: no column '{missing[0]}', which format {format_name} needs "
            f"(columns: {name_some([str(c) for c in table.columns], 8)}); give another --format, or auto"
        )
    return [to_text(table[folded[fold_column(name)]]) for name in names]


def edge_frame(
    source: pd.Series,
    target: pd.Series,
    *,
    weight: np.ndarray | float = 1.0,
    sign: np.ndarray | int = 0,
    evidence: pd.Series | str = "",
    conflict: np.ndarray | bool = False,
) -> pd.DataFrame:
    """Rows of an edge list, with the marker of rows that contradict themselves."""
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


def finish(frame: pd.DataFrame, format_name: str, *, notes: list[str], complexes: Iterable[str] = ()) -> EdgeList:
    """Leave nameless rows out and merge repeated pairs; count both."""
    edges = EdgeList(frame, format_name, notes, {"rows": len(frame)}, [], list(complexes))
    nameless = (frame["source"] == "") | (frame["target"] == "")
    if nameless.any():
        edges.counts["nameless"] = int(nameless.sum())
        edges.notes.append(f"{int(nameless.sum()):,} rows without a gene symbol were left out")
        frame = frame[~nameless].reset_index(drop=True)
    keys = ("source", "target", *(name for name in RELATION_COLUMNS if name in frame))
    edges.frame, duplicates, edges.conflicts = merge_pairs(frame, keys=keys)
    edges.counts |= {"duplicates": duplicates, "conflicting_signs": len(edges.conflicts)}
    if edges.conflicts:
        pairs = name_some([f"{a}->{b}" for a, b, *_ in edges.conflicts], 3)
        edges.notes.append(
            f"{len(edges.conflicts):,} pairs have rows of both signs, so their sign is unknown ({pairs})"
        )
    return edges


def unused_columns(table: pd.DataFrame, used: Iterable[str]) -> list[str]:
    """One note that names the columns that were not used, or none."""
    selectors = _SELECTORS if set(table.columns) >= _SELECTORS else frozenset()
    rest = [str(name) for name in table.columns if str(name) not in set(used) and str(name).lower() not in selectors]
    return [f"columns not used: {name_some(rest, 8)}"] if rest else []


def read_roles(
    table: pd.DataFrame, format_name: str, told: dict[str, str] | None = None, *, signed: bool = False
) -> EdgeList:
    """Edges of a table whose columns have known names.

    Parameters
    ----------
    table
        One row an edge.
    told
        Columns of ``source``, ``target``, ``weight``, ``sign``, ``evidence`` as the user names them.
    signed
        The weight's sign is the mode of regulation even where no weight is negative.
    """
    told = told or {}
    ends = find_ends(table, source=told.get("source"), target=told.get("target"))
    table, several = _one_target_a_row(table, ends.target)
    source, target = to_text(table[ends.source]), to_text(table[ends.target])
    _refuse_accessions(source, target)
    free = [str(name) for name in table.columns if str(name) not in (ends.source, ends.target)]
    notes = [f"{several:,} rows hold several targets, and each of these became an edge"] if several else []
    source, regulon_signs = _without_regulon_marks(source)
    sign, signs = _choose_sign(table, free, told)
    weight, weights = _choose_weight(table, [name for name in free if name != sign], told, notes)
    if signs is None and weights is not None and (signed or (_is_signed(weight, told) and (weights < 0).any())):
        signs = np.sign(weights)
    if signs is None:
        signs = np.zeros(len(table)) if regulon_signs is None else regulon_signs
    evidence = next((name for name in [told.get("evidence"), *pick(free, "evidence")] if name in free), None)
    frame = edge_frame(
        source,
        target,
        weight=1.0 if weights is None else np.abs(weights),
        sign=signs,
        evidence=to_text(table[evidence]) if evidence else "",
    )
    relations = _relation_columns(table, free, told)
    for name, column in relations.items():
        frame[name] = to_text(table[column]).to_numpy(dtype=object)
    # A column of 0 and 1 alone marks which pairs are edges, as gold standards do; a small importance may round to 0.
    if weights is not None and set(np.unique(weights)) == {0.0, 1.0}:
        frame = frame[weights != 0].reset_index(drop=True)
        notes.append(f"{int((weights == 0).sum()):,} rows of weight 0 were left out: they are not edges")
    used = [name for name in (ends.source, ends.target, weight, sign, evidence, *relations.values()) if name]
    if weight and fold_column(weight) not in ("weight", "weights"):
        notes.append(f"weights: from column '{weight}'")
    notes += unused_columns(table, used)
    if weight is None and (numbers := [name for name in free if name not in used and _may_be_weights(table[name])]):
        say = f"--format 'tsv:weight={numbers[0]}' takes column '{numbers[0]}'"
        notes.append(f"no column is known as the weight, so each edge has the weight 1; {say}")
    return finish(frame, format_name, notes=notes)


def _relation_columns(table: pd.DataFrame, free: list[str], told: dict[str, str]) -> dict[str, str]:
    """Columns of the relation and of the spaces of both ends, by role; a user may name that of the relation."""
    folded = {fold_column(name): name for name in reversed(free)}
    found = {role: folded[fold_column(role)] for role in RELATION_COLUMNS if fold_column(role) in folded}
    if "relation" in told:
        found["relation"] = _candidates(table, free, "relation", told)[0]
    return found


def _one_target_a_row(table: pd.DataFrame, target: str) -> tuple[pd.DataFrame, int]:
    """``IRF1;B2M`` in a cell of targets is two edges; no gene has such a mark in its name. And in how many rows."""
    values = table[target].astype(str)
    hit = values.str.contains(r"[;,|]") & ~values.str.contains(r"(?:^|[;,|])\s*[\d.]*\s*(?:[;,|]|$)")
    if not hit.any():
        return table, 0
    parts = [re.split(r"\s*[;,|]\s*", value) if many else value for value, many in zip(values, hit, strict=True)]
    wide = table.assign(**{target: pd.Series(parts, index=table.index, dtype=object)})
    return wide.explode(target, ignore_index=True), int(hit.sum())


def _may_be_weights(values: pd.Series) -> bool:
    """Whether a column holds numbers of which some are not whole, and is not called a p value."""
    if fold_column(values.name) in _P_VALUES or not _mostly_numbers(values):
        return False
    numbers = pd.to_numeric(values.iloc[:1000], errors="coerce")
    return bool((numbers.dropna() % 1 != 0).any())


def _is_signed(weight: str | None, told: dict[str, str]) -> bool:
    return weight is not None and ("weight" in told or fold_column(weight) in SIGNED_WEIGHTS)


def _without_regulon_marks(source: pd.Series) -> tuple[pd.Series, np.ndarray | None]:
    """``STAT1(+)`` as pySCENIC names a regulon -> ``STAT1`` and its sign, where most names are written so."""
    codes, distinct = pd.factorize(source)
    matches = [_REGULON.fullmatch(name) for name in distinct]
    if not len(distinct) or sum(match is not None for match in matches) <= 0.5 * len(distinct):
        return source, None
    names = [name if match is None else match.group(1) for name, match in zip(distinct, matches, strict=True)]
    signs = [0 if match is None else {"+": 1, "-": -1, "?": 0}[match.group(2)] for match in matches]
    return pd.Series(np.array(names, dtype=object)[codes], index=source.index), np.array(signs, dtype=np.int8)[codes]


def _refuse_accessions(source: pd.Series, target: pd.Series) -> None:
    """Accessions are not symbols: read as such, they would vanish one by one."""
    hits, total, example = 0, 0, ""
    for values in (source, target):
        counts = values.value_counts(sort=False)
        matching = [name for name in counts.index if UNIPROT.fullmatch(name)]
        hits, total = hits + int(counts[matching].sum()), total + len(values)
        example = example or (matching[0] if matching else "")
    if hits > 0.05 * total:
        raise UserError(
            f"edge list: {hits:,} of {total:,} names are UniProt accessions, like {example}; give gene symbols "
            "(columns source_symbol and target_symbol)"
        )


def _choose_sign(table: pd.DataFrame, free: list[str], told: dict[str, str]) -> tuple[str | None, np.ndarray | None]:
    for name in _candidates(table, free, "sign", told):
        values = to_text(table[name]).str.lower()
        known = values.isin(SIGN_WORDS.keys())
        filled = values != ""
        strict = "sign" in told or fold_column(name) in _STRICT
        if not strict and ((fold_column(name) == "mor" and not known.all()) or known[filled].mean() < 0.5):
            continue  # a quantity, or words of another kind
        if strict or known[filled].any():
            return name, to_signs(table[name], name)
    return None, None


def _choose_weight(
    table: pd.DataFrame, free: list[str], told: dict[str, str], notes: list[str]
) -> tuple[str | None, np.ndarray | None]:
    for name in _candidates(table, free, "weight", told):
        strict = "weight" in told or fold_column(name) in _STRICT
        if not strict and not _mostly_numbers(table[name]):
            continue
        numbers = to_numbers(table[name], name if strict else f"column '{name}':")
        if not _is_signed(name, told) and (numbers < 0).any():
            notes.append(f"column '{name}' holds negative values, so it is not a strength: it is not the weight")
            continue
        return name, numbers
    return None, None


def _candidates(table: pd.DataFrame, free: list[str], role: str, told: dict[str, str]) -> list[str]:
    if role not in told:
        return pick(free, role)
    columns = {fold_column(name): name for name in free}
    wanted = told[role]
    if wanted in free:
        return [wanted]
    if fold_column(wanted) in columns:
        return [columns[fold_column(wanted)]]
    raise UserError(
        f"--format '{role}={wanted}': no such column apart from the ends (columns: {name_some(free, 8)}); "
        "name one of these"
    )


def _mostly_numbers(values: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(values):
        return bool(values.notna().any())
    some = values.iloc[:1000].str.strip()
    some = some[some != ""]
    return len(some) > 0 and bool(pd.to_numeric(some, errors="coerce").notna().mean() > 0.5)


assert set(ROLES) < set(TOLD)
