"""Copies of users' cell files: what the file holds, to be written with one more key; the file itself never changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.writable import make_writable, writable_frame
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, atomic_folder, refuse_input

if TYPE_CHECKING:
    import anndata
    import mudata

__all__ = ["Opened", "check_paths", "open_tables", "open_whole", "writing"]

Opened: TypeAlias = "anndata.AnnData | mudata.MuData"
_SUFFIXES = (".h5ad", ".zarr", ".h5mu")


def check_paths(cells: str | Path, out: str | Path) -> None:
    """Refuse an output that is the input, of an unknown format, or a folder with other content.

    Raises
    ------
    UserError
        Any of these.
    """
    cells, out = Path(cells), Path(out)
    refuse_input(out, cells)
    if out.suffix not in _SUFFIXES:
        raise UserError(f"--out '{out}': written are h5ad, zarr and, for an h5mu, h5mu; end the name in one of these")
    if out.suffix == ".h5mu" and cells.suffix != ".h5mu":
        raise UserError(f"--out '{out}': h5mu is written for an h5mu alone; end the name in .h5ad or .zarr")
    if out.suffix != ".zarr":
        if out.is_dir():
            raise UserError(f"--out '{out}': is a folder; give the name of a file")
    elif out.exists() and not out.is_dir():
        raise UserError(f"--out '{out}': is a file; a zarr store is a folder, give a new one")
    elif out.is_dir() and any(out.iterdir()) and not any((out / n).is_file() for n in ("zarr.json", ".zgroup")):
        raise UserError(f"--out '{out}': is a folder with other content; give a new one")


def open_whole(cells: str | Path, out: str | Path, read: anndata.AnnData) -> Opened:
    """Everything that the file holds, where its format can be written back; else what was read.

    Parameters
    ----------
    cells
        File that ``read`` was read from.
    out
        Its suffix decides whether an h5mu stays one.
    read
        Validated cells.
    """
    cells, out = Path(cells), Path(out)
    if cells.suffix == ".h5mu":
        if out.suffix == ".h5mu":
            import mudata

            with reading(f"cells '{cells}'"):
                return mudata.read_h5mu(cells)
        return read.copy()
    import anndata

    with reading(f"cells '{cells}'"):
        if cells.suffix == ".h5ad":
            return anndata.read_h5ad(cells)
        if cells.suffix == ".zarr" and not (cells / "mod").is_dir():  # a MuData in zarr gives what was read
            return anndata.read_zarr(cells)
    return read.copy()


def open_tables(cells: Path) -> anndata.AnnData:
    """``obs``, ``var``, ``obsm`` and ``uns`` of an h5ad; its values are not read."""
    import anndata
    import h5py
    from anndata.io import read_elem

    with reading(f"cells '{cells}'"), h5py.File(cells, "r") as file:
        return anndata.AnnData(
            **{name: read_elem(file[name]) for name in ("obs", "var", "obsm", "uns") if name in file}
        )


def _add(whole: anndata.AnnData, path: Path) -> list[str]:
    """Replace the tables of the copy of an h5ad by those of ``whole``."""
    import h5py
    from anndata.io import write_elem

    notes = make_writable(whole)
    whole.strings_to_categoricals()
    with h5py.File(path, "r+") as file:
        for name, part in (("obs", whole.obs), ("obsm", dict(whole.obsm)), ("uns", dict(whole.uns))):
            if name in file:
                del file[name]
            write_elem(file, name, part)
    return notes


@contextmanager
def writing(whole: Opened, out: str | Path, *, copied: Path | None = None) -> Iterator[list[str]]:
    """Write ``whole`` to ``out`` when the block ends well: whole, or not at all.

    With ``copied``, ``out`` is a copy of that h5ad with the tables of ``whole`` (see :func:`open_tables`).

    Gives a list that holds, after the block, what had to change to be written.
    """
    out = Path(out)
    notes: list[str] = []
    with atomic_folder(out) if out.suffix == ".zarr" else atomic_file(out) as temporary:
        yield notes
        if copied is not None:
            shutil.copyfile(copied, temporary)
            notes += _add(whole, temporary)
        elif out.suffix == ".zarr":
            notes += make_writable(whole)
            whole.write_zarr(temporary)
        elif out.suffix == ".h5mu":
            for name, part in whole.mod.items():
                notes += [f"{name}: {note}" for note in make_writable(part)]
            whole.obs = writable_frame(whole.obs)[0]  # columns of its parts, reported there
            whole.write_h5mu(temporary)
        else:
            notes += write_h5ad(whole, temporary)
