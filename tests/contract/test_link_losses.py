"""Every registered link loss under the contract, with brute-force references."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from grn_cotrain.data.negatives import LinkSupervision
from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_losses import LINK_LOSSES
from tests.cases.link_losses import (
    NUM_GENES,
    WIDTH,
    LinkLossCases,
    pair_supervision,
    row_supervision,
)

Pairs = list[tuple[int, int, bool]]
Logits = dict[tuple[int, int], Tensor]


def logistic(logit: Tensor, label: bool) -> Tensor:
    """``-log sigmoid(z)`` or ``-log(1 - sigmoid(z))`` by the textbook, without softplus."""
    probability = 1 / (1 + torch.exp(-logit.double()))
    return -torch.log(probability if label else 1 - probability)


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def balanced(logit_of: Logits, pairs: Pairs) -> Tensor:
    by_class = [
        [logistic(logit_of[s, t], label) for s, t, label in pairs if label == wanted] for wanted in (True, False)
    ]
    return ((mean(by_class[0]) + mean(by_class[1])) / 2).float()


def ranking(logit_of: Logits, pairs: Pairs) -> Tensor:
    per_source = []
    for source in sorted({s for s, _, _ in pairs}):
        differences = [
            logistic(logit_of[source, p] - logit_of[source, n], True)
            for s, p, label in pairs
            if s == source and label
            for other, n, other_label in pairs
            if other == source and not other_label
        ]
        if differences:
            per_source.append(mean(differences))
    return mean(per_source).float()


class TestBalancedBCE(LinkLossCases):
    name = "balanced_bce"

    def reference(self, logit_of: Logits, pairs: Pairs) -> Tensor:
        return balanced(logit_of, pairs)

    def test_more_negatives_do_not_shift_the_balance(self, genes_GD: Tensor) -> None:
        one = pair_supervision()
        doubled_2N = torch.cat([one.negatives_2N, one.negatives_2N], dim=1)
        two = LinkSupervision(one.positives_2P, doubled_2N, one.sources_S)
        first, second = (self.build()(self.decoder(), genes_GD, supervision) for supervision in (one, two))
        torch.testing.assert_close(first.loss, second.loss)
        assert second.count == first.count + one.negatives_2N.shape[1]

    def test_a_missing_class_counts_zero(self, genes_GD: Tensor) -> None:
        output = self.build()(self.decoder(), genes_GD, pair_supervision(num_negatives=0))
        assert float(output.parts["negative"].detach()) == 0.0
        torch.testing.assert_close(output.loss, 0.5 * output.parts["positive"])


class TestAllPairs(LinkLossCases):
    name = "all_pairs"
    options = {"block_rows": 2}

    def reference(self, logit_of: Logits, pairs: Pairs) -> Tensor:
        return balanced(logit_of, pairs)

    def test_pairs_that_are_no_candidates_have_no_gradient(self, genes_GD: Tensor) -> None:
        """A gene that is neither a row nor a candidate is not touched, even where it is a known positive."""
        supervision = row_supervision()
        assert supervision.row_allowed_SG is not None
        assert supervision.row_labels_SG is not None
        supervision.row_allowed_SG[:, 11] = False
        supervision.row_labels_SG[:, 11] = True
        self.build()(self.decoder(), genes_GD, supervision).loss.backward()
        assert genes_GD.grad is not None
        assert genes_GD.grad[11].abs().max() == 0
        assert genes_GD.grad[10].abs().max() > 0


class TestAllPairsUnbalanced(LinkLossCases):
    name = "all_pairs"
    options = {"block_rows": 64, "balanced": False}

    def reference(self, logit_of: Logits, pairs: Pairs) -> Tensor:
        return mean([logistic(logit_of[s, t], label) for s, t, label in pairs]).float()


class TestRankingRows(LinkLossCases):
    name = "ranking"
    options = {"block_rows": 2}

    def reference(self, logit_of: Logits, pairs: Pairs) -> Tensor:
        return ranking(logit_of, pairs)

    def test_a_tf_without_both_classes_is_left_out(self, genes_GD: Tensor) -> None:
        output = self.build()(self.decoder(), genes_GD, row_supervision())
        assert output.metrics["sources"] == 3.0

    def test_no_tf_at_all(self, genes_GD: Tensor) -> None:
        supervision = row_supervision()
        assert supervision.row_labels_SG is not None
        supervision.row_labels_SG[:] = False
        output = self.build()(self.decoder(), genes_GD, supervision)
        assert float(output.loss) == 0.0
        assert output.count == 0


class TestRankingPairs(LinkLossCases):
    name = "ranking"
    options = {"supervision": "pairs"}

    def reference(self, logit_of: Logits, pairs: Pairs) -> Tensor:
        return ranking(logit_of, pairs)

    def test_source_terms_cancel(self, genes_GD: Tensor) -> None:
        class WithSourceTerm(torch.nn.Module):
            def __init__(self, decoder: torch.nn.Module) -> None:
                super().__init__()
                self.decoder = decoder
                self.term_G = torch.nn.Parameter(torch.randn(NUM_GENES))

            def forward(self, rows_GD: Tensor, pairs_2M: Tensor) -> Tensor:
                return self.decoder(rows_GD, pairs_2M) + self.term_G[pairs_2M[0]]

        plain, loss = self.decoder(), self.build()
        shifted = WithSourceTerm(plain)
        output = loss(shifted, genes_GD, pair_supervision())  # type: ignore[arg-type]
        torch.testing.assert_close(output.loss, loss(plain, genes_GD, pair_supervision()).loss)
        (grad_G,) = torch.autograd.grad(output.loss, shifted.term_G)
        assert grad_G.abs().max() < 1e-6


@pytest.mark.parametrize("tile", [1, 3, 10**6])
def test_ranking_tiles_do_not_change_the_value(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = TestRankingRows()
    genes_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = case.build()(case.decoder(), genes_GD, row_supervision()).loss
    monkeypatch.setattr("grn_cotrain.nn.link_losses.ranking._TILE", tile)
    torch.testing.assert_close(case.build()(case.decoder(), genes_GD, row_supervision()).loss, expected)


@pytest.mark.parametrize("name", ["all_pairs", "ranking"])
def test_block_size_does_not_change_the_value(name: str) -> None:
    decoder = TestAllPairs().decoder("mlp")  # one that does not factor
    genes_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    losses = [
        float(LINK_LOSSES.build(name, {"block_rows": rows})(decoder, genes_GD, row_supervision()).loss.detach())
        for rows in (1, 2, 5, 100)
    ]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)


@pytest.mark.parametrize("name", ["balanced_bce", "all_pairs", "ranking"])
def test_a_constant_scorer_has_loss_log_two(name: str) -> None:
    class Constant(torch.nn.Module):
        def forward(self, genes_GD: Tensor, pairs_2M: Tensor) -> Tensor:
            return genes_GD.sum() * 0 + torch.zeros(pairs_2M.shape[1])

        def block(self, genes_GD: Tensor, sources_S: Tensor) -> Tensor:
            return genes_GD.sum() * 0 + torch.zeros(len(sources_S), NUM_GENES)

        def factors(self, genes_GD: Tensor) -> None:
            return None

    loss = LINK_LOSSES.build(name)
    supervision = row_supervision() if loss.mode == "rows" else pair_supervision()
    output = loss(Constant(), torch.zeros(NUM_GENES, WIDTH), supervision)  # type: ignore[arg-type]
    assert float(output.loss) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("name", ["all_pairs", "ranking"])
def test_bad_block_size(name: str) -> None:
    with pytest.raises(UserError, match="block_rows: got 0"):
        LINK_LOSSES.config(name, {"block_rows": 0})


def test_every_component_is_covered() -> None:
    assert {case.name for case in LinkLossCases.__subclasses__()} == set(LINK_LOSSES.names())
