"""The catalogue of public resources: its content, its sources, and how a lab adds its own entries.

A catalogue is a YAML file with a list ``resources``; the shipped ones are in ``catalogue/``. Every entry names its
licence, its citation and, as ``source``, how its address (and its checksum, where there is one) is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from grn_cotrain.config import load_yaml, parse
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.progress import human_size

__all__ = [
    "CATALOGUE_VARIABLE",
    "FORMATS_BY_KIND",
    "PROCESSES",
    "Resource",
    "file_name",
    "load_catalogue",
    "read_catalogue",
    "redact",
    "shipped_catalogue",
]

CATALOGUE_VARIABLE = "GRN_COTRAIN_CATALOGUE"

FORMATS_BY_KIND: dict[str, tuple[str, ...]] = {
    "network": ("tsv", "beeline", "trrust", "dorothea", "collectri", "decoupler", "matrix", "dictionary"),
    "cells": ("h5ad", "h5mu", "loom", "zarr", "10x-h5", "mtx", "csv"),
    "aliases": ("aliases",),
    "orthologs": ("orthologs",),
    "tfs": ("names",),
    "archive": ("archive",),
}
PROCESSES = ("gunzip", "dorothea", "gene-rows")
"""Processes for a file after the download; see :mod:`data_prep.fetch.made`."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SAFE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")
_DIGITS = {"sha256": 64, "md5": 32}
_INHERITED = ("licence", "citation", "source")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One entry of a catalogue.

    Attributes
    ----------
    name
        Name that users type; lower case letters, digits, ``-`` and ``.``.
    what
        One line: content, size in the field's terms, scale of the values.
    kind, format
        Kind and format: a key of :data:`FORMATS_BY_KIND` and one of its values.
    url
        Where it is downloaded; or else ``from_`` names the archive that holds it.
    mirrors
        Tried in turn where ``url`` fails; only with a published checksum.
    file
        Its name in the cache; the last part of the address unless given.
    size
        Bytes, or text such as ``~262 MB`` where only that is known.
    sha256, md5
        Published checksums; an entry without one is trusted at first use and held to it from then on.
    members
        Parts of a zip or tar archive that are taken out; several make a folder.
    process
        One of :data:`PROCESSES`.
    licence, terms, citation
        ``terms`` is a restriction that users must see, such as academic use only.
    source
        How address and checksum are known.
    """

    name: str
    what: str
    kind: str
    format: str
    licence: str = ""
    citation: str = ""
    source: str = ""
    url: str = ""
    from_: str = ""
    mirrors: tuple[str, ...] = ()
    file: str = ""
    species: str = ""
    size: int | str | None = None
    sha256: str = ""
    md5: str = ""
    members: tuple[str, ...] = ()
    process: str = ""
    terms: str = ""

    @property
    def checksum(self) -> str | None:
        """``sha256:...`` or ``md5:...`` as published, or None."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else None

    @property
    def size_text(self) -> str:
        """The size for people; empty where it is unknown."""
        return human_size(self.size) if isinstance(self.size, int) else self.size or ""


def load_catalogue(extra: str | Path | None = None) -> tuple[dict[str, Resource], list[str]]:
    """Return shipped entries with those of the user's catalogue, by name, and lines to report about them.

    Parameters
    ----------
    extra
        A user's catalogue, else the file that ``GRN_COTRAIN_CATALOGUE`` names. Its entries take the place of shipped
        ones of the same name, which is reported.
    """
    entries = dict(shipped_catalogue())
    extra = extra or os.environ.get(CATALOGUE_VARIABLE) or None
    if extra is None:
        return entries, []
    own = read_catalogue(extra, known=entries)
    replaced = [name for name in own if name in entries]
    notes = [f"{name}: from catalogue {extra}, in place of the shipped entry" for name in replaced]
    return entries | own, notes


@cache
def shipped_catalogue() -> Mapping[str, Resource]:
    """The entries that come with the package, by name."""
    entries: dict[str, Resource] = {}
    for file in sorted((Path(__file__).parent / "catalogue").glob("*.yaml")):
        for name, resource in read_catalogue(file, known=entries, shipped=True).items():
            if name in entries:
                raise UserError(f"catalogue '{file}': '{name}' is there twice; rename one")
            entries[name] = resource
    return entries


