"""Old symbols and aliases of genes -> their current symbols. What could mean several genes is left alone, by name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.name_tables import MISSING, Renamed, fold
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.data.vocab import detect_species, is_ensembl_id
from grn_cotrain.errors import UserError

__all__ = ["AliasTable"]

_ALIAS = ("alias", "aliases", "old", "old_symbol", "synonym", "synonyms", "previous", "prev", "alias_symbol", "from")
_SYMBOL = (
    *("symbol", "current", "current_symbol", "new", "new_symbol", "approved symbol", "approved_symbol", "to"),
    *("hgnc_symbol", "hgnc symbol", "gene_symbol", "gene symbol", "gene_name", "gene name", "external_gene_name"),
    *("marker symbol", "mgi_symbol"),
)
_PREVIOUS = ("prev_symbol", "previous symbols", "previous symbol")
_OTHERS = ("alias_symbol", "alias symbols", "alias symbol", "synonyms", "marker synonyms")
_IDS = (
    *("ensembl_gene_id", "ensembl gene id", "ensembl id(supplied by ensembl)", "dbxrefs", "ensembl_id", "gene_ids"),
    *("ensembl id", "gene stable id", "gene stable id version", "gene_id", "ensembl", "ensembl accession id"),
)
_ENSEMBL_IN = re.compile(r"ENS(?:MUS)?G\d{5,}")


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
            symbol, others, body = 1, 0, table  # no header: alias, symbol; ids stand for the symbols next to them
            if is_ensembl_id(str(table[1].iloc[-1]).strip()) and not is_ensembl_id(str(table[0].iloc[-1]).strip()):
                symbol, others = 0, 1
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
            if name.lower() in MISSING:
                continue
            current.setdefault(fold(name), name)
            for kind, place in (("former", previous), ("other", others)):
                for alias in _several(row[place]) if place is not None else ():
                    if is_ensembl_id(alias):  # two columns of which one holds ids
                        by_id.setdefault(fold(alias).upper(), name)
                    elif fold(alias) != fold(name):
                        pairs[kind][fold(alias)][name] = None
            for found in _ENSEMBL_IN.findall(row[ids].upper()) if ids is not None else ():
                by_id.setdefault(found, name)
        if not pairs["former"] and not pairs["other"] and not by_id:
            raise UserError(f"alias table '{path}': holds no alias; give a table with content")
        former, other = ({alias: tuple(found) for alias, found in pairs[kind].items()} for kind in ("former", "other"))
        return cls(path, current, former, other, by_id)

    def candidates(self, name: str) -> tuple[str, ...]:
        """Current symbols that ``name`` may stand for: none if it is current itself or unknown."""
        key = fold(name)
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
        """Refuse a table of another species than the names: aliases ignore case, and so do not distinguish species."""
        own = detect_species([*self.current.values(), *self.by_id])[0]
        theirs = detect_species(names)[0]
        if own is not None and theirs is not None and own != theirs:
            raise UserError(
                f"--aliases '{self.path}': is of {own}, but {what} is of {theirs}; give a table of {theirs}"
            )

    def rename(self, names: Sequence[str]) -> Renamed:
        """Give names their current symbols.

        Left alone are names that stand for several genes, names whose current symbol is present too (the data set's
        own annotation then distinguishes them), and names of which two would become one. All are counted and named.
        """
        present = {fold(name) for name in names}
        found = {name: self.candidates(name) for name in dict.fromkeys(names)}
        wanted = Counter(fold(symbols[0]) for symbols in found.values() if len(symbols) == 1)
        ambiguous = [name for name, symbols in found.items() if len(symbols) > 1]
        taken = [
            name
            for name, symbols in found.items()
            if len(symbols) == 1 and (fold(symbols[0]) in present or wanted[fold(symbols[0])] > 1)
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
            by_gene[fold(self.canonical(feature))].append(feature)
        result = {}
        for name in names:
            found = by_gene.get(fold(self.canonical(name)), [])
            if len(found) == 1:
                result[name] = found[0]
        return result


def _several(text: str) -> list[str]:
    parts = (part.strip().strip('"') for part in re.split(r"\||, ", text))
    return [part for part in parts if part.lower() not in MISSING]
