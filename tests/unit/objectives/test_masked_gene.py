"""``masked_gene`` against a plain loop; ``vocabulary_cross_entropy`` against the whole matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.vocabulary_loss import vocabulary_cross_entropy
from grn_cotrain.objectives import OBJECTIVES, GeneStates
from grn_cotrain.objectives.masked_gene import MaskedGene
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import ToyModel, toy_cells

WIDTH = 8


@pytest.mark.parametrize("tile", [1, 3, 7, 100])
def test_tiles_give_loss_and_gradients_of_the_whole_matrix(tile: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 4), (11, 4), (11,))]
    target_M = torch.randint(0, 11, (7,), generator=generator)
    ours = [x.clone().requires_grad_() for x in inputs]
    plain = [x.clone().requires_grad_() for x in inputs]
    loss, hit_M = vocabulary_cross_entropy(*ours, target_M, tile=tile)
    logits_MV = F.linear(*plain)
    expected = F.cross_entropy(logits_MV, target_M)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert torch.equal(hit_M, logits_MV.argmax(1) == target_M)
    (3 * loss).backward()
    (3 * expected).backward()
    for x, y in zip(ours, plain, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_gradients_are_right_where_only_some_are_wanted() -> None:
    rows_MD, table_VD, bias_V = torch.randn(5, 3), torch.randn(6, 3).requires_grad_(), torch.zeros(6)
    target_M = torch.tensor([0, 1, 2, 3, 0])
    vocabulary_cross_entropy(rows_MD, table_VD, bias_V, target_M, tile=2)[0].backward()
    (expected,) = torch.autograd.grad(F.cross_entropy(F.linear(rows_MD, table_VD, bias_V), target_M), table_VD)
    torch.testing.assert_close(table_VD.grad, expected)
    with torch.no_grad():
        loss, _ = vocabulary_cross_entropy(rows_MD, table_VD, bias_V, target_M, tile=2)
    torch.testing.assert_close(loss, F.cross_entropy(F.linear(rows_MD, table_VD, bias_V), target_M).detach())


def test_under_autocast_only_the_products_are_coarse() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((9, 8), (3000, 8), (3000,))]
    target_M = torch.randint(0, 3000, (9,), generator=generator)
    exact = F.cross_entropy(F.linear(*inputs), target_M)
    expected = torch.autograd.grad(exact, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = vocabulary_cross_entropy(inputs[0].bfloat16(), *inputs[1:], target_M, tile=4)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), abs=0.02)
    for ours, plain in zip(torch.autograd.grad(loss, inputs), expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - plain).norm() < 0.02 * plain.norm()


class Spy(ToyModel):
    """Keeps what the encoder was shown."""

    shown: PackedTokens

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> Any:
        self.shown = batch
        return super().encode_cells(batch, genes)


def setup(
    encoder: str = "geneformer", num_cells: int = 60, **options: Any
) -> tuple[MaskedGene, Spy, PackedTokens, GeneStates]:
    cells = toy_cells(num_cells, seed=1)
    every = np.arange(num_cells)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"width": WIDTH, "num_bins": 5, "num_genes": cells.num_features}
        objective = OBJECTIVES.build("masked_gene", options, **sizes)
        module = CELL_ENCODERS.build(encoder, {"num_layers": 2, "num_heads": 2}, num_modalities=3, **sizes)
        table_GD = torch.randn(cells.num_features, WIDTH)
    assert isinstance(objective, MaskedGene)
    module.prepare(Statistics(cells))
    objective.prepare(Statistics(cells))
    batch = Tokenizer(cells, TokenConfig(num_bins=5, zeros_per_cell=3)).batch(every).pack()
    return objective, Spy(module.eval(), WIDTH), batch, GeneStates(table_GD, table_GD)


def run(objective: MaskedGene, model: Spy, batch: PackedTokens, genes: GeneStates, seed: int = 0) -> Any:
    return objective.on_cells(model, genes, batch, torch.Generator().manual_seed(seed))


def test_chosen_tokens_show_mask_a_token_gene_or_themselves() -> None:
    objective, model, batch, genes = setup(share=0.5, mask_share=0.6, random_share=0.3)
    masked = changed = total = 0
    for seed in range(8):
        count = run(objective, model, batch, genes, seed).count
        shown_T, true_T = model.shown.feature_ids_T, batch.feature_ids_T
        is_mask_T, differs_T = shown_T == MASK_ID, shown_T != true_T
        assert not differs_T[(batch.values_T == 0) | (true_T < NUM_SPECIAL)].any()
        # The last two toy features are spike-ins: never drawn as names.
        assert int(shown_T.max()) < NUM_SPECIAL + objective.bias_G.numel() - 2
        masked, total = masked + int(is_mask_T.sum()), total + count
        changed += int((differs_T & ~is_mask_T).sum())
        for name in ("values_T", "bins_T", "modality_T", "cu_lens"):
            assert torch.equal(getattr(model.shown, name), getattr(batch, name))
    num_nonzero = 8 * int((batch.values_T != 0).sum())
    assert total / num_nonzero == pytest.approx(0.5, abs=0.02)
    assert masked / total == pytest.approx(0.6, abs=0.02)
    assert changed / total == pytest.approx(0.3 * 27 / 28, abs=0.02)  # one of 28 random names is the true one


def test_ranks_are_those_of_the_untouched_cell() -> None:
    objective, model, batch, genes = setup()
    run(objective, model, batch, genes)
    ranks_T = model.prepare_batch(batch).ranks_T
    assert ranks_T is not None
    assert model.shown.ranks_T is not None
    assert torch.equal(model.shown.ranks_T, ranks_T)
    assert batch.ranks_T is None


def test_loss_is_that_of_the_equation_at_chosen_positions_only() -> None:
    objective, model, batch, genes = setup()
    torch.nn.init.normal_(objective.norm.weight, generator=torch.Generator().manual_seed(3))
    torch.nn.init.normal_(objective.bias_G, generator=torch.Generator().manual_seed(4))
    output = run(objective, model, batch, genes, seed=5)
    # The draw again: the same generator, every token one number, then two for each chosen one.
    generator = torch.Generator().manual_seed(5)
    uniform_T = torch.rand(batch.num_tokens, generator=generator)
    chosen = [
        t
        for t in range(batch.num_tokens)
        if float(uniform_T[t]) < 0.15 and batch.values_T[t] != 0 and batch.feature_ids_T[t] >= NUM_SPECIAL
    ]
    action_2M = torch.rand(2, len(chosen), generator=generator)
    states_TD = model.encoder(model.shown, torch.cat([model.special_SD, genes.table_GD])).tokens_TD
    total, hits, masked_hits = 0.0, 0, []
    for place, t in enumerate(chosen):
        row_D = objective.norm(torch.relu(objective.transform(states_TD[t])))
        logits_G = [(row_D @ genes.table_GD[g] + objective.bias_G[g]).item() for g in range(len(genes.table_GD))]
        target = int(batch.feature_ids_T[t]) - NUM_SPECIAL
        top = max(logits_G)
        total += top + math.log(sum(math.exp(x - top) for x in logits_G)) - logits_G[target]
        hit = logits_G.index(top) == target
        hits += hit
        if float(action_2M[0, place]) < 0.8:
            masked_hits.append(hit)
            assert model.shown.feature_ids_T[t] == MASK_ID
    assert output.count == len(chosen)
    assert float(output.loss.detach()) == pytest.approx(total / len(chosen), rel=1e-4)
    assert output.metrics["accuracy"] == pytest.approx(hits / len(chosen))
    assert output.metrics["accuracy_masked"] == pytest.approx(sum(masked_hits) / len(masked_hits))
    assert output.metrics["perplexity"] == pytest.approx(math.exp(total / len(chosen)), rel=1e-4)


@pytest.mark.parametrize("encoder", ["geneformer", "transformer"])
def test_an_untrained_head_is_no_better_than_guessing_by_frequency(encoder: str) -> None:
    objective, model, batch, genes = setup(encoder)
    metrics = run(objective, model, batch, genes).metrics
    assert metrics["accuracy"] == metrics["accuracy_by_frequency"]
    assert metrics["perplexity"] == pytest.approx(metrics["perplexity_by_frequency"], rel=1e-4)
    # The guess itself, by counting.
    count_G = np.bincount((batch.feature_ids_T[batch.values_T != 0] - NUM_SPECIAL).numpy(), minlength=30)
    np.testing.assert_allclose(objective.log_frequency_G.numpy(), np.log((count_G + 1) / (count_G.sum() + 30)), 1e-5)


def test_training_beats_the_guess() -> None:
    """Ranks of a rank-2 world say something about names."""
    objective, model, batch, genes = setup(num_cells=40, share=0.3)
    table_GD = genes.table_GD.clone().requires_grad_()
    optimizer = torch.optim.Adam([*objective.parameters(), *model.encoder.parameters(), table_GD], lr=1e-2)
    for step in range(80):
        optimizer.zero_grad()
        run(objective, model, batch, GeneStates(table_GD, table_GD), step).loss.backward()
        optimizer.step()
    metrics = run(objective, model, batch, GeneStates(table_GD, table_GD), 99).metrics
    assert metrics["perplexity"] < 0.9 * metrics["perplexity_by_frequency"]


def test_bad_options_are_named() -> None:
    for options in ({"share": 0.0}, {"mask_share": 1.2}, {"mask_share": 0.8, "random_share": 0.3}):
        with pytest.raises(UserError, match=next(iter(options))):
            OBJECTIVES.config("masked_gene", options)
