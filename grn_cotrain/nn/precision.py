"""Capabilities of this CPU: bf16 instructions, and the faster float32 matrix product of oneDNN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

__all__ = ["FastFp32", "cpu_has_bf16", "fast_fp32"]

_MAX_ERROR = 1e-5
_PROBE = 384


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware (avx512_bf16, AMX); elsewhere it is emulated, slower than fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@dataclass(frozen=True)
class FastFp32:
    """Outcome of :func:`fast_fp32`, for the run record: was it switched on, and with which relative error."""

    enabled: bool
    error: float
    previous: str


def _matmul_error() -> float:
    """Largest error of float32 products by the present route, relative to the largest entry, against float64."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(2, _PROBE, _PROBE, generator=generator)
    right = torch.randn(2, _PROBE, _PROBE, generator=generator)
    exact = left.double() @ right.double()
    found = (torch.bmm(left, right), torch.stack([torch.nn.functional.linear(left[i], right[i].T) for i in range(2)]))
    return max(float((one.double() - exact).abs().max() / exact.abs().max()) for one in found)


def _default_route_is_fast() -> bool:
    """MKL, the default route, is at its best on Intel (oneDNN took 1.5x as long there) and at half speed elsewhere.

    The maker decides, not a stopwatch: a busy moment must not change the rounding of a run.
    """
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True


@contextmanager
def fast_fp32(*, only_where_faster: bool = True) -> Iterator[FastFp32]:
    """Route float32 products through oneDNN on CPU while the context is open, where that loses no accuracy.

    Only the value ``"bf16"`` of ``torch.backends.mkldnn.matmul.fp32_precision`` re-routes. On CPUs without bf16
    instructions it computes true float32 (up to 2x faster than the default route on some CPUs); on others it may round
    to bf16. So the error is measured first: above 1e-5 the switch goes back at once and the outcome reports it.
    With ``only_where_faster`` it also stays off on Intel CPUs, whose default route is the faster one.
    """
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    previous = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        error = _matmul_error()
        enabled = error < _MAX_ERROR and not (only_where_faster and _default_route_is_fast())
        if not enabled:
            settings.fp32_precision = previous
        yield FastFp32(enabled, error, previous)
    finally:
        settings.fp32_precision = previous
