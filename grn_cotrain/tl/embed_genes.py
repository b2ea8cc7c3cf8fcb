"""Gene embeddings in ``varm``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["embed_genes"]

logger = logging.getLogger(__name__)


def embed_genes(
    adata: anndata.AnnData,
    run: str | Path,
    *,
    kind: str = "graph",
    by: str | None = None,
    key_added: str = "grn_cotrain",
    aliases: AliasTable | str | Path | None = None,
    orthologs: OrthologTable | str | Path | None = None,
    overwrite: bool = False,
    copy: bool = False,
) -> anndata.AnnData | None:
    """Write a run's gene embeddings into ``adata.varm``, aligned by name.

    Genes without an embedding get NaN rows: zeros would be a point of the space and pass for a gene. They are counted
    and named in the log and in ``uns``.

    Parameters
    ----------
    adata
        Any AnnData; genes are known by ``var_names``, or by ids and symbols in ``var`` (``gene_ids``, ``feature_name``
        and the like).
    run
        Run folder, or ``hf://NAME/REPOSITORY``.
    kind
        ``static``, ``graph`` or ``contextual``: see :func:`~grn_cotrain.export.genes.gene_embeddings`.
    by
        ``contextual`` only: column of the training cells' ``obs``; each group has a key of its own, ``KEY_GROUP``.
    key_added
        Key in ``varm``.
    aliases, orthologs
        Table of old symbols, table of human and mouse orthologs; or their files.
    overwrite
        Whether ``varm[key_added]`` may be replaced.
    copy
        Return an annotated copy instead of writing into ``adata``.

    Returns
    -------
    anndata.AnnData or None
        The copy, or None.

        Keys written: ``varm[key_added]``, float32 ``[n_vars, D]``, and ``uns["grn_cotrain"][key_added]``: run, kind,
        hashes of recipe, vocabulary and weights, features given, mapped and lost.

    Raises
    ------
    UserError
        The key is taken; no gene has an embedding; another species; no such run. ``adata`` is unchanged then.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> gc.tl.embed_genes(adata, "runs/pbmc")  # doctest: +SKIP
    >>> adata.varm["grn_cotrain"].shape  # doctest: +SKIP
    (2000, 64)
    """
    # Imported here, so that `import grn_cotrain.tl` loads no torch.
    from grn_cotrain.data.io.names import AliasTable, OrthologTable
    from grn_cotrain.export.annotate import refuse_taken
    from grn_cotrain.export.gene_varm import annotate_genes
    from grn_cotrain.export.genes import gene_embeddings
    from grn_cotrain.hub.fetch import resolve_run
    from grn_cotrain.tl._cells import refuse_other, result_of, table

    refuse_other(adata, copy=copy)
    if by is None:  # before the work; groups are known after it
        refuse_taken(adata, "varm", [key_added], overwrite=overwrite)
    embeddings = gene_embeddings(resolve_run(run), kind, by=by)
    tables = table(AliasTable, aliases), table(OrthologTable, orthologs)
    target = result_of(adata, copy=copy)
    notes = annotate_genes(
        target, embeddings, key_added=key_added, aliases=tables[0], orthologs=tables[1], overwrite=overwrite
    )
    for note in [*embeddings.notes, *notes]:
        logger.info(note)
    return target if copy else None
