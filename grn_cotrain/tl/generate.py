"""Generated values of cells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["generate"]

logger = logging.getLogger(__name__)


def generate(
    adata: anndata.AnnData,
    run: str | Path,
    *,
    known: float | Sequence[str] = 0.5,
    genes: Literal["expressed", "all"] = "expressed",
    prompt: Literal["genes", "cell"] = "genes",
    rounds: int = 4,
    sample: bool = False,
    layer: str | None = None,
    modality: str | None = None,
    min_mapped: float = 0.5,
    aliases: AliasTable | str | Path | None = None,
    orthologs: OrthologTable | str | Path | None = None,
    seed: int = 0,
) -> anndata.AnnData:
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
    known
        Share of each cell's values that is shown, or names of genes; all others are unknown.
    genes
        ``expressed``: generate the genes that a cell expresses. ``all``: every gene of the model.
    prompt
        ``genes``: known genes are read directly. ``cell``: through the cell's state alone; with ``known=1.0`` the cell
        is reconstructed from its state.
    rounds
        Rounds; in each, those values that are predicted most confidently become known to the next.
    sample
        Draw values instead of predicting them.
    layer, modality, min_mapped, aliases, orthologs
        How ``adata`` is read: see :func:`~grn_cotrain.tl.embed_cells`.
    seed
        Seed of known values and draws.

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
    # Imported here, so that `import grn_cotrain.tl` loads no torch.
    from grn_cotrain.export.generate import generate_cells
    from grn_cotrain.hub.fetch import resolve_run
    from grn_cotrain.tl._cells import read_cells, refuse_other

    refuse_other(adata)
    folder = resolve_run(run)
    counts = read_cells(adata, folder, layer, modality, aliases, orthologs)
    return generate_cells(
        folder,
        counts,
        known=known,
        genes=genes,
        prompt=prompt,
        rounds=rounds,
        sample=sample,
        seed=seed,
        min_mapped=min_mapped,
        say=logger.info,
    )
