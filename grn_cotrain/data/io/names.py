"""Tables of gene names that a user gives: old symbols -> current ones, genes -> those of the other species.

A gene is never guessed: names that could mean several genes are left alone (aliases) or left out (orthologs), counted
and named.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.data.vocab import detect_species, is_ensembl_id
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["ORTHOLOG_POLICIES", "AliasTable", "OrthologTable", "Renamed", "TargetSpecies"]

TargetSpecies = Literal["human", "mouse"]
ORTHOLOG_POLICIES = ("one2one", "sum")

_ALIAS = ("alias", "aliases", "old", "old_symbol", "synonym", "synonyms", "previous", "prev", "alias_symbol", "from")
_SYMBOL = ("symbol", "current", "current_symbol", "new", "new_symbol", "approved symbol", "approved_symbol", "to")
_PREVIOUS = ("prev_symbol", "previous symbols", "previous symbol")
_OTHERS = ("alias_symbol", "alias symbols", "alias symbol", "synonyms")
_IDS = ("ensembl_gene_id", "ensembl gene id", "ensembl id(supplied by ensembl)", "dbxrefs", "ensembl_id", "gene_ids")
_ENSEMBL_IN = re.compile(r"ENS(?:MUS)?G\d{5,}")
_MISSING = ("", "-", "nan", "na")


@dataclass
class Renamed:
    """Names after a table was applied.

    Attributes
    ----------
    names
        One for each name given; None where it has no counterpart.
    notes
        What a user must hear.
    unchanged
        No name was to be changed: they are of the wanted species already.
    species
        Of the names now; None where that was not asked.
    """

    names: list[str | None]
    notes: list[str] = field(default_factory=list)
    unchanged: bool = False
    species: TargetSpecies | None = None


# -- aliases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AliasTable:
    """Old symbols and aliases of the genes of one species.

    Attributes
    ----------
    path
        Where it was read.
    current
        Folded current symbol -> the symbol as written.
    former, other
        Folded former symbol, and folded alias -> the current symbols it stands for. A former symbol outranks an alias:
        ``SEPT2`` was SEPTIN2's own symbol, and only an alias of SEPTIN6.
    by_id
        Ensembl id -> current symbol.
    """

    path: str
    current: dict[str, str]
    former: dict[str, tuple[str, ...]]
    other: dict[str, tuple[str, ...]]
    by_id: dict[str, str]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a table of two columns (alias, symbol), HGNC's complete set, or NCBI's ``gene_info``.

        Columns are known by name: ``alias`` and ``symbol``; ``symbol``, ``alias_symbol`` and ``prev_symbol`` (several
        joined by ``|``); ``Symbol`` and ``Synonyms``. Two columns without a header are alias, then symbol.

        Raises
        ------
        UserError
            A missing or damaged file, or none of these columns.
        """
        table = read_table(path, what="alias table", header=False)
        head = [str(value).strip().lower().lstrip("#") for value in table.iloc[0]]
        column = {name: i for i, name in reversed(list(enumerate(head)))}
        symbol = next((column[name] for name in _SYMBOL if name in column), None)
        alias = next((column[name] for name in _ALIAS if name in column), None)
        previous = next((column[name] for name in _PREVIOUS if name in column), None)
        others = next((column[name] for name in _OTHERS if name in column), None)
        ids = next((column[name] for name in _IDS if name in column), None)
        body = table.iloc[1:]
        if symbol is None and alias is None and table.shape[1] == 2:
            symbol, others, body = 1, 0, table  # no header: alias, symbol
        elif previous is None and others is None:
            others = alias
        if symbol is None or (previous is None and others is None and ids is None):
            raise UserError(
                f"alias table '{path}': no columns of aliases and symbols (has {name_some(head)}); give two columns "
                "named alias and symbol, HGNC's complete set, or NCBI's gene_info"
            )
        if "status" in column:
            body = body[~body[column["status"]].str.contains("withdrawn", case=False)]
        return cls._build(str(path), body, symbol, previous, others, ids)

    @classmethod
    def _build(
        cls, path: str, body: pd.DataFrame, symbol: int, previous: int | None, others: int | None, ids: int | None
    ) -> Self:
        current: dict[str, str] = {}
        pairs: dict[str, dict[str, dict[str, None]]] = {"former": defaultdict(dict), "other": defaultdict(dict)}
        by_id: dict[str, str] = {}
        for row in body.itertuples(index=False, name=None):
            name = row[symbol].strip()
            if name.lower() in _MISSING:
                continue
            current.setdefault(_fold(name), name)
            for kind, place in (("former", previous), ("other", others)):
                for alias in _several(row[place]) if place is not None else ():
                    if _fold(alias) != _fold(name):
                        pairs[kind][_fold(alias)][name] = None
            for found in _ENSEMBL_IN.findall(row[ids]) if ids is not None else ():
                by_id.setdefault(found, name)
        if not pairs["former"] and not pairs["other"] and not by_id:
            raise UserError(f"alias table '{path}': holds no alias; give a table with content")
        former, other = ({alias: tuple(found) for alias, found in pairs[kind].items()} for kind in ("former", "other"))
        return cls(path, current, former, other, by_id)

    def candidates(self, name: str) -> tuple[str, ...]:
        """Current symbols that ``name`` may stand for: none if it is current itself or unknown."""
        key = _fold(name)
        if is_ensembl_id(name):
            found = self.by_id.get(key.upper())
            return (found,) if found is not None else ()
        if key in self.current:
            return ()
        return self.former.get(key) or self.other.get(key) or ()

    def canonical(self, name: str) -> str:
        """The one current symbol of a name, else the name itself."""
        found = self.candidates(name)
        return found[0] if len(found) == 1 else name

    def check_species(self, names: Iterable[str], what: str) -> None:
        """Refuse a table of another species than the names: aliases ignore case, and so do not tell species apart."""
        own = detect_species([*self.current.values(), *self.by_id])[0]
        theirs = detect_species(names)[0]
        if own is not None and theirs is not None and own != theirs:
            raise UserError(
                f"--aliases '{self.path}': is of {own}, but {what} is of {theirs}; give a table of {theirs}"
            )

    def rename(self, names: Sequence[str]) -> Renamed:
        """Give names their current symbols.

        Left alone are names that stand for several genes, names whose current symbol is present too (the data set's
        own annotation then tells them apart), and names of which two would become one. All are counted and named.
        """
        present = {_fold(name) for name in names}
        found = {name: self.candidates(name) for name in dict.fromkeys(names)}
        wanted = Counter(_fold(symbols[0]) for symbols in found.values() if len(symbols) == 1)
        ambiguous = [name for name, symbols in found.items() if len(symbols) > 1]
        taken = [
            name
            for name, symbols in found.items()
            if len(symbols) == 1 and (_fold(symbols[0]) in present or wanted[_fold(symbols[0])] > 1)
        ]
        alone = {*ambiguous, *taken}
        result = Renamed([found[name][0] if found[name] and name not in alone else name for name in names])
        changed = [f"{old} -> {new}" for old, new in zip(names, result.names, strict=True) if old != new]
        if changed:
            result.notes.append(f"{len(changed):,} genes took their current symbols: {name_some(changed, 3)}")
        if ambiguous:
            result.notes.append(
                f"{len(ambiguous):,} names are aliases of several genes and were left alone: {name_some(ambiguous, 3)}"
            )
        if taken:
            result.notes.append(
                f"{len(taken):,} aliases were left alone since their gene is in the data under another name: "
                f"{name_some(taken, 3)}"
            )
        return result

    def match(self, names: Iterable[str], features: Iterable[str]) -> dict[str, str]:
        """Feature of each name that means the same gene, whichever of the two is the older symbol.

        Only unambiguous matches are returned; names that are features already are not asked about.
        """
        by_gene: dict[str, list[str]] = defaultdict(list)
        for feature in features:
            by_gene[_fold(self.canonical(feature))].append(feature)
        result = {}
        for name in names:
            found = by_gene.get(_fold(self.canonical(name)), [])
            if len(found) == 1:
                result[name] = found[0]
        return result


