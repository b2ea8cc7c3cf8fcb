"""Cell embeddings in ``obsm``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["embed_cells"]

logger = logging.getLogger(__name__)


def embed_cells(
    adata: anndata.AnnData,
    run: str | Path,
    *,
    layer: str | None = None,
    modality: str | None = None,
    key_added: str = "X_grn_cotrain",
    min_mapped: float = 0.5,
    aliases: AliasTable | str | Path | None = None,
    orthologs: OrthologTable | str | Path | None = None,
    zero_shot: bool = False,
    overwrite: bool = False,
    copy: bool = False,
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
    layer
        Layer that holds the counts; default ``X``; ``raw`` for ``adata.raw``.
    modality
        Where ``var`` has features of several modalities: which to read (``rna``, ``rna,prot``).
    key_added
        Key in ``obsm``.
    min_mapped
        Least share of genes found, of the fewer of the object's and the model's.
    aliases, orthologs
        Table of old symbols, table of human and mouse orthologs; or their files.
    zero_shot
        The cells are meant to be new to the model: logs what it was trained on, and warns where they are not new.
    overwrite
        Whether ``obsm[key_added]`` may be replaced.
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
    # Imported here, so that `import grn_cotrain.tl` loads no torch.
    from grn_cotrain.export.annotate import annotate, refuse_taken
    from grn_cotrain.export.cells import cell_embeddings, nan_note, rows_of
    from grn_cotrain.hub.fetch import resolve_run
    from grn_cotrain.tl._cells import read_cells, refuse_other, result_of

    refuse_other(adata, copy=copy)
    refuse_taken(adata, "obsm", [key_added], overwrite=overwrite)
    folder = resolve_run(run)
    counts = read_cells(adata, folder, layer, modality, aliases, orthologs)
    embedded = cell_embeddings(folder, counts, min_mapped=min_mapped, zero_shot=zero_shot)
    values_CD, without = rows_of(embedded, list(map(str, adata.obs_names)))
    target = result_of(adata, copy=copy)
    annotate(target, "obsm", key_added, values_CD, embedded.origin)
    for note in embedded.notes:
        logger.info(note)
    for warning in [*([nan_note(without)] if without else []), *embedded.warnings]:
        logger.warning(warning)
    return target if copy else None
