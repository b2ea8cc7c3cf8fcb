"""The AnnData that a user hands in: what it must be, how it is read, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.io.counts import CountsFile
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["read_cells", "refuse_other", "result_of", "table"]


def refuse_other(adata: Any, *, copy: bool = True) -> None:
    """Refuse what is not an AnnData, and one that cannot take results.

    Parameters
    ----------
    adata
        The user's object.
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


def table(kind: type[AliasTable] | type[OrthologTable], given: Any) -> Any:
    """Return a table of names that may be given as its file."""
    return kind.read(given) if isinstance(given, (str, Path)) else given


def read_cells(
    adata: anndata.AnnData,
    folder: Path,
    layer: str | None,
    modality: str | None,
    aliases: AliasTable | str | Path | None,
    orthologs: OrthologTable | str | Path | None,
) -> CountsFile:
    """Validate the cells of an AnnData, with their genes in the species of the run at ``folder``."""
    from grn_cotrain.data.io.counts import counts_from_anndata
    from grn_cotrain.data.io.names import AliasTable, OrthologTable
    from grn_cotrain.export.cells import species_of

    return counts_from_anndata(
        adata,
        layer,
        modality=modality,
        aliases=table(AliasTable, aliases),
        orthologs=table(OrthologTable, orthologs),
        to_species=species_of(folder),
    )
