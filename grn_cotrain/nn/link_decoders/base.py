"""Contract of link decoders: gene rows and pairs in, logits out.

Dimension letters: G genes, D width, M pairs, S sources, K evidence channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from grn_cotrain.registry import Registry

__all__ = ["LINK_DECODERS", "LinkDecoder", "PairEvidence"]

LINK_DECODERS: Registry[LinkDecoder] = Registry("link_decoder", __package__)


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
    """

    names: tuple[str, ...]
    sources_S: np.ndarray
    train_KSG: np.ndarray
    full_KSG: np.ndarray
    source_logit_G: np.ndarray
    target_logit_G: np.ndarray


class LinkDecoder(nn.Module, ABC):
    """``__init__(config, *, width, num_genes)``.

    ``block`` and ``forward`` are the same function (contract test): ``block(genes, s)[i, j] == forward(genes, (s_i, j))``.
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
