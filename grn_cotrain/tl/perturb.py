"""Effects of deleting or over-expressing a gene on embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.io.names import AliasTable, OrthologTable
    from grn_cotrain.evaluate.in_silico import InSilico

__all__ = ["perturb"]

logger = logging.getLogger(__name__)


def perturb(
    adata: anndata.AnnData | None,
    run: str | Path,
    genes: str | Sequence[str],
    *,
    mode: Literal["delete", "overexpress"] = "delete",
    level: float | Literal["cell_max"] = 0.99,
    only: tuple[str, str] | None = None,
    max_cells: int | None = 256,
    num_controls: int = 20,
    layer: str | None = None,
    modality: str | None = None,
    min_mapped: float = 0.5,
    aliases: AliasTable | str | Path | None = None,
    orthologs: OrthologTable | str | Path | None = None,
    seed: int = 0,
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
    genes
        One gene, or several that are perturbed together; symbols or Ensembl ids.
    mode
        ``delete``: their tokens are removed from the cells that express one of them. ``overexpress``: in every cell
        they are raised to ``level``; for encoders that read ranks they come first.
    level
        Quantile of the gene's own non-zero values in these cells, or ``"cell_max"``: the highest value of each cell.
    only
        A column of ``obs`` and the value that cells must have: ``("cell_type", "CD14+ Monocytes")``.
    max_cells
        At most so many cells for each gene, a seeded sample of those it concerns; None: all.
    num_controls
        Random sets of genes, matched in detection rate and mean value, to which the same is done.
    layer, modality, min_mapped, aliases, orthologs
        How ``adata`` is read: see :func:`~grn_cotrain.tl.embed_cells`.
    seed
        Seed of the sample and the controls.

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
    # Imported here, so that `import grn_cotrain.tl` loads no torch.
    from grn_cotrain.export.perturb import perturb_genes
    from grn_cotrain.hub.fetch import resolve_run
    from grn_cotrain.tl._cells import read_cells, refuse_other

    if adata is not None:
        refuse_other(adata)
    folder = resolve_run(run)
    counts = None
    if adata is not None:
        counts = read_cells(adata, folder, layer, modality, aliases, orthologs)
    result = perturb_genes(
        folder,
        [genes] if isinstance(genes, str) else genes,
        counts,
        mode=mode,
        level=level,
        only=only,
        max_cells=max_cells,
        num_controls=num_controls,
        min_mapped=min_mapped,
        seed=seed,
        say=logger.info,
    )
    for note in result.notes:
        logger.info(note)
    return result
