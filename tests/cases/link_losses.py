"""Contract of link losses: what every registered one must do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from grn_cotrain.config import to_dict
from grn_cotrain.data.negatives import LinkSupervision
from grn_cotrain.nn.link_decoders import LINK_DECODERS, LinkDecoder
from grn_cotrain.nn.link_losses import LINK_LOSSES, LinkLoss

NUM_GENES, WIDTH = 12, 6


def row_supervision(seed: int = 0) -> LinkSupervision:
    """Rows of five TFs, unsorted: one without positives, one without candidates; some positives are no candidates."""
    generator = torch.Generator().manual_seed(seed)
    sources_S = torch.tensor([7, 2, 9, 0, 4])
    label_SG = torch.rand(5, NUM_GENES, generator=generator) < 0.3
    allowed_SG = torch.rand(5, NUM_GENES, generator=generator) < 0.8
    label_SG[1] = False
    allowed_SG[2] = False
    allowed_SG[torch.arange(5), sources_S] = False
    row_P, target_P = (label_SG & allowed_SG).nonzero().T
    return LinkSupervision(
        positives_2P=torch.stack([sources_S[row_P], target_P]),
        negatives_2N=torch.empty(2, 0, dtype=torch.int64),
        sources_S=sources_S,
        row_labels_SG=label_SG,
        row_allowed_SG=allowed_SG,
    )


def pair_supervision(seed: int = 0, num_positives: int = 9, num_negatives: int = 14) -> LinkSupervision:
    """Sampled pairs, unsorted, with repeats; some TFs have one class only."""
    generator = torch.Generator().manual_seed(seed)
    return LinkSupervision(
        positives_2P=torch.randint(NUM_GENES, (2, num_positives), generator=generator),
        negatives_2N=torch.randint(NUM_GENES, (2, num_negatives), generator=generator),
        sources_S=torch.empty(0, dtype=torch.int64),
    )


def labelled_pairs(supervision: LinkSupervision) -> list[tuple[int, int, bool]]:
    """Every supervised (source, target, label), one at a time: what brute-force references loop over."""
    if supervision.row_labels_SG is None or supervision.row_allowed_SG is None:
        positives = [(s, t, True) for s, t in supervision.positives_2P.T.tolist()]
        return positives + [(s, t, False) for s, t in supervision.negatives_2N.T.tolist()]
    return [
        (source, target, bool(supervision.row_labels_SG[row, target]))
        for row, source in enumerate(supervision.sources_S.tolist())
        for target in range(NUM_GENES)
        if supervision.row_allowed_SG[row, target]
    ]


class LinkLossCases:
    """Subclass with ``name``, ``options`` and a brute-force ``reference``."""

    name: str
    options: dict[str, Any] = {}

    def reference(self, logit_of: dict[tuple[int, int], Tensor], pairs: list[tuple[int, int, bool]]) -> Tensor:
        """The loss by its definition, pair by pair."""
        raise NotImplementedError

    def build(self, **options: Any) -> LinkLoss:
        return LINK_LOSSES.build(self.name, {**self.options, **options})

    def decoder(self, name: str = "bilinear") -> LinkDecoder:
        torch.manual_seed(0)
        return LINK_DECODERS.build(name, width=WIDTH, num_genes=NUM_GENES).double()

    def supervision(self, seed: int = 0) -> LinkSupervision:
        return row_supervision(seed) if self.build().mode == "rows" else pair_supervision(seed)

    def wrong_supervision(self) -> LinkSupervision:
        return pair_supervision() if self.build().mode == "rows" else row_supervision()

    @pytest.fixture
    def genes_GD(self) -> Tensor:
        return torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(1)).double().requires_grad_()

    @pytest.mark.parametrize("decoder_name", ["bilinear", "mlp"])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_value_and_gradients_are_brute_force(self, genes_GD: Tensor, decoder_name: str, seed: int) -> None:
        decoder, supervision = self.decoder(decoder_name), self.supervision(seed)
        leaves = [genes_GD, *decoder.parameters()]
        pairs = labelled_pairs(supervision)
        logit_of = {(s, t): decoder(genes_GD, torch.tensor([[s], [t]]))[0].float() for s, t, _ in pairs}
        expected = self.reference(logit_of, pairs)
        expected_grads = torch.autograd.grad(expected, leaves, allow_unused=True)
        output = self.build()(decoder, genes_GD, supervision)
        grads = torch.autograd.grad(output.loss, leaves, allow_unused=True)
        torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=1e-6)
        for grad, expected_grad, leaf in zip(grads, expected_grads, leaves, strict=True):
            zero = torch.zeros_like(leaf)
            torch.testing.assert_close(
                zero if grad is None else grad, zero if expected_grad is None else expected_grad, rtol=1e-4, atol=1e-6
            )

    def test_record(self, genes_GD: Tensor) -> None:
        output = self.build()(self.decoder(), genes_GD, self.supervision())
        assert output.loss.shape == ()
        assert output.loss.dtype == torch.float32
        assert output.count > 0
        assert output.parts
        assert all(part.shape == () and torch.isfinite(part) for part in output.parts.values())
        assert output.positive_P.numel()
        assert output.negative_N.numel()
        assert not output.positive_P.requires_grad
        assert not output.negative_N.requires_grad

    def test_extreme_logits_stay_finite(self, genes_GD: Tensor) -> None:
        output = self.build()(self.decoder(), 300 * genes_GD, self.supervision())
        (grad,) = torch.autograd.grad(output.loss, genes_GD)
        assert torch.isfinite(output.loss)
        assert torch.isfinite(grad).all()

    def test_same_without_gradients(self, genes_GD: Tensor) -> None:
        loss, decoder, supervision = self.build(), self.decoder(), self.supervision()
        with torch.no_grad():
            quiet = loss(decoder, genes_GD, supervision).loss
        torch.testing.assert_close(quiet, loss(decoder, genes_GD, supervision).loss.detach(), rtol=0, atol=0)

    def test_supervision_of_the_other_mode_is_refused(self, genes_GD: Tensor) -> None:
        with pytest.raises(ValueError, match="mode"):
            self.build()(self.decoder(), genes_GD, self.wrong_supervision())

    def test_descends(self) -> None:
        """A few steps on free gene rows must lower the loss: the sign of the gradient is right."""
        torch.manual_seed(0)
        decoder, supervision, loss = self.decoder(), self.supervision(), self.build()
        genes_GD = torch.randn(NUM_GENES, WIDTH, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([genes_GD], lr=0.5)
        values = []
        for _ in range(20):
            optimizer.zero_grad()
            value = loss(decoder, genes_GD, supervision).loss
            value.backward()
            optimizer.step()
            values.append(float(value.detach()))
        assert values[-1] < 0.9 * values[0]
        assert math.isfinite(values[-1])

    def test_config_round_trips(self) -> None:
        config = LINK_LOSSES.config(self.name, self.options)
        assert LINK_LOSSES.config(self.name, to_dict(config)) == config
