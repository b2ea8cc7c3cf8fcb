"""Cell types in ``obs``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["annotate"]

logger = logging.getLogger(__name__)


def annotate(
    adata: anndata.AnnData,
    run: str | Path,
    *,
    min_probability: float = 0.0,
    key_added: str | None = None,
    layer: str | None = None,
    modality: str | None = None,
    min_mapped: float = 0.5,
    aliases: AliasTable | str | Path | None = None,
    orthologs: OrthologTable | str | Path | None = None,
    overwrite: bool = False,
    copy: bool = False,
) -> anndata.AnnData | None:
    """Write predicted cell types into ``adata.obs``.

    Parameters
    ----------
    adata
        Cells; other genes than the model's are welcome.
    run
        Folder that ``grn-cotrain finetune`` wrote, or ``hf://NAME/REPOSITORY``.
    min_probability
        Cells whose best class has less are ``unassigned``.
    key_added
        Column of ``obs``; default: ``predicted_`` and the column that was learned.
    layer, modality, min_mapped, aliases, orthologs
        As for :func:`embed_cells`.
    overwrite
        Whether columns of these names may be replaced.
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
    from grn_cotrain.export.annotate import annotate_obs, refuse_taken
    from grn_cotrain.export.cell_types import cell_types, obs_keys, summary
    from grn_cotrain.hub.fetch import resolve_run
    from grn_cotrain.tl._cells import read_cells, refuse_other, result_of
    from grn_cotrain.train.classifier import Classifier

    refuse_other(adata, copy=copy)
    folder = resolve_run(run)
    keys = obs_keys(Classifier.load(folder)[0].label, key_added)
    refuse_taken(adata, "obs", keys, overwrite=overwrite)
    counts = read_cells(adata, folder, layer, modality, aliases, orthologs)
    found = cell_types(folder, counts, min_mapped=min_mapped)
    names = list(map(str, adata.obs_names))
    columns = found.columns(keys[0], names, min_probability=min_probability)
    target = result_of(adata, copy=copy)
    annotate_obs(target, columns, {**found.origin, "min_probability": min_probability})
    for note in [*found.notes, *summary(columns[keys[0]], names, min_probability=min_probability)]:
        logger.info(note)
    for warning in found.warnings:
        logger.warning(warning)
    return target if copy else None
