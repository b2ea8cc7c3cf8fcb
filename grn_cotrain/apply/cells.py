"""The one loop over cells: batches of one size, each cell once, in order, without randomness.

Dimension letters: B cells of a batch, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.batch import CellBatch, PackedTokens
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.streams import TOKENS_PER_BATCH, one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.objectives import GeneStates

if TYPE_CHECKING:
    from grn_cotrain.model import CoTrainNetwork

__all__ = ["AppliedModel", "Encoder", "OneEncoder", "Progress", "Reader", "over_cells", "shifted"]

Progress = Callable[[int, int], None]
"""Receives ``(cells done, cells in all)``."""


class AppliedModel(Protocol):
    """Methods that the loop needs of a model; :class:`~grn_cotrain.model.CoTrainNetwork` is one."""

    def encode_graph(self) -> GeneStates:
        """Rows of the genes."""
        ...

    def tokenizer(self, cells: CellStore) -> Tokenizer:
        """Tokens of cells as the model reads them."""
        ...

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        """States of packed cells."""
        ...

    def cell_attention(
        self, batch: PackedTokens, genes: GeneStates, *, layers: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """One ``[L, L]`` matrix a cell, rows read columns."""
        ...


@dataclass(frozen=True)
class OneEncoder:
    """A model that reads cells with one of its encoders, which sees its own assays alone."""

    model: CoTrainNetwork
    name: str

    def encode_graph(self) -> GeneStates:
        """Rows of the genes."""
        return self.model.encode_graph()

    def tokenizer(self, cells: CellStore) -> Tokenizer:
        """Tokens of the cells that have an assay of the encoder."""
        return self.model.tokenizer(cells, encoder=self.name)

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        """States of packed cells, by this encoder."""
        return self.model.encode(self.name, batch, genes)

    def cell_attention(
        self, batch: PackedTokens, genes: GeneStates, *, layers: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """One ``[L, L]`` matrix a cell, rows read columns."""
        return self.model.cell_attention(batch, genes, layers=layers, encoder=self.name)


@dataclass(frozen=True)
class Encoder:
    """A model with the rows of its genes, which are computed once for all cells.

    Every batch of an application is encoded here, and nowhere else.
    """

    model: AppliedModel
    genes: GeneStates

    @classmethod
    @torch.no_grad()
    def of(cls, model: AppliedModel) -> Encoder:
        """Encode the graph."""
        return cls(model, model.encode_graph())

    @property
    def device(self) -> torch.device:
        """Where batches must be."""
        return self.genes.table_GD.device

    def cells(self, batch: PackedTokens) -> CellStates:
        """States of the cells of a batch."""
        return self.model.encode_cells(batch, self.genes)

    def attention(self, batch: PackedTokens, layers: Sequence[int] | None = None) -> Iterator[Tensor]:
        """Who reads whom in each cell, one ``[L, L]`` matrix a cell."""
        return self.model.cell_attention(batch, self.genes, layers=layers)


Reader = Callable[[PackedTokens, Encoder], int | None]
"""Function that receives each batch. It returns the number of units done where that is not the number of cells."""


@torch.no_grad()
def over_cells(
    model: AppliedModel,
    tokenizer: Tokenizer,
    read: Reader,
    *,
    rows: np.ndarray | None = None,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
    total: int | None = None,
) -> None:
    """Give every cell to ``read`` once, in order, in batches of one token budget.

    Parameters
    ----------
    model
        In evaluation mode.
    tokenizer
        Tokens of the cells, as the model reads them.
    read
        Called with each batch, on the model's device, and the model bound to the rows of its genes.
    rows
        int64 ``[N]`` cells to read; default: all.
    encoder
        The model bound already; default: it is bound here.
    progress, total
        Receive ``(done, total)`` after each batch; ``total`` defaults to the number of rows.
    """
    rows_N = np.arange(len(tokenizer.lengths_C)) if rows is None else np.asarray(rows, dtype=np.int64)
    encoder = Encoder.of(model) if encoder is None else encoder
    done, wanted = 0, len(rows_N) if total is None else total
    for batch in map(CellBatch.pack, one_pass(tokenizer, rows_N, tokens_per_batch=TOKENS_PER_BATCH)):
        units = read(batch.to(encoder.device), encoder)
        done += batch.num_cells if units is None else units
        if progress is not None:
            progress(done, wanted)


def shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of a part of the work: ``before`` units were done before it, of ``total``."""
    return None if progress is None else lambda done, _: progress(before + done, total)
