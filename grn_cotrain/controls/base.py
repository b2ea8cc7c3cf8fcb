"""Contract of link scorers. Models and controls implement it, so one evaluator prints them side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from grn_cotrain.data.splits import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError
from grn_cotrain.registry import Registry

__all__ = ["CONTROLS", "Control", "EmptyConfig", "LinkScorer"]

CONTROLS: Registry[Control] = Registry("control", __package__)


@dataclass(frozen=True, kw_only=True)
class EmptyConfig:
    """For controls without settings."""


class LinkScorer(Protocol):
    """Anything that ranks (TF, gene) pairs."""

    name: str

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Learn from training positives (validation may choose a constant); test pairs are never read."""
        ...

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Higher means more likely; float64 ``[M]``, finite. Gene indices, row 0 sources, row 1 targets."""
        ...


class Control(ABC):
    """A scorer that needs no model: ``__init__(config, *, seed)``.

    ``cost`` is ``"default"`` or ``"costly"`` (only in ``--controls all``); ``needs_cells`` states whether it reads
    expression; ``version`` is raised when a change alters scores, so that cached ones are computed again.
    """

    Config: ClassVar[type[Any]] = EmptyConfig
    cost: ClassVar[str] = "default"
    needs_cells: ClassVar[bool] = False
    version: ClassVar[int] = 1
    name: str

    def __init__(self, config: Any, *, seed: int = 0) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """See :class:`LinkScorer`."""

    def require(self, cells: CellStore | None) -> CellStore:
        """The cells; an error for a control that reads them, where there are none."""
        if cells is None:
            raise UserError(f"control '{self.name}': no cells; give cells, or leave it out of --controls")
        return cells

    @abstractmethod
    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """See :class:`LinkScorer`."""

    def missing(self, cells: CellStore | None) -> str | None:
        """Reason why the data do not suffice for this control, or None; the evaluator then leaves it out, by name."""
        return "needs cells and there are none" if self.needs_cells and cells is None else None

    def estimate_seconds(self, split: EdgeSplit, cells: CellStore | None) -> float | None:
        """Rough time of a fit, printed before a costly control runs; None: unknown."""
        del split, cells
        return None
