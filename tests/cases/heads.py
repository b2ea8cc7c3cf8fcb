"""Contract of classification heads, checked for every registered one.

Dimension letters: B cells, C classes, D width, T packed tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.nn.heads import HEADS, Head
from grn_cotrain.recipe import TokenConfig

from .toy_cells import toy_cells

__all__ = ["NUM_CLASSES", "WIDTH", "HeadCase"]

WIDTH, NUM_CLASSES = 8, 3


class HeadCase:
    """Subclass with ``name`` and ``options``. ``reads_tokens``: states of tokens instead of those of cells."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    reads_tokens: ClassVar[bool] = False

    def build(self, seed: int = 0) -> Head:
        """A head in evaluation mode, whose weights the seed decides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return HEADS.build(self.name, self.options, width=WIDTH, num_classes=NUM_CLASSES).eval()

    @staticmethod
    def batch(rows: list[int] | None = None) -> PackedTokens:
        """Cells with some zeros among their tokens."""
        tokenizer = Tokenizer(toy_cells(), TokenConfig(num_bins=5, zeros_per_cell=2))
        return tokenizer.batch(np.asarray(rows if rows is not None else [0, 1, 2, 3])).pack()

    @staticmethod
    def states(batch: PackedTokens) -> CellStates:
        """States that depend on cell and feature alone, so that they are the same for a cell in any batch."""
        cell_T = batch.cell_index_B[batch.cell_of_token_T]
        phase_TD = (1.0 + batch.feature_ids_T + 7.3 * cell_T)[:, None] * torch.arange(1, WIDTH + 1) ** 0.5
        cells_BD = torch.cos((1.0 + batch.cell_index_B)[:, None] * torch.arange(1, WIDTH + 1) ** 0.5)
        return CellStates(torch.sin(phase_TD), cells_BD)

    def test_shapes_and_two_passes_are_equal(self) -> None:
        head, batch = self.build(), self.batch()
        logits_BC = head(batch, self.states(batch))
        assert logits_BC.shape == (batch.num_cells, NUM_CLASSES)
        assert torch.isfinite(logits_BC).all()
        assert torch.equal(head(batch, self.states(batch)), logits_BC)

    def test_cell_does_not_depend_on_its_neighbours(self) -> None:
        head, together, alone = self.build(), self.batch([4, 7, 2]), self.batch([7])
        logits_BC = head(together, self.states(together))
        torch.testing.assert_close(logits_BC[1:2], head(alone, self.states(alone)))
        assert not torch.allclose(logits_BC[0], logits_BC[1])

    def test_order_of_tokens_does_not_matter(self) -> None:
        head, batch = self.build(), self.batch()
        states = self.states(batch)
        order_T = torch.cat(
            [
                torch.cat([torch.tensor([start]), torch.arange(end - 1, start, -1)])
                for start, end in zip(batch.cu_lens[:-1].tolist(), batch.cu_lens[1:].tolist(), strict=True)
            ]
        )
        moved = replace(
            batch,
            feature_ids_T=batch.feature_ids_T[order_T],
            values_T=batch.values_T[order_T],
            bins_T=batch.bins_T[order_T],
            modality_T=batch.modality_T[order_T],
        )
        torch.testing.assert_close(
            head(moved, CellStates(states.tokens_TD[order_T], states.cells_BD)), head(batch, states)
        )

    def test_gradients_reach_weights_and_what_is_read(self) -> None:
        head, batch = self.build().train(), self.batch()
        states = self.states(batch)
        tokens_TD, cells_BD = states.tokens_TD.requires_grad_(), states.cells_BD.requires_grad_()
        loss = torch.nn.functional.cross_entropy(
            head(batch, CellStates(tokens_TD, cells_BD)), torch.tensor([0, 1, 2, 0])
        )
        loss.backward()
        for name, weight in head.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name
        read, other = (tokens_TD, cells_BD) if self.reads_tokens else (cells_BD, tokens_TD)
        assert other.grad is None
        assert read.grad is not None
        per_cell_B = self._per_cell(batch, read.grad) if self.reads_tokens else read.grad.abs().sum(1)
        assert (per_cell_B > 0).all()

    @staticmethod
    def _per_cell(batch: PackedTokens, grad_TD: Tensor) -> Tensor:
        return torch.zeros(batch.num_cells).index_add(0, batch.cell_of_token_T, grad_TD.abs().sum(1))

    def test_unknown_option_names_its_path(self) -> None:
        with pytest.raises(UserError, match="nonsense"):
            HEADS.config(self.name, {"nonsense": 1})
