"""scBERT's value classes, ids, pooling and objective, each against its rule written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import rounded_bins
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import CLS_ID, MASK_ID, NUM_SPECIAL, PAD_ID, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.scbert import ScBERTEncoder
from grn_cotrain.nn.performer import PerformerBlock
from grn_cotrain.nn.pooling import pool_cells
from grn_cotrain.objectives import OBJECTIVES, GeneStates
from grn_cotrain.objectives.masking import hide_names
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import ToyModel, toy_cells

WIDTH, NUM_BINS = 8, 5
CELLS = toy_cells(num_cells=10, kind="log")
EVERY_GENE = TokenConfig(num_bins=NUM_BINS, zeros_per_cell="all")


def encoder(seed: int = 0, *, width: int = WIDTH, **options: Any) -> ScBERTEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = CELL_ENCODERS.build(
            "scbert", options, width=width, num_bins=NUM_BINS, num_modalities=3, num_genes=CELLS.num_features
        )
    assert isinstance(built, ScBERTEncoder)
    return built.eval()


def batch(rows: list[int] | None = None) -> PackedTokens:
    """Every gene of cells 0 to 3, each third value hidden."""
    tokens = Tokenizer(CELLS, EVERY_GENE).batch(np.asarray(rows or [0, 1, 2, 3])).pack()
    return tokens.with_mask((tokens.feature_ids_T % 3 == 0) & (tokens.feature_ids_T >= NUM_SPECIAL))


def features(width: int = WIDTH) -> torch.Tensor:
    return torch.randn(CELLS.vocab.size, width, generator=torch.Generator().manual_seed(1))


class TestValueClasses:
    def test_whole_part_of_the_binary_logarithm_up_to_the_last_class(self) -> None:
        x = np.array([0, 0.2, 0.99, 1, 1.5, 2.99, 3, 6.9, 7, 14.9, 15, 30.9, 31, 64, 1e4])
        expected = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]
        assert rounded_bins(torch.from_numpy(np.log1p(x)).float(), 5).tolist() == expected
        assert rounded_bins(torch.from_numpy(np.log1p(x)).float(), 2).max() == 2

    def test_a_power_of_two_is_its_own_class_in_single_precision(self) -> None:
        powers = np.arange(1, 13)
        values = np.log1p((2.0**powers - 1).astype(np.float32))
        # Other software's logarithm, or counts scaled in another order, may come out one rounding lower.
        for rounded in (values, np.nextafter(values, np.float32(0))):
            assert rounded_bins(torch.from_numpy(rounded), 20).tolist() == powers.tolist()

    def test_of_counts_are_those_of_counts_per_ten_thousand(self) -> None:
        """One count in a cell of 20,000 is .5 per ten thousand: class 0, as a zero; in a cell of 10,000: class 1."""
        vocab = FeatureVocab.from_symbols(["A", "B", "C"], species="human")
        cells = MemoryStore.build(vocab, [[1, 19_999, 0], [1, 9_999, 0]], kind="counts")
        tokens = Tokenizer(cells, EVERY_GENE).batch(np.arange(2)).pack()
        classes = encoder().value_ids(tokens) - NUM_SPECIAL
        per_cell = [
            dict(zip(tokens.feature_ids_T[s : s + 4].tolist(), classes[s : s + 4].tolist(), strict=True))
            for s in (0, 4)
        ]
        assert [cell[NUM_SPECIAL] for cell in per_cell] == [0, 1]
        assert [cell[NUM_SPECIAL + 1] for cell in per_cell] == [5, 5]
        assert [cell[NUM_SPECIAL + 2] for cell in per_cell] == [0, 0]


class TestIds:
    def test_special_and_value_ids_are_never_shared(self) -> None:
        for bins in ("rounded", "quantile"):
            tokens = batch()
            ids_T = encoder(bins=bins).value_ids(tokens)
            assert tokens.masked_T is not None
            is_cls_T = tokens.feature_ids_T == CLS_ID
            assert (ids_T[is_cls_T] == CLS_ID).all()
            assert (ids_T[tokens.masked_T] == MASK_ID).all()
            shown = set(ids_T[~is_cls_T & ~tokens.masked_T].tolist())
            assert shown <= set(range(NUM_SPECIAL, NUM_SPECIAL + NUM_BINS + 1))
            assert len(shown) >= 4
        assert len({PAD_ID, MASK_ID, CLS_ID}) == NUM_SPECIAL == 3
        assert encoder().values.num_embeddings == NUM_SPECIAL + NUM_BINS + 1

    def test_a_value_shows_where_only_its_name_is_hidden(self) -> None:
        tokens = replace(batch(), masked_T=None)
        plain_T = encoder().value_ids(tokens)
        hidden_T = (tokens.feature_ids_T % 4 == 0) & (tokens.feature_ids_T >= NUM_SPECIAL)
        assert torch.equal(encoder().value_ids(hide_names(tokens, hidden_T)), plain_T)

    def test_inputs_are_gene_row_plus_value_row(self) -> None:
        built, tokens = encoder(), batch()
        assert tokens.masked_T is not None
        inputs_TD = built.inputs(tokens, features())
        for place in range(tokens.num_tokens):
            gene = int(tokens.feature_ids_T[place])
            value = float(tokens.values_T[place])
            if gene == CLS_ID:
                row = CLS_ID
            elif tokens.masked_T[place]:
                row = MASK_ID
            else:
                row = NUM_SPECIAL + min(int(np.log2(1 + np.expm1(value)) + 1e-4), NUM_BINS)
            torch.testing.assert_close(inputs_TD[place], features()[gene] + built.values.weight[row])


class TestPooling:
    def test_mean_and_max_over_genes_that_are_not_visibly_zero(self) -> None:
        tokens = batch([0, 3, 7])
        assert tokens.masked_T is not None
        states_TD = torch.randn(tokens.num_tokens, 4, generator=torch.Generator().manual_seed(2))
        for cell in range(3):
            start, end = tokens.cu_lens[cell : cell + 2].tolist()
            chosen = [
                place
                for place in range(start + 1, end)
                if bool(tokens.masked_T[place]) or float(tokens.values_T[place]) != 0
            ]
            assert 0 < len(chosen) < end - start - 1
            torch.testing.assert_close(pool_cells(tokens, states_TD, "mean")[cell], states_TD[chosen].mean(0))
            torch.testing.assert_close(pool_cells(tokens, states_TD, "max")[cell], states_TD[chosen].amax(0))
            assert torch.equal(pool_cells(tokens, states_TD, "cls")[cell], states_TD[start])

    def test_a_cell_without_genes_is_its_cls(self) -> None:
        vocab = FeatureVocab.from_symbols(["A", "B"], species="human")
        cells = MemoryStore.build(vocab, [[0, 0], [1, 0], [0, 0]], kind="log")
        for config in (TokenConfig(), TokenConfig(zeros_per_cell="all")):
            tokens = Tokenizer(cells, config).batch(np.arange(3)).pack()
            states_TD = torch.randn(tokens.num_tokens, 4, generator=torch.Generator().manual_seed(2))
            for pooling in ("mean", "max"):
                pooled_BD = pool_cells(tokens, states_TD, pooling)  # type: ignore[arg-type]
                assert torch.equal(pooled_BD[[0, 2]], states_TD[tokens.cls_positions_B[[0, 2]]])
                assert torch.equal(pooled_BD[1], states_TD[tokens.cls_positions_B[1] + 1])

    @pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
    def test_is_what_the_encoder_does_with_gradients(self, pooling: str) -> None:
        built, tokens = encoder(pooling=pooling), batch()
        states = built(tokens, features())
        assert torch.equal(states.cells_BD, pool_cells(tokens, states.tokens_TD, pooling))  # type: ignore[arg-type]
        states.cells_BD.square().sum().backward()
        assert built.values.weight.grad is not None
        assert torch.isfinite(built.values.weight.grad).all()


class TestSize:
    def test_published_size(self) -> None:
        """Six blocks of width 200: queries, keys, values and output over 10 x 64 columns; feed-forward of 800."""
        built = encoder(width=200, num_layers=6, num_heads=10, head_width=64)
        attention = 200 * 3 * 640 + 3 * 640 + 640 * 200 + 200
        feed_forward = 200 * 800 + 800 + 800 * 200 + 200
        norms = 4 * 200
        assert (
            sum(weight.numel() for weight in built.trunk.parameters()) == 6 * (attention + feed_forward + norms) + 400
        )
        block = built.trunk.blocks[0]
        assert isinstance(block, PerformerBlock)
        assert block.favor.projection_MK.shape == (266, 64)
        assert block.favor.redraw_every == 1000

    @pytest.mark.parametrize("option", ["head_width", "num_features", "redraw_every", "num_heads", "num_layers"])
    def test_wrong_numbers_are_named(self, option: str) -> None:
        with pytest.raises(UserError, match=f"{option}: got 0"):
            encoder(**{option: 0})

    def test_wrong_choices_are_named(self) -> None:
        for option in ("bins", "pooling"):
            with pytest.raises(UserError, match=option):
                encoder(**{option: "nonsense"})


class TestObjective:
    """masked_value with ``loss: cross_entropy`` is scBERT's masked expression classification."""

    def test_first_loss_is_that_of_a_guess_and_training_beats_it(self) -> None:
        objective = OBJECTIVES.build(
            "masked_value",
            {"loss": "cross_entropy", "mask_share": 0.3},
            width=WIDTH,
            num_bins=NUM_BINS,
            num_genes=CELLS.num_features,
        )
        objective.prepare(Statistics(CELLS))
        built = encoder(redraw_every=5).train()
        tokens = Tokenizer(CELLS, EVERY_GENE).batch(np.arange(CELLS.num_cells)).pack()
        table_GD = features()[NUM_SPECIAL:].clone().requires_grad_()
        model = ToyModel(built, WIDTH)
        parameters = [table_GD, *built.parameters(), *objective.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=1e-2)
        losses = []
        for step in range(40):
            generator = torch.Generator().manual_seed(step)
            output = objective.on_cells(model, GeneStates(table_GD, table_GD), tokens, generator)
            losses.append(float(output.loss.detach()))
            optimiser.zero_grad()
            output.loss.backward()
            assert all(parameter.grad is not None for parameter in parameters)
            optimiser.step()
        assert losses[0] == pytest.approx(np.log(NUM_BINS + 1), abs=1e-4)
        assert np.mean(losses[-5:]) < 0.9 * np.log(NUM_BINS)  # better than knowing that hidden values are not zero
        block = built.trunk.blocks[0]
        assert isinstance(block, PerformerBlock)
        assert int(block.favor.num_calls) == 40

    def test_only_values_that_are_not_zero_are_hidden(self) -> None:
        objective = OBJECTIVES.build(
            "masked_value", {"loss": "cross_entropy"}, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features
        )
        seen: list[PackedTokens] = []

        class Spy(torch.nn.Module):
            def forward(self, tokens: PackedTokens, features_VD: torch.Tensor) -> Any:
                seen.append(tokens)
                return encoder()(tokens, features_VD)

        tokens = Tokenizer(CELLS, EVERY_GENE).batch(np.arange(5)).pack()
        table_GD = features()[NUM_SPECIAL:]
        objective.on_cells(ToyModel(Spy(), WIDTH), GeneStates(table_GD, table_GD), tokens, torch.Generator())
        (read,) = seen
        assert read.masked_T is not None
        assert read.masked_T.any()
        assert (read.values_T[read.masked_T] != 0).all()
        assert read.num_tokens == 5 * 29
