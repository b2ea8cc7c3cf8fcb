"""Contract of link losses: a decoder, gene rows and supervision in, a record of named parts out.

Dimension letters: D width, G genes, N negative pairs, P positive pairs, S sources.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from grn_cotrain.data.negatives import LinkSupervision, SupervisionMode
from grn_cotrain.nn.link_decoders.base import LinkDecoder
from grn_cotrain.registry import Registry

__all__ = ["LINK_LOSSES", "LinkLoss", "LinkLossOutput", "class_means", "recomputed", "row_blocks"]

LINK_LOSSES: Registry[LinkLoss] = Registry("link_loss", __package__)


@dataclass(frozen=True)
class LinkLossOutput:
    """``loss`` of ``count`` supervised pairs; ``parts`` are logged apart.

    ``positive_P`` and ``negative_N`` are detached logits to watch training by: all of them in ``pairs`` mode, those of
    the first rows in ``rows`` mode.
    """

    loss: Tensor
    count: int
    parts: dict[str, Tensor]
    positive_P: Tensor
    negative_N: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


class LinkLoss(ABC):
    """``__init__(config)``; no parameters of its own.

    ``mode`` is what the sampler must draw for it: sampled ``pairs`` or whole TF ``rows``.
    """

    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    @abstractmethod
    def mode(self) -> SupervisionMode:
        """Supervision that this loss needs."""

    @abstractmethod
    def __call__(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        """Loss of one step's supervision.

        Raises
        ------
        ValueError
            The supervision was drawn in the other mode.
        """


def class_means(positive_P: Tensor, negative_N: Tensor) -> tuple[Tensor, Tensor]:
    """Mean logistic loss of each class, from float32 logits; 0 (not NaN) for a class without pairs."""
    positive_P, negative_N = positive_P.float(), negative_N.float()
    return (
        F.softplus(-positive_P).sum() / max(1, positive_P.numel()),
        F.softplus(negative_N).sum() / max(1, negative_N.numel()),
    )


def row_blocks(supervision: LinkSupervision, rows: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Cut whole-row supervision into blocks: ``(sources_S, positive_SG, negative_SG)``, masks over candidates only."""
    sources_S, label_SG, allowed_SG = supervision.sources_S, supervision.row_labels_SG, supervision.row_allowed_SG
    if label_SG is None or allowed_SG is None or not sources_S.numel():
        raise ValueError("supervision: it holds no whole TF rows; draw it in mode 'rows'")
    for first in range(0, sources_S.numel(), rows):
        chunk = slice(first, first + rows)
        yield sources_S[chunk], label_SG[chunk] & allowed_SG[chunk], ~label_SG[chunk] & allowed_SG[chunk]


def recomputed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` and compute its insides again in the backward pass: memory of one block, not of all rows."""
    if not torch.is_grad_enabled():
        return function(*arguments)
    # Decoders draw nothing at random, so there is no random state to restore.
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
