"""Cells that a user hands over: how they are read, and what an object of them must be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.data.io.counts import CountsFile, counts_from_anndata, load_counts
from grn_cotrain.data.io.names import AliasTable, OrthologTable, TargetSpecies
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.errors import UserError
from grn_cotrain.jobs.read import ReadOptions

if TYPE_CHECKING:
    import anndata

__all__ = ["read_cells", "refuse_other", "result_of", "tables_of"]


def read_cells(
    cells: str | Path | anndata.AnnData | CountsFile,
    options: ReadOptions | None = None,
    *,
    to_species: TargetSpecies | None = None,
    place: Place = "auto",
) -> CountsFile:
    """Read and validate cells of a file, or of an object, which is never changed; ``CountsFile``: as it is.

    ``place`` is where the values of a file are kept: see :func:`~grn_cotrain.data.io.counts.load_counts`.

    Raises
    ------
    UserError
        As :func:`~grn_cotrain.data.io.counts.load_counts`.
    """
    if isinstance(cells, CountsFile):
        return cells
    options = options or ReadOptions()
    more: dict[str, Any] = {"modality": options.modality, "to_species": to_species, **tables_of(options)}
    if isinstance(cells, (str, Path)):
        return load_counts(cells, options.layer, place=place, **more)
    return counts_from_anndata(cells, options.layer, **more)


def tables_of(options: Any) -> dict[str, Any]:
    """``aliases`` and ``orthologs`` of some options as tables, read where files were given."""
    return {"aliases": _table(AliasTable, options.aliases), "orthologs": _table(OrthologTable, options.orthologs)}


def _table(kind: Any, given: Any) -> Any:
    return kind.read(given) if isinstance(given, (str, Path)) else given


def refuse_other(adata: Any, *, copy: bool = True) -> None:
    """Refuse what is not an AnnData, and one that cannot take results.

    Parameters
    ----------
    adata
        Object that the user gave.
    copy
        Results go into a copy, or nowhere; False: into ``adata`` itself.

    Raises
    ------
    UserError
        Another kind of object, with the way to an AnnData; a view of an AnnData whose ``X`` is in a file.
    """
    import anndata

    if hasattr(getattr(adata, "mod", None), "keys"):
        names = list(adata.mod)
        raise UserError(
            f"adata: is a {type(adata).__name__} of {', '.join(map(str, names)) or 'no modality'}; "
            f"give one modality: mdata.mod['{names[0] if names else 'rna'}']"
        )
    if not isinstance(adata, anndata.AnnData):
        fix = "read it first: anndata.read_h5ad(...)" if isinstance(adata, (str, Path)) else "give an AnnData"
        raise UserError(f"adata: is a {type(adata).__name__}; {fix}")
    if not copy and adata.isbacked and adata.is_view:
        raise UserError(
            "adata: is a view of an AnnData whose X is in a file, which cannot take results; "
            "call adata = adata.to_memory() first, or give copy=True"
        )


def result_of(adata: anndata.AnnData, *, copy: bool) -> anndata.AnnData:
    """Return the object that results are written to: ``adata`` itself, or a copy in memory."""
    if not copy:
        return adata
    return adata.to_memory() if adata.isbacked else adata.copy()
