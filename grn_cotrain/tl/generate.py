"""Generated values of cells."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from grn_cotrain.jobs.generate import GenerateOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

__all__ = ["generate"]

logger = logging.getLogger(__name__)


@keywords(GenerateOptions)
def generate(adata: anndata.AnnData, run: str | Path, options: GenerateOptions) -> anndata.AnnData:
    """Show a model some genes of each cell and let it generate the others, the most confident first.

    ``adata`` is read, never written to. The fit of generated values to those of ``adata``, compared with each gene's
    mean, is logged and kept in ``uns``.

    Parameters
    ----------
    adata
        Cells.
    run
        Run folder, or ``hf://NAME/REPOSITORY``; one of its objectives must predict values (best: the encoder ``scgpt``
        with the objective ``generative``).
    {options}

    Returns
    -------
    anndata.AnnData
        Cells x genes of the model: ``X`` known and generated values; layers ``known``, ``generated``, ``round`` and
        ``truth`` (NaN where a value was generated of a gene that ``adata`` lacks: ``var["in_file"]`` is False);
        ``obs["generate_known"]``, ``obs["generate_asked"]``; ``uns["grn_cotrain"]["generate"]``.

    Raises
    ------
    UserError
        A gene that the model does not know; nothing to generate; no such run, or one that predicts no values; cells
        that cannot be read.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> made = gc.tl.generate(adata, "runs/pbmc", known=0.25, rounds=8)  # doctest: +SKIP
    >>> made.uns["grn_cotrain"]["generate"]["r2"]  # doctest: +SKIP
    """
    from grn_cotrain.apply import OpenRun
    from grn_cotrain.apply.read import refuse_other
    from grn_cotrain.export.generate import generate_cells
    from grn_cotrain.hub.fetch import resolve_run

    refuse_other(adata)
    opened = OpenRun(resolve_run(run))
    return generate_cells(opened, opened.read(adata, options), options=options, say=logger.info)
