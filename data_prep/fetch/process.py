"""What is done to a file after the download, so that the readers take it as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data_prep.fetch.catalogue import Resource
from data_prep.fetch.unpack import gunzip, unpack
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file

__all__ = ["PROCESS_VERSION", "made_name", "make"]

PROCESS_VERSION = 1
"""Raise it when the same download must be made into something else; made files are then made anew."""


def made_name(resource: Resource, download: str) -> str | None:
    """Name of what is made from the downloaded file, or None if the file is used as it is."""
    if resource.members:
        return Path(resource.members[0]).name if len(resource.members) == 1 else resource.name
    if resource.process == "gunzip":
        return download.removesuffix(".gz") if download.endswith(".gz") else download + ".out"
    return f"{resource.name}.tsv" if resource.process else None


def make(resource: Resource, download: Path, target: Path) -> list[str]:
    """Make the file (or folder) ``target`` from a download; returns what must be said."""
    if resource.members:
        unpack(download, resource.members, target)
        return []
    return _PROCESSES[resource.process](download, target)


def _gunzip(download: Path, target: Path) -> list[str]:
    gunzip(download, target)
    return []


def _dorothea(download: Path, target: Path) -> list[str]:
    """OmniPath's table of DoRothEA -> ``tf, confidence, target, mor``, by the rules of decoupler's reader.

    A pair with both signs has the consensus sign. One without any counts as activation, as in DoRothEA itself.
    """
    what = "DoRothEA of OmniPath"
    table = read_table(download, what=what)
    needed = (
        *("source_genesymbol", "target_genesymbol", "dorothea_level"),
        *("is_stimulation", "is_inhibition", "consensus_stimulation"),
    )
    missing = [name for name in needed if name not in table]
    if missing:
        raise UserError(f"{what} '{download}': no column '{missing[0]}'; the service has changed, report this")
    up, down, agreed = (
        table[name].str.strip().str.lower().isin(("true", "1"))
        for name in ("is_stimulation", "is_inhibition", "consensus_stimulation")
    )
    table["tf"], table["target"] = table["source_genesymbol"], table["target_genesymbol"]
    table["confidence"] = table["dorothea_level"].str.split(";").str[0]
    negative = down & ~(up & agreed)
    table["mor"] = negative.map({True: "-1", False: "1"})
    frame = table[["tf", "confidence", "target", "mor"]].drop_duplicates(["tf", "confidence", "target"])
    with atomic_file(target) as temporary:
        frame.to_csv(temporary, sep="\t", index=False)
    unsigned = int((~up & ~down).sum())
    note = f"{unsigned:,} of {len(table):,} rows have no sign and count as activation, as in DoRothEA itself"
    return [note] if unsigned else []


_PROCESSES: dict[str, Callable[[Path, Path], list[str]]] = {"gunzip": _gunzip, "dorothea": _dorothea}
