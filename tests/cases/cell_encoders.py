"""Contract of cell encoders, checked for every registered one.

Dimension letters: B cells, T packed tokens, V vocabulary, D width, R rank.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import CLS_ID, MASK_ID, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, AttentionBias, CellEncoder
from grn_cotrain.objectives.masking import hide_names
from grn_cotrain.recipe import TokenConfig

from .toy_cells import toy_cells

__all__ = ["CellEncoderCase"]

WIDTH, NUM_BINS = 16, 5
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class CellEncoderCase:
    """Subclass with ``name`` and ``options``."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    takes_bias: ClassVar[bool] = True
    """False: no gene reads a gene by attention, and an attention bias is refused instead of getting lost."""

    def biases(self) -> tuple[AttentionBias | None, ...]:
        """What the encoder must bear as its bias."""
        return (None, self.bias()) if self.takes_bias else (None,)

    def build(self, seed: int = 0) -> CellEncoder:
        """A prepared encoder in evaluation mode, whose weights the seed decides."""
        cells = toy_cells()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = CELL_ENCODERS.build(
                self.name,
                self.options,
                width=WIDTH,
                num_bins=NUM_BINS,
                num_modalities=3,
                num_genes=cells.num_features,
            )
        encoder.prepare(Statistics(cells))
        return encoder.eval()

    @staticmethod
    def batch(rows: list[int] | None = None) -> PackedTokens:
        """Cells with zeros among their tokens and a third of the values hidden, the same for a cell in any batch."""
        cells = toy_cells()
        tokenizer = Tokenizer(cells, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=3))
        batch = tokenizer.batch(np.asarray(rows if rows is not None else [0, 1, 2, 3])).pack()
        masked_T = ((batch.feature_ids_T + batch.cell_index_B[batch.cell_of_token_T]) % 3 == 0) & (
            batch.feature_ids_T >= 3
        )
        return batch.with_mask(masked_T)

    @staticmethod
    def features() -> Tensor:
        """Rows of special tokens and genes."""
        return torch.randn(toy_cells().vocab.size, WIDTH, generator=torch.Generator().manual_seed(1))

    @staticmethod
    def bias() -> AttentionBias:
        """Rank-3 attention logits, none for special tokens."""
        generator = torch.Generator().manual_seed(2)
        query_VR, key_VR = torch.randn(2, toy_cells().vocab.size, 3, generator=generator)
        query_VR[:3] = key_VR[:3] = 0
        return AttentionBias(query_VR, key_VR)

    def test_shapes_and_finite(self) -> None:
        batch = self.batch()
        states = self.build()(batch, self.features())
        assert states.tokens_TD.shape == (batch.num_tokens, WIDTH)
        assert states.cells_BD.shape == (batch.num_cells, WIDTH)
        assert torch.isfinite(states.tokens_TD).all()

    def test_cell_does_not_depend_on_its_neighbours(self) -> None:
        encoder, features = self.build(), self.features()
        together, alone = self.batch([4, 7, 2]), self.batch([7])
        start, end = together.cu_lens[1:3].tolist()
        for bias in self.biases():
            states, single = encoder(together, features, bias), encoder(alone, features, bias)
            torch.testing.assert_close(states.tokens_TD[start:end], single.tokens_TD, **CLOSE)
            torch.testing.assert_close(states.cells_BD[1], single.cells_BD[0], **CLOSE)

    def test_order_of_tokens_does_not_matter(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        generator = torch.Generator().manual_seed(3)
        order_T = torch.cat(
            [
                torch.cat([torch.zeros(1).long(), 1 + torch.randperm(end - start - 1, generator=generator)]) + start
                for start, end in zip(batch.cu_lens[:-1].tolist(), batch.cu_lens[1:].tolist(), strict=True)
            ]
        )
        assert batch.masked_T is not None
        shuffled = replace(
            batch,
            feature_ids_T=batch.feature_ids_T[order_T],
            values_T=batch.values_T[order_T],
            bins_T=batch.bins_T[order_T],
            modality_T=batch.modality_T[order_T],
            masked_T=batch.masked_T[order_T],
        )
        for bias in self.biases():
            plain, other = encoder(batch, features, bias), encoder(shuffled, features, bias)
            torch.testing.assert_close(other.tokens_TD, plain.tokens_TD[order_T], **CLOSE)
            torch.testing.assert_close(other.cells_BD, plain.cells_BD, **CLOSE)

    def test_hidden_values_are_never_read(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        assert batch.masked_T is not None
        tampered = replace(
            batch,
            values_T=torch.where(batch.masked_T, torch.full_like(batch.values_T, float("nan")), batch.values_T),
            bins_T=torch.where(batch.masked_T, (batch.bins_T + 2) % (NUM_BINS + 1), batch.bins_T),
        )
        assert torch.equal(encoder(tampered, features).tokens_TD, encoder(batch, features).tokens_TD)

    def test_hidden_modalities_are_never_read(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        assert batch.masked_T is not None
        hidden = replace(batch, modality_hidden_T=batch.masked_T)
        tampered = replace(hidden, modality_T=torch.where(batch.masked_T, 2 - batch.modality_T, batch.modality_T))
        assert torch.equal(encoder(tampered, features).tokens_TD, encoder(hidden, features).tokens_TD)

    def test_hidden_names_leave_states_and_the_mask_row_serves(self) -> None:
        """Ranks are taken before names are hidden; the rows of hidden names are not touched, MASK's is."""
        encoder = self.build()
        features = self.features().requires_grad_()
        batch = encoder.prepare_batch(replace(self.batch(), masked_T=None))
        hidden_T = (batch.feature_ids_T % 4 == 0) & (batch.feature_ids_T >= NUM_SPECIAL)
        states = encoder(hide_names(batch, hidden_T), features)
        assert torch.isfinite(states.tokens_TD).all()
        states.tokens_TD[hidden_T].square().sum().backward()
        assert features.grad is not None
        assert features.grad[MASK_ID].abs().sum() > 0
        assert (features.grad[batch.feature_ids_T[hidden_T].unique()] == 0).all()

    def test_preparing_a_batch_twice_changes_nothing(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        once = encoder.prepare_batch(batch)
        twice = encoder.prepare_batch(once)
        assert torch.equal(encoder(once, features).tokens_TD, encoder(twice, features).tokens_TD)
        assert torch.equal(encoder(once, features).tokens_TD, encoder(batch, features).tokens_TD)

    def test_attention_says_who_reads_whom(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        bias = self.biases()[-1]
        matrices = list(encoder.attention(batch, features, bias))
        lengths = batch.cu_lens.diff().tolist()
        assert [tuple(matrix.shape) for matrix in matrices] == [(length, length) for length in lengths]
        for matrix in matrices:
            assert matrix.dtype == torch.float32
            assert not matrix.requires_grad
            assert (matrix >= 0).all()
            sums_L = matrix.sum(1)
            assert ((sums_L - 1).abs().lt(1e-4) | (sums_L == 0)).all()
            assert sums_L.sum() > 0
        # A cell alone is read as among others, and the last layer alone is a layer.
        single = self.batch([2])
        (alone,) = encoder.attention(single, features, bias)
        torch.testing.assert_close(alone, matrices[2], **CLOSE)
        (last,) = encoder.attention(single, features, layers=[-1])
        assert last.shape == alone.shape
        with pytest.raises(UserError, match="layers"):
            list(encoder.attention(single, features, layers=[99]))

    def test_visible_values_and_the_mask_are_read(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        plain = encoder(batch, features).cells_BD
        # Values change their order too, for encoders that read nothing but ranks.
        visible = replace(
            batch,
            values_T=torch.where(batch.values_T > 0, 8.0 - batch.values_T, batch.values_T),
            bins_T=torch.where(batch.bins_T > 0, NUM_BINS + 1 - batch.bins_T, batch.bins_T),
        )
        assert not torch.allclose(encoder(visible, features).cells_BD, plain)
        unmasked = replace(batch, masked_T=None)
        assert not torch.allclose(encoder(unmasked, features).cells_BD, plain)

    def test_a_prompt_stands_in_the_place_of_cls(self) -> None:
        encoder, batch = self.build(), self.batch()
        prompt_BD = torch.randn(batch.num_cells, WIDTH, generator=torch.Generator().manual_seed(4)).requires_grad_()
        features = self.features().requires_grad_()
        tokens_TD = encoder(replace(batch, prompt_BD=prompt_BD), features).tokens_TD
        if not encoder.reads_prompt:  # CoTrainNetwork refuses it
            assert torch.equal(tokens_TD, encoder(batch, features).tokens_TD)
            return
        tokens_TD.square().sum().backward()
        assert prompt_BD.grad is not None
        assert (prompt_BD.grad.abs().sum(1) > 0).all()
        assert features.grad is not None
        assert (features.grad[CLS_ID] == 0).all()

    def test_two_evaluation_passes_are_equal(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        assert torch.equal(encoder(batch, features).tokens_TD, encoder(batch, features).tokens_TD)

    def test_gradients_reach_weights_and_features(self) -> None:
        encoder, batch = self.build().train(), self.batch()
        features = self.features().requires_grad_()
        states = encoder(batch, features)
        (states.tokens_TD.square().sum() + states.cells_BD.sum()).backward()
        missing = [name for name, weight in encoder.named_parameters() if weight.grad is None]
        assert missing == []
        present = torch.unique(batch.feature_ids_T)
        assert features.grad is not None
        assert (features.grad[present].abs().sum(1) > 0).all()
        absent = torch.ones(len(features), dtype=torch.bool)
        absent[present] = False
        assert (features.grad[absent] == 0).all()

    def test_gains_scale_the_values_that_are_read(self) -> None:
        """A gain of 1 changes nothing; the derivative is what a small change shows, and 0 where a value is hidden."""
        encoder, features, batch = self.build().double(), self.features().double(), self.batch()
        total_B = None if batch.total_B is None else batch.total_B.double()
        batch = replace(batch, values_T=batch.values_T.double(), total_B=total_B)
        ones_T = torch.ones(batch.num_tokens, dtype=torch.float64)
        weight_TD = torch.randn(batch.num_tokens, WIDTH, generator=torch.Generator().manual_seed(5)).double()

        def read(gain_T: Tensor | None) -> Tensor:
            return (encoder(replace(batch, gain_T=gain_T), features).tokens_TD * weight_TD).sum()

        torch.testing.assert_close(read(ones_T), read(None))
        gain_T = ones_T.clone().requires_grad_()
        (slope_T,) = torch.autograd.grad(read(gain_T), gain_T)
        assert batch.masked_T is not None
        assert (slope_T[batch.masked_T] == 0).all()
        assert slope_T.abs().max() > 0
        change_T = 1e-6 * torch.randn(batch.num_tokens, generator=torch.Generator().manual_seed(6)).double()
        seen = (read(ones_T + change_T) - read(ones_T - change_T)) / 2
        torch.testing.assert_close(seen, (slope_T * change_T).sum(), rtol=1e-3, atol=1e-9)

    def test_bias_changes_the_output_and_gets_gradients(self) -> None:
        encoder, features, batch, bias = self.build(), self.features(), self.batch(), self.bias()
        if not self.takes_bias:
            with pytest.raises(UserError, match="bias"):
                encoder(batch, features, bias)
            return
        query_VR = bias.query_VR.clone().requires_grad_()
        biased = encoder(batch, features, AttentionBias(query_VR, bias.key_VR)).tokens_TD
        assert not torch.allclose(biased, encoder(batch, features).tokens_TD)
        biased.square().sum().backward()
        assert query_VR.grad is not None
        assert query_VR.grad.abs().sum() > 0

    def test_weights_carry_the_prepared_statistics(self) -> None:
        encoder, features, batch = self.build(), self.features(), self.batch()
        with torch.random.fork_rng(devices=[]):
            other = CELL_ENCODERS.build(
                self.name,
                self.options,
                width=WIDTH,
                num_bins=NUM_BINS,
                num_modalities=3,
                num_genes=toy_cells().num_features,
            ).eval()
        other.load_state_dict(encoder.state_dict())
        assert torch.equal(other(batch, features).tokens_TD, encoder(batch, features).tokens_TD)

    def test_needs_name_all_that_prepare_reads(self) -> None:
        """One pass over the cells serves every part; a statistic that is not named would cost one more."""
        encoder, statistics = self.build(), Statistics(toy_cells())
        statistics.collect(encoder.needs(CELL_ENCODERS.config(self.name, self.options)))
        passes = statistics.passes
        encoder.prepare(statistics)
        assert statistics.passes == passes <= 1

    def test_unknown_option_names_its_path(self) -> None:
        with pytest.raises(UserError, match="nonsense"):
            CELL_ENCODERS.config(self.name, {"nonsense": 1})
