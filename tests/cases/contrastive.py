"""A toy contrastive objective: the two views of a cell against the views of all other cells of the step.

Dimension letters: N cells of a step, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.objectives import GeneStates, LossOutput, ModelView, Objective, PooledStates, Step, Sum, View
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.view import CLEAN

__all__ = ["ToyContrastive"]


class ToyContrastive(Objective):
    """InfoNCE between a view with hidden values and the clean one, over all cells of the step."""

    reads_cells = True
    pools = True

    def __init__(self, width: int, num_bins: int, *, seed: int = 0) -> None:
        super().__init__()
        self.config, self.num_bins = None, num_bins
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(width, width)

    def reads(self, name: str, hiding: Sequence[str]) -> tuple[str, ...]:
        """Its own view and the clean one."""
        del hiding
        return (name, CLEAN)

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide 30 % of the values."""
        del model
        return View.of(hide(tokens, draw_mask(tokens, generator, share=0.3), num_bins=self.num_bins), tokens)

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Never called: it pools."""
        raise AssertionError

    def pooled(self, model: ModelView, genes: GeneStates, states: Sequence[PooledStates]) -> LossOutput:
        """Each hidden cell must find its own clean state."""
        del model, genes
        hidden, clean = states
        assert torch.equal(hidden.cell_index_N, clean.cell_index_N)
        first_ND, second_ND = (F.normalize(self.head(one.cells_ND), dim=1) for one in states)
        logits_NN = first_ND @ second_ND.T / 0.2
        total = F.cross_entropy(logits_NN, torch.arange(len(logits_NN)), reduction="sum")
        return LossOutput({"info_nce": Sum(total, len(logits_NN))}, len(logits_NN))
