"""Cross-entropy over a whole vocabulary without the whole matrix of logits.

Dimension letters: M rows, S rows of a tile, V classes, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["TILE_ROWS", "vocabulary_cross_entropy"]

TILE_ROWS = 256
"""Rows of a tile: 25 MB of float32 logits at 25,000 classes. Times were flat from 128 to 512 rows."""


class _Tiled(torch.autograd.Function):
    """Logits of a tile are made, turned into their own gradient in place, and forgotten: three products in all.

    Products are of ``dtype``; softmax, loss and gradients are float32 at least.
    """

    @staticmethod
    def forward(
        ctx: Any, rows_MD: Tensor, table_VD: Tensor, bias_V: Tensor, target_M: Tensor, tile: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        wants_rows, wants_table, wants_bias = ctx.needs_input_grad[:3]
        count = len(rows_MD)
        nll_M = rows_MD.new_empty(count)
        hit_M = torch.empty(count, dtype=torch.bool, device=rows_MD.device)
        grad_MD = torch.empty_like(rows_MD) if wants_rows else None
        grad_VD = torch.zeros_like(table_VD) if wants_table else None
        grad_V = torch.zeros_like(bias_V) if wants_bias else None
        same = dtype == rows_MD.dtype
        factor_MD, factor_VD = rows_MD.to(dtype), table_VD.to(dtype)
        buffer_SV = rows_MD.new_empty(min(tile, count), len(table_VD))
        for start in range(0, count, tile):
            part = slice(start, min(start + tile, count))
            rows_SD, target_S1 = factor_MD[part], target_M[part, None]
            logits_SV = buffer_SV[: len(rows_SD)]
            if same:
                torch.addmm(bias_V, rows_SD, factor_VD.T, out=logits_SV)
            else:
                torch.add(rows_SD @ factor_VD.T, bias_V, out=logits_SV)
            top_S1, best_S1 = logits_SV.max(dim=1, keepdim=True)
            hit_M[part] = (best_S1 == target_S1).squeeze(1)
            logits_SV.sub_(top_S1)
            picked_S1 = logits_SV.gather(1, target_S1)
            sum_S1 = logits_SV.exp_().sum(dim=1, keepdim=True)
            nll_M[part] = (sum_S1.log() - picked_S1).squeeze(1)
            if not (wants_rows or wants_table or wants_bias):
                continue
            # d mean(nll) / d logits = (softmax - one-hot) / M
            logits_SV.div_(sum_S1 * count)
            logits_SV.scatter_add_(1, target_S1, logits_SV.new_full(target_S1.shape, -1.0 / count))
            grad_SV = logits_SV.to(dtype)
            if grad_MD is not None:
                grad_MD[part] = grad_SV @ factor_VD
            if grad_VD is not None:
                if same:
                    grad_VD.addmm_(grad_SV.T, rows_SD)
                else:
                    grad_VD += grad_SV.T @ rows_SD
            if grad_V is not None:
                grad_V += logits_SV.sum(dim=0)
        ctx.save_for_backward(*(grad for grad in (grad_MD, grad_VD, grad_V) if grad is not None))
        ctx.mark_non_differentiable(hit_M)
        return nll_M.mean(), hit_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        return *(next(saved) * upstream if wanted else None for wanted in ctx.needs_input_grad[:3]), None, None, None


def vocabulary_cross_entropy(
    rows_MD: Tensor, table_VD: Tensor, bias_V: Tensor, target_M: Tensor, *, tile: int = TILE_ROWS
) -> tuple[Tensor, Tensor]:
    r"""Mean cross-entropy of ``softmax(rows @ table^T + bias)``, and which rows have their target on top.

    The same number as ``F.cross_entropy(F.linear(rows, table, bias), target)`` in ``tile x V`` memory, with all three
    gradients computed in the same pass. ``torch.nn.functional.linear_cross_entropy`` (torch 2.13) does so too, but does
    not return the class on top, which costs a fourth product. Forward and backward at 25,000 classes and width 256,
    seconds on one thread (peak memory of the first call):

    =====================================================  ================  =================
    what                                                   600 rows          2,400 rows
    =====================================================  ================  =================
    whole matrix, loss alone                               0.40 (214 MB)     1.84 (731 MB)
    ``linear_cross_entropy``, its own choice of tiles      2.9 (130 MB)      2.4 (136 MB)
    ``linear_cross_entropy``, tiles of 256 rows            0.32 (178 MB)     1.17 (134 MB)
    the same and the accuracy                              0.43              1.63
    this, tiles of 256 rows, loss and accuracy             0.31 (84 MB)      1.33 (158 MB)
    =====================================================  ================  =================

    Parameters
    ----------
    rows_MD
        At least one row.
    table_VD, bias_V
        Classes.
    target_M
        int64 class of each row.
    tile
        Rows of logits that are held at a time.

    Returns
    -------
    loss
        Scalar of the table's dtype (products are of autocast's, where that is on). No second derivatives.
    hit_M
        bool: the target has the highest logit (the first of the highest, where several are equal).
    """
    device, dtype = rows_MD.device.type, table_VD.dtype
    product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
    with torch.autocast(device, enabled=False):
        return _Tiled.apply(rows_MD.to(dtype), table_VD, bias_V.to(dtype), target_M, tile, product)
