"""Cell embeddings in ``obsm``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from grn_cotrain.jobs.embed import EmbedOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

__all__ = ["embed_cells"]

logger = logging.getLogger(__name__)


@keywords(EmbedOptions)
def embed_cells(
    adata: anndata.AnnData, run: str | Path, options: EmbedOptions, *, copy: bool = False
) -> anndata.AnnData | None:
    """Write embeddings of the cells into ``adata.obsm``.

    Values are read as :func:`~grn_cotrain.data.io.counts.load_counts` reads a file: counts or log1p values, validated,
    genes aligned to the model's by name. Cells without a value of any gene that the model knows get NaN rows.

    Parameters
    ----------
    adata
        Cells; other genes than the model's are welcome.
    run
        Run folder, or ``hf://NAME/REPOSITORY``. Its data need not be on this machine.
    {options}
    copy
        Return an annotated copy instead of writing into ``adata``.

    Returns
    -------
    anndata.AnnData or None
        The copy, or None.

        Keys written: ``obsm[key_added]``, float32 ``[n_obs, D]``, and ``uns["grn_cotrain"][key_added]``: run, hashes of
        recipe, vocabulary and weights, genes given, mapped and lost, tokens per cell.

    Raises
    ------
    UserError
        The key is taken; values are neither counts nor log1p values; too few genes known; another species; no such run.
        ``adata`` is unchanged then.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> gc.tl.embed_cells(adata, "runs/pbmc", layer="counts")  # doctest: +SKIP
    >>> sc.pp.neighbors(adata, use_rep="X_grn_cotrain")  # doctest: +SKIP
    """
    from grn_cotrain.export.annotated import annotate_adata
    from grn_cotrain.export.cells import EmbedCells
    from grn_cotrain.hub.fetch import resolve_run

    return annotate_adata(adata, resolve_run(run), lambda opened: EmbedCells(opened, options), copy=copy, logger=logger)
