"""Cell types in ``obs``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from grn_cotrain.jobs.annotate import AnnotateOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

__all__ = ["annotate"]

logger = logging.getLogger(__name__)


@keywords(AnnotateOptions)
def annotate(
    adata: anndata.AnnData, run: str | Path, options: AnnotateOptions, *, copy: bool = False
) -> anndata.AnnData | None:
    """Write predicted cell types into ``adata.obs``.

    Parameters
    ----------
    adata
        Cells; other genes than the model's are welcome.
    run
        Folder that ``grn-cotrain finetune`` wrote, or ``hf://NAME/REPOSITORY``.
    {options}
    copy
        Return an annotated copy instead of writing into ``adata``.

    Returns
    -------
    anndata.AnnData or None
        The copy, or None.

        Keys written: ``obs[key_added]``, categorical; ``obs[key_added + "_probability"]``, float32; and
        ``uns["grn_cotrain"][key_added]``: run, hashes, classes, genes given, mapped and lost. Cells without a value of
        any gene that the model knows have no type.

    Raises
    ------
    UserError
        A column is taken; no fine-tuned run; values are neither counts nor log1p values; too few genes known. ``adata``
        is unchanged then.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> gc.tl.annotate(adata, "runs/pbmc-types", layer="counts", min_probability=0.5)  # doctest: +SKIP
    """
    from grn_cotrain.export.annotated import annotate_adata
    from grn_cotrain.export.cell_types import AnnotateCells
    from grn_cotrain.hub.fetch import resolve_run

    return annotate_adata(
        adata, resolve_run(run), lambda opened: AnnotateCells(opened, options), copy=copy, logger=logger
    )
