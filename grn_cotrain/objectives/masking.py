"""Which values are hidden from the encoder. Special tokens never are; there is no padding to touch.

Dimension letters: T packed tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL

__all__ = ["draw_mask", "hide", "hide_names"]


def draw_mask(batch: CellBatch, generator: torch.Generator, *, share: float, zero_share: float = 0.0) -> Tensor:
    """Hide each non-zero value with chance ``share`` and each zero token with chance ``zero_share``.

    One uniform number is drawn for every token, whatever the shares, so draws stay aligned between settings.

    Returns
    -------
    Tensor
        bool ``[T]`` on the batch's device; False at special tokens.
    """
    draw_T = torch.rand(batch.num_tokens, generator=generator, device=generator.device).to(batch.values_T.device)
    chance_T = torch.where(batch.values_T != 0, share, zero_share)
    return (draw_T < chance_T) & (batch.feature_ids_T >= NUM_SPECIAL)


def hide(batch: CellBatch, masked_T: Tensor, *, num_bins: int) -> CellBatch:
    """Hide values, and bin the *visible* ones among themselves.

    Bins of the whole cell would tell what is hidden: each bin's size is known, so the visible counts give away the
    histogram of the rest. Hidden positions keep their bin in the whole cell, as targets.
    """
    visible_T = ~masked_T
    bins_T = batch.bins_T.clone()
    bins_T[visible_T] = quantile_bins(batch.values_T[visible_T], batch.cell_of_token_T[visible_T], num_bins)
    return replace(batch, bins_T=bins_T, masked_T=masked_T)


def hide_names(batch: CellBatch, hidden_T: Tensor) -> CellBatch:
    """Put MASK in the place of feature ids; whoever hides names keeps the ids as targets.

    Values, bins and ranks stay visible: they are what the name is guessed from. The modality is that of the feature's
    name, but says little of which one it is, and stays too. Call the encoder's ``prepare_batch`` first, for ranks.
    """
    return replace(batch, feature_ids_T=batch.feature_ids_T.masked_fill(hidden_T, MASK_ID))
