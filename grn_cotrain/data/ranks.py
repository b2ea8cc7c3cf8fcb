"""Ranks of tokens within their cells.

Dimension letters: N tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ranks_within_cells"]


def ranks_within_cells(score_N: Tensor, cell_N: Tensor, id_N: Tensor) -> Tensor:
    """Rank tokens by falling score within each cell; the lower id comes first among equals.

    Two stable sorts and no loop: by score, then by cell, run of equal scores and id in one integer.

    Parameters
    ----------
    score_N
        Finite scores.
    cell_N
        int64 cell of each token, in any order.
    id_N
        int64 ids, not negative, different within a cell; where they repeat, the order of tokens decides.

    Returns
    -------
    Tensor
        int64 ``[N]``, 1 for the highest score of the cell.
    """
    count = score_N.numel()
    if count == 0:
        return torch.zeros_like(cell_N)
    by_score_N = torch.argsort(score_N, descending=True, stable=True)
    sorted_N = score_N[by_score_N]
    run_N = torch.zeros_like(cell_N)
    run_N[1:] = (sorted_N[1:] != sorted_N[:-1]).long().cumsum(0)
    key_N = (cell_N[by_score_N] * count + run_N) * (int(id_N.max()) + 1) + id_N[by_score_N]
    order_N = by_score_N[torch.argsort(key_N, stable=True)]
    sizes = torch.bincount(cell_N)
    start_N = (sizes.cumsum(0) - sizes)[cell_N[order_N]]
    ranks_N = torch.empty_like(cell_N)
    ranks_N[order_N] = torch.arange(1, count + 1, device=cell_N.device) - start_N
    return ranks_N
