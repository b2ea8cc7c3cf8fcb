"""Contract of objectives: they see the model through a small protocol and return a record, never a bare number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.negatives import LinkSupervision
from grn_cotrain.data.statistics import NOTHING, Need, Statistics
from grn_cotrain.nn.cell_encoders.base import CellStates
from grn_cotrain.nn.link_decoders.base import LinkDecoder
from grn_cotrain.registry import Registry

__all__ = ["OBJECTIVES", "GeneStates", "LossOutput", "ModelView", "Objective", "Step", "ValuePredictor"]

OBJECTIVES: Registry[Objective] = Registry("objective", __package__)


@dataclass(frozen=True)
class LossOutput:
    """``loss`` is a mean over ``count`` items; ``parts`` are summands or class means; ``metrics`` plain floats."""

    loss: Tensor
    count: int
    parts: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneStates:
    """``table_GD`` rows of the shared table, ``graph_GD`` the graph encoder's output on this step's message edges."""

    table_GD: Tensor
    graph_GD: Tensor


class ModelView(Protocol):
    """What objectives may ask of the model."""

    @property
    def link_decoder(self) -> LinkDecoder: ...

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates: ...

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        """Rows of the shared table for vocabulary ids (for tied output heads)."""
        ...

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """What the cell encoder must compute before anything is hidden; call it before names are."""
        ...


@runtime_checkable
class ValuePredictor(Protocol):
    """An objective whose head predicts hidden values, so that its R2 stands in the table of masked values."""

    def predict_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """float32 ``[M]`` on the scale of ``batch.values_T``, given that they are not zero, in the order of
        ``nonzero(masked_T)``."""
        ...


@dataclass(frozen=True)
class Step:
    """What one micro-batch offers to the objectives; a field is None where the schedule leaves that side out."""

    genes: GeneStates
    cells: PackedTokens | None
    links: LinkSupervision | None
    generator: torch.Generator


class Objective(nn.Module, ABC):
    """``__init__(config, *, width, num_bins, num_genes, covariates)``. May own parameters (heads).

    ``covariates`` maps each of ``tokens.covariates`` to its number of categories (for most objectives: not read).
    """

    Config: ClassVar[type[Any]]
    config: Any
    reads_cells: ClassVar[bool] = False
    reads_links: ClassVar[bool] = False
    selects: ClassVar[bool] = True
    """Whether a lower loss on validation cells is better, so that it helps to pick the checkpoint."""

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """Statistics that :meth:`prepare` reads, so that one pass over the cells serves all parts. Default: none."""
        del config, num_bins
        return NOTHING

    def prepare(self, statistics: Statistics) -> None:
        """Take statistics of the training cells once, before training, as buffers. Default: nothing."""
        del statistics

    @abstractmethod
    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Loss of one micro-batch."""
