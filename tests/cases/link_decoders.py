"""Contract of link decoders: what every registered one must do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from grn_cotrain.config import to_dict
from grn_cotrain.controls.pair_evidence import EvidenceMeans, PairEvidence
from grn_cotrain.nn.link_decoders import LINK_DECODERS, LinkDecoder

NUM_GENES, WIDTH = 11, 8


def make_evidence(names: tuple[str, ...], *, num_genes: int = NUM_GENES, **changes: Any) -> PairEvidence:
    """Random evidence for the odd genes as sources."""
    generator = np.random.default_rng(7)
    sources_S = np.arange(1, num_genes, 2)
    shape = (len(names), len(sources_S), num_genes)
    values: dict[str, Any] = {
        "names": names,
        "sources_S": sources_S,
        "train_KSG": generator.normal(size=shape).astype(np.float32),
        "full_KSG": generator.normal(size=shape).astype(np.float32),
        "source_logit_G": generator.normal(size=num_genes) - 3,
        "target_logit_G": generator.normal(size=num_genes) - 4,
    }
    return PairEvidence(**{**values, **changes})


def make_means(channels: int, *, num_sources: int = NUM_GENES // 2, num_genes: int = NUM_GENES) -> EvidenceMeans:
    """Random means of TFs and targets, all with a weight."""
    generator = np.random.default_rng(8)

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    sources, genes = (channels, num_sources), (channels, num_genes)
    return EvidenceMeans(draw(*sources), draw(*sources), draw(*genes), draw(*genes), np.abs(draw(2, channels)))


class LinkDecoderCases:
    """Subclass with ``name`` and ``options``."""

    name: str
    options: dict[str, Any] = {}

    def build(self, *, evidence: PairEvidence | None = None, perturb: bool = True) -> LinkDecoder:
        """A prepared decoder; ``perturb`` moves every weight away from its start, where some are zero."""
        torch.manual_seed(0)
        decoder = LINK_DECODERS.build(self.name, self.options, width=WIDTH, num_genes=NUM_GENES)
        if decoder.uses_evidence:
            decoder.prepare(evidence or make_evidence(tuple(decoder.config.evidence)))
        if perturb:
            with torch.no_grad():
                for parameter in decoder.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return decoder

    @pytest.fixture
    def genes_GD(self) -> torch.Tensor:
        return torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("training", [True, False])
    def test_block_is_forward(self, genes_GD: torch.Tensor, training: bool) -> None:
        decoder = self.build().train(training)
        sources_S = torch.tensor([3, 0, 10, 3, 5])  # unsorted, repeated, with and without evidence
        block_SG = decoder.block(genes_GD, sources_S)
        pairs_2M = torch.stack([sources_S.repeat_interleave(NUM_GENES), torch.arange(NUM_GENES).repeat(len(sources_S))])
        assert block_SG.shape == (5, NUM_GENES)
        torch.testing.assert_close(block_SG.flatten(), decoder(genes_GD, pairs_2M), rtol=1e-5, atol=1e-5)

    def test_logits_are_finite_float32_and_differ(self, genes_GD: torch.Tensor) -> None:
        logits_SG = self.build().eval().block(genes_GD, torch.arange(NUM_GENES))
        assert logits_SG.dtype == torch.float32
        assert torch.isfinite(logits_SG).all()
        assert logits_SG.std() > 1e-3

    def test_no_pairs_and_no_sources(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build()
        assert decoder(genes_GD, torch.empty(2, 0, dtype=torch.int64)).shape == (0,)
        assert decoder.block(genes_GD, torch.empty(0, dtype=torch.int64)).shape == (0, NUM_GENES)

    def test_every_weight_and_the_genes_receive_gradients(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build()
        leaf_GD = genes_GD.clone().requires_grad_()
        logits_SG = decoder.block(leaf_GD, torch.arange(NUM_GENES))
        (logits_SG * torch.randn(logits_SG.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        assert leaf_GD.grad is not None
        assert leaf_GD.grad.abs().sum() > 0
        for name, parameter in decoder.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0 or parameter.numel() == 0, name

    def test_gradient_is_the_slope(self, genes_GD: torch.Tensor) -> None:
        """Central differences in float64: an independent reference for the gradient towards the gene rows."""
        decoder = self.build().double()
        pairs_2M = torch.tensor([[1, 3, 5, 0], [2, 3, 0, 7]])
        leaf_GD = genes_GD.double().requires_grad_()
        assert torch.autograd.gradcheck(lambda rows_GD: decoder(rows_GD, pairs_2M), leaf_GD)
        assert torch.autograd.gradcheck(lambda rows_GD: decoder.block(rows_GD, pairs_2M[0]), leaf_GD)

    def test_equivariant_to_the_order_of_pairs(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build()
        pairs_2M = torch.randint(NUM_GENES, (2, 20), generator=torch.Generator().manual_seed(3))
        order_M = torch.randperm(20, generator=torch.Generator().manual_seed(4))
        torch.testing.assert_close(decoder(genes_GD, pairs_2M)[order_M], decoder(genes_GD, pairs_2M[:, order_M]))

    def test_equivariant_to_the_order_of_genes(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build().eval()
        order_G = torch.randperm(NUM_GENES, generator=torch.Generator().manual_seed(5))
        place_G = order_G.argsort()  # gene order_G[i] now stands at i
        pairs_2M = torch.randint(NUM_GENES, (2, 30), generator=torch.Generator().manual_seed(6))
        expected_M = decoder(genes_GD, pairs_2M)
        state = decoder.state_dict()
        if decoder.uses_evidence:
            old = make_evidence(tuple(decoder.config.evidence))
            decoder = self.build(
                evidence=make_evidence(
                    old.names,
                    sources_S=place_G.numpy()[old.sources_S],
                    train_KSG=old.train_KSG[:, :, order_G.numpy()],
                    full_KSG=old.full_KSG[:, :, order_G.numpy()],
                    source_logit_G=old.source_logit_G[order_G.numpy()],
                    target_logit_G=old.target_logit_G[order_G.numpy()],
                )
            ).eval()
            # A weight per gene moves with its gene.
            state = {key: value[order_G] if key.endswith("deviation_G") else value for key, value in state.items()}
        decoder.load_state_dict(state)
        torch.testing.assert_close(decoder(genes_GD[order_G], place_G[pairs_2M]), expected_M, rtol=1e-5, atol=1e-5)

    def test_factors_are_the_logits(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build().eval()
        factors = decoder.factors(genes_GD)
        if factors is None:
            return
        logits_GG = factors.source_GR @ factors.target_GR.T + factors.bias
        torch.testing.assert_close(logits_GG, decoder.block(genes_GD, torch.arange(NUM_GENES)), rtol=1e-5, atol=1e-5)

    def test_penalty_is_a_finite_scalar_of_the_weights(self, genes_GD: torch.Tensor) -> None:
        penalty = self.build().regulariser()
        if penalty is None:
            return
        assert penalty.shape == ()
        assert penalty > 0
        assert penalty.requires_grad

    def test_weights_survive_saving(self, genes_GD: torch.Tensor) -> None:
        first = self.build().eval()
        second = self.build(perturb=False).eval()
        before_SG = second.block(genes_GD, torch.arange(NUM_GENES))
        second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
        after_SG = second.block(genes_GD, torch.arange(NUM_GENES))
        torch.testing.assert_close(after_SG, first.block(genes_GD, torch.arange(NUM_GENES)), rtol=0, atol=0)
        assert not torch.equal(before_SG, after_SG)

    def test_config_round_trips(self) -> None:
        config = LINK_DECODERS.config(self.name, self.options)
        assert LINK_DECODERS.config(self.name, to_dict(config)) == config
