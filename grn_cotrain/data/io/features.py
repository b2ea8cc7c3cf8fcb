"""Names, ids and modality of a file's features: which stay, what they are called, and why a name changed.

Dimension letters: N features of the file, G features that stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import AlignmentReport, name_some
from grn_cotrain.data.diagnosis import diagnose
from grn_cotrain.data.io.column_words import GENE_ID_WORDS
from grn_cotrain.data.io.names import AliasTable, OrthologTable, TargetSpecies
from grn_cotrain.data.io.naming import name_features, symbols_of
from grn_cotrain.data.io.raw_matrix import canonical_modality, looks_like_peaks, modality_words
from grn_cotrain.data.vocab import MODALITIES, detect_species, is_ensembl_id
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["Features", "NameTables", "TableOptions", "resolve_features"]

_TYPE_COLUMNS = ("modality", "feature_types", "feature_type")
_BIOTYPE = re.compile(r".*(?:rna|pseudogene|_gene|coding|ribozyme|transcript|tec|artifact|intron)s?", re.IGNORECASE)
_NO_FEATURES = ("crispr guide capture", "multiplexing capture", "custom", "antigen capture", "hto", "hashtag")
_GENOMES = {
    **dict.fromkeys(("GRCh38", "GRCh37", "hg38", "hg19"), "human"),
    **dict.fromkeys(("mm10", "mm39", "mm9", "GRCm38", "GRCm39"), "mouse"),
}
_PREFIXED = re.compile(rf"({'|'.join(_GENOMES)})_+(.+)")
_MOUSE_STYLE = re.compile(r"[A-Z][a-z]+[a-z0-9.\-]*")
_HUMAN_STYLE = re.compile(r"[A-Z]{2}[A-Z0-9.\-]*")
_MIXED = 0.2  # share of names of either style from which a file is a mixture of species
_DATE = re.compile(r"\d{1,2}-(?:Mar|Sep|Dec)|(?:Mar|Sep|Dec)-\d{1,2}", re.IGNORECASE)


class TableOptions(TypedDict, total=False):
    """How names are changed, as keyword arguments of the readers: see :class:`NameTables`."""

    aliases: AliasTable | None
    orthologs: OrthologTable | None
    orthologs_policy: str
    to_species: TargetSpecies | None
    species: TargetSpecies | None
    names: str | None


@dataclass(frozen=True)
class NameTables:
    """How names are changed on the way in.

    Attributes
    ----------
    aliases
        Old symbols become current ones.
    orthologs
        Genes become those of the other species.
    policy
        ``one2one``: other orthologs are left out; ``sum``: several genes of one ortholog are summed.
    to_species
        With ``orthologs``: the species wanted; cells that are of it already stay. None: the other one.
    species
        Species of the cells where the names are ambiguous.
    names
        Column that holds the features' names, where the index does not; ``index`` for the index.
    """

    aliases: AliasTable | None = None
    orthologs: OrthologTable | None = None
    policy: str = "one2one"
    to_species: TargetSpecies | None = None
    species: TargetSpecies | None = None
    names: str | None = None

    @classmethod
    def of(cls, options: TableOptions) -> NameTables:
        """From the keyword arguments of a reader."""
        given = dict(options)
        policy = given.pop("orthologs_policy", "one2one")
        return cls(**given, policy=policy)  # type: ignore[arg-type]


@dataclass
class Features:
    """Features of a file after reading.

    Attributes
    ----------
    var
        ``G`` rows: ``gene_ids`` and ``modality``, indexed by name.
    column_N
        Column of each feature of the file, -1 where it was left out.
    species
        Species of the genes, where a table of orthologs determined it.
    report, notes
        Lines to report. ``report.renamed`` lists every changed name, ``report.reasons`` gives the reasons.
    """

    var: pd.DataFrame
    column_N: np.ndarray
    report: AlignmentReport
    notes: list[str] = field(default_factory=list)
    species: TargetSpecies | None = None

    def take(self, X: sparse.csr_matrix) -> sparse.csr_matrix:
        """The columns that stay, in order; columns of one name are summed."""
        if np.array_equal(self.column_N, np.arange(X.shape[1])):
            return X
        kept = np.flatnonzero(self.column_N >= 0)
        if np.array_equal(self.column_N[kept], np.arange(kept.size)):
            return X[:, kept]
        place = sparse.csr_matrix(
            (np.ones(kept.size, X.dtype), (kept, self.column_N[kept])), shape=(X.shape[1], len(self.var))
        )
        return X @ place


@dataclass
class _Names:
    """Features on their way; ``why`` collects reasons, one list a feature."""

    given: list[str]
    now: list[str]
    ids: list[str]
    modality: list[str]
    why: list[list[str]]

    def change(self, i: int, name: str, reason: str) -> None:
        if name != self.now[i]:
            self.now[i] = name
            self.why[i].append(reason)

    def genes(self) -> list[int]:
        return [i for i, modality in enumerate(self.modality) if modality == "gene"]


def resolve_features(var: pd.DataFrame, what: str, *, modality: str | None = None, tables: NameTables) -> Features:
    """Decide about every feature of a file.

    Parameters
    ----------
    var
        Index: names; columns that are known by name give ids, symbols and feature types.
    what
        How errors call the file.
    modality
        ``rna``, or ``rna,prot``: the others are left out.

    Raises
    ------
    UserError
        Unknown feature types, no feature of the modality, two species in one file, names that occur more than once.
    """
    given, notes = name_features(var, what, tables.names)
    types = _modalities(var, given, what, notes)
    kept = _of_modality(types, modality, what)
    ids = _text_column(var, GENE_ID_WORDS) or [name if is_ensembl_id(name) else "" for name in given]
    ids = ["" if known == name and not is_ensembl_id(name) else known for known, name in zip(ids, given, strict=True)]
    names = _Names(
        [given[i] for i in kept],
        [given[i] for i in kept],
        [ids[i] for i in kept],
        [types[i] for i in kept],
        [[] for _ in kept],
    )
    symbols = symbols_of(var) if tables.names is None else None
    _strip_genome(names, what, notes)
    _refuse_mixture(names, what)
    _name_by_symbol(names, None if symbols is None else [symbols[i] for i in kept], notes)
    if tables.aliases is not None:
        _apply_aliases(names, tables, what, notes)
    report = AlignmentReport(num_given=len(names.given))
    stays = np.ones(len(names.given), dtype=bool)
    species, summed = None, False
    if tables.orthologs is not None:
        species, summed = _apply_orthologs(names, tables, what, stays, report, notes)
    _say_dates(names, notes)
    _tell_apart(names, stays, what, notes, summed=summed)
    features = _finished(names, stays, np.asarray(kept, dtype=np.int64), len(given), report, notes)
    features.species = species
    return features


def _finished(
    names: _Names, stays: np.ndarray, kept: np.ndarray, num_given: int, report: AlignmentReport, notes: list[str]
) -> Features:
    column_N = np.full(num_given, -1, dtype=np.int64)
    place: dict[tuple[str, str], int] = {}
    ids: list[str] = []
    for i in np.flatnonzero(stays):
        key = (names.modality[i], names.now[i])
        if key in place:
            report.duplicated.append(names.given[i])
        else:
            ids.append(names.ids[i])
        column_N[kept[i]] = place.setdefault(key, len(place))
        report.mapped += 1
        if names.now[i] != names.given[i]:
            report.rename(names.given[i], names.now[i], " + ".join(dict.fromkeys(names.why[i])))
    index = pd.Index([name for _, name in place], dtype=object)
    var = pd.DataFrame({"gene_ids": ids, "modality": [modality for modality, _ in place]}, index=index)
    return Features(var, column_N, report, notes)


# -- columns of the file ---------------------------------------------------------------------------------------------


def _text_column(var: pd.DataFrame, names: Sequence[str]) -> list[str] | None:
    lower = {str(column).lower(): column for column in var.columns}
    found = next((lower[name] for name in names if name in lower), None)
    if found is None:
        return None
    return ["" if pd.isna(value) else str(value) for value in var[found]]


def _modalities(var: pd.DataFrame, given: list[str], what: str, notes: list[str]) -> list[str]:
    """Modality of each feature; empty for guides, hashtags and the like, which are not biology of the cell."""
    types = _text_column(var, _TYPE_COLUMNS)
    if types is None:
        if not looks_like_peaks(given):
            return ["gene"] * len(given)
        notes.append("features are genomic intervals: taken as peaks")
        return ["peak"] * len(given)
    result, unused, strange = [], [], []
    for name, value in zip(given, types, strict=True):
        modality = canonical_modality(value) or ("gene" if value == "" or _BIOTYPE.fullmatch(value) else "")
        if not modality and value.strip().lower() in _NO_FEATURES:
            unused.append(name)
        elif not modality:
            strange.append(value)
        result.append(modality)
    if strange:
        listed = name_some([f"'{value}'" for value in dict.fromkeys(strange)])
        known = modality_words()
        one = len(set(strange)) == 1
        raise UserError(
            f"{what}: feature type{'' if one else 's'} {listed} {'is' if one else 'are'} unknown"
            f"{did_you_mean(strange[0].lower(), known)}; remove those features (known: {', '.join(MODALITIES)})"
        )
    if unused:
        notes.append(f"{len(unused):,} guides, hashtags or custom features were left out: {name_some(unused, 3)}")
    return result


def _of_modality(types: list[str], modality: str | None, what: str) -> list[int]:
    wanted = set(MODALITIES)
    if modality is not None:
        parts = [part.strip() for part in modality.split(",") if part.strip()]
        wanted = {canonical_modality(part) for part in parts}
        present = [name for name in MODALITIES if name in types]
        for part in parts:
            if canonical_modality(part) not in present:
                raise UserError(
                    f"--modality '{part}': {what} has no such modality; choose from {', '.join(present)}"
                    f"{did_you_mean(part, present)}"
                )
    return [i for i, name in enumerate(types) if name in wanted]


# -- species ---------------------------------------------------------------------------------------------------------


def _strip_genome(names: _Names, what: str, notes: list[str]) -> None:
    """``GRCh38_STAT1`` -> ``STAT1``; a file with genes of two genomes is a mixture of species."""
    genes = names.genes()
    matches = {i: _PREFIXED.fullmatch(names.now[i]) for i in genes}
    genomes = {match.group(1) for match in matches.values() if match}
    if len({_GENOMES[genome] for genome in genomes}) > 1:
        raise UserError(
            f"{what}: genes of two species ({', '.join(sorted(genomes))}): a species mixture; "
            "keep the cells and genes of one species first"
        )
    if not genomes:
        return
    for i, match in matches.items():
        if match:
            names.change(i, match.group(2), "genome prefix")
            inner = _PREFIXED.fullmatch(names.ids[i])
            names.ids[i] = inner.group(2) if inner else names.ids[i]
    notes.append(f"genes are named by genome ({', '.join(sorted(genomes))}): the prefix was taken off")


def _refuse_mixture(names: _Names, what: str) -> None:
    genes = names.genes()
    told = [f"{names.now[i]}" for i in genes]
    known = [names.ids[i] or names.now[i] for i in genes]
    human = [name for name in known if is_ensembl_id(name) and name.upper().startswith("ENSG")]
    mouse = [name for name in known if is_ensembl_id(name) and name.upper().startswith("ENSMUSG")]
    if not (human and mouse):
        human = [name for name in told if _HUMAN_STYLE.fullmatch(name)]
        mouse = [name for name in told if _MOUSE_STYLE.fullmatch(name)]
    if min(len(human), len(mouse)) > max(4, _MIXED * len(genes)):
        raise UserError(
            f"{what}: genes of two species: {len(human):,} like {human[0]} (human), {len(mouse):,} like {mouse[0]} "
            "(mouse); keep the cells and genes of one species first"
        )


# -- names -----------------------------------------------------------------------------------------------------------


def _name_by_symbol(names: _Names, symbols: list[str] | None, notes: list[str]) -> None:
    genes = names.genes()
    if symbols is None or sum(is_ensembl_id(names.now[i]) for i in genes) <= 0.5 * len(genes) or not genes:
        return
    for i in genes:
        if is_ensembl_id(names.now[i]):
            names.ids[i] = names.now[i]
        names.change(i, symbols[i] or names.now[i], "Ensembl id")
    notes.append("genes are named by Ensembl ids; the file's symbols were taken")


def _apply_aliases(names: _Names, tables: NameTables, what: str, notes: list[str]) -> None:
    assert tables.aliases is not None
    genes = names.genes()
    tables.aliases.check_species([names.now[i] for i in genes], what)
    renamed = tables.aliases.rename([names.now[i] for i in genes])
    for i, new in zip(genes, renamed.names, strict=True):
        if is_ensembl_id(names.now[i]) and new != names.now[i]:
            names.ids[i] = names.ids[i] or names.now[i]
        names.change(i, new or names.now[i], "alias")
    notes += renamed.notes


def _apply_orthologs(
    names: _Names, tables: NameTables, what: str, stays: np.ndarray, report: AlignmentReport, notes: list[str]
) -> tuple[TargetSpecies | None, bool]:
    """Genes take the names of the other species; returns theirs, and whether columns of one name are to be summed."""
    assert tables.orthologs is not None
    genes = names.genes()
    told = [names.now[i] for i in genes]
    found = detect_species([*told, *(names.ids[i] for i in genes if names.ids[i])])[0]
    result = tables.orthologs.convert(
        told, source=found or tables.species, target=tables.to_species, policy=tables.policy, what=what
    )
    notes += result.notes
    if result.unchanged:
        return result.species, False
    for i, new in zip(genes, result.names, strict=True):
        if new is None:
            stays[i] = False
            report.lost.append(names.given[i])
        else:
            # Case alone may differ: Stat1 -> STAT1 is an ortholog's name all the same.
            names.change(i, new, "ortholog")
            names.ids[i] = new if is_ensembl_id(new) else ""
    peaks = [i for i, modality in enumerate(names.modality) if modality == "peak"]
    for i in peaks:
        stays[i] = False
        report.lost.append(names.given[i])
    if peaks:
        notes.append(f"{len(peaks):,} peaks were left out: their coordinates are of the other species' genome")
    if not any(stays[i] for i in genes):
        known = [name for pair in tables.orthologs.pairs for name in pair]
        why = diagnose(told, known, list(tables.orthologs.ids), here=what, there="the table of orthologs")
        raise UserError(f"{what}: no gene has an ortholog in the table; {why}")
    return result.species, tables.policy == "sum"


def _say_dates(names: _Names, notes: list[str]) -> None:
    dates = [names.now[i] for i in names.genes() if _DATE.fullmatch(names.now[i])]
    if dates:
        notes.append(
            f"{len(dates):,} gene names are dates ({name_some(dates, 3)}): a spreadsheet changed genes such as MARCH1 "
            "or SEPT2; take the names from the original file"
        )


def _tell_apart(names: _Names, stays: np.ndarray, what: str, notes: list[str], *, summed: bool) -> None:
    """Give later bearers of a repeated symbol their Ensembl id as a name (10x matrices have some); else refuse."""
    seen: set[tuple[str, str]] = set()
    doubled: list[str] = []
    hopeless: list[str] = []
    taken = {names.now[i] for i in np.flatnonzero(stays)}
    for i in np.flatnonzero(stays).tolist():
        key, known = (names.modality[i], names.now[i]), names.ids[i]
        if key in seen and not (summed and "ortholog" in names.why[i]):
            if not known or known in taken:
                hopeless.append(names.now[i])
            else:
                doubled.append(names.now[i])
                names.change(i, known, "repeated symbol")
                taken.add(known)
        seen.add((names.modality[i], names.now[i]))
    if hopeless:
        repeated = list(dict.fromkeys(hopeless))
        raise UserError(
            f"{what}: {len(repeated):,} gene names occur more than once ({name_some(repeated, 3)}); "
            "sum or remove them, or make them unique (adata.var_names_make_unique())"
        )
    if doubled:
        notes.append(f"{len(doubled):,} repeated symbols took their Ensembl ids: {name_some(doubled, 3)}")
