"""Edits of packed cells: a gene taken away, a gene turned up. No encoder is named here.

Dimension letters: B cells of a batch, T packed tokens, N tokens of the edited batch, E tokens that are added, G genes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.ranks import ranks_within_cells
from grn_cotrain.data.vocab import NUM_SPECIAL

__all__ = ["EditedCells", "add_tokens", "delete_genes", "overexpress_genes", "rebin", "take_cells"]


@dataclass(frozen=True)
class EditedCells:
    """Cells after an edit.

    Attributes
    ----------
    batch
        The cells that the edit concerns, edited.
    source_N
        int64 position of each token in the batch it came from; -1 for a token that was added.
    cells_B
        int64 cells of that batch, in the order of ``batch``.
    """

    batch: PackedTokens
    source_N: Tensor
    cells_B: Tensor

    def seen_from(self, whole: EditedCells) -> EditedCells:
        """The same with positions in the batch that ``whole`` took the edited one from."""
        source_N = torch.where(self.source_N < 0, -1, whole.source_N[self.source_N.clamp_min(0)])
        return EditedCells(self.batch, source_N, whole.cells_B[self.cells_B])


def take_cells(batch: PackedTokens, cells_B: Tensor) -> EditedCells:
    """The cells ``cells_B`` (int64, rising) as they are."""
    wanted_B = torch.zeros(batch.num_cells, dtype=torch.bool, device=cells_B.device).index_fill(0, cells_B, True)
    cell_T = batch.cell_of_token_T
    source_N = torch.nonzero(wanted_B[cell_T]).squeeze(1)
    return EditedCells(_gather(batch, source_N, cell_T[source_N], cells_B), source_N, cells_B)


def rebin(batch: PackedTokens, *, num_bins: int) -> PackedTokens:
    """Bin the values that the batch shows among themselves, as they are after any edit."""
    return replace(batch, bins_T=quantile_bins(batch.values_T, batch.cell_of_token_T, num_bins))


def delete_genes(batch: PackedTokens, genes: Tensor, *, num_bins: int, keep_as_zeros: bool) -> EditedCells | None:
    """Take the tokens of ``genes`` away from the cells that express one of them; None if no cell does.

    Other values stay as they are (they are not normalised again); bins are formed among what is left.

    Parameters
    ----------
    genes
        int64 gene indices.
    num_bins
        K.
    keep_as_zeros
        Where every feature is a token, a deleted gene is one of value 0 rather than none.
    """
    hit_T = torch.isin(batch.feature_ids_T, genes + NUM_SPECIAL) & (batch.values_T != 0)
    cell_T = batch.cell_of_token_T
    concerned_B = torch.zeros(batch.num_cells, dtype=torch.bool, device=hit_T.device).index_fill(0, cell_T[hit_T], True)
    if not bool(concerned_B.any()):
        return None
    keep_T = concerned_B[cell_T] if keep_as_zeros else concerned_B[cell_T] & ~hit_T
    source_N = torch.nonzero(keep_T).squeeze(1)
    cells_B = torch.nonzero(concerned_B).squeeze(1)
    edited = _gather(batch, source_N, cell_T[source_N], cells_B)
    if keep_as_zeros:
        edited = replace(edited, values_T=edited.values_T.masked_fill(hit_T[source_N], 0.0))
    return EditedCells(rebin(edited, num_bins=num_bins), source_N, cells_B)


def overexpress_genes(
    batch: PackedTokens,
    genes: Tensor,
    values: Tensor,
    modality: Tensor,
    *,
    num_bins: int,
    prepare: Callable[[PackedTokens], PackedTokens],
) -> EditedCells:
    """Turn ``genes`` up in every cell; a gene that is not a token of a cell becomes one.

    A value is raised to the gene's ``values`` entry, or to the highest of the cell where that is NaN; it is never
    lowered. For encoders that read ranks the genes then come first, by feature id, and all others move down.

    Parameters
    ----------
    genes, values, modality
        ``[n]`` gene indices, float32 values to reach (NaN: the cell's highest), and codes of their modalities.
    num_bins
        K.
    prepare
        The encoder's ``prepare_batch``: where it sets ranks, they are edited.
    """
    ids = genes + NUM_SPECIAL
    present_T = torch.isin(batch.feature_ids_T, ids)
    every = torch.arange(batch.num_cells, device=ids.device)
    cell_T = batch.cell_of_token_T
    # (cell, gene) pairs that have no token yet.
    order = torch.argsort(ids)
    place_T = order[torch.searchsorted(ids[order], batch.feature_ids_T[present_T])]
    missing_BG = torch.ones(batch.num_cells, len(ids), dtype=torch.bool, device=ids.device)
    missing_BG[cell_T[present_T], place_T] = False
    cell_E, gene_E = torch.nonzero(missing_BG, as_tuple=True)

    added = add_tokens(batch, cell_E, ids[gene_E], modality[gene_E])
    edited, source_N, feature_ids_T = added.batch, added.source_N, added.batch.feature_ids_T
    turned_N = torch.isin(feature_ids_T, ids)
    top_B = torch.zeros(batch.num_cells, device=ids.device).scatter_reduce(0, cell_T, batch.values_T, "amax")
    wanted_N = values[order[torch.searchsorted(ids[order], feature_ids_T[turned_N])]]
    own_top_N = top_B[edited.cell_of_token_T[turned_N]]
    values_T = edited.values_T.clone()
    values_T[turned_N] = torch.maximum(values_T[turned_N], torch.where(wanted_N.isnan(), own_top_N, wanted_N))
    edited = replace(edited, values_T=values_T)
    edited = prepare(rebin(edited, num_bins=num_bins))
    if edited.ranks_T is not None:
        edited = replace(edited, ranks_T=_first(edited, turned_N, edited.ranks_T))
    return EditedCells(edited, source_N, every)


def add_tokens(batch: PackedTokens, cell_E: Tensor, ids_E: Tensor, modality_E: Tensor) -> EditedCells:
    """Every cell, with more tokens of value 0 at its end, which are neither hidden nor ranked.

    Parameters
    ----------
    cell_E, ids_E, modality_E
        int64 cell, vocabulary id and code of the modality of each token that is added.
    """
    cell_T = batch.cell_of_token_T
    by_cell = torch.argsort(torch.cat([cell_T, cell_E]), stable=True)
    own_T = torch.arange(batch.num_tokens, device=cell_T.device)
    template_N = torch.cat([own_T, batch.cls_positions_B[cell_E]])[by_cell]
    source_N = torch.cat([own_T, torch.full_like(cell_E, -1)])[by_cell]
    every_B = torch.arange(batch.num_cells, device=cell_T.device)
    edited = _gather(batch, template_N, torch.cat([cell_T, cell_E])[by_cell], every_B)
    added_N = source_N < 0
    entry_N = (by_cell - batch.num_tokens)[added_N]
    feature_ids_T, modality_T = edited.feature_ids_T.clone(), edited.modality_T.clone()
    feature_ids_T[added_N], modality_T[added_N] = ids_E[entry_N], modality_E[entry_N]
    return EditedCells(replace(edited, feature_ids_T=feature_ids_T, modality_T=modality_T), source_N, every_B)


def _first(batch: PackedTokens, turned_T: Tensor, ranks_T: Tensor) -> Tensor:
    """Ranks with the turned-up tokens before all others of their cell."""
    ranked_N = torch.nonzero(ranks_T > 0).squeeze(1)
    score_N = torch.where(turned_T[ranked_N], 1, -ranks_T[ranked_N])
    result_T = torch.zeros_like(ranks_T)
    result_T[ranked_N] = ranks_within_cells(score_N, batch.cell_of_token_T[ranked_N], batch.feature_ids_T[ranked_N])
    return result_T


def _gather(batch: PackedTokens, source_N: Tensor, cell_N: Tensor, cells_B: Tensor) -> PackedTokens:
    """The tokens ``source_N``, sorted by their cells ``cell_N``; of the cells only ``cells_B``. Ranks are forgotten."""
    chosen: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor) and field.name != "cu_lens":
            chosen[field.name] = value[source_N if field.name.endswith("_T") else cells_B]
    lens_B = torch.bincount(cell_N, minlength=batch.num_cells)[cells_B]
    cu_lens = torch.cat([lens_B.new_zeros(1), lens_B.cumsum(0)]).to(batch.cu_lens.dtype)
    return replace(batch, **{**chosen, "cu_lens": cu_lens, "max_len": int(lens_B.max()), "ranks_T": None})
