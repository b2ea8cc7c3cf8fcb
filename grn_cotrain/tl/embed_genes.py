"""Gene embeddings in ``varm``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from grn_cotrain.jobs.genes import GeneOptions, IntoOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

__all__ = ["embed_genes"]

logger = logging.getLogger(__name__)


@keywords(IntoOptions, name="into")
@keywords(GeneOptions)
def embed_genes(
    adata: anndata.AnnData, run: str | Path, options: GeneOptions, into: IntoOptions, *, copy: bool = False
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
    {options}
    {into}
    copy
        Return an annotated copy instead of writing into ``adata``.

    Returns
    -------
    anndata.AnnData or None
        The copy, or None.

        Keys written: ``varm[key_added]``, float32 ``[n_vars, D]``, and ``uns["grn_cotrain"][key_added]``: run, kind,
        hashes of recipe, vocabulary and weights, features given, mapped and lost. With ``by`` each group has a key of
        its own, ``KEY_GROUP``.

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
    from grn_cotrain.apply.read import refuse_other, result_of
    from grn_cotrain.export.annotate import refuse_taken
    from grn_cotrain.export.gene_varm import annotate_genes
    from grn_cotrain.export.genes import gene_embeddings
    from grn_cotrain.hub.fetch import resolve_run

    refuse_other(adata, copy=copy)
    if options.by is None:  # before the work; groups are known after it
        refuse_taken(adata, "varm", [into.key_added], overwrite=into.overwrite)
    embeddings = gene_embeddings(resolve_run(run), options=options)
    target = result_of(adata, copy=copy)
    for note in [*embeddings.notes, *annotate_genes(target, embeddings, options=into)]:
        logger.info(note)
    return target if copy else None
