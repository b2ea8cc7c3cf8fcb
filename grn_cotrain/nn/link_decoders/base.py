"""Contract of link decoders: gene rows and pairs in, logits out.

Dimension letters: G genes, D width, M pairs, S sources, K evidence channels, R rank, X any number of rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from grn_cotrain.registry import Registry

__all__ = [
    "LINK_DECODERS",
    "FactoredDecoder",
    "HeldOut",
    "LearnedDecoder",
    "LinkDecoder",
    "LinkFactors",
    "PairEvidence",
]

LINK_DECODERS: Registry[LinkDecoder] = Registry("link_decoder", __package__)

HeldOut = Literal["none", "source", "target", "both"]
_HELD_OUT: tuple[HeldOut, ...] = ("none", "source", "target", "both")
_ARRAYS = ("sources_S", "train_KSG", "full_KSG", "source_logit_G", "target_logit_G")


@dataclass(frozen=True)
class PairEvidence:
    """Closed-form evidence per (TF, gene), standardised; computed from training positives and expression alone.

    Attributes
    ----------
    names
        One name per channel, for example ``("kernel_ridge", "knn_family")``.
    sources_S
        Gene indices of the rows; pairs of other sources have evidence 0.
    train_KSG
        float32, out-of-fold (each row or column scored by a fit that never saw it, folds as in the split's regime):
        used while training.
    full_KSG
        float32, fitted on all training positives: used for validation, test and export.
    source_logit_G, target_logit_G
        Smoothed log-odds of being a source / target among training positives (the prior mean for unseen genes).
    held_out
        The side whose genes are new at test time. Its degree prior carries no information there, so a decoder must not
        lean on it in training either: it would explain away what the evidence has to explain about an unseen gene.
    weight_K
        Starting weight of each channel, for example from a logistic fit; None leaves the start to the decoder.
    num_centred
        Leading genes whose target log-odds are centred; None: all. A vocabulary that was extended keeps its old centre,
        so that no logit moves.
    """

    names: tuple[str, ...]
    sources_S: np.ndarray
    train_KSG: np.ndarray
    full_KSG: np.ndarray
    source_logit_G: np.ndarray
    target_logit_G: np.ndarray
    held_out: HeldOut = "none"
    weight_K: np.ndarray | None = None
    num_centred: int | None = None

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.sources_S), len(self.target_logit_G))
        for name in ("train_KSG", "full_KSG"):
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name}: shape {array.shape}; names, sources and genes make {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name}: holds values that are not finite")
        if self.source_logit_G.shape != self.target_logit_G.shape:
            raise ValueError(f"source_logit_G: shape {self.source_logit_G.shape}, target_logit_G {shape[2:]}")
        if self.held_out not in _HELD_OUT:
            raise ValueError(f"held_out: got {self.held_out!r}; choose from {', '.join(_HELD_OUT)}")
        if self.weight_K is not None and self.weight_K.shape != (shape[0],):
            raise ValueError(f"weight_K: shape {self.weight_K.shape}; {shape[0]} channels make ({shape[0]},)")

    def extended(self, num_new: int) -> PairEvidence:
        """The same with ``num_new`` more genes, of which nothing is known: evidence 0, average log-odds."""
        old = self.num_centred or len(self.target_logit_G)
        logits = {}
        for name, kept in (("source_logit_G", self.sources_S), ("target_logit_G", slice(old))):
            logit_G = np.asarray(getattr(self, name))
            known = logit_G[kept] if len(logit_G[kept]) else logit_G
            logits[name] = np.append(logit_G, np.full(num_new, known.mean(), logit_G.dtype))
        empty_KSG = ((0, 0), (0, 0), (0, num_new))
        return replace(
            self,
            train_KSG=np.pad(self.train_KSG, empty_KSG),
            full_KSG=np.pad(self.full_KSG, empty_KSG),
            num_centred=old,
            source_logit_G=logits["source_logit_G"],
            target_logit_G=logits["target_logit_G"],
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, as safetensors holds them; ``names`` are text and travel apart, in a JSON file."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        arrays["held_out"] = np.array([_HELD_OUT.index(self.held_out)], dtype=np.int64)
        if self.weight_K is not None:
            arrays["weight_K"] = np.ascontiguousarray(self.weight_K)
        if self.num_centred is not None:
            arrays["num_centred"] = np.array([self.num_centred], dtype=np.int64)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, names: tuple[str, ...]) -> PairEvidence:
        """Inverse of :meth:`to_arrays`."""
        return cls(
            names=names,
            held_out=_HELD_OUT[int(arrays["held_out"][0])],
            weight_K=np.asarray(arrays["weight_K"]) if "weight_K" in arrays else None,
            num_centred=int(arrays["num_centred"][0]) if "num_centred" in arrays else None,
            **{name: np.asarray(arrays[name]) for name in _ARRAYS},
        )


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
        """The logits as an inner product, or None where they do not factor."""
        del genes_GD
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
    """``logit[s, t] = query(s) . t + bias``: a row-wise map of the source, and the target's row as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

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
