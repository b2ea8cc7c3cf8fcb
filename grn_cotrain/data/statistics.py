"""Statistics of the training cells: everything that parts ask for, collected in one pass over the cells.

A part names what it needs as a set of :class:`Need`, small frozen dataclasses that can be compared. Equal needs of
several parts are collected once. A new part brings a need of its own: no list of needs has to be edited.

Dimension letters: C cells of the store, G features, A assays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from grn_cotrain.data.cell_blocks import Block, Layout, cell_blocks
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["NOTHING", "Accumulator", "Need", "Statistics"]

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Accumulator(ABC, Generic[Result_co]):
    """Takes blocks of cells one after another. How cells are cut into blocks must not change the result."""

    @abstractmethod
    def add(self, block: Block) -> None:
        """Take the next block."""

    @abstractmethod
    def result(self) -> Result_co:
        """The statistic of all cells so far."""


class Need(ABC, Generic[Result_co]):
    """A statistic that a part asks for. Subclasses are frozen dataclasses; their fields are its parameters.

    Memory of an accumulator must not grow with the number of cells.
    """

    def wanted(self, cells: CellStore) -> bool:
        """Whether :meth:`Statistics.collect` computes it for this store. Default: yes."""
        del cells
        return True

    @abstractmethod
    def start(self, layout: Layout) -> Accumulator[Result_co]:
        """A new accumulator."""


NOTHING: frozenset[Need[Any]] = frozenset()
"""Needs of a part that reads no cells to prepare."""


class Statistics:
    """Statistics of some cells of a store, each computed when it is first asked for.

    ``statistics[need]`` is a need's result. What :meth:`collect` was given in advance costs one pass together; what was
    not costs a pass of its own when it is asked for.

    Parameters
    ----------
    cells
        The store.
    rows_C
        Cells to read (training cells, or held-out ones leak); default all.
    block_cells
        Cells that are held at a time; default: as many as the store thinks fit.

    Attributes
    ----------
    layout
        Features and their assays.
    passes
        Passes over the cells so far.
    """

    def __init__(self, cells: CellStore, rows_C: np.ndarray | None = None, *, block_cells: int | None = None) -> None:
        self.cells = cells
        self.rows_C = np.arange(cells.num_cells) if rows_C is None else np.asarray(rows_C)
        self.layout = Layout.of(cells)
        self.passes = 0
        self._block_cells = block_cells
        self._found: dict[Need[Any], Any] = {}

    @property
    def vocab(self) -> FeatureVocab:
        """Vocabulary of the columns."""
        return self.layout.vocab

    @property
    def num_cells(self) -> int:
        """Number of cells that are read, whatever assays they have."""
        return len(self.rows_C)

    @property
    def num_features(self) -> int:
        """G."""
        return self.layout.num_features

    def blocks(self) -> Iterator[Block]:
        """One pass over the cells. For products that take several passes, which no :class:`Need` can express."""
        if self.passes == 0:
            self.cells.verify()  # this is the pass that reads everything
        self.passes += 1
        return cell_blocks(self.cells, self.rows_C, self._block_cells)

    def collect(self, needs: Iterable[Need[Any]]) -> None:
        """Compute all of these that are not known yet, in one pass."""
        running = {
            need: need.start(self.layout)
            for need in dict.fromkeys(needs)
            if need not in self._found and need.wanted(self.cells)
        }
        if not running:
            return
        for block in self.blocks():
            for accumulator in running.values():
                accumulator.add(block)
        self._found |= {need: accumulator.result() for need, accumulator in running.items()}

    def __getitem__(self, need: Need[Result]) -> Result:
        """The statistic; see the need for what it is."""
        if need not in self._found:
            self.collect([need])
        found: Result = self._found[need]
        return found
