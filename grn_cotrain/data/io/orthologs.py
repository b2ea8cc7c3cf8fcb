"""Genes -> those of the other species. Only one-to-one orthologs by default; the others leave, counted and named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.name_tables import MISSING, Renamed, TargetSpecies, fold
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.data.vocab import detect_species, is_ensembl_id
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["ORTHOLOG_POLICIES", "OrthologTable"]

ORTHOLOG_POLICIES = ("one2one", "sum")


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
        without a species are those of the other one. Two columns without a header are distinguished by their genes.

        Raises
        ------
        UserError
            A missing or damaged file, or columns whose species is unknown.
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
            raise UserError(f"ortholog table '{path}': no column 'DB Class Key'; fetch the file again")
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
                name if name.lower() not in MISSING else known for name, known in ((human, human_id), (mouse, mouse_id))
            ]
            if any(end.lower() in MISSING for end in ends):
                continue
            pairs[ends[0], ends[1]] = None
            for known, name in ((human_id, ends[0]), (mouse_id, ends[1])):
                if is_ensembl_id(known):
                    ids.setdefault(fold(known).upper(), name)
        if not pairs:
            raise UserError(
                f"ortholog table '{path}': holds no pair of a human and a mouse gene; give one with content"
            )
        return cls(path, tuple(pairs), ids)

    def direction(self, names: Sequence[str], source: str | None, what: str) -> TargetSpecies:
        """Species of the names: as given, else the one whose genes they are as written.

        Raises
        ------
        UserError
            The species cannot be determined.
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
                f"--orthologs '{self.path}': the names of {what} do not show whether it is of human or mouse "
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
            Their species; None: determined by the table.
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
            partners[fold(pair[here])][pair[there]] = None
            owners[fold(pair[there])].add(fold(pair[here]))
        result: list[str | None] = []
        none: list[str] = []
        several: list[str] = []
        shared: list[str] = []
        for name in names:
            key = fold(name)
            found = list(partners.get(key) or partners.get(fold(self.ids.get(key.upper(), "")), {}))
            if len({fold(partner) for partner in found}) == 1 and (policy == "sum" or len(owners[fold(found[0])]) == 1):
                result.append(found[0])
                continue
            result.append(None)
            (none if not found else several if len({fold(p) for p in found}) > 1 else shared).append(name)
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
        raise UserError(f"ortholog table '{path}': the species of its columns are unknown; name them human and mouse")
    return {"mouse": [found["mouse"]], "human": [1 - found["mouse"]]}


def _mostly_ids(values: pd.Series) -> bool:
    given = [value for value in values.head(2000) if value.strip().lower() not in MISSING]
    return bool(given) and sum(map(is_ensembl_id, given)) > 0.5 * len(given)