# -- orthologs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrthologTable:
    """Pairs of human and mouse genes.

    Attributes
    ----------
    path
        Where it was read.
    pairs
        Distinct ``(human, mouse)`` names: symbols, or Ensembl ids where a gene has no symbol.
    ids
        Ensembl id without version -> name, of both species.
    """

    path: str
    pairs: tuple[tuple[str, str], ...]
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read two columns (human, mouse), JAX's ``HOM_MouseHumanSequence``, or an export of Ensembl BioMart.

        Columns are known by name: one with *human* and one with *mouse* in it; in exports of BioMart the columns
        without a species are those of the other one. Two columns without a header are told apart by their genes.

        Raises
        ------
        UserError
            A missing or damaged file, or columns whose species nothing tells.
        """
        table = read_table(path, what="ortholog table", header=False)
        head = [str(value).strip().lower() for value in table.iloc[0]]
        if "common organism name" in head and "symbol" in head:
            return cls._from_classes(str(path), table.iloc[1:], head)
        columns = {species: _columns_of(species, head) for species in ("human", "mouse")}
        body = table.iloc[1:]
        for species, rest in (("human", "mouse"), ("mouse", "human")):
            if columns[rest] and not columns[species]:  # BioMart names the columns of its own species without it
                columns[species] = [i for i, name in enumerate(head) if name in ("gene name", "gene stable id")]
        if not (columns["human"] and columns["mouse"]) and table.shape[1] == 2:
            columns, body = _told_by_genes(table, str(path)), table
        if not (columns["human"] and columns["mouse"]):
            raise UserError(
                f"ortholog table '{path}': no columns of human and mouse genes (has {name_some(head)}); "
                "name them human and mouse"
            )
        names, ids = {}, {}
        for species, places in columns.items():
            names[species] = next((i for i in places if not _mostly_ids(body[i])), None)
            ids[species] = next((i for i in places if _mostly_ids(body[i])), None)
        rows = []
        for row in body.itertuples(index=False, name=None):
            rows.append(
                [
                    tuple("" if place is None else row[place].strip() for place in (names[species], ids[species]))
                    for species in ("human", "mouse")
                ]
            )
        return cls._build(str(path), rows)

    @classmethod
    def _from_classes(cls, path: str, body: pd.DataFrame, head: list[str]) -> Self:
        """JAX: one row a gene; genes of one class key are homologs."""
        key = next((head.index(name) for name in ("db class key", "homologene id") if name in head), None)
        if key is None:
            raise UserError(f"ortholog table '{path}': no column 'DB Class Key'; fetch the file anew")
        organism, symbol = head.index("common organism name"), head.index("symbol")
        classes: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"human": [], "mouse": []})
        for row in body.itertuples(index=False, name=None):
            species = next((name for name in ("human", "mouse") if name in row[organism].lower()), None)
            if species is not None:
                classes[row[key]][species].append(row[symbol].strip())
        rows = [[(h, ""), (m, "")] for genes in classes.values() for h in genes["human"] for m in genes["mouse"]]
        return cls._build(path, rows)

    @classmethod
    def _build(cls, path: str, rows: Sequence[Sequence[tuple[str, ...]]]) -> Self:
        pairs: dict[tuple[str, str], None] = {}
        ids: dict[str, str] = {}
        for (human, human_id), (mouse, mouse_id) in rows:
            ends = [
                name if name.lower() not in _MISSING else known
                for name, known in ((human, human_id), (mouse, mouse_id))
            ]
            if any(end.lower() in _MISSING for end in ends):
                continue
            pairs[ends[0], ends[1]] = None
            for known, name in ((human_id, ends[0]), (mouse_id, ends[1])):
                if is_ensembl_id(known):
                    ids.setdefault(_fold(known).upper(), name)
        if not pairs:
            raise UserError(
                f"ortholog table '{path}': holds no pair of a human and a mouse gene; give one with content"
            )
        return cls(path, tuple(pairs), ids)

    def direction(self, names: Sequence[str], source: str | None, what: str) -> TargetSpecies:
        """Species of the names: as told, else the one whose genes they are as written.

        Raises
        ------
        UserError
            Nothing tells.
        """
        if source in ("human", "mouse"):
            return source  # type: ignore[return-value]
        given = set(names)
        as_written = {
            "human": len(given & {human for human, _ in self.pairs}),
            "mouse": len(given & {mouse for _, mouse in self.pairs}),
        }
        best, other = sorted(as_written, key=lambda species: -as_written[species])
        if as_written[best] <= 2 * as_written[other]:
            raise UserError(
                f"--orthologs '{self.path}': whether {what} is of human or mouse, its names do not tell "
                f"({as_written['human']:,} are human genes of the table, {as_written['mouse']:,} mouse genes); "
                "name it with --species"
            )
        return best  # type: ignore[return-value]

    def convert(
        self,
        names: Sequence[str],
        *,
        source: str | None = None,
        target: TargetSpecies | None = None,
        policy: str = "one2one",
        what: str = "names",
    ) -> Renamed:
        """Give genes the names of their orthologs.

        Parameters
        ----------
        names
            Symbols or Ensembl ids of one species.
        source
            Their species; None: told by the table.
        target
            The species wanted; names that are of it already come back as they are. None: the other one.
        policy
            ``one2one``: only genes with one ortholog that is theirs alone. ``sum``: several genes may share an ortholog
            (their counts are to be summed). A gene with several orthologs has none that could be chosen, under both.
        what
            How errors call the names.
        """
        if policy not in ORTHOLOG_POLICIES:
            raise UserError(
                f"--orthologs-policy '{policy}': choose from {', '.join(ORTHOLOG_POLICIES)}"
                f"{did_you_mean(policy, ORTHOLOG_POLICIES)}"
            )
        species = self.direction(names, source, what)
        if target == species:
            return Renamed(
                list(names), [f"orthologs: the genes are {species} already"], unchanged=True, species=species
            )
        here, there = (0, 1) if species == "human" else (1, 0)
        partners: dict[str, dict[str, None]] = defaultdict(dict)
        owners: dict[str, set[str]] = defaultdict(set)
        for pair in self.pairs:
            partners[_fold(pair[here])][pair[there]] = None
            owners[_fold(pair[there])].add(_fold(pair[here]))
        result: list[str | None] = []
        none: list[str] = []
        several: list[str] = []
        shared: list[str] = []
        for name in names:
            key = _fold(name)
            found = list(partners.get(key) or partners.get(_fold(self.ids.get(key.upper(), "")), {}))
            if len({_fold(partner) for partner in found}) == 1 and (
                policy == "sum" or len(owners[_fold(found[0])]) == 1
            ):
                result.append(found[0])
                continue
            result.append(None)
            (none if not found else several if len({_fold(p) for p in found}) > 1 else shared).append(name)
        kept = len(names) - len(none) - len(several) - len(shared)
        notes = [f"orthologs: {kept:,} of {len(names):,} {species} genes took their {('human', 'mouse')[there]} names"]
        for lost, why in (
            (none, "no ortholog in the table"),
            (several, "several orthologs"),
            (shared, "an ortholog that other genes share (--orthologs-policy sum adds them up)"),
        ):
            if lost:
                notes.append(f"{len(lost):,} genes were left out, with {why}: {name_some(lost, 3)}")
        return Renamed(result, notes, species="mouse" if there else "human")


def _columns_of(species: str, head: list[str]) -> list[int]:
    words = {"human": ("human", "hsapiens", "homo_sapiens", "homo sapiens"), "mouse": ("mouse", "mmusculus", "mus_mus")}
    unwanted = ("type", "confidence", "identity", "chrom", "start", "end", "orthology", "position", "coverage", "score")
    return [
        i
        for i, name in enumerate(head)
        if any(word in name for word in words[species]) and not any(word in name for word in unwanted)
    ]


def _told_by_genes(table: pd.DataFrame, path: str) -> dict[str, list[int]]:
    found = {detect_species(table[i])[0]: i for i in (0, 1)}
    if "mouse" not in found:
        raise UserError(
            f"ortholog table '{path}': nothing tells which column is of which species; name them human and mouse"
        )
    return {"mouse": [found["mouse"]], "human": [1 - found["mouse"]]}


def _mostly_ids(values: pd.Series) -> bool:
    given = [value for value in values.head(2000) if value.strip().lower() not in _MISSING]
    return bool(given) and sum(map(is_ensembl_id, given)) > 0.5 * len(given)


def _several(text: str) -> list[str]:
    parts = (part.strip().strip('"') for part in re.split(r"\||, ", text))
    return [part for part in parts if part.lower() not in _MISSING]


def _fold(name: str) -> str:
    text = name.strip()
    return (text.split(".")[0] if is_ensembl_id(text) else text).casefold()
