"""The ordered features of a run, and the alignment of other people's gene names to them.

A vocabulary is the feature spaces of a data set one after another, genes first. A **gene index** (0..num_genes-1)
addresses splits, controls, evidence and links. A **vocabulary id** addresses tokens: PAD, MASK and CLS first, then
feature ``i`` at ``i + NUM_SPECIAL``.

G features, V vocabulary (special tokens, then features), N names given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.alignment import Alignment, AlignmentReport, name_some
from grn_cotrain.data.assay_kinds import MODALITIES
from grn_cotrain.data.diagnosis import INTERVALS, diagnose, find_cause, main_kind
from grn_cotrain.data.gene_features import GeneFeatures
from grn_cotrain.data.gene_names import detect_species, is_ensembl_id, is_spike_in, without_version
from grn_cotrain.data.spaces import FeatureSpace, Interval, counted_features
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import read_json, write_json
from grn_cotrain.strict import check_shape

__all__ = [
    "CLS_ID",
    "MASK_ID",
    "MODALITIES",
    "NUM_SPECIAL",
    "PAD_ID",
    "SPECIAL_TOKENS",
    "Alignment",
    "AlignmentReport",
    "FeatureVocab",
    "detect_species",
    "is_ensembl_id",
    "is_spike_in",
    "name_some",
]

SPECIAL_TOKENS = ("PAD", "MASK", "CLS")
PAD_ID, MASK_ID, CLS_ID = 0, 1, 2
NUM_SPECIAL = 3

Species = Literal["human", "mouse", "simulated", "unknown"]
_SPECIES = ("human", "mouse", "simulated", "unknown")

_SHAPE = {"species": str, "symbols": [str], "ids": [str], "modality": [str], "is_token": [bool], "content_hash?": str}


@dataclass(frozen=True)
class FeatureVocab:
    """Ordered features with symbol, Ensembl id and modality; see :meth:`from_symbols` for the usual way to make one.

    Parameters
    ----------
    symbols
        ``G`` names, unique within a modality.
    ids
        Ensembl ids without version suffix, ``""`` where unknown.
    modality
        ``gene``, ``protein`` or ``peak`` for each feature.
    is_token
        False for features that are graph nodes but never tokens (ERCC spike-ins).
    species
        ``human``, ``mouse``, ``simulated`` or ``unknown``.
    intervals, outdated, features
        Not part of the identity: chromosome, start and end of genes and peaks, by name; symbols that the current
        annotation does not know (``grn-prep counts``); rows of other data sets, motifs (``grn-prep features``).

    Raises
    ------
    UserError
        Fields of unequal length, an empty or duplicated name, an unknown modality or species.
    """

    symbols: tuple[str, ...]
    ids: tuple[str, ...]
    modality: tuple[str, ...]
    is_token: tuple[bool, ...]
    species: Species = "unknown"
    intervals: Mapping[str, Interval] = field(default_factory=dict, compare=False, repr=False)
    outdated: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    features: GeneFeatures | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("symbols", "ids", "modality", "is_token")}
        if len(set(lengths.values())) != 1:
            raise UserError(f"vocabulary {lengths}: fields of unequal length; give one value of each for every feature")
        if self.species not in _SPECIES:
            raise UserError(f"species '{self.species}': unknown; choose from {', '.join(_SPECIES)}")
        strange = sorted(set(self.modality) - set(MODALITIES))
        if strange:
            raise UserError(f"modality '{strange[0]}': unknown; choose from {', '.join(MODALITIES)}")
        empty = [i for i, symbol in enumerate(self.symbols) if not symbol.strip()]
        if empty:
            raise UserError(f"feature {empty[0]}: its name is empty ({len(empty):,} such); name every feature")
        twice = [key[1] for key, n in Counter(zip(self.modality, self.symbols, strict=True)).items() if n > 1]
        if twice:
            raise UserError(
                f"feature names: {len(twice):,} occur more than once ({name_some(twice)}); "
                "make them unique (adata.var_names_make_unique()) or sum their counts"
            )

    @classmethod
    def from_symbols(
        cls,
        symbols: Iterable[str],
        ids: Iterable[str] | None = None,
        *,
        modality: str | Sequence[str] = "gene",
        species: str = "auto",
        intervals: Mapping[str, Interval] | None = None,
    ) -> FeatureVocab:
        """Build from names alone: Ensembl ids among ``symbols`` fill empty ``ids``, spike-ins are not tokens.

        ``species="auto"`` takes what :func:`detect_species` finds, ``unknown`` otherwise.
        """
        names = tuple(str(symbol) for symbol in symbols)
        given = tuple("" if value is None else str(value) for value in ids) if ids is not None else ("",) * len(names)
        if len(given) != len(names):
            raise UserError(f"ids: {len(given):,} for {len(names):,} symbols; give one for each")
        return cls(
            symbols=names,
            ids=tuple(_without_version(value) or _ensembl_of(name) for value, name in zip(given, names, strict=True)),
            modality=(modality,) * len(names) if isinstance(modality, str) else tuple(modality),
            is_token=tuple(not is_spike_in(name) for name in names),
            species=(detect_species(names + given)[0] or "unknown") if species == "auto" else species,  # type: ignore[arg-type]
            intervals=dict(intervals or {}),
        )

    # -- sizes and identity ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def num_features(self) -> int:
        """G: features of every space, special tokens not counted."""
        return len(self.symbols)

    @property
    def counted(self) -> str:
        """``9,015 genes`` or ``8,595 genes + 36,954 peaks``."""
        return counted_features(self.sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of features of each modality."""
        return {space.name: len(space) for space in self.spaces}

    @property
    def num_genes(self) -> int:
        """Number of genes: they come first, and a gene index is below this number."""
        return self.modality.count("gene")

    @cached_property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """Feature spaces that have features, in the order of :data:`MODALITIES`.

        Raises
        ------
        UserError
            Features of one modality do not stand together, or genes do not come first; see :meth:`ordered`.
        """
        spaces: list[FeatureSpace] = []
        start = 0
        for name in MODALITIES:
            stop = start + self.modality.count(name)
            if self.modality[start:stop] != (name,) * (stop - start):
                raise UserError(
                    "vocabulary: features of several modalities stand in mixed order; genes come first, then peaks, "
                    "then proteins: prepare the data again, or convert the folder (grn-prep convert)"
                )
            if stop > start:
                symbols, ids, is_token = self.symbols[start:stop], self.ids[start:stop], self.is_token[start:stop]
                spaces.append(FeatureSpace(name, start, symbols, ids, is_token, self.species, self.intervals))
            start = stop
        return tuple(spaces)

    def space(self, name: str) -> FeatureSpace:
        """The features of one modality; a UserError that lists the spaces if there are none."""
        for space in self.spaces:
            if space.name == name:
                return space
        known = ", ".join(space.name for space in self.spaces)
        raise UserError(f"features '{name}': the vocabulary has none; it has {known}")

    def ordered(self) -> tuple[FeatureVocab, np.ndarray]:
        """The same features with genes first, and which feature of this vocabulary each one was, int64 ``[G]``."""
        code_G = np.asarray([MODALITIES.index(name) for name in self.modality], dtype=np.int64)
        order_G = np.argsort(code_G, kind="stable")
        return (self if (order_G == np.arange(len(self))).all() else self.select(order_G)), order_G

    @property
    def size(self) -> int:
        """V: special tokens and features."""
        return len(self.symbols) + NUM_SPECIAL

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits that change with any name, id, modality, flag, the order or the species."""
        return canonical_hash(self.to_dict())

    @cached_property
    def outdated_G(self) -> np.ndarray:
        """bool ``[num_genes]``: genes whose symbol is outdated; see :attr:`outdated`."""
        return np.array([symbol in self.outdated for symbol in self.symbols[: self.num_genes]], dtype=bool)

    @cached_property
    def side_hash(self) -> str:
        """Hash of what is known of the genes without their cells; empty where nothing is."""
        if not self.outdated and self.features is None:
            return ""
        return canonical_hash([sorted(self.outdated), self.features.content_hash if self.features else ""])

    # -- looking names up --------------------------------------------------------------------------------------------

    @cached_property
    def _exact(self) -> dict[str, dict[str, int]]:
        """modality -> symbol -> gene index."""
        table: dict[str, dict[str, int]] = {name: {} for name in MODALITIES}
        for i, (symbol, modality) in enumerate(zip(self.symbols, self.modality, strict=True)):
            table[modality][symbol] = i
        return table

    @cached_property
    def _folded(self) -> dict[str, dict[str, int]]:
        """modality -> folded symbol or id -> gene index; -1 where several features share it: it decides nothing."""
        table: dict[str, dict[str, int]] = {name: {} for name in MODALITIES}
        for names in (self.symbols, self.ids):  # a symbol takes precedence over another feature's id
            taken = {modality: set(entries) for modality, entries in table.items()}
            for i, (name, modality) in enumerate(zip(names, self.modality, strict=True)):
                key = _fold(name)
                if key and key not in taken[modality]:
                    entries = table[modality]
                    entries[key] = i if entries.get(key, i) == i else -1
        return table

    def get(self, symbol: str, modality: str | None = None) -> int | None:
        """Gene index of a symbol or Ensembl id, or None; exact case first, then ignoring case and version suffix."""
        searched = MODALITIES if modality is None else (modality,)
        for table, key in ((self._exact, symbol), (self._folded, _fold(symbol))):
            for name in searched:
                found = table[name].get(key, -1)
                if found >= 0:
                    return found
        return None

    def index(self, symbol: str, modality: str | None = None) -> int:
        """Gene index of a symbol or Ensembl id; a UserError with the nearest name if there is none."""
        found = self.get(symbol, modality)
        if found is None:
            near = did_you_mean(symbol, self.symbols) or did_you_mean(symbol.upper(), self.symbols)
            raise UserError(f"gene '{symbol}': not among the vocabulary's {len(self):,} features{near}")
        return found

    def align(
        self,
        names: Iterable[str],
        *,
        min_mapped: float = 0.5,
        what: str = "genes",
        modality: str | None = None,
        repeats: Literal["drop", "keep"] = "drop",
    ) -> Alignment:
        """Find the feature of every name.

        Parameters
        ----------
        names
            Symbols or Ensembl ids, in any order.
        min_mapped
            Least share of the names that must have a feature.
        what
            How errors call the names, for example ``"genes of cells.h5ad"``.
        modality
            Search only features of this modality.
        repeats
            ``"drop"``: when several names lead to one feature, only the first keeps it (columns of a matrix).
            ``"keep"``: all keep it (ends of edges). Both report the later ones as duplicated.

        Raises
        ------
        UserError
            No names, fewer than ``min_mapped`` mapped, or names of another species.
        """
        given = [str(name) for name in names]
        if not given:
            raise UserError(f"{what}: none given; the list is empty")
        report = AlignmentReport(num_given=len(given))
        index_N = np.full(len(given), -1, dtype=np.int64)
        taken: set[int] = set()
        for i, name in enumerate(given):
            found = self.get(name, modality)
            if found is None:
                report.lost.append(name)
                continue
            if found in taken:
                report.duplicated.append(name)
                if repeats == "drop":
                    continue
            elif name != self.symbols[found]:
                report.rename(name, self.symbols[found], _why_renamed(name, self.symbols[found]))
            taken.add(found)
            report.mapped += 1
            index_N[i] = found
        self._refuse_other_species(given, report, min_mapped, what)
        if report.share_mapped < min_mapped:
            raise UserError(
                f"{what}: only {report.num_given - len(report.lost):,} of {report.num_given:,} are in the vocabulary "
                f"({report.share_mapped:.0%}, min_mapped is {min_mapped:.0%}); lost: {name_some(report.lost)}; "
                f"{self.diagnose(report.lost, what)}; or lower min_mapped"
            )
        return Alignment(index_N, report)

    def _refuse_other_species(self, given: list[str], report: AlignmentReport, min_mapped: float, what: str) -> None:
        """Ignoring case must not marry mouse ``Stat1`` to human ``STAT1``.

        Names are called another species' only if they speak for one AND they do not match as written: BEELINE's mouse
        matrices carry human-looking symbols, which match their networks letter by letter.
        """
        species, evidence = detect_species(given)
        if species is None or self.species in (species, "simulated"):
            return
        found = report.num_given - len(report.lost)
        as_written = 1 - len(report.renamed) / found if found else 0.0
        too_few = found == 0 or report.share_mapped < min_mapped
        if too_few or (self.species != "unknown" and as_written < 0.5):
            remedy = (
                "give names of the same species, translate them with --orthologs, "
                f"or prepare the data with --species {species} if they are {species}"
            )
            if not found and self.species == "unknown":  # ids against symbols do not show the data's species
                remedy = self.diagnose(report.lost, what)
            raise UserError(
                f"{what}: look like {species} ({evidence}), but the vocabulary is {self.species}; {found:,} of "
                f"{report.num_given:,} match, {as_written:.0%} of these as written; {remedy}"
            )

    def diagnose(self, lost: Sequence[str], what: str = "the list", *, aliases: bool = True) -> str:
        """Explain why names are not found here, and how to fix it; see :func:`~grn_cotrain.data.diagnosis.diagnose`."""
        symbols, ids = self._compared_with(lost)
        return diagnose(lost, symbols, ids, here=what, there="the data", aliases=aliases)

    def find_cause(self, lost: Sequence[str], what: str) -> str:
        """The same where the names show a cause, else an empty text; see
        :func:`~grn_cotrain.data.diagnosis.find_cause`."""
        symbols, ids = self._compared_with(lost)
        return find_cause(lost, symbols, ids, here=what)

    def _compared_with(self, lost: Sequence[str]) -> tuple[list[str], list[str]]:
        """Symbols and ids of the features that these names could mean: peaks for intervals, otherwise genes."""
        wanted = "peak" if lost and main_kind(lost) == INTERVALS else "gene"
        chosen = [i for i, modality in enumerate(self.modality) if modality == wanted]
        chosen = chosen or [i for i, modality in enumerate(self.modality) if modality == "gene"] or [*range(len(self))]
        return [self.symbols[i] for i in chosen], [self.ids[i] for i in chosen]

    # -- growing, saving ---------------------------------------------------------------------------------------------

    def extend(
        self, symbols: Iterable[str], ids: Iterable[str] | None = None, *, modality: str | Sequence[str] = "gene"
    ) -> FeatureVocab:
        """Return a vocabulary with new features appended; features already here are skipped, so no id moves."""
        more = FeatureVocab.from_symbols(dict.fromkeys(symbols) if ids is None else symbols, ids, modality=modality)
        new = [i for i in range(len(more)) if self.get(more.symbols[i], more.modality[i]) is None]
        return replace(
            self,
            symbols=self.symbols + tuple(more.symbols[i] for i in new),
            ids=self.ids + tuple(more.ids[i] for i in new),
            modality=self.modality + tuple(more.modality[i] for i in new),
            is_token=self.is_token + tuple(more.is_token[i] for i in new),
        )

    def select(self, index: Sequence[int] | np.ndarray) -> FeatureVocab:
        """Return a new vocabulary of the features at these gene indices, in that order: ids do move."""
        chosen = [int(i) for i in index]
        return replace(
            self,
            symbols=tuple(self.symbols[i] for i in chosen),
            ids=tuple(self.ids[i] for i in chosen),
            modality=tuple(self.modality[i] for i in chosen),
            is_token=tuple(self.is_token[i] for i in chosen),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "species": self.species,
            "symbols": list(self.symbols),
            "ids": list(self.ids),
            "modality": list(self.modality),
            "is_token": list(self.is_token),
        }

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> FeatureVocab:
        """Inverse of :meth:`to_dict`; a ``content_hash`` among the keys must agree."""
        check_shape(mapping, _SHAPE, "vocabulary: not a vocabulary")
        keys = ("symbols", "ids", "modality", "is_token")
        try:
            symbols, ids, modality, is_token = (tuple(mapping[key]) for key in keys)
            vocab = cls(symbols, ids, modality, is_token, mapping["species"])
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"vocabulary: not a vocabulary ({error!r}); prepare the folder again") from None
        if mapping.get("content_hash", vocab.content_hash) != vocab.content_hash:
            raise UserError(
                "vocabulary: its content does not have its hash; the file was changed, prepare the folder again"
            )
        return vocab

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically."""
        write_json(path, {"special_tokens": list(SPECIAL_TOKENS), "content_hash": self.content_hash, **self.to_dict()})

    @classmethod
    def load(cls, path: str | Path) -> FeatureVocab:
        """Read what :meth:`save` wrote."""
        loaded = read_json(path, what="vocabulary")
        try:
            return cls.from_dict(loaded)
        except UserError as error:
            raise UserError(f"vocabulary '{path}': {str(error).removeprefix('vocabulary: ')}") from None


def _without_version(value: str) -> str:
    """``ENSG00000115415.21`` -> ``ENSG00000115415``; other ids as they are; missing-value texts become empty."""
    return "" if value.lower() in ("nan", "none", "na") else without_version(value)


def _ensembl_of(name: str) -> str:
    return _without_version(name) if is_ensembl_id(name) else ""


def _why_renamed(name: str, symbol: str) -> str:
    if is_ensembl_id(name):
        return "version" if _without_version(name) == _without_version(symbol) else "Ensembl id"
    return "case" if name.casefold() == symbol.casefold() else "spaces"


def _fold(name: str) -> str:
    return (_ensembl_of(name) or name).strip().casefold()
