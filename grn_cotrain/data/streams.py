"""Endless batches of cells, cut by token budget, resumable at any batch.

Dimension letters: C cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError

__all__ = ["TOKENS_PER_BATCH", "CellStream", "one_pass"]

TOKENS_PER_BATCH = 16_384
"""Maximum number of tokens of a batch of cells that are read and not trained on."""


def _cut(length_C: np.ndarray, start: int, budget: int, most: int | None = None) -> int:
    """First position after ``start`` at which the budget, or ``most`` cells, would be exceeded; one cell at least."""
    total = np.cumsum(length_C[start:] if most is None else length_C[start : start + most])
    return start + max(1, int(np.searchsorted(total, budget, side="right")))


class CellStream(Iterator[CellBatch]):
    """Infinite iterator of batches whose tokens sum to at most ``tokens_per_batch`` (a longer cell comes alone).

    Every epoch visits each row once, in an order drawn from ``(seed, epoch)``; down-sampling within a batch is drawn
    from ``(seed, epoch, position)``. No generator is carried along, so epoch and position are the whole state and the
    stream continues identically from :meth:`state_dict`. The last batch of an epoch may be small; none is dropped.

    Several processes share one order: the process of rank ``r`` gives out batches ``r``, ``r + world``, ... of the
    order that a single process has, so together they give out what it would. The state is that of the whole group.

    Parameters
    ----------
    tokenizer
        Makes batches; its ``lengths_C`` decide where batches are cut.
    rows
        Cells to visit.
    tokens_per_batch
        Token budget, CLS included.
    seed
        Non-negative.
    cells_per_batch
        At most so many cells a batch; None: as many as the tokens allow. With tokens to spare, models that read a cell
        by different tokens see the same cells in the same batches.
    rank, world
        Which process of how many this is.

    Raises
    ------
    UserError
        No rows.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: np.ndarray,
        *,
        tokens_per_batch: int,
        seed: int,
        cells_per_batch: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._tokenizer = tokenizer
        self._rank, self._world = rank, world
        self._rows_C = np.asarray(rows, dtype=np.int64)
        if len(self._rows_C) == 0:
            raise UserError("cells: none to train on; lower validation_cells and test_cells or give more cells")
        self._tokens_per_batch = tokens_per_batch
        self._cells_per_batch = cells_per_batch
        self._seed = seed
        self._start_epoch(0)

    def _start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        """Epochs finished."""
        self.position = 0
        """Cells of the current epoch already given out."""
        self._order_C = np.random.default_rng((self._seed, epoch)).permutation(self._rows_C)
        self._length_C = self._tokenizer.lengths_C[self._order_C]

    def __next__(self) -> CellBatch:
        (mine,) = self.share(self._world)
        return mine

    def share(self, count: int) -> list[CellBatch]:
        """This process' batches of the next ``count`` of the common order; none if ``count`` is too small."""
        batches = []
        for number in range(count):
            if self.position >= len(self._order_C):
                self._start_epoch(self.epoch + 1)
            end = _cut(self._length_C, self.position, self._tokens_per_batch, self._cells_per_batch)
            if number % self._world == self._rank:
                generator = np.random.default_rng((self._seed, self.epoch, self.position))
                batches.append(self._tokenizer.batch(self._order_C[self.position : end], generator))
            self.position = end
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Plain integers, for JSON."""
        return {
            "seed": self._seed,
            "epoch": self.epoch,
            "position": self.position,
            "num_cells": len(self._rows_C),
            "tokens_per_batch": self._tokens_per_batch,
            "cells_per_batch": self._cells_per_batch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken; refuses a state of another seed, budget or number of cells."""
        for key, value in self.state_dict().items():
            if key not in ("epoch", "position") and state.get(key) != value:
                raise UserError(
                    f"resume: the checkpoint's {key} is {state.get(key)}, this run's {value}; use the same recipe"
                )
        self._start_epoch(int(state["epoch"]))
        self.position = int(state["position"])


def one_pass(tokenizer: Tokenizer, rows: np.ndarray, *, tokens_per_batch: int) -> Iterator[CellBatch]:
    """Each row once, in order, without randomness: for validation, test and export."""
    rows_C = np.asarray(rows, dtype=np.int64)
    length_C = tokenizer.lengths_C[rows_C]
    position = 0
    while position < len(rows_C):
        end = _cut(length_C, position, tokens_per_batch)
        yield tokenizer.batch(rows_C[position:end])
        position = end
