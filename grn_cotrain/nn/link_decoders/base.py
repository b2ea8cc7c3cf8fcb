"""Contract of link decoders: gene rows and pairs in, logits out.

Dimension letters: G genes, D width, M pairs, S sources, R rank, X any number of rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.registry import Registry

__all__ = [
    "LINK_DECODERS",
    "FactoredDecoder",
    "LearnedDecoder",
    "LinkDecoder",
    "LinkFactors",
]

LINK_DECODERS: Registry[LinkDecoder] = Registry("link_decoder", __package__)


@dataclass(frozen=True)
class LinkFactors:
    """Logits as an inner product: ``logit[s, t] = source_GR[s] . target_GR[t] + bias``; lets losses skip the blocks."""

    source_GR: Tensor
    target_GR: Tensor
    bias: Tensor


class LinkDecoder(nn.Module, ABC):
    """``__init__(config, *, width, num_genes)``.

    ``block`` and ``forward`` are the same function (contract test):
    ``block(genes, s)[i, j] == forward(genes, (s_i, j))``. Both are deterministic: no decoder draws at random.
    Decoders that use closed-form evidence get it once through :meth:`prepare`, before training.
    """

    Config: ClassVar[type[Any]]
    uses_evidence: ClassVar[bool] = False

    def prepare(self, evidence: PairEvidence) -> None:
        """Receive closed-form evidence; decoders without it ignore the call."""
        del evidence

    @abstractmethod
    def forward(self, genes_GD: Tensor, pairs_2M: Tensor) -> Tensor:
        """Logits ``[M]`` of pairs (row 0 sources, row 1 targets)."""

    @abstractmethod
    def block(self, genes_GD: Tensor, sources_S: Tensor) -> Tensor:
        """Logits ``[S, G]`` of whole TF rows."""

    def factors(self, genes_GD: Tensor) -> LinkFactors | None:
        """The logits as an inner product, or None if they do not factor."""
        del genes_GD
        return None

    @property
    def share(self) -> Tensor | None:
        """Share in [0, 1] of what was learned on top of evidence, in evaluation mode; None: nothing is under it."""
        return None

    def regulariser(self) -> Tensor | None:
        """Penalty that the objective adds to the loss (already weighted), or None."""
        return None


class LearnedDecoder(LinkDecoder):
    """A decoder whose logit is ``bias + f(s, t)`` with ``f`` linear in its last layer, so that it can start at zero.

    The residual decoder makes its learned part of one of these.
    """

    bias: nn.Parameter

    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weights in which ``f`` is linear: all zero makes ``f`` zero everywhere, yet with a gradient."""


class FactoredDecoder(LearnedDecoder):
    """``logit[s, t] = query(s) . t + bias``: a row-wise map of the source, and the target's row as it is.

    Parameters
    ----------
    config
        No options.
    width
        D, width of the gene rows.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int, **_: Any) -> None:
        super().__init__()
        del config
        self.bias = nn.Parameter(torch.zeros(()))
        self._norm = 1.0 / math.sqrt(width)

    @abstractmethod
    def query(self, rows_XD: Tensor) -> Tensor:
        """Map rows ``[X, D]`` of sources to ``[X, D]``."""

    def forward(self, genes_GD: Tensor, pairs_2M: Tensor) -> Tensor:
        """See :class:`LinkDecoder`."""
        sources_M, targets_M = pairs_2M
        return (self.query(genes_GD[sources_M]) * genes_GD[targets_M]).sum(-1) + self.bias

    def block(self, genes_GD: Tensor, sources_S: Tensor) -> Tensor:
        """See :class:`LinkDecoder`."""
        return self.query(genes_GD[sources_S]) @ genes_GD.T + self.bias

    def factors(self, genes_GD: Tensor) -> LinkFactors:
        """See :class:`LinkDecoder`."""
        return LinkFactors(self.query(genes_GD), genes_GD, self.bias)
