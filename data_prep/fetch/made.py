"""Files made from a download, so that the readers accept it: named members of an archive, or a changed table.

pooch's processors have no limit on the size that comes out, follow the paths inside an archive, and are not atomic.
So archives go through :mod:`grn_cotrain.data.io.packed`, as in every reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from grn_cotrain.data.io.packed import DAMAGE, copy_limited, open_archive, open_unpacked
from grn_cotrain.data.io.tables import read_table, read_text
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import atomic_file, atomic_folder
from grn_cotrain.text_tables import write_delimited

from .catalogue import Resource

__all__ = ["PROCESSES", "PROCESS_VERSION", "gunzip", "made_name", "make", "unpack"]

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
    return PROCESSES[resource.process](download, target) or []


@contextmanager
def _refused_if_damaged(what: str) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, NotImplementedError) as error:
        raise UserError(
            f"{what}: is damaged or packed in an unknown way ({error}); fetch it again with --refresh"
        ) from None


def unpack(archive: Path, members: Sequence[str], target: Path) -> None:
    """Take members out: one becomes the file ``target``, several become files of the folder ``target``.

    The names of the files are the last parts of the members' names as the catalogue spells them, so an archive cannot
    choose where anything goes.

    Raises
    ------
    UserError
        No archive, damaged, a member missing, a member that is a link, a device or a folder, or one that unpacks to
        more than the archive's size allows; see :mod:`grn_cotrain.data.io.packed`.
    """
    with _refused_if_damaged(f"archive '{archive}'"), ExitStack() as stack:
        opened = open_archive(archive, stack)
        if opened is None:
            raise UserError(f"archive '{archive}': is neither zip nor tar; fetch it again with --refresh")
        found = [_find(member, opened.names, archive) for member in members]
        if len(members) == 1:
            with atomic_file(target) as temporary:
                copy_limited(opened.read(found[0]), temporary, archive)
            return
        with atomic_folder(target) as folder:
            for member, name in zip(members, found, strict=True):
                copy_limited(opened.read(name), folder / PurePosixPath(member).name, archive)


def _find(member: str, names: Sequence[str], archive: Path) -> str:
    """The member's name in the archive; a folder or ``./`` in front of it is forgiven if that leaves one choice."""
    if member in names:
        return member
    near = [name for name in names if name.endswith("/" + member) and ".." not in PurePosixPath(name).parts]
    if len(near) == 1:
        return near[0]
    raise UserError(
        f"archive '{archive}': holds no '{member}'{did_you_mean(member, names)}; the publisher may have changed it"
    )


def gunzip(source: Path, target: Path) -> None:
    """Decompress one gzipped file, within the same limits."""
    with (
        _refused_if_damaged(f"file '{source}'"),
        open_unpacked(source) as stream,
        atomic_file(target) as temporary,
    ):
        copy_limited(stream, temporary, source)


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


PROCESSES: dict[str, Callable[[Path, Path], list[str] | None]] = {
    "gunzip": gunzip,
    "dorothea": _dorothea,
    "gene-rows": _gene_rows,
}
