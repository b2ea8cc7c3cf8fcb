"""Resolve a user's name of a file: a path, an address, or the name of a known resource."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from grn_cotrain import commandline
from grn_cotrain.errors import UserError, did_you_mean

from .catalogue import Resource, file_name, load_catalogue, redact
from .fetcher import Fetcher

__all__ = ["find_resource", "known_format", "resolve_source", "resource_of_url"]

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?P<rest>[^/].*|/.*)")
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_SELECTED = re.compile(r"(?P<url>.+\.(?:tsv|csv|txt)(?:\.gz)?):(?P<selector>[^/?#].*)")


def resolve_source(
    text: str | os.PathLike[str], *, offline: bool = False, say: Callable[[str], object] = commandline.say
) -> Path:
    """Return a path: of an existing file as it is, of an address or a known name after fetching it into the cache.

    Parameters
    ----------
    text
        A path; ``https://...`` (kept in the cache by its address, with the hash of its first download); a name that
        ``grn-prep fetch --list`` shows. Address and name may end in a selector, ``NAME:network/cell/set``. A file of
        that name in the working directory always comes first, and nothing is fetched then.
    offline
        Use what is in the cache only.
    say
        Function that receives a line for each step.

    Returns
    -------
    Path
        Anything else comes back as the path it is, so that its reader reports what is missing.

    Raises
    ------
    UserError
        A scheme other than http(s), a failed download, a bare word that is nearly a known name.
    """
    value = os.fspath(text)
    if Path(value).exists():
        return Path(value)
    match = _SCHEME.fullmatch(value)
    if match:
        return _resolve_url(match["scheme"].lower(), match["rest"], value, offline=offline, say=say)
    name, colon, selector = value.partition(":")
    if not _BARE.fullmatch(name) or Path(name).exists():
        return Path(value)
    entries, notes = load_catalogue()
    resource = entries.get(name)
    if resource is None:
        near = did_you_mean(name, entries)
        if near and "." not in name and not colon:
            raise UserError(f"'{value}': no such file, and no resource of that name{near}; see grn-prep fetch --list")
        return Path(value)
    if resource.kind == "archive":
        parts = [entry.name for entry in entries.values() if entry.from_ == name]
        raise UserError(f"'{value}': is an archive; name what is in it: {', '.join(parts) or 'nothing known'}")
    for note in notes:
        if note.startswith(f"{name}:"):
            say(note)
    path = Fetcher(entries, offline=offline, say=say).fetch(resource)
    return Path(f"{path}{colon}{selector}")


def _resolve_url(scheme: str, rest: str, value: str, *, offline: bool, say: Callable[[str], object]) -> Path:
    if scheme not in ("http", "https"):
        raise UserError(
            f"'{value}': addresses of kind '{scheme}:' are not fetched; give a path, http(s)://, or a name of "
            "grn-prep fetch --list"
        )
    url = f"{scheme}://{rest.lstrip('/')}"  # a Path has made one stroke of two
    selected = _SELECTED.fullmatch(url)
    if selected:
        url = selected["url"]
    path = Fetcher({}, offline=offline, say=say).fetch(resource_of_url(url))
    return Path(f"{path}:{selected['selector']}") if selected else path


def resource_of_url(url: str) -> Resource:
    """An entry for an address that no catalogue knows."""
    return Resource(name=redact(url), what="", kind="cells", format="h5ad", url=url, file=file_name(url))


def find_resource(name: str, entries: dict[str, Resource]) -> Resource:
    """The entry of a name or an address; :class:`UserError` with the nearest name otherwise."""
    match = _SCHEME.fullmatch(name)
    if match and match["scheme"].lower() in ("http", "https"):
        return resource_of_url(name)
    if name not in entries:
        raise UserError(f"'{name}': no such resource{did_you_mean(name, entries)}; grn-prep fetch --list shows all")
    return entries[name]


def known_format(text: str | os.PathLike[str]) -> str | None:
    """The ``--format`` of a known network's name (a selector after ``:`` is ignored), or None for anything else."""
    value = os.fspath(text)
    name = value.partition(":")[0]
    if Path(value).exists() or not _BARE.fullmatch(name) or Path(name).exists():
        return None
    resource = load_catalogue()[0].get(name)
    return resource.format if resource is not None and resource.kind == "network" else None
