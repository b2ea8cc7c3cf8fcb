"""Every classification head under the contract of :mod:`tests.cases.heads`, with closed-form references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.nn.heads import HEADS
from tests.cases.heads import NUM_CLASSES, WIDTH, HeadCase


class TestClsMLP(HeadCase):
    name = "cls_mlp"

    def test_closed_form(self) -> None:
        """``relu``, then a norm, twice; then a linear map, in plain numpy."""
        head, batch = self.build(), self.batch()
        weights = {name: weight.detach().double().numpy() for name, weight in head.named_parameters()}
        hidden_BD = self.states(batch).cells_BD.double().numpy()
        for first in (0, 4):
            hidden_BD = np.maximum(hidden_BD @ weights[f"layers.{first}.weight"].T + weights[f"layers.{first}.bias"], 0)
            mean_B1, var_B1 = hidden_BD.mean(1, keepdims=True), hidden_BD.var(1, keepdims=True)
            hidden_BD = (hidden_BD - mean_B1) / np.sqrt(var_B1 + 1e-5)
        expected_BC = hidden_BD @ weights["layers.8.weight"].T + weights["layers.8.bias"]
        found_BC = head(batch, self.states(batch)).detach().numpy()
        np.testing.assert_allclose(found_BC, expected_BC, rtol=1e-5, atol=1e-6)

    def test_options_are_refused_in_one_line(self) -> None:
        for options in ({"num_layers": 0}, {"hidden": 0}, {"dropout": 1.0}):
            with pytest.raises(UserError, match=next(iter(options))):
                HEADS.config(self.name, options)


class TestLinear(HeadCase):
    name = "cls_mlp"
    options = {"num_layers": 1}

    def test_one_layer_is_a_linear_map(self) -> None:
        head = self.build()
        assert [tuple(weight.shape) for weight in head.parameters()] == [(NUM_CLASSES, WIDTH), (NUM_CLASSES,)]


class TestMaxPoolLinear(HeadCase):
    name = "max_pool_linear"
    reads_tokens = True

    def test_brute_force(self) -> None:
        """The largest entry over each cell's non-zero genes: neither CLS nor a visible zero, however large."""
        head, batch = self.build(), self.batch()
        tokens_TD = self.states(batch).tokens_TD.clone()
        unread_T = batch.values_T == 0
        assert unread_T.sum() > batch.num_cells
        tokens_TD[unread_T] = 100.0
        expected_BD = []
        for cell in range(batch.num_cells):
            best = [-np.inf] * WIDTH
            for token in range(int(batch.cu_lens[cell]), int(batch.cu_lens[cell + 1])):
                if not unread_T[token]:
                    best = [max(old, float(new)) for old, new in zip(best, tokens_TD[token], strict=True)]
            expected_BD.append(best)
        weight_CD, bias_C = (weight.detach() for weight in head.parameters())
        expected_BC = torch.tensor(expected_BD) @ weight_CD.T + bias_C
        found_BC = head(batch, CellStates(tokens_TD, torch.zeros(batch.num_cells, WIDTH)))
        torch.testing.assert_close(found_BC.detach(), expected_BC)


class TestMeanPoolLinear(HeadCase):
    name = "max_pool_linear"
    options = {"pooling": "mean"}
    reads_tokens = True


def test_every_component_is_covered() -> None:
    assert {case.name for case in HeadCase.__subclasses__()} == set(HEADS.names())
