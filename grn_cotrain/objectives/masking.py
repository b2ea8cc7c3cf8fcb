"""Which values are hidden from the encoder. Special tokens never are; there is no padding to touch.

Dimension letters: T packed tokens, M zero tokens, B cells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL

__all__ = ["MaskBalance", "draw_balanced_mask", "draw_mask", "hide", "hide_names"]

MaskBalance = Literal["same", "ratio10", "equal_count"]
"""Number of zeros that are hidden in addition to the values: see :func:`draw_balanced_mask`."""

_RATIO = 10.0  # xTrimoGene hides zeros at a tenth of the ratio of non-zeros


def draw_mask(
    batch: PackedTokens, generator: torch.Generator, *, share: float, zero_share: float | Tensor = 0.0
) -> Tensor:
    """Hide each non-zero value with chance ``share`` and each zero token with chance ``zero_share``.

    One uniform number is drawn for every token, whatever the shares, so draws stay aligned between settings.
    ``zero_share`` may differ from token to token (``[T]``).

    Returns
    -------
    Tensor
        bool ``[T]`` on the batch's device; False at special tokens.
    """
    return _below(_draws(batch, generator), batch, share, zero_share)


def draw_balanced_mask(
    batch: PackedTokens, generator: torch.Generator, *, share: float, balance: MaskBalance, num_features: int
) -> Tensor:
    """Hide values with chance ``share``, and zeros too.

    ``same``
        Each zero token with the same chance.
    ``ratio10``
        A tenth of that chance for every zero *feature* of the cell (xTrimoGene: 30 % of the non-zeros, 3 % of the
        zeros), whether all zeros are tokens or only some: with Z zero features of which z are tokens, each token's
        chance is ``min(1, share / 10 * Z / z)``. Where fewer than ``share / 10 * Z`` are tokens, all of them are
        hidden, and the balance falls short: raise ``tokens.zeros_per_cell``.
    ``equal_count``
        As many zeros as values, in each cell, drawn without replacement; all zero tokens where there are fewer.

    Parameters
    ----------
    num_features
        Features that can be tokens; those that are no value of a cell are its zeros.

    Returns
    -------
    Tensor
        bool ``[T]``; the hidden *values* are the same under every balance.
    """
    draw_T = _draws(batch, generator)
    if balance == "same":
        return _below(draw_T, batch, share, share)
    cell_T = batch.cell_of_token_T
    is_value_T = batch.values_T != 0
    is_zero_T = ~is_value_T & (batch.feature_ids_T >= NUM_SPECIAL)
    num_cells = batch.num_cells
    if balance == "ratio10":
        values_B = torch.bincount(cell_T[is_value_T], minlength=num_cells)
        shown_B = torch.bincount(cell_T[is_zero_T], minlength=num_cells)
        zeros_B = (num_features - values_B).clamp_min(0)
        chance_B = (share / _RATIO) * zeros_B / shown_B.clamp_min(1)
        return _below(draw_T, batch, share, chance_B.clamp_max(1.0)[cell_T])
    masked_T = _below(draw_T, batch, share, 0.0)
    wanted_B = torch.bincount(cell_T[masked_T], minlength=num_cells)
    zero_M = torch.nonzero(is_zero_T).squeeze(1)
    # Zeros in the order of their draws within each cell; the first ``wanted`` of a cell are hidden.
    by_draw_M = zero_M[torch.argsort(draw_T[zero_M], stable=True)]
    order_M = by_draw_M[torch.argsort(cell_T[by_draw_M], stable=True)]
    count_B = torch.bincount(cell_T[zero_M], minlength=num_cells)
    start_B = count_B.cumsum(0) - count_B
    place_M = torch.arange(len(order_M), device=order_M.device) - start_B[cell_T[order_M]]
    masked_T[order_M[place_M < wanted_B[cell_T[order_M]]]] = True
    return masked_T


def _draws(batch: PackedTokens, generator: torch.Generator) -> Tensor:
    """A uniform number for every token."""
    return torch.rand(batch.num_tokens, generator=generator, device=generator.device).to(batch.values_T.device)


def _below(draw_T: Tensor, batch: PackedTokens, share: float, zero_share: float | Tensor) -> Tensor:
    """True where the draw is below the token's chance; never at special tokens."""
    chance_T = torch.where(batch.values_T != 0, share, zero_share)
    return (draw_T < chance_T) & (batch.feature_ids_T >= NUM_SPECIAL)


def hide(batch: PackedTokens, masked_T: Tensor, *, num_bins: int) -> PackedTokens:
    """Hide values, and bin the *visible* ones among themselves.

    Bins of the whole cell would reveal what is hidden: each bin's size is known, so the visible counts give away the
    histogram of the rest. Hidden positions keep their bin in the whole cell, as targets.
    """
    visible_T = ~masked_T
    bins_T = batch.bins_T.clone()
    bins_T[visible_T] = quantile_bins(batch.values_T[visible_T], batch.cell_of_token_T[visible_T], num_bins)
    return replace(batch, bins_T=bins_T, masked_T=masked_T)


def hide_names(batch: PackedTokens, hidden_T: Tensor) -> PackedTokens:
    """Put MASK in the place of feature ids; the caller keeps the ids as targets.

    Values, bins and ranks stay visible: they are what the name is guessed from. The modality is that of the feature's
    name, but reveals little of which one it is, and stays too. Call the encoder's ``prepare_batch`` first, for ranks.
    """
    return replace(batch, feature_ids_T=batch.feature_ids_T.masked_fill(hidden_T, MASK_ID))
