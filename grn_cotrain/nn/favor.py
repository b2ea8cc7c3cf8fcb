"""FAVOR+: softmax attention by positive orthogonal random features, at a cost linear in the number of tokens.

Dimension letters: T packed query tokens, S packed key tokens, L and S tokens of one segment, H heads, K width of
queries and keys, R columns that a low-rank bias adds to both, W width of values, M random features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from grn_cotrain.errors import UserError

__all__ = [
    "MAX_BIAS_RANK",
    "FavorAttention",
    "default_num_features",
    "draw_projection",
    "favor_attention",
    "favor_weights",
    "log_features",
]

MAX_BIAS_RANK = 64
"""Columns that a low-rank attention bias may add to queries and keys."""

# Numbers in a tile of features: about a megabyte, a core's cache; on a GPU enough to fill it.
_TILE_CPU, _TILE_GPU = 2**18, 2**26

_HALF = (torch.float16, torch.bfloat16)


def default_num_features(width: int) -> int:
    """``K log K`` features, which Choromanski et al. (2021, theorem 4) need for a uniform error; at least 1."""
    return max(1, int(width * math.log(width)))


def draw_projection(num_features: int, width: int, generator: np.random.Generator) -> Tensor:
    """Directions ``w`` of the features: orthogonal within blocks of K rows, each row distributed as N(0, I).

    The rows of a block are those of a random rotation (uniform: the signs of the QR decomposition are undone), each
    scaled by the length of an independent Gaussian vector, so that every row alone is exactly Gaussian (which makes
    the kernel's estimate unbiased) and rows of a block are orthogonal (which lowers its variance; section 2.3).

    Returns
    -------
    Tensor
        float32 ``[M, K]``.
    """
    num_blocks = -(-num_features // width)
    gauss_BKK = generator.standard_normal((num_blocks, width, width))
    rotation_BKK, upper_BKK = np.linalg.qr(gauss_BKK)
    rotation_BKK = rotation_BKK * np.sign(np.diagonal(upper_BKK, axis1=1, axis2=2))[:, None, :]
    rows_MK = rotation_BKK.transpose(0, 2, 1).reshape(-1, width)[:num_features]
    length_M = np.linalg.norm(generator.standard_normal((num_features, width)), axis=1)
    return torch.from_numpy(np.ascontiguousarray(rows_MK * length_M[:, None], dtype=np.float32))


def log_features(x_THK: Tensor, projection_MK: Tensor) -> Tensor:
    r"""Logarithms ``[T, H, M]`` of :math:`\phi_m(x) = \exp(w_m^\top x - \lVert x \rVert^2 / 2) / \sqrt{M}`.

    Over draws of ``w``, the expectation of :math:`\phi(x)^\top \phi(y)` is :math:`\exp(x^\top y)` (lemma 1).
    """
    shift_TH1 = -0.5 * x_THK.square().sum(-1, keepdim=True) - 0.5 * math.log(len(projection_MK))
    return (x_THK @ projection_MK.T).add_(shift_TH1)


def favor_attention(
    q_THK: Tensor,
    k_SHK: Tensor,
    v_SHW: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    projection_MK: Tensor,
    *,
    scale: float | None = None,
) -> Tensor:
    r"""Estimate of ``softmax(scale * q k^T) v`` within each segment, without any matrix of tokens by tokens.

    .. math:: o_t = \frac{\phi(\sqrt s\, q_t)^\top \sum_s \phi(\sqrt s\, k_s) v_s^\top}
                         {\phi(\sqrt s\, q_t)^\top \sum_s \phi(\sqrt s\, k_s)}

    Numerical stability: the fraction is the same if feature ``m`` of all keys of a segment is divided by its largest
    value there and feature ``m`` of the queries multiplied by it, and if all features of a query are divided by their
    largest. Every exponent is then at most 0, and the denominator at least 1: neither overflow nor 0 / 0, whatever the
    logits, and no constant added to the features. The maxima are taken within a segment, so that the output of a cell
    depends on that cell alone. They cancel exactly, so no gradient passes through them.

    A low-rank bias ``b_t . c_s`` of the logits is a softmax kernel too, that of the joined vectors ``[q, b]`` and
    ``[k, c]``, and needs nothing but the extra columns.

    Features are M / K times wider than what they are made of, so they are computed by tiles that fit in a cache, twice
    (again in the backward pass), and never kept: memory is that of queries, keys and values. A step of six blocks at
    scBERT's size over 19,264 tokens takes 1.6 times less processor time than performer-pytorch's, and peaks at 2.8 GB
    instead of 8.1. There is no second derivative. Exponents are float32 (or float64) even under autocast; products are
    bf16 where values are, on a GPU.

    Parameters
    ----------
    q_THK, k_SHK, v_SHW
        Packed heads; values may have any width.
    cu_q, cu_k
        int32 ``[B + 1]`` cumulative lengths. No key segment may be empty where its query segment is not.
    projection_MK
        From :func:`draw_projection`; shared by the heads.
    scale
        s; default ``1 / sqrt(K)``.

    Returns
    -------
    Tensor
        ``[T, H, W]``, dtype of the values.
    """
    if scale is None:
        scale = q_THK.shape[-1] ** -0.5
    len_q, len_k = (cu_q[1:] - cu_q[:-1]).tolist(), (cu_k[1:] - cu_k[:-1]).tolist()
    with torch.autocast(q_THK.device.type, enabled=False):
        out_THW: Tensor = _Favor.apply(q_THK, k_SHK, v_SHW, projection_MK, scale, len_q, len_k)
    return out_THW


@torch.no_grad()
def favor_weights(q_LHK: Tensor, k_SHK: Tensor, projection_MK: Tensor, *, scale: float | None = None) -> Tensor:
    """Weights ``[H, L, S]`` by which one segment's queries read its keys; none is negative and rows sum to 1.

    Quadratic in the number of tokens, and without gradient: for read-outs. ``weights @ v`` is :func:`favor_attention`.
    """
    with torch.autocast(q_LHK.device.type, enabled=False):
        tiles = _Tiles(q_LHK, k_SHK, projection_MK, q_LHK.shape[-1] ** -0.5 if scale is None else scale)
        top_HM = tiles.log_k(k_SHK).amax(0)
        phi_LHM, phi_SHM = tiles.phi_q(q_LHK, top_HM), tiles.phi_k(k_SHK, top_HM)
        products_HLS = phi_LHM.transpose(0, 1) @ phi_SHM.permute(1, 2, 0)
        return products_HLS / products_HLS.sum(-1, keepdim=True)


class _Tiles:
    """Features of tiles of tokens, in place.

    X: columns of the values and one of ones, which sums the features themselves, so that numerator and denominator
    come of one product.
    """

    def __init__(self, q_THK: Tensor, v_SHW: Tensor, projection_MK: Tensor, scale: float) -> None:
        on_gpu = q_THK.is_cuda
        self.dtype = torch.float32 if q_THK.dtype in _HALF else q_THK.dtype
        self.product = (
            torch.bfloat16 if on_gpu and v_SHW.dtype == torch.bfloat16 else self.dtype
        )  # sums pass fp16's top
        self.root = scale**0.5
        self.projection_MK = projection_MK.to(self.dtype)
        self.size = max(1, (_TILE_GPU if on_gpu else _TILE_CPU) // (q_THK.shape[1] * len(projection_MK)))

    def split(self, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Tiles of tensors of equal length; none of no tokens."""
        if len(tensors[0]) == 0:
            return iter(())
        return zip(*(tensor.split(self.size) for tensor in tensors), strict=True)

    def joined(self, v_SHW: Tensor) -> Tensor:
        """Values and the column of ones."""
        return F.pad(v_SHW.to(self.product), (0, 1), value=1.0)

    def log_k(self, k_SHK: Tensor) -> Tensor:
        """Exponents ``[S, H, M]`` of keys."""
        return log_features(self.root * k_SHK.to(self.dtype), self.projection_MK)

    def phi_k(self, k_SHK: Tensor, top_HM: Tensor) -> Tensor:
        """Features of keys over their largest in the segment."""
        return self.log_k(k_SHK).sub_(top_HM).exp_()

    def phi_q(self, q_LHK: Tensor, top_HM: Tensor) -> Tensor:
        """Features of queries times the keys' largest, over each query's own largest; ``|q|^2 / 2`` cancels."""
        log_LHM = ((self.root * q_LHK.to(self.dtype)) @ self.projection_MK.T).add_(top_HM)
        return log_LHM.sub_(log_LHM.amax(-1, keepdim=True)).exp_()

    def times(self, phi_LHM: Tensor, right_HMX: Tensor) -> Tensor:
        """``[L, H, X]``: features by a matrix of every head."""
        return (phi_LHM.to(self.product).transpose(0, 1) @ right_HMX.to(self.product)).transpose(0, 1).to(self.dtype)

    def outer(self, phi_LHM: Tensor, right_LHX: Tensor) -> Tensor:
        """``[H, M, X]``: sum over tokens of the products of features and ``right_LHX``."""
        return (phi_LHM.to(self.product).permute(1, 2, 0) @ right_LHX.to(self.product).transpose(0, 1)).to(self.dtype)

    def sums(self, k_SHK: Tensor, v_SHW: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of one segment: each feature's largest exponent ``[H, M]``, and sums of features times values ``[H, M,
        X]``.

        One pass: what is summed so far is scaled down whenever a larger exponent turns up.
        """
        top_HM = k_SHK.new_full((k_SHK.shape[1], len(self.projection_MK)), float("-inf"), dtype=self.dtype)
        sums_HMX = k_SHK.new_zeros(*top_HM.shape, v_SHW.shape[-1] + 1, dtype=self.dtype)
        for k_tile, v_tile in self.split(k_SHK, v_SHW):
            log_SHM = self.log_k(k_tile)
            new_HM = torch.maximum(top_HM, log_SHM.amax(0))
            sums_HMX.mul_((top_HM - new_HM).exp_().unsqueeze(-1))
            top_HM = new_HM
            sums_HMX.add_(self.outer(log_SHM.sub_(top_HM).exp_(), self.joined(v_tile)))
        return top_HM, sums_HMX


class _Favor(torch.autograd.Function):
    """:func:`favor_attention` by tiles, and its gradient; the projection gets none."""

    @staticmethod
    def forward(
        ctx: Any,
        q_THK: Tensor,
        k_SHK: Tensor,
        v_SHW: Tensor,
        projection_MK: Tensor,
        scale: float,
        len_q: list[int],
        len_k: list[int],
    ) -> Tensor:
        tiles = _Tiles(q_THK, v_SHW, projection_MK, scale)
        parts, kept = [q_THK.new_zeros(0, q_THK.shape[1], v_SHW.shape[-1] + 1, dtype=tiles.dtype)], []
        for q, k, v in zip(q_THK.split(len_q), k_SHK.split(len_k), v_SHW.split(len_k), strict=True):
            top_HM, sums_HMX = tiles.sums(k, v)
            kept += [top_HM, sums_HMX]
            parts += [tiles.times(tiles.phi_q(q_tile, top_HM), sums_HMX) for (q_tile,) in tiles.split(q)]
        read_THX = torch.cat(parts)
        norm_TH1 = read_THX[..., -1:].contiguous()
        out_THW = read_THX[..., :-1] / norm_TH1
        ctx.save_for_backward(q_THK, k_SHK, v_SHW, projection_MK, out_THW, norm_TH1, *kept)
        ctx.scale, ctx.lengths = scale, (len_q, len_k)
        return out_THW.to(v_SHW.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_THW: Tensor) -> tuple[Tensor | None, ...]:
        q_THK, k_SHK, v_SHW, projection_MK, out_THW, norm_TH1, *kept = ctx.saved_tensors
        len_q, len_k = ctx.lengths
        with torch.autocast(q_THK.device.type, enabled=False):
            tiles = _Tiles(q_THK, v_SHW, projection_MK, ctx.scale)
            grad_THW = grad_THW.to(tiles.dtype) / norm_TH1
            # Gradients of numerator and denominator: the output is their ratio.
            grad_THX = torch.cat([grad_THW, -(grad_THW * out_THW).sum(-1, keepdim=True)], dim=-1)
            grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q_THK, k_SHK, v_SHW))
            segments = zip(
                *(x.split(len_q) for x in (q_THK, grad_THX, grad_q)),
                *(x.split(len_k) for x in (k_SHK, v_SHW, grad_k, grad_v)),
                kept[::2],
                kept[1::2],
                strict=True,
            )
            for q, grad_out, into_q, k, v, into_k, into_v, top_HM, sums_HMX in segments:
                grad_sums_HMX = torch.zeros_like(sums_HMX)
                for q_tile, grad_tile, into in tiles.split(q, grad_out, into_q):
                    phi_LHM = tiles.phi_q(q_tile, top_HM)
                    grad_sums_HMX.add_(tiles.outer(phi_LHM, grad_tile))
                    grad_log = phi_LHM.mul_(tiles.times(grad_tile, sums_HMX.mT))
                    into.copy_(tiles.root * (grad_log @ tiles.projection_MK))
                for k_tile, v_tile, into, into_values in tiles.split(k, v, into_k, into_v):
                    phi_SHM = tiles.phi_k(k_tile, top_HM)
                    into_values.copy_(tiles.times(phi_SHM, grad_sums_HMX[..., :-1]))
                    grad_log = phi_SHM.mul_(tiles.times(tiles.joined(v_tile), grad_sums_HMX.mT))
                    towards = grad_log @ tiles.projection_MK
                    shrink = tiles.root * k_tile * grad_log.sum(-1, keepdim=True)
                    into.copy_(tiles.root * (towards - shrink))
        return grad_q, grad_k, grad_v, None, None, None, None


class FavorAttention(nn.Module):
    r"""FAVOR+ with its random features (Choromanski et al. 2021, equations 5 to 8).

    .. math:: \exp(x^\top y) = \mathbb{E}_{w \sim N(0, I)}
              \left[ e^{w^\top x - \lVert x \rVert^2 / 2}\, e^{w^\top y - \lVert y \rVert^2 / 2} \right]

    The directions ``w`` are a buffer, saved with the weights: at evaluation they are frozen, so that two passes are
    equal and a saved model computes what it computed in training. In training they are drawn again after every
    ``redraw_every`` calls, by a generator that two further buffers seed (a seed, taken once from torch's global state
    like any initial weight, and the number of calls), so that a resumed run draws what the unbroken one would have.

    Parameters
    ----------
    width
        K, width of a head's queries and keys.
    num_features
        M; default ``K log K``.
    redraw_every
        Training calls (micro-batches) between two draws; None: never.

    Raises
    ------
    UserError
        ``num_features`` or ``redraw_every`` below 1.
    """

    projection_MK: Tensor
    bias_projection_MR: Tensor
    seed: Tensor
    num_calls: Tensor

    def __init__(self, width: int, num_features: int | None = None, redraw_every: int | None = 1000) -> None:
        super().__init__()
        if num_features is not None and num_features < 1:
            raise UserError(f"num_features: got {num_features}; give at least 1")
        if redraw_every is not None and redraw_every < 1:
            raise UserError(f"redraw_every: got {redraw_every}; give at least 1, or leave it out")
        self.width = width
        self.num_features = num_features or default_num_features(width)
        self.redraw_every = redraw_every
        self.register_buffer("seed", torch.randint(2**62, ()))
        self.register_buffer("num_calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("projection_MK", torch.empty(0))
        self.register_buffer("bias_projection_MR", torch.empty(0))
        self._drawn: int | None = None
        self._draw(0)

    def forward(
        self,
        q_THK: Tensor,
        k_SHK: Tensor,
        v_SHW: Tensor,
        cu_q: Tensor,
        cu_k: Tensor,
        *,
        scale: float | None = None,
    ) -> Tensor:
        """See :func:`favor_attention`. Queries and keys may be up to :data:`MAX_BIAS_RANK` columns wider than K."""
        if self.training and self.redraw_every is not None:
            calls = int(self.num_calls)
            if calls > 0 and calls % self.redraw_every == 0:
                self._draw(calls // self.redraw_every)
            self.num_calls += 1
        return self.read(q_THK, k_SHK, v_SHW, cu_q, cu_k, scale=scale)

    def calls_so_far(self) -> int:
        """Training calls so far; not counted where nothing is drawn again."""
        return int(self.num_calls)

    def count_to(self, calls: int) -> None:
        """Move to the state after ``calls`` training calls of any process: with the features of the last of them."""
        if self.redraw_every is None:
            return
        drawn = self._number_at(int(self.num_calls)) if self._drawn is None else self._drawn
        if drawn != self._number_at(calls):
            self._draw(self._number_at(calls))
        self.num_calls.fill_(calls)

    def _number_at(self, calls: int) -> int:
        """Number of the draw that the last of ``calls`` calls used."""
        return 0 if self.redraw_every is None else max(0, calls - 1) // self.redraw_every

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._drawn = None  # the features are those of the saved number of calls

    def read(
        self,
        q_THK: Tensor,
        k_SHK: Tensor,
        v_SHW: Tensor,
        cu_q: Tensor,
        cu_k: Tensor,
        *,
        scale: float | None = None,
    ) -> Tensor:
        """:func:`favor_attention` with the features as they are; never draws."""
        return favor_attention(q_THK, k_SHK, v_SHW, cu_q, cu_k, self._projection(q_THK.shape[-1]), scale=scale)

    def weights(self, q_LHK: Tensor, k_SHK: Tensor, *, scale: float | None = None) -> Tensor:
        """See :func:`favor_weights`; never draws."""
        return favor_weights(q_LHK, k_SHK, self._projection(q_LHK.shape[-1]), scale=scale)

    def _projection(self, width: int) -> Tensor:
        """``[M, K + R]``: the columns of a bias are independent Gaussians, so each joined row is Gaussian too."""
        rank = width - self.width
        if rank == 0:
            return self.projection_MK
        if not 0 < rank <= MAX_BIAS_RANK:
            raise UserError(
                f"rank: an attention bias of {rank} columns; linear attention takes at most {MAX_BIAS_RANK}"
            )
        return torch.cat([self.projection_MK, self.bias_projection_MR[:, :rank]], dim=1)

    def _draw(self, number: int) -> None:
        """Draw ``number`` of this module's series. New tensors: graphs of earlier calls keep theirs."""
        generator = np.random.default_rng((int(self.seed), number))
        projection_MK = draw_projection(self.num_features, self.width, generator)
        bias_MR = torch.from_numpy(generator.standard_normal((self.num_features, MAX_BIAS_RANK)).astype(np.float32))
        device = self.seed.device
        self._drawn = number
        self.projection_MK, self.bias_projection_MR = projection_MK.to(device), bias_MR.to(device)
