"""Contract of objectives that read links, checked for every registered one.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from grn_cotrain.data.negatives import LinkSampler, LinkSupervision
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from grn_cotrain.objectives import OBJECTIVES, GeneStates, LossOutput, Objective, Step

from .toy_links import NUM_GENES, toy_split

__all__ = ["LinkObjectiveCase"]

WIDTH = 12


class LinkObjectiveCase:
    """Subclass with ``name`` and ``options``. The trainer draws ``step.links`` by the objective's ``config``."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}

    def setup_method(self) -> None:
        """An objective, a decoder, encoded genes and the supervision that the objective asks for."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.objective: Objective = OBJECTIVES.build(
                self.name, self.options, width=WIDTH, num_bins=5, num_genes=NUM_GENES
            )
            self.decoder = LINK_DECODERS.build("bilinear", width=WIDTH, num_genes=NUM_GENES)
            self.graph_GD = torch.randn(NUM_GENES, WIDTH).requires_grad_()
        self.split = toy_split("unseen-target")

    def draw(self, seed: int = 0) -> LinkSupervision:
        """Supervision as the trainer draws it."""
        config = self.objective.config
        sampler = LinkSampler(
            self.split,
            mode=config.mode,
            positives_per_step=config.positives_per_step,
            negatives_per_positive=config.negatives_per_positive,
            source_share=config.source_share,
        )
        return sampler.draw(np.random.default_rng(seed))

    def run(self, links: LinkSupervision | None) -> LossOutput:
        """The objective's record; the table and cells must not be needed."""
        genes = GeneStates(torch.full_like(self.graph_GD, float("nan")), self.graph_GD)
        model: Any = SimpleNamespace(link_decoder=self.decoder)
        return self.objective(model, Step(genes, links=links))

    def test_it_reads_links_alone(self) -> None:
        assert self.objective.reads_links
        assert not self.objective.reads_cells

    def test_record_is_finite_and_counted(self) -> None:
        output = self.run(self.draw())
        assert output.loss.ndim == 0
        assert torch.isfinite(output.loss)
        assert output.count > 0
        assert output.parts
        assert all(torch.isfinite(part.sum) for part in output.parts.values())

    def test_other_pairs_another_loss_same_pairs_the_same(self) -> None:
        first, again, other = (self.run(self.draw(seed)).loss for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_gradients_reach_genes_and_decoder(self) -> None:
        self.run(self.draw()).loss.backward()
        assert self.graph_GD.grad is not None
        assert self.graph_GD.grad.abs().sum() > 0
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in self.decoder.parameters())

    def test_a_few_steps_lower_the_loss(self) -> None:
        optimizer = torch.optim.Adam([self.graph_GD, *self.decoder.parameters(), *self.objective.parameters()], lr=0.05)
        links = self.draw()
        before = float(self.run(links).loss.detach())
        for _ in range(30):
            optimizer.zero_grad()
            self.run(links).loss.backward()
            optimizer.step()
        assert float(self.run(links).loss.detach()) < 0.9 * before

    def test_a_step_without_links_is_a_defect_of_ours(self) -> None:
        with pytest.raises(ValueError, match="no link supervision"):
            self.run(None)