def read_catalogue(
    path: str | Path, *, known: Mapping[str, Resource] | None = None, shipped: bool = False
) -> dict[str, Resource]:
    """Read and validate one catalogue file.

    Parameters
    ----------
    known
        Entries of other files, which ``from`` may name.
    shipped
        Addresses must be https; a user's catalogue may use http inside a lab.

    Raises
    ------
    UserError
        One line naming the file, the entry, the key and the fix.
    """
    what = f"catalogue '{path}'"
    content = load_yaml(path, what="catalogue")
    if not isinstance(content.get("resources"), list):
        raise UserError(f"{what}: must hold a list under the key 'resources'; see the documentation of grn-prep fetch")
    if odd := next((key for key in content if key != "resources"), None):
        raise UserError(f"{what}: unknown key '{odd}'; only 'resources' is known")
    entries: dict[str, Resource] = {}
    for number, item in enumerate(content["resources"], 1):
        label = f"{what}, entry {number}"
        resource = _parse(item, label, shipped)
        if resource.name in entries:
            raise UserError(f"{label}: '{resource.name}' is there twice; rename one")
        entries[resource.name] = resource
    everything = {**(known or {}), **entries}
    return {name: _complete(resource, everything, what) for name, resource in entries.items()}


def _parse(item: Any, label: str, shipped: bool) -> Resource:
    if isinstance(item, dict):
        if isinstance(item.get("name"), str):
            label = f"{label} '{item['name']}'"
        item = {"from_" if key == "from" else key: value for key, value in item.items() if value is not None}
    try:
        resource = parse(Resource, item)
    except UserError as error:
        raise UserError(f"{label}: {str(error).replace('from_', 'from')}") from None
    resource = replace(resource, file=resource.file or (file_name(resource.url) if resource.url else ""))
    for fault in _faults(resource, shipped):
        raise UserError(f"{label}: {fault}")
    return resource


def _faults(resource: Resource, shipped: bool) -> Iterator[str]:
    """Return what is wrong with one entry on its own, the first reason first."""
    for key in ("what", *(() if resource.from_ else _INHERITED)):
        if not getattr(resource, key).strip():
            yield f"key '{key}' is missing or empty; every entry needs it"
    if isinstance(resource.size, int) and resource.size <= 0:
        yield f"size '{resource.size}' must be positive, a number of bytes"
    if not _NAME.fullmatch(resource.name):
        yield "a name has lower-case letters, digits, '-' and '.' only"
    formats = FORMATS_BY_KIND.get(resource.kind, ())
    yield from _unknown("kind", resource.kind, FORMATS_BY_KIND)
    yield from _unknown("format", resource.format, formats, f" for kind {resource.kind}")
    if bool(resource.url) == bool(resource.from_):
        yield "give either 'url' or 'from' (the archive that holds it)"
    for address in filter(None, (resource.url, *resource.mirrors)):
        parts = urlsplit(address)
        if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
            yield f"'{address}' is not an address; it must begin with https://"
        if shipped and parts.scheme.lower() != "https":
            yield f"'{address}' must begin with https://"
    for key, digits in _DIGITS.items():
        value = getattr(resource, key)
        if value and not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
            yield f"{key} '{value}' is not {digits} digits 0-9, a-f"
    if resource.mirrors and not resource.checksum:
        yield "mirrors need a checksum, or two servers could give two files"
    if resource.process:
        yield from _unknown("process", resource.process, PROCESSES)
    if resource.process and resource.members:
        yield "'process' and 'members' exclude each other"
    if resource.from_ and not resource.members:
        yield "'from' needs 'members', the names inside the archive"
    for member in resource.members:
        if member.startswith(("/", "\\")) or ".." in Path(member).parts:
            yield f"member '{member}' leads out of the archive"
    if len({Path(member).name for member in resource.members}) < len(resource.members):
        yield "two members have the same file name"
    if resource.url and not _SAFE_FILE.fullmatch(resource.file):
        yield f"'{resource.file}' is not a plain file name; give 'file: NAME'"


def _unknown(key: str, value: str, choices: Collection[str], where: str = "") -> Iterator[str]:
    if value not in choices:
        yield (
            f"{key} '{value}' is unknown{where}; choose from {', '.join(choices)}{did_you_mean(value, list(choices))}"
        )


def _complete(resource: Resource, everything: Mapping[str, Resource], what: str) -> Resource:
    """Give an entry of an archive the archive's licence, terms, citation and source unless it has its own."""
    if not resource.from_:
        return resource
    archive = everything.get(resource.from_)
    if archive is None or archive.kind != "archive":
        archives = [entry.name for entry in everything.values() if entry.kind == "archive"]
        raise UserError(
            f"{what}, entry '{resource.name}': from '{resource.from_}' names no archive; choose from "
            f"{', '.join(archives) or 'none yet'}{did_you_mean(resource.from_, archives)}"
        )
    return replace(resource, **{key: getattr(resource, key) or getattr(archive, key) for key in (*_INHERITED, "terms")})


def file_name(url: str) -> str:
    """Last part of an address's path, made safe for any disk; ``download`` where there is none."""
    last = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    safe = re.sub(r"[^A-Za-z0-9._+=-]+", "_", last).lstrip("._-+=")
    return safe[-120:] or "download"


def redact(url: str) -> str:
    """The address without user name and password, for messages and records."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
