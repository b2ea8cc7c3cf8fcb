"""``grn-prep fetch``: public priors, gene tables and single-cell sets by name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, atomic_folder

__all__ = ["fetch"]

_PREPARED_BY = {"cells": "counts", "network": "grn"}
"""Command that reads a resource of this kind."""


def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Names of --list, or addresses.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the known resources.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to copy the files to.", metavar="FOLDER")] = None,
    link: Annotated[bool, typer.Option("--link", help="Write symbolic links to --out instead of copies.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use the cache only, and list missing files.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Download again and accept a changed file.")] = False,
    catalogue: Annotated[
        Path | None, typer.Option(help="File of further resources (also GRN_COTRAIN_CATALOGUE).", metavar="FILE")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Address of a mirror, a cache folder served over http (also GRN_COTRAIN_MIRROR).")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Cache folder (also GRN_COTRAIN_CACHE).", metavar="FOLDER")] = None,
) -> None:
    """Fetch public resources into the cache, check them, and print licence and citation."""
    from .fetch import Fetcher, find_resource, load_catalogue

    entries, notes = load_catalogue(catalogue)
    fetcher = Fetcher(entries, offline=offline, refresh=refresh, base_url=base_url, cache=cache)
    if list_:
        _show(fetcher)
        return
    if not names:
        raise UserError("fetch: name a resource; grn-prep fetch --list shows all")
    if link and out is None:
        raise UserError("--link: needs --out FOLDER, where the links go")
    resources = [find_resource(name, entries) for name in names]
    for note in notes:
        if note.partition(":")[0] in names:
            say(note)
    for resource in resources:
        path = fetcher.fetch(resource)
        say(f"{resource.name}: {_place(path, out, link=link) if out is not None else path}")
    for resource in resources:
        if resource.kind in _PREPARED_BY:
            next_step("grn-prep", _PREPARED_BY[resource.kind], resource.name, "--out", "PREP")
            return


def _show(fetcher: object) -> None:
    """A table on a terminal; elsewhere lines with tabs, which other programs can read."""
    from .fetch import Fetcher

    assert isinstance(fetcher, Fetcher)
    header = ("name", "what", "size", "licence", "cached")
    rows = []
    for entry in sorted(fetcher.entries.values(), key=lambda entry: (entry.kind, entry.name)):
        size = entry.size_text or (f"in {entry.from_}" if entry.from_ else "not stated")
        licence = entry.licence + (f"; {entry.terms}" if entry.terms else "")
        rows.append((entry.name, entry.what, size, licence, "yes" if fetcher.cached(entry) else ""))
    if not console().is_terminal:
        for row in (header, *rows):
            print("\t".join(row))  # rich would make spaces of tabs
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def _place(path: Path, out: Path, *, link: bool) -> Path:
    """Copy or link a fetched file or folder; something else of that name is never written over."""
    from .fetch.cache import content_hash

    target = out / path.name
    if target.exists() or target.is_symlink():
        if not target.exists() or content_hash(target) != content_hash(path):
            raise UserError(f"--out '{out}': '{target}' exists and is another file; remove it or choose another folder")
        return target
    try:
        out.mkdir(parents=True, exist_ok=True)
        if link:
            os.symlink(path, target, target_is_directory=path.is_dir())
            return target
    except OSError as error:
        raise UserError(f"--out '{out}': cannot be written ({error.strerror}); choose another folder") from None
    if path.is_dir():
        with atomic_folder(target) as folder:
            shutil.copytree(path, folder, dirs_exist_ok=True)
    else:
        with atomic_file(target) as temporary:
            shutil.copyfile(path, temporary)
    return target
