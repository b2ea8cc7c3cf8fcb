"""Expression values -> vectors: auto-discretisation of xTrimoGene, and the binnings it was compared with.

Dimension letters: M values, D width, K bins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.value_sketch import SketchedValues

__all__ = [
    "AutoDiscretisation",
    "EqualBins",
    "RoundBins",
    "UpBins",
    "ValueEmbedding",
    "ValueKind",
    "build_value_embedding",
    "embedding_reads_cells",
]

ValueKind = Literal["auto", "round", "up", "equal"]


class ValueEmbedding(nn.Module, ABC):
    """Vectors of visible values that are not zero; zeros and hidden values have learned vectors of their own.

    Attributes
    ----------
    zero_D, mask_D
        Vectors of a zero and of a hidden value.
    """

    reads_cells: ClassVar[bool] = False
    """Whether :meth:`prepare` reads what it is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.zero_row_D = nn.Parameter(torch.randn(width))
        self.mask_D = nn.Parameter(torch.randn(width))

    @property
    def zero_D(self) -> Tensor:
        """Vector of a value of zero."""
        return self.zero_row_D

    def prepare(self, values: SketchedValues) -> None:
        """Receive order statistics of the values of training cells, as one feature, before training.

        Default: nothing.
        """
        del values

    @abstractmethod
    def forward(self, values_M: Tensor) -> Tensor:
        """Vectors ``[M, D]`` of visible non-zero values, on the scale of ``PackedTokens.values_T``."""


class AutoDiscretisation(ValueEmbedding):
    r"""Learned soft bins: a value is a mixture of K rows of a table (Gong et al. 2023, section 3.3).

    .. math::
        v_1 = v\, w_1, \quad v_2 = \mathrm{LeakyReLU}(v_1), \quad v_3 = W_2 v_2 + \alpha v_2, \quad
        v_4 = \mathrm{softmax}(v_3), \quad e = T v_4

    with ``w_1`` and the rows of ``W_2`` of length K, and the table ``T`` of K rows. No map has an offset in the paper,
    so for ``v > 0`` the logits ``v_3`` are linear in ``v``: close values get close mixtures, at any resolution. The
    code that scFoundation released has offsets in both maps and a slope of 0.1.

    Parameters
    ----------
    width, num_bins
        D and K.
    alpha
        The paper's "scaling mixture factor", a constant; no value is given there. Default 1.
    offsets
        Whether both maps have an offset.
    slope
        Slope of the leaky ReLU below 0.
    """

    def __init__(
        self, width: int, num_bins: int = 100, alpha: float = 1.0, *, offsets: bool = False, slope: float = 0.01
    ) -> None:
        super().__init__(width)
        self.alpha, self.slope = alpha, slope
        self.first = nn.Linear(1, num_bins, bias=offsets)
        self.second = nn.Linear(num_bins, num_bins, bias=offsets)
        self.table = nn.Embedding(num_bins, width)

    def forward(self, values_M: Tensor) -> Tensor:
        """See :class:`ValueEmbedding`."""
        return self.weights(values_M) @ self.table.weight

    def weights(self, values_M: Tensor) -> Tensor:
        """``v_4``: share of each bin, ``[M, K]``."""
        second_MK = F.leaky_relu(self.first(values_M[:, None]), self.slope)
        return torch.softmax(self.second(second_MK) + self.alpha * second_MK, dim=-1)


class _HardBins(ValueEmbedding):
    """One row of a table for each bin."""

    def __init__(self, width: int, num_bins: int = 100, alpha: float = 1.0) -> None:
        super().__init__(width)
        del alpha
        self.num_bins = num_bins
        self.table = nn.Embedding(num_bins, width)

    def forward(self, values_M: Tensor) -> Tensor:
        """See :class:`ValueEmbedding`."""
        rows_MD: Tensor = self.table(self.bins(values_M))
        return rows_MD

    @abstractmethod
    def bins(self, values_M: Tensor) -> Tensor:
        """int64 bin of each value, from 0."""


class RoundBins(_HardBins):
    """Ablation "round bin with zero": the nearest whole number; values that round to 0 are taken for zeros."""

    def __init__(self, width: int, num_bins: int = 100, alpha: float = 1.0) -> None:
        super().__init__(width, num_bins, alpha)
        del self.zero_row_D

    @property
    def zero_D(self) -> Tensor:
        """Vector of a value of zero, and of every value below one half."""
        return self.table.weight[0]

    def bins(self, values_M: Tensor) -> Tensor:
        """Halves are rounded to the even neighbour; beyond the last bin, and below 0, values are clamped."""
        return values_M.round().clamp(0, self.num_bins - 1).long()


class UpBins(_HardBins):
    """Ablation "up bin without zero": the next whole number above, so that 0 stands for zeros alone."""

    def bins(self, values_M: Tensor) -> Tensor:
        """Bin 0 holds ``(0, 1]``; beyond the last bin, and below 0, values are clamped."""
        return (values_M.ceil() - 1).clamp(0, self.num_bins - 1).long()


class EqualBins(_HardBins):
    """Ablation "equal bin": K intervals that hold equally many non-zero values of the training cells.

    Ties fall into one interval. Until :meth:`prepare`, every value is in bin 0.
    """

    reads_cells = True

    edges_K: Tensor

    def __init__(self, width: int, num_bins: int = 100, alpha: float = 1.0) -> None:
        super().__init__(width, num_bins, alpha)
        self.register_buffer("edges_K", torch.full((num_bins - 1,), torch.inf))

    @torch.no_grad()
    def prepare(self, values: SketchedValues) -> None:
        """Take the quantiles ``1/K, 2/K, ...`` of these values as upper edges; they are saved with the weights."""
        if values.count_G[0]:
            shares_K = np.arange(1, self.num_bins) / self.num_bins
            self.edges_K.copy_(torch.from_numpy(values.quantiles(shares_K)))

    def bins(self, values_M: Tensor) -> Tensor:
        """Number of edges below the value; an edge belongs to the interval beneath it."""
        return torch.searchsorted(self.edges_K, values_M.contiguous())


_HARD: dict[str, type[_HardBins]] = {
    "round": RoundBins,
    "up": UpBins,
    "equal": EqualBins,
}


def embedding_reads_cells(kind: ValueKind) -> bool:
    """Whether the embedding of this name depends on the values of the training cells."""
    return kind in _HARD and _HARD[kind].reads_cells


def build_value_embedding(
    kind: ValueKind,
    width: int,
    num_bins: int = 100,
    alpha: float = 1.0,
    *,
    offsets: bool = False,
    slope: float = 0.01,
) -> ValueEmbedding:
    """The embedding that a recipe names; ``alpha``, ``offsets`` and ``slope`` are read by ``auto`` alone."""
    if kind == "auto":
        return AutoDiscretisation(width, num_bins, alpha, offsets=offsets, slope=slope)
    return _HARD[kind](width, num_bins, alpha)
