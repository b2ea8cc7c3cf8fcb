"""Attention over packed segments: the one primitive that knows about lengths. No padding.

Dimension letters: T packed query tokens, S packed key tokens, H heads, K width of queries and keys, W width of values,
B segments, L longest segment.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.nn.precision import cpu_has_bf16

__all__ = ["ragged_attention"]

_HALF = (torch.float16, torch.bfloat16)


def ragged_attention(
    q_THK: Tensor,
    k_SHK: Tensor,
    v_SHW: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
) -> Tensor:
    """``softmax(scale * q k^T) v`` within each segment; query segment ``b`` attends to key segment ``b``, both ways.

    ========================  =====================================================================================
    where                     how
    ========================  =====================================================================================
    CUDA, half precision      ``torch.nn.attention.varlen.varlen_attn``, one kernel over all segments (its backward is
                              deterministic under ``torch.use_deterministic_algorithms(True)``)
    CPU bf16                  explicit softmax per segment where the CPU has bf16 instructions; else in float32
    CPU or CUDA float32, 64   ``scaled_dot_product_attention`` per segment
    ========================  =====================================================================================

    Per segment, in float32 on CPU, the fused kernel beat explicit products by 1.2-2.3x forward and backward at 250 to
    4,096 tokens (equal at 100), and needs memory linear in the length. Segments are cut by ``split`` and joined by
    ``cat``, whose gradients are one ``cat`` and one ``split``; cutting by slices instead makes autograd fill a
    full-length gradient per segment, quadratic in the number of segments (5-25x slower for 56 to 300 of them).

    Parameters
    ----------
    q_THK, k_SHK, v_SHW
        Packed heads. Queries and keys may be wider than values (low-rank attention bias adds columns to both), or
        narrower.
    cu_q, cu_k
        int32 ``[B + 1]`` cumulative lengths. No key segment may be empty where its query segment is not.
    max_q, max_k
        Longest segments.
    scale
        Default ``1 / sqrt(K)``.

    Returns
    -------
    Tensor
        ``[T, H, W]``, dtype of the values.
    """
    if scale is None:
        scale = q_THK.shape[-1] ** -0.5
    if q_THK.is_cuda and q_THK.dtype in _HALF:
        return _varlen(q_THK, k_SHK, v_SHW, cu_q, cu_k, max_q, max_k, scale)
    if q_THK.dtype in _HALF and not q_THK.is_cuda:
        if cpu_has_bf16():
            return _explicit(q_THK, k_SHK, v_SHW, cu_q, cu_k, scale)
        return _fused(q_THK.float(), k_SHK.float(), v_SHW.float(), cu_q, cu_k, scale).to(v_SHW.dtype)
    return _fused(q_THK, k_SHK, v_SHW, cu_q, cu_k, scale)


def _lengths(cu: Tensor) -> list[int]:
    return (cu[1:] - cu[:-1]).tolist()


def _widen(x_THK: Tensor, width: int) -> Tensor:
    return x_THK if x_THK.shape[-1] == width else F.pad(x_THK, (0, width - x_THK.shape[-1]))


def _varlen(
    q_THK: Tensor, k_SHK: Tensor, v_SHW: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, scale: float
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # CUDA only, absent in older builds

    # The kernel takes one width for all three, a multiple of 8; zero columns change neither logits nor values.
    width = -(-max(q_THK.shape[-1], v_SHW.shape[-1]) // 8) * 8
    out_THK: Tensor = varlen_attn(  # type: ignore[assignment]
        _widen(q_THK, width), _widen(k_SHK, width), _widen(v_SHW, width), cu_q, cu_k, max_q, max_k, scale=scale
    )
    return out_THK[..., : v_SHW.shape[-1]]


def _fused(q_THK: Tensor, k_SHK: Tensor, v_SHW: Tensor, cu_q: Tensor, cu_k: Tensor, scale: float) -> Tensor:
    value_width = v_SHW.shape[-1]
    width = max(q_THK.shape[-1], value_width)  # unequal widths would fall back to the unfused kernel
    len_q, len_k = _lengths(cu_q), _lengths(cu_k)
    parts = [
        F.scaled_dot_product_attention(
            q.transpose(0, 1).unsqueeze(0), k.transpose(0, 1).unsqueeze(0), v.transpose(0, 1).unsqueeze(0), scale=scale
        )
        .squeeze(0)
        .transpose(0, 1)
        for q, k, v in zip(
            _widen(q_THK, width).split(len_q),
            _widen(k_SHK, width).split(len_k),
            _widen(v_SHW, width).split(len_k),
            strict=True,
        )
        if q.shape[0]
    ]
    return torch.cat(parts)[..., :value_width] if parts else q_THK.new_zeros(0, q_THK.shape[1], value_width)


def _explicit(q_THK: Tensor, k_SHK: Tensor, v_SHW: Tensor, cu_q: Tensor, cu_k: Tensor, scale: float) -> Tensor:
    len_q, len_k = _lengths(cu_q), _lengths(cu_k)
    parts = []
    for q, k, v in zip((q_THK * scale).split(len_q), k_SHK.split(len_k), v_SHW.split(len_k), strict=True):
        if q.shape[0]:
            share = torch.softmax(q.transpose(0, 1) @ k.permute(1, 2, 0), dim=-1)
            parts.append((share @ v.transpose(0, 1)).transpose(0, 1))
    return torch.cat(parts) if parts else q_THK.new_zeros(0, q_THK.shape[1], v_SHW.shape[-1])
