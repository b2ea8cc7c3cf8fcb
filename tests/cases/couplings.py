"""Contract of couplings, checked for every registered one.

Dimension letters: G genes, D width, R rank of an attention bias.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from grn_cotrain.errors import UserError
from grn_cotrain.nn.couplings import COUPLINGS, Coupled, Coupling

__all__ = ["CouplingCase"]

NUM_GENES, WIDTH = 30, 16


class CouplingCase:
    """Subclass with ``name`` and ``options``.

    ``reads_graph``: whether encoded genes enter the tokens. ``start_distance``: largest relative distance between the
    features and the table at the start. ``has_bias``: whether attention logits are returned.
    """

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    reads_graph: ClassVar[bool] = True
    start_distance: ClassVar[float] = 0.0
    has_bias: ClassVar[bool] = False

    def build(self, seed: int = 0) -> Coupling:
        """The coupling as a run begins with it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return COUPLINGS.build(self.name, self.options, width=WIDTH)

    def trained(self, seed: int = 0) -> Coupling:
        """The coupling with weights moved away from their start, where some gradients vanish."""
        coupling = self.build(seed)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight in coupling.parameters():
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
        return coupling

    @staticmethod
    def genes(seed: int = 1) -> tuple[Tensor, Tensor]:
        """Table rows and encoded genes of unit scale, both leaves."""
        generator = torch.Generator().manual_seed(seed)
        table_GD, graph_GD = torch.randn(2, NUM_GENES, WIDTH, generator=generator)
        return table_GD.requires_grad_(), graph_GD.requires_grad_()

    @staticmethod
    def logits(coupled: Coupled) -> Tensor:
        """Attention logits of every pair of genes ``[G, G]``."""
        assert coupled.bias is not None
        return coupled.bias.query_VR @ coupled.bias.key_VR.T

    def test_shapes(self) -> None:
        coupled = self.build()(*self.genes())
        assert coupled.features_GD.shape == (NUM_GENES, WIDTH)
        assert torch.isfinite(coupled.features_GD).all()
        assert (coupled.bias is not None) == self.has_bias
        if coupled.bias is not None:
            assert coupled.bias.query_VR.shape == coupled.bias.key_VR.shape
            assert len(coupled.bias.query_VR) == NUM_GENES

    def test_starts_near_shared(self) -> None:
        table_GD, graph_GD = self.genes()
        coupled = self.build()(table_GD, graph_GD)
        distance = float(((coupled.features_GD - table_GD).norm() / table_GD.norm()).detach())
        assert distance <= self.start_distance
        assert (distance > 0) == (self.start_distance > 0)
        if coupled.bias is not None:
            assert not self.logits(coupled).any(), "attention starts unbiased, exactly"

    def test_gradients_flow_where_they_should(self) -> None:
        table_GD, graph_GD = self.genes()
        coupling = self.trained()
        coupled = coupling(table_GD, graph_GD)
        loss = coupled.features_GD.square().sum()
        if coupled.bias is not None:
            loss = loss + self.logits(coupled).square().sum()
        loss.backward()
        assert table_GD.grad is not None
        assert table_GD.grad.abs().sum(dim=1).min() > 0, "every gene's table row"
        reached = graph_GD.grad is not None and bool(graph_GD.grad.abs().sum(dim=1).min() > 0)
        assert reached == self.reads_graph
        for name, weight in coupling.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name

    def test_first_step_can_open_the_coupling(self) -> None:
        """At the start some weight has a gradient, or a coupling that begins at zero would stay there."""
        if not self.reads_graph:
            return
        table_GD, graph_GD = self.genes()
        coupling = self.build()
        coupled = coupling(table_GD, graph_GD)
        total = coupled.features_GD.sum() if coupled.bias is None else self.logits(coupled).sum()
        total.backward()
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in coupling.parameters())

    def test_renumbering_genes_renumbers_the_rows(self) -> None:
        table_GD, graph_GD = self.genes()
        coupling = self.trained()
        order_G = torch.randperm(NUM_GENES, generator=torch.Generator().manual_seed(3))
        plain, moved = coupling(table_GD, graph_GD), coupling(table_GD[order_G], graph_GD[order_G])
        torch.testing.assert_close(moved.features_GD, plain.features_GD[order_G])
        if plain.bias is not None:
            torch.testing.assert_close(self.logits(moved), self.logits(plain)[order_G][:, order_G])

    def test_a_row_reads_its_own_gene_alone(self) -> None:
        table_GD, graph_GD = (rows.detach() for rows in self.genes())
        coupling = self.trained()
        changed_GD = graph_GD.clone()
        changed_GD[4] += 1
        plain, changed = coupling(table_GD, graph_GD), coupling(table_GD, changed_GD)
        moved_G = (plain.features_GD - changed.features_GD).abs().amax(dim=1) > 0
        assert not moved_G[torch.arange(NUM_GENES) != 4].any()
        if plain.bias is not None and changed.bias is not None:
            for before, after in (
                (plain.bias.query_VR, changed.bias.query_VR),
                (plain.bias.key_VR, changed.bias.key_VR),
            ):
                assert ((before - after).abs().amax(dim=1) > 0).nonzero().flatten().tolist() == [4]

    def test_misspelt_option(self) -> None:
        with pytest.raises(UserError, match=r"unknown key 'coupling\.gian'"):
            COUPLINGS.build(self.name, {**self.options, "gian": 1.0}, width=WIDTH)
