"""Streamed tiles over pairs: losses over all sources x genes without a matrix of all sources x genes.

A tile of logits is made, read and turned into its gradient while it is in the cache; memory is that of one tile.
These serve decoders whose logits are ``a_s . b_g`` plus biases.

Dimension letters: S sources (rows), G genes (columns), D width, P positive pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from grn_cotrain.errors import UserError
from grn_cotrain.nn.sparse_kernels import row_sums, sampled_dot

__all__ = ["ClassMeans", "PairSet", "all_pairs_bce", "pair_logits"]

_TILE = (1024, 1024)  # rows x columns: 4 MB of float32 logits
_SMALL_LOGIT = 20.0  # a product of four sigmoids of such logits is above 1e-35


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs of a row and a column, sorted by both, with their transpose; made by :meth:`build`.

    Attributes
    ----------
    num_rows, num_columns
        S and G.
    rowptr, column_P
        CSR: pairs ``rowptr[s]:rowptr[s + 1]`` are in row ``s``, by ascending column.
    row_P
        Row of each pair.
    transpose_rowptr, transpose_order_P
        The same pairs by column, as positions.
    """

    num_rows: int
    num_columns: int
    rowptr: Tensor
    column_P: Tensor
    row_P: Tensor
    transpose_rowptr: Tensor
    transpose_order_P: Tensor

    @classmethod
    def build(cls, row_P: Tensor, column_P: Tensor, num_rows: int, num_columns: int) -> PairSet:
        """Sort distinct pairs.

        Raises
        ------
        UserError
            A pair is given twice, or is outside the rows and columns.
        """
        for name, index_P, size in (("row_P", row_P, num_rows), ("column_P", column_P, num_columns)):
            if index_P.numel() and not (int(index_P.min()) >= 0 and int(index_P.max()) < size):
                raise UserError(f"argument '{name}': holds indices outside 0..{size - 1}")
        key_P = (row_P.long() * num_columns + column_P.long()).sort().values
        if key_P.numel() > 1 and bool((key_P.diff() == 0).any()):
            raise UserError("argument 'column_P': a pair is given twice; give every pair once")
        row_P, column_P = key_P // num_columns, key_P % num_columns
        return cls(
            num_rows=num_rows,
            num_columns=num_columns,
            rowptr=_offsets(row_P, num_rows),
            column_P=column_P,
            row_P=row_P,
            transpose_rowptr=_offsets(column_P, num_columns),
            transpose_order_P=torch.argsort(column_P, stable=True),
        )

    @cached_property
    def transpose_row_P(self) -> Tensor:
        """Rows in the order of ``transpose_order_P``."""
        return self.row_P.index_select(0, self.transpose_order_P)


class ClassMeans(NamedTuple):
    """Mean loss of each class, and over how many pairs."""

    positive: Tensor
    negative: Tensor
    num_positives: int
    num_negatives: int


def pair_logits(
    a_SD: Tensor, b_GD: Tensor, pairs: PairSet, *, bias_S: Tensor | None = None, bias_G: Tensor | None = None
) -> Tensor:
    """``a_s . b_g + bias_s + bias_g`` at the pairs alone, ``[P]``, in the order of ``pairs``; no P x D buffer."""
    logits_P = _PairDot.apply(a_SD, b_GD, pairs)
    if bias_S is not None:
        logits_P = logits_P + bias_S.index_select(0, pairs.row_P)
    if bias_G is not None:
        logits_P = logits_P + bias_G.index_select(0, pairs.column_P)
    return logits_P


def all_pairs_bce(
    a_SD: Tensor,
    b_GD: Tensor,
    positives: PairSet,
    *,
    bias_S: Tensor | None = None,
    bias_G: Tensor | None = None,
    allowed: Tensor | None = None,
    self_S: Tensor | None = None,
    tile: tuple[int, int] = _TILE,
) -> ClassMeans:
    r"""Exact logistic loss over all S x G pairs, as one mean per class.

    .. math::
        z_{sg} = a_s \cdot b_g + \beta_s + \gamma_g, \qquad
        L_+ = \frac{1}{|P|} \sum_{(s, g) \in P} \log(1 + e^{-z_{sg}}), \qquad
        L_- = \frac{1}{|N|} \sum_{(s, g) \in N} \log(1 + e^{z_{sg}})

    N holds every pair that is allowed, no positive and no gene with itself. Its gradient is made with its loss, tile by
    tile, so nothing of size S x G is kept and nothing is computed twice. If ``a_SD`` and ``b_GD`` are the same tensor
    (and there are neither biases nor a mask), each tile serves both triangles, which halves the work.

    Parameters
    ----------
    a_SD, b_GD
        float32 factors of the logits.
    positives
        P, over ``S x G``. All of them count, whatever ``allowed`` holds.
    bias_S, bias_G
        Offsets of rows and of columns.
    allowed
        bool ``[G]`` or ``[S, G]``: candidates for negatives; all if None.
    self_S
        Column of each row's own gene, left out of the negatives; None if rows and columns are different things.
    tile
        Rows and columns of a tile.

    Returns
    -------
    ClassMeans
        Differentiable in both factors and both biases; a class without pairs has loss 0.
    """
    num_positives = positives.column_P.shape[0]
    row_P, column_P = positives.row_P, positives.column_P
    if self_S is not None:
        own_S = torch.arange(self_S.shape[0], device=self_S.device)
        key_P = torch.cat([row_P, own_S]) * b_GD.shape[0] + torch.cat([column_P, self_S])
        key_P = torch.unique(key_P)
        row_P, column_P = key_P // b_GD.shape[0], key_P % b_GD.shape[0]
    num_pairs, num_excluded = a_SD.shape[0] * b_GD.shape[0], row_P.shape[0]
    if allowed is not None:
        num_pairs = int(allowed.sum()) * (a_SD.shape[0] if allowed.dim() == 1 else 1)
        num_excluded = int((allowed[column_P] if allowed.dim() == 1 else allowed[row_P, column_P]).sum())
    num_negatives = num_pairs - num_excluded

    logits_P = pair_logits(a_SD, b_GD, positives, bias_S=bias_S, bias_G=bias_G)
    positive = F.softplus(-logits_P).sum() / max(1, num_positives)
    negative = _NegativeSum.apply(a_SD, b_GD, bias_S, bias_G, allowed, row_P, column_P, tile) / max(1, num_negatives)
    return ClassMeans(positive, negative, num_positives, num_negatives)


