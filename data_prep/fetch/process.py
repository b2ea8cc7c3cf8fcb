"""Changes to a file after the download, so that the readers accept it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grn_cotrain.data.io.tables import read_table, read_text
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file
from grn_cotrain.text_tables import write_delimited

from .catalogue import Resource
from .unpack import gunzip, unpack

__all__ = ["PROCESS_VERSION", "made_name", "make"]

PROCESS_VERSION = 1
"""Raise it when the same download must be made into something else; made files are then made again."""


def made_name(resource: Resource, download: str) -> str | None:
    """Name of what is made from the downloaded file, or None if the file is used as it is."""
    if resource.members:
        return Path(resource.members[0]).name if len(resource.members) == 1 else resource.name
    if resource.process == "gunzip":
        return download.removesuffix(".gz") if download.endswith(".gz") else download + ".out"
    suffix = {"dorothea": ".tsv", "gene-rows": ".csv"}.get(resource.process)
    return f"{resource.name}{suffix}" if suffix else None


def make(resource: Resource, download: Path, target: Path) -> list[str]:
    """Make the file (or folder) ``target`` from a download; returns the lines to report."""
    if resource.members:
        unpack(download, resource.members, target)
        return []
    return _PROCESSES[resource.process](download, target) or []


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
        write_delimited(frame, temporary)
    unsigned = int((~up & ~down).sum())
    note = f"{unsigned:,} of {len(table):,} rows have no sign and count as activation, as in DoRothEA itself"
    return [note] if unsigned else []


def _gene_rows(download: Path, target: Path) -> None:
    """A CSV of genes x cells whose names are ambiguous (cells called ``A1``): its corner names the rows."""
    lines = read_text(download, what="table").splitlines()
    second = lines[1] if len(lines) > 1 else ""
    head, comma, rest = lines[0].partition(",")
    if lines[0].count(",") == second.count(","):  # else R has left the corner out
        if head.strip('" '):
            raise UserError(f"table '{download}': its corner is '{head}' already; the publisher has changed it")
        head, rest = "gene", comma + rest
    else:
        head, rest = "gene," + head, comma + rest
    with atomic_file(target) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write(head + rest + "\n")
        handle.writelines(line + "\n" for line in lines[1:])


_PROCESSES: dict[str, Callable[[Path, Path], list[str] | None]] = {
    "gunzip": gunzip,
    "dorothea": _dorothea,
    "gene-rows": _gene_rows,
}
