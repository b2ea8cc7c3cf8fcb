"""Why names do not meet: one function looks at both sides, describes the names of each, and names the option that
helps."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.gene_names import clean_name, detect_species, make_name, name_kind, without_version

__all__ = ["INTERVALS", "diagnose", "find_cause", "main_kind", "respell"]

INTERVALS = "genomic intervals"
"""Kind of the names of peaks, as :func:`main_kind` names it."""
_MOST = 20_000  # names of each side that are looked at
_TABLE = "a table that has both, such as HGNC's complete set (columns symbol and ensembl_gene_id)"
_INDEX = "give the column of names, not the row numbers"
_HELP = {
    INTERVALS: "give genes, not peaks",
    "UniProt accessions": "take the file's column of symbols, or translate them first",
    "RefSeq accessions": "translate them to symbols first",
    "Ensembl transcripts or proteins": "translate them to genes first",
    "Ensembl ids of another species": "translate them to the genes of the data's species first",
}


def _stem(name: str) -> str:
    """``STAT1_RNA`` and ``STAT1|6772`` -> ``STAT1``."""
    return re.split(r"[|_:\s]|-(?=[A-Za-z]{3,}$)", name, maxsplit=1)[0]


def _leaf(name: str) -> str:
    """``GRCh38_STAT1`` and ``rna:STAT1`` -> ``STAT1``."""
    return re.split(r"[|_:\s]", name)[-1]


# Changes that are tried on names that are not found. The first that helps most is reported.
_SPELLINGS: tuple[tuple[Callable[[str], str], str, str], ...] = (
    (clean_name, "stand in quotes", "take the quotes off"),
    (without_version, "are ids with versions", "leave the versions out"),
    (make_name, "have dots where the other side has dashes, as R's make.names writes them", "give names as published"),
    (_stem, "have something behind the name", "cut it off"),
    (_leaf, "have something before the name", "cut it off"),
)


def respell(names: Iterable[str], features: Iterable[str]) -> dict[str, str]:
    """Features that differ from a name only by R's ``make.names`` (``HLA-A`` and ``HLA.A``), where one name fits one.

    Parameters
    ----------
    names
        Names that are not features unchanged.
    features
        Names of the data.

    Returns
    -------
    dict
        Name -> feature. Names that would fit several features, and features that several names would fit, are left out.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        wanted[make_name(name).casefold()].append(name)
    if not wanted:
        return {}
    there: dict[str, list[str]] = defaultdict(list)
    for feature in features:
        if (key := make_name(feature).casefold()) in wanted:
            there[key].append(feature)
    return {
        given[0]: there[key][0] for key, given in wanted.items() if len(given) == 1 and len(there.get(key, ())) == 1
    }


def diagnose(
    lost: Sequence[str],
    known: Sequence[str],
    known_ids: Sequence[str] = (),
    *,
    here: str = "the list",
    there: str = "the data",
    aliases: bool = True,
) -> str:
    """Explain in one clause why names are not found, and how to fix it.

    Parameters
    ----------
    lost
        Names that were not found.
    known, known_ids
        Symbols of the other side, and its ids (empty texts where there are none).
    here, there
        How the two sides are called.
    aliases
        Whether the command that asks has the option ``--aliases``.

    Returns
    -------
    str
        Cause and remedy, without a full stop.
    """
    found = find_cause(lost, known, known_ids, here=here, there=there, aliases=aliases)
    if found:
        return found
    if not lost or not known:
        return f"{here if not lost else there} holds no names; give some"
    kind = _main_kind([str(name) for name in lost[:_MOST]])[0]
    return (
        f"both sides hold {kind} ({here}: {name_some(lost, 3)}; {there}: {name_some(known, 3)}) and share none "
        "of these: check that both are of one species and release"
        + ("; --aliases brings old symbols up to date" if aliases else "")
    )


def find_cause(
    lost: Sequence[str],
    known: Sequence[str],
    known_ids: Sequence[str] = (),
    *,
    here: str = "the list",
    there: str = "the data",
    aliases: bool = True,
) -> str:
    """The same as :func:`diagnose` where the names show a cause, and an empty text where they do not."""
    lost, known = [str(name) for name in lost[:_MOST]], [str(name) for name in known[:_MOST]]
    if not lost or not known:
        return ""
    respelled = _spelling(lost, {*known, *(name for name in known_ids[:_MOST] if name)}, here)
    if respelled:
        return respelled
    kind, example = _main_kind(lost)
    other, other_example = _main_kind(known)
    if kind != other:
        option = "give --aliases" if aliases else "translate the names first, with"
        return _two_kinds(lost, kind, example, other, other_example, here, there, option)
    species, theirs = detect_species(lost)[0], detect_species(known)[0]
    if species is not None and theirs is not None and species != theirs:
        return f"{here} is of {species}, {there} is of {theirs}: give --orthologs a table of human and mouse genes"
    if kind == "numbers":
        return f"both sides are numbers ({example}, {other_example}), not names: give symbols or Ensembl ids"
    return ""


def _two_kinds(
    lost: Sequence[str], kind: str, example: str, other: str, other_example: str, here: str, there: str, option: str
) -> str:
    cause = f"{here} holds {kind} ({example}), {there} holds {other} ({other_example})"
    if kind == "numbers":
        rows = [int(float(name)) for name in lost if name_kind(name) == "numbers"]
        if len(rows) > 1 and all(b - a == 1 for a, b in itertools.pairwise(rows)):
            return f"{cause}: these look like row numbers; {_INDEX}"
        return f"{cause}: these may be Entrez ids or row numbers; give symbols or Ensembl ids"
    if other == "numbers":
        return f"{cause}: prepare the cells with names of genes; grn-prep counts --names chooses their column"
    ids = ("Ensembl ids", "HGNC or MGI ids")
    if {kind, other} == {"Ensembl ids", "symbols"}:
        return f"{cause}: {option} {_TABLE}"
    if kind in ids or other in ids:
        return f"{cause}: translate one side to the names of the other first"
    return f"{cause}: {_HELP.get(kind) or _HELP.get(other) or 'give names of one kind'}"


def _main_kind(names: Sequence[str]) -> tuple[str, str]:
    kinds = Counter(name_kind(name) for name in names)
    kind = kinds.most_common(1)[0][0]
    return kind, next(name for name in names if name_kind(name) == kind)


def main_kind(names: Sequence[str]) -> str:
    """Kind of most of these names."""
    return _main_kind([str(name) for name in names[:_MOST]])[0]


def _spelling(lost: Sequence[str], known: set[str], here: str) -> str:
    """Prefix or suffix of most of the lost names, if removing it finds them."""
    folded = {name.casefold(): name for name in known}
    best = (0, "")
    for change, cause, remedy in _SPELLINGS:
        there = {change(name).casefold(): name for name in known} if change in (make_name, without_version) else folded
        hits = [(name, there[key]) for name in lost if (key := change(name).casefold()) in there]
        hits = [(name, found) for name, found in hits if name.casefold() != found.casefold()]
        if len(hits) > best[0]:
            name, found = hits[0]
            text = f"{len(hits):,} names of {here} {cause} ({name}, and {found} on the other side): {remedy}"
            best = (len(hits), text)
    return best[1] if best[0] >= max(1, len(lost) // 10) else ""