class _PairDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a_SD: Tensor, b_GD: Tensor, pairs: PairSet) -> Tensor:
        ctx.pairs = pairs
        ctx.save_for_backward(a_SD, b_GD)
        return sampled_dot(a_SD.contiguous(), b_GD.contiguous(), pairs.rowptr, pairs.row_P, pairs.column_P)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_P: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        pairs: PairSet = ctx.pairs
        a_SD, b_GD = ctx.saved_tensors
        a_gradient = b_gradient = None
        gradient_P = gradient_P.contiguous()
        if ctx.needs_input_grad[0]:
            a_gradient = row_sums(pairs.column_P, pairs.rowptr, gradient_P, b_GD)
        if ctx.needs_input_grad[1]:
            order_P = pairs.transpose_order_P
            weight_P = gradient_P.index_select(0, order_P)
            b_gradient = row_sums(pairs.transpose_row_P, pairs.transpose_rowptr, weight_P, a_SD)
        return a_gradient, b_gradient, None


class _NegativeSum(torch.autograd.Function):
    """Sum of ``softplus(z)`` over all allowed pairs but the excluded ones; the gradient is made on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        a_SD: Tensor,
        b_GD: Tensor,
        bias_S: Tensor | None,
        bias_G: Tensor | None,
        allowed: Tensor | None,
        row_P: Tensor,
        column_P: Tensor,
        tile: tuple[int, int],
    ) -> Tensor:
        wants_gradient = any(ctx.needs_input_grad[:4])
        symmetric = a_SD is b_GD and bias_S is None and bias_G is None and allowed is None
        a_gradient = torch.zeros_like(a_SD)
        b_gradient = a_gradient if symmetric else torch.zeros_like(b_GD)
        bias_S_gradient = None if bias_S is None else torch.zeros_like(bias_S)
        bias_G_gradient = None if bias_G is None else torch.zeros_like(bias_G)
        total = torch.zeros((), dtype=torch.float64, device=a_SD.device)
        logits, work = (a_SD.new_empty(tile[0] * tile[1]) for _ in range(2))  # for all tiles: see _log_sum
        reach_S, reach_G = _reach(a_SD, bias_S), _reach(b_GD, bias_G)
        for part in _tiles(row_P, column_P, a_SD.shape[0], b_GD.shape[0], tile, symmetric):
            rows, columns, weight = part.rows, part.columns, part.weight
            a, b = a_SD[rows], b_GD[columns]
            # share = sigmoid(-z): its logarithm is minus the loss, and 1 - share the slope, so one exponential does.
            share_SG = logits[: a.shape[0] * b.shape[0]].view(a.shape[0], b.shape[0])
            torch.addmm(share_SG, a, b.t(), beta=0, alpha=-1, out=share_SG)
            if bias_S is not None:
                share_SG -= bias_S[rows].unsqueeze(1)
            if bias_G is not None:
                share_SG -= bias_G[columns]
            if allowed is not None:
                mask = allowed[columns] if allowed.dim() == 1 else allowed[rows, columns]
                share_SG.masked_fill_(~mask, torch.inf)
            small = _bound(reach_S[rows], reach_G[columns]) < _SMALL_LOGIT
            if small:
                share_SG.sigmoid_()
                kept = part.take(share_SG)
                part.put(share_SG, kept**part.factor_P)
                total -= weight * _log_sum(share_SG.view(-1), work)
            else:
                loss_SG = F.softplus(share_SG.neg())
                part.put(loss_SG, part.take(loss_SG) * part.factor_P)
                total += weight * loss_SG.sum(dtype=torch.float64)
                kept = part.take(share_SG.sigmoid_())
            if not wants_gradient:
                continue
            slope_SG = torch.sub(1, share_SG, out=share_SG)
            part.put(slope_SG, (1 - kept) * part.factor_P)
            a_gradient[rows].addmm_(slope_SG, b, alpha=weight)
            b_gradient[columns].addmm_(slope_SG.t(), a, alpha=weight)
            if bias_S_gradient is not None:
                bias_S_gradient[rows] += slope_SG.sum(1)
            if bias_G_gradient is not None:
                bias_G_gradient[columns] += slope_SG.sum(0)
        # Where both factors are one tensor, autograd adds the two gradients it is given: one of them is None.
        ctx.save_for_backward(a_gradient, None if symmetric else b_gradient, bias_S_gradient, bias_G_gradient)
        return total.to(a_SD.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if made is None else made * gradient for made in ctx.saved_tensors)
        return (*gradients, None, None, None, None)


class _Tile(NamedTuple):
    """A rectangle of pairs; ``factor_P`` scales its entries at the flat positions ``place_P`` (0 leaves them out)."""

    rows: slice
    columns: slice
    weight: float
    place_P: Tensor
    factor_P: Tensor

    def take(self, values_SG: Tensor) -> Tensor:
        """Read the entries."""
        return values_SG.view(-1).index_select(0, self.place_P)

    def put(self, values_SG: Tensor, values_P: Tensor) -> None:
        """Write the entries."""
        values_SG.view(-1).index_copy_(0, self.place_P, values_P.to(values_SG.dtype))


def _reach(x_SD: Tensor, bias_S: Tensor | None) -> Tensor:
    """Norm and offset of each row ``[S, 2]``: they bound every logit of a tile without a look at it."""
    bias = torch.zeros_like(x_SD[:, 0]) if bias_S is None else bias_S.abs()
    return torch.stack([torch.linalg.vector_norm(x_SD, dim=1), bias], 1)


def _bound(reach_S2: Tensor, reach_G2: Tensor) -> float:
    """Upper bound of ``|a . b + bias + bias|`` over a tile."""
    norm_a, bias_a = reach_S2.amax(0).tolist()
    norm_b, bias_b = reach_G2.amax(0).tolist()
    return float(norm_a * norm_b + bias_a + bias_b)


def _log_sum(share: Tensor, work: Tensor) -> Tensor:
    """``share.log().sum()`` by the logarithms of products of four, in float64.

    Bounded logits keep the products in float32's range. ``work`` is reused by all tiles: fresh memory of this size
    costs more than the arithmetic on it.
    """
    quarter = share.shape[0] // 4
    first, second = work[:quarter], work[quarter : 2 * quarter]
    torch.mul(share[:quarter], share[quarter : 2 * quarter], out=first)
    torch.mul(share[2 * quarter : 3 * quarter], share[3 * quarter : 4 * quarter], out=second)
    return first.mul_(second).log_().sum(dtype=torch.float64) + share[4 * quarter :].log().sum(dtype=torch.float64)


def _tiles(
    row_P: Tensor, column_P: Tensor, num_rows: int, num_columns: int, tile: tuple[int, int], symmetric: bool
) -> Iterator[_Tile]:
    """Tiles of the whole rectangle, or of the upper triangle where pairs and their reverses have the same logit.

    In a tile above the diagonal every entry stands for a pair and its reverse (weight 2), so an entry of which one is
    excluded counts half, and one of which both are excluded counts nothing.
    """
    height, width = (min(tile),) * 2 if symmetric else tile
    if symmetric:
        below_P = row_P // height > column_P // width
        row_P, column_P = torch.where(below_P, column_P, row_P), torch.where(below_P, row_P, column_P)
    grid = math.ceil(num_columns / width)
    tile_P = (row_P // height) * grid + column_P // width
    # The last tile of a row of tiles may be narrower, which decides the places of its entries.
    width_P = torch.clamp(num_columns - column_P // width * width, max=width)
    key_P = tile_P * (height * width) + (row_P % height) * width_P + column_P % width
    key_P, times_P = torch.unique(key_P, return_counts=True)
    ends = torch.searchsorted(
        key_P, torch.arange(math.ceil(num_rows / height) * grid + 1, device=key_P.device) * height * width
    )
    bounds = ends.tolist()
    for top in range(0, num_rows, height):
        for left in range(top if symmetric else 0, num_columns, width):
            index = top // height * grid + left // width
            inside = slice(bounds[index], bounds[index + 1])
            mirrored = symmetric and left != top
            times = times_P[inside]
            yield _Tile(
                slice(top, min(top + height, num_rows)),
                slice(left, min(left + width, num_columns)),
                2.0 if mirrored else 1.0,
                key_P[inside] % (height * width),
                1 - times / 2 if mirrored else torch.zeros_like(times),
            )


def _offsets(index_P: Tensor, size: int) -> Tensor:
    offsets = torch.zeros(size + 1, dtype=torch.int64, device=index_P.device)
    torch.cumsum(torch.bincount(index_P, minlength=size), 0, out=offsets[1:])
    return offsets
