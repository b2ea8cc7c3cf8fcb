"""Effects of deleting or over-expressing a gene on embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grn_cotrain.jobs.perturb import PerturbOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.evaluate.in_silico import InSilico

__all__ = ["perturb"]

logger = logging.getLogger(__name__)


@keywords(PerturbOptions)
def perturb(
    adata: anndata.AnnData | None, run: str | Path, gene: str | Sequence[str], options: PerturbOptions
) -> InSilico:
    """Delete or over-express genes in silico, and see how far cells and all other genes move, compared with random
    genes.

    ``adata`` is read, never written to.

    Parameters
    ----------
    adata
        Cells; None: those that the run was trained and tested on, whose prepared folder must then be available.
    run
        Run folder, or ``hf://NAME/REPOSITORY``.
    gene
        One gene, or several that are perturbed together; symbols or Ensembl ids.
    {options}

    Returns
    -------
    InSilico
        ``summary`` (shift of the cell embedding, percentile among controls), ``genes`` (a row a gene, farthest first),
        ``cells`` (a row a cell), ``controls``.

    Raises
    ------
    UserError
        A gene that the model does not know, with the nearest name; a deletion of genes that no cell expresses; no such
        run, column or value; cells that cannot be read.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> found = gc.tl.perturb(adata, "runs/pbmc", "STAT1", only=("cell_type", "B cells"))  # doctest: +SKIP
    >>> found.summary["percentile"], found.genes.head(10)  # doctest: +SKIP
    """
    from grn_cotrain.apply import OpenRun
    from grn_cotrain.apply.read import refuse_other
    from grn_cotrain.export.perturb import perturb_genes
    from grn_cotrain.hub.fetch import resolve_run

    if adata is not None:
        refuse_other(adata)
    opened = OpenRun(resolve_run(run), prep=options.prep)
    counts = None if adata is None else opened.read(adata, options)
    genes = [gene] if isinstance(gene, str) else gene
    result = perturb_genes(opened, counts, genes, options=options, say=logger.info)
    for note in result.notes:
        logger.info(note)
    return result
