"""Kinds of names by their form: an Ensembl id, an accession, a number, a symbol; and the species of names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

__all__ = [
    "UNIPROT",
    "clean_name",
    "detect_species",
    "is_ensembl_id",
    "is_spike_in",
    "make_name",
    "name_kind",
    "without_version",
]

UNIPROT = re.compile(r"[OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z0-9]{2}\d){1,2}")

_SPIKE_IN = re.compile(r"ERCC-\d+", re.IGNORECASE)
_ENSEMBL = re.compile(r"(ENS(?:MUS)?G\d{5,})(?:\.\d+)?", re.IGNORECASE)
_HUMAN_ONLY = re.compile(r"ENSG\d{5,}.*|HLA-.+|C(?:\d+|X|Y)orf\d+", re.IGNORECASE)
_MOUSE_ONLY = re.compile(r"ENSMUSG\d{5,}.*|\d{4,}[A-Z]\d+RIK|H2-[A-Z].*", re.IGNORECASE)
_CAPITALISED = re.compile(r"[A-Z][a-z0-9.\-]*[a-z][a-z0-9.\-]*")  # Stat1, Gata3: how mouse symbols are written
_OPEN_READING_FRAME = re.compile(r"C(?:\d+|X|Y)orf\d+")  # human, though it looks capitalised
_LEAST_NAMES = 5  # fewer names than this do not determine a species
_KINDS = (
    ("Ensembl ids", _ENSEMBL),
    ("Ensembl ids of another species", re.compile(r"ENS[A-Z]{3,4}G\d{6,}(?:\.\d+)?")),
    ("Ensembl transcripts or proteins", re.compile(r"ENS(?:[A-Z]{3,4})?[TP]\d{6,}(?:\.\d+)?")),
    ("RefSeq accessions", re.compile(r"[NX][MRP]_\d{5,}(?:\.\d+)?")),
    ("HGNC or MGI ids", re.compile(r"(?:HGNC|MGI):\d+", re.IGNORECASE)),
    ("numbers", re.compile(r"\d+(?:\.0*)?")),
    ("genomic intervals", re.compile(r"(?:chr)?[\dXYM]+[:_\-]\d+[\-_]\d+", re.IGNORECASE)),
    ("UniProt accessions", UNIPROT),
)
_FORMULA_QUOTE = re.compile(r"'(?=[=+\-@])")
_NOT_IN_R = re.compile(r"[^A-Za-z0-9._]")


def is_spike_in(name: str) -> bool:
    """Whether ``name`` is an ERCC spike-in control (``ERCC-00002``); ``ERCC6L`` is a gene."""
    return _SPIKE_IN.fullmatch(name) is not None


def is_ensembl_id(name: str) -> bool:
    """Whether ``name`` is a human or mouse Ensembl gene id, with or without a version suffix."""
    return _ENSEMBL.fullmatch(name) is not None


def without_version(value: str) -> str:
    """``ENSG00000115415.21`` -> ``ENSG00000115415``; other names as they are."""
    match = _ENSEMBL.fullmatch(value)
    return match.group(1).upper() if match else value


def name_kind(name: str) -> str:
    """The kind of a name by its looks, in the plural: ``Ensembl ids``, ``numbers``, ...; else ``symbols``."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), "symbols")


def clean_name(text: str) -> str:
    """A name without the quotes that R or a spreadsheet put around it, and without white space at its ends."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return _FORMULA_QUOTE.sub("", text, count=1) if text[:1] == "'" else text


def make_name(name: str) -> str:
    """A name as R's ``make.names`` writes it: ``HLA-A`` becomes ``HLA.A``, ``7SK`` becomes ``X7SK``."""
    text = _NOT_IN_R.sub(".", name)
    return f"X{text}" if text[:1].isdigit() or text[:1] == "_" else text


def detect_species(names: Iterable[str]) -> tuple[Literal["human", "mouse"] | None, str]:
    """Return the species of the names, and the evidence in words; None when they are ambiguous.

    Plain upper-case symbols are ambiguous: human data are written so, and so are BEELINE's mouse networks.
    """
    given = [name for name in dict.fromkeys(names) if not is_spike_in(name)]
    if len(given) < _LEAST_NAMES:
        return None, f"only {len(given)} names"
    human = [name for name in given if _HUMAN_ONLY.fullmatch(name)]
    mouse = [name for name in given if _MOUSE_ONLY.fullmatch(name)]
    capitalised = [name for name in given if _CAPITALISED.fullmatch(name) and not _OPEN_READING_FRAME.fullmatch(name)]
    if len(capitalised) > 0.5 * len(given):
        return "mouse", f"{len(capitalised):,} of {len(given):,} names are capitalised like {capitalised[0]}"
    if len(mouse) > 2 * len(human):
        return "mouse", f"{len(mouse):,} names are the mouse's, like {mouse[0]}"
    if len(human) > 2 * len(mouse):
        return "human", f"{len(human):,} names are human, like {human[0]}"
    return None, "the names are upper-case symbols, as in human data and in BEELINE's mouse data"
