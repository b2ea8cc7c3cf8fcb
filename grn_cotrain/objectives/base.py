"""Contract of objectives: they draw views, read encodings, and return sums with their counts, never a bare number.

Dimension letters: T packed tokens, M asked tokens, N cells, G genes, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.negatives import LinkSupervision
from grn_cotrain.data.statistics import NOTHING, Need, Statistics
from grn_cotrain.nn.cell_encoders.base import CellStates
from grn_cotrain.objectives.view import Encodings, GeneStates, ModelView, View
from grn_cotrain.registry import Registry

__all__ = [
    "OBJECTIVES",
    "GeneStates",
    "LossOutput",
    "ModelView",
    "Objective",
    "PooledStates",
    "PredictsValues",
    "PredictsZeros",
    "Step",
    "Sum",
    "ValuePredictor",
]

OBJECTIVES: Registry[Objective] = Registry("objective", __package__)


@dataclass(frozen=True)
class Sum:
    """One term of a loss: ``weight * sum / count``.

    Attributes
    ----------
    sum
        Added over tokens, cells or pairs.
    count
        Denominator of the sum, once both have been added over the micro-batches of a step.
    weight
        Factor of the term in the loss of its objective.
    """

    sum: Tensor
    count: float
    weight: float = 1.0

    @property
    def mean(self) -> Tensor:
        """``sum / count`` of this micro-batch alone; 0 for a count of 0."""
        return self.sum / (self.count or 1.0)


@dataclass(frozen=True)
class LossOutput:
    """Record of one objective for one micro-batch; sums and counts are added over micro-batches and divided once.

    Attributes
    ----------
    parts
        Terms of the loss by name; each has a count of its own.
    count
        Items that were scored; metrics are averaged with this weight.
    metrics
        Plain means over these items.
    """

    parts: Mapping[str, Sum]
    count: int
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """Loss of this micro-batch alone: the weighted sum of the means of its parts."""
        return torch.stack([part.weight * part.mean for part in self.parts.values()]).sum()


@runtime_checkable
class ValuePredictor(Protocol):
    """An objective whose head predicts hidden values, so that its R2 stands in the table of masked values."""

    def predict_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """float32 ``[M]`` on the scale of ``batch.values_T``, given that they are not zero, in the order of
        ``nonzero(masked_T)``."""
        ...


@runtime_checkable
class PredictsZeros(Protocol):
    """An objective that may predict whether a hidden value is zero."""

    @property
    def predicts_zeros(self) -> bool:
        """Whether its settings make it learn this."""
        ...

    def predict_nonzero(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """float32 ``[M]`` that rises with the chance of "not zero", in the order of ``nonzero(masked_T)``."""
        ...


@dataclass(frozen=True)
class PooledStates:
    """States of all cells of a step that one view shows, for objectives that compare cells with each other.

    Attributes
    ----------
    cells_ND
        State of each cell, in the order of the micro-batches.
    cell_index_N
        int64 row of each cell in its store.
    """

    cells_ND: Tensor
    cell_index_N: Tensor


@dataclass(frozen=True)
class Step:
    """Inputs of an objective for one micro-batch.

    Attributes
    ----------
    genes
        Gene states of the step.
    views
        Views that the objective reads, in the order of :meth:`Objective.reads`; empty for link objectives.
    encodings
        Encodings of the micro-batch; None for link objectives.
    links
        Supervised pairs; None for cell objectives.
    """

    genes: GeneStates
    views: tuple[View, ...] = ()
    encodings: Encodings | None = None
    links: LinkSupervision | None = None

    @property
    def view(self) -> View:
        """The first view."""
        return self.views[0]

    @property
    def states(self) -> CellStates:
        """States of the first view."""
        assert self.encodings is not None
        return self.encodings.of(self.view)


class Objective(nn.Module, ABC):
    """``__init__(config, *, width, num_bins, num_genes, covariates)``. May own parameters (heads).

    ``covariates`` maps each of ``tokens.covariates`` to its number of categories. Sizes that an objective does not read
    go into ``**_``.

    A cell objective draws its views (:meth:`view`), states by what each term of its loss will be divided
    (:meth:`counts`), and scores the encoded views (:meth:`forward`). All random draws are made in :meth:`view`; what
    comes later must not depend on the generator. An objective that ``pools`` is scored once a step, on the states of
    all its cells (:meth:`pooled`).
    """

    Config: ClassVar[type[Any]]
    config: Any
    reads_cells: ClassVar[bool] = False
    reads_links: ClassVar[bool] = False
    selects: ClassVar[bool] = True
    """Whether a lower loss on validation cells is better, so that it helps to pick the checkpoint."""
    pools: ClassVar[bool] = False
    """Whether it needs the states of all cells of a step at once."""

    @property
    def hides_values(self) -> bool:
        """Whether its view hides values, so that other objectives may read the same view."""
        return False

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """Statistics that :meth:`prepare` reads, so that one pass over the cells serves all parts. Default: none."""
        del config, num_bins
        return NOTHING

    def prepare(self, statistics: Statistics) -> None:
        """Take statistics of the training cells once, before training, as buffers. Default: nothing."""
        del statistics

    def reads(self, name: str, hiding: Sequence[str]) -> tuple[str, ...]:
        """Names of the views it reads: its own (``name``), ``clean``, or one that another objective draws.

        Parameters
        ----------
        name
            Name of this objective in the recipe.
        hiding
            Other objectives of the recipe whose views hide values, in the recipe's order.
        """
        del hiding
        return (name,)

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Corrupt the tokens of one micro-batch, drawing from ``generator``."""
        raise NotImplementedError(f"{type(self).__name__} draws no view")

    def counts(self, *views: View) -> Mapping[str, float]:
        """By what each part of the loss is divided, known before anything is encoded."""
        raise NotImplementedError(f"{type(self).__name__} has no counts")

    @abstractmethod
    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Sums of one micro-batch, with the counts of :meth:`counts`."""

    def pooled(self, model: ModelView, genes: GeneStates, states: Sequence[PooledStates]) -> LossOutput:
        """Loss over all cells of a step, one entry of ``states`` for each view read; only where it ``pools``."""
        raise NotImplementedError(f"{type(self).__name__} does not pool")

    def on_cells(
        self, model: ModelView, genes: GeneStates, tokens: PackedTokens, generator: torch.Generator
    ) -> LossOutput:
        """Draw the objective's own view of one micro-batch, encode it and score it."""
        view = self.view(model, tokens, generator)
        return self(model, Step(genes, (view,), Encodings(model, genes)))


class PredictsValues(Objective):
    """An objective whose head reads values back: prediction goes the way of training, by a view and its encoding."""

    @property
    def hides_values(self) -> bool:
        """Its view hides values."""
        return True

    def asking(self, tokens: PackedTokens) -> View:
        """The view that asks for the hidden values of ``tokens`` (``masked_T``)."""
        return View.of(tokens)

    @abstractmethod
    def read_values(self, model: ModelView, step: Step) -> Tensor:
        """float32 ``[M]``: values of the asked tokens of ``step.view``, on the scale of ``PackedTokens.values_T``."""

    @torch.no_grad()
    def predict_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """Predict hidden values; see :class:`ValuePredictor`.

        Parameters
        ----------
        batch
            Cells with ``masked_T`` set (see :func:`~grn_cotrain.objectives.masking.hide`).

        Returns
        -------
        Tensor
            float32 ``[M]`` on the scale of ``batch.values_T``, in the order of ``nonzero(masked_T)``.
        """
        return self.read_values(model, Step(genes, (self.asking(batch),), Encodings(model, genes)))
