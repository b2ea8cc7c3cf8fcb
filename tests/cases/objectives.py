"""Contract of objectives that read cells, checked for every registered one.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
import torch

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.objectives import OBJECTIVES, Encodings, GeneStates, LossOutput, Objective, Step, View
from grn_cotrain.recipe import TokenConfig

from .toy_cells import ToyModel, toy_cells

__all__ = ["CellObjectiveCase"]

WIDTH, NUM_BINS = 16, 5


def halves(view: View) -> list[View]:
    """The view of the first cells, and of the others."""
    cut = view.tokens.num_cells // 2
    at = int(view.tokens.cu_lens[cut])
    found = []
    for cells, rows in ((slice(0, cut), slice(0, at)), (slice(cut, None), slice(at, None))):
        asked_M = (view.where_M < at) if rows.start == 0 else (view.where_M >= at)
        found.append(
            View(
                part_of(view.tokens, cells, rows),
                part_of(view.truth, cells, rows),
                view.where_M[asked_M] - rows.start,
                None if view.masked_M is None else view.masked_M[asked_M],
            )
        )
    return found


def part_of(tokens: PackedTokens, cells: slice, rows: slice) -> PackedTokens:
    """Some cells of a batch, with their tokens."""
    stop = None if cells.stop is None else cells.stop + 1
    values: dict[str, Any] = {"cu_lens": tokens.cu_lens[cells.start : stop] - tokens.cu_lens[cells.start]}
    for field in fields(tokens):
        value = getattr(tokens, field.name)
        if isinstance(value, torch.Tensor) and field.name != "cu_lens":
            values[field.name] = value[rows] if field.name.endswith("_T") else value[cells]
    return replace(tokens, **values)


class CellObjectiveCase:
    """Subclass with ``name`` and ``options``."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    covariates: ClassVar[tuple[str, ...]] = ()
    """Columns of obs that the objective needs; each has two categories, every second cell the one."""
    draws: ClassVar[bool] = True
    """False: the loss depends on the cells alone, not on the generator."""
    adversarial: ClassVar[bool] = False
    """True: the encoder is trained to raise the loss, so that the objective's own weights alone lower it, in time."""

    def setup_method(self) -> None:
        """An encoder, a table and a batch of six cells."""
        self.cells = toy_cells(seed=3)
        half = np.where(np.arange(self.cells.num_cells) % 2, "odd", "even")
        self.cells = replace(self.cells, obs=self.cells.obs.assign(**dict.fromkeys(self.covariates, half)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.encoder = CELL_ENCODERS.build(
                "transformer",
                {"num_layers": 1},
                width=WIDTH,
                num_bins=NUM_BINS,
                num_modalities=3,
                num_genes=self.cells.num_features,
            )
            self.objective: Objective = OBJECTIVES.build(
                self.name,
                self.options,
                width=WIDTH,
                num_bins=NUM_BINS,
                num_genes=self.cells.num_features,
                covariates=dict.fromkeys(self.covariates, 2),
            )
            self.table_GD = torch.randn(self.cells.num_features, WIDTH).requires_grad_()
        self.encoder.prepare(Statistics(self.cells))
        self.objective.prepare(Statistics(self.cells))
        self.model = ToyModel(self.encoder, WIDTH)
        config = TokenConfig(num_bins=NUM_BINS, zeros_per_cell=4, covariates=self.covariates)
        tokenizer = Tokenizer(self.cells, config)
        self.batch = tokenizer.batch(np.arange(6), np.random.default_rng(0)).pack()

    def run(self, seed: int = 0, batch: Any = None) -> LossOutput:
        """The objective's record under one seed."""
        genes, generator = GeneStates(self.table_GD, self.table_GD), torch.Generator().manual_seed(seed)
        return self.objective.on_cells(self.model, genes, batch or self.batch, generator)

    def test_needs_name_all_that_prepare_reads(self) -> None:
        """One pass over the cells serves every part; a statistic that is not named would cost one more."""
        statistics = Statistics(self.cells)
        statistics.collect(self.objective.needs(self.objective.config, num_bins=NUM_BINS))
        passes = statistics.passes
        self.objective.prepare(statistics)
        assert statistics.passes == passes <= 1

    def test_it_reads_cells(self) -> None:
        assert self.objective.reads_cells

    def test_record_is_finite_and_counted(self) -> None:
        output = self.run()
        assert output.loss.ndim == 0
        assert torch.isfinite(output.loss)
        assert output.count > 0
        assert output.parts

    def test_counts_are_known_before_anything_is_encoded(self) -> None:
        genes, generator = GeneStates(self.table_GD, self.table_GD), torch.Generator().manual_seed(4)
        view = self.objective.view(self.model, self.batch, generator)
        output = self.objective(self.model, Step(genes, (view,), Encodings(self.model, genes)))
        assert {name: part.count for name, part in output.parts.items()} == dict(self.objective.counts(view))

    def test_two_micro_batches_add_up_to_one(self) -> None:
        """Sums and counts of two halves are those of the whole, where the draws are the same."""
        genes = GeneStates(self.table_GD, self.table_GD)
        self.objective.eval()  # no running statistics, no dropout
        whole = self.objective.view(self.model, self.batch, torch.Generator().manual_seed(2))
        parts = [(whole, self.run_view(genes, whole))]
        parts += [(half, self.run_view(genes, half)) for half in halves(whole)]
        (_, one), *two = parts
        for name, part in one.parts.items():
            if getattr(self.objective.config, "loss_norm", "masked_count") != "published":
                assert part.count == sum(output.parts[name].count for _, output in two), name
            torch.testing.assert_close(part.sum, sum(output.parts[name].sum for _, output in two), msg=name)
        assert one.count == sum(output.count for _, output in two)

    def run_view(self, genes: GeneStates, view: View) -> LossOutput:
        """The record of one view."""
        return self.objective(self.model, Step(genes, (view,), Encodings(self.model, genes)))

    def test_same_generator_gives_the_same_loss(self) -> None:
        assert torch.equal(self.run(1).loss, self.run(1).loss)
        # A head that starts at zero may give equal losses, but not for equally many tokens under every seed.
        different = len({(float(output.loss.detach()), output.count) for output in map(self.run, range(6))})
        assert (different > 1) is self.draws

    def test_gradients_reach_table_encoder_and_head(self) -> None:
        optimizer = torch.optim.SGD([*self.objective.parameters(), *self.encoder.parameters()], lr=0.1)
        for _ in range(2):  # heads may start at zero; after one step they pass gradients on
            optimizer.zero_grad()
            self.table_GD.grad = None
            self.run().loss.backward()
            optimizer.step()
        assert self.table_GD.grad is not None
        assert self.table_GD.grad.abs().sum() > 0
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in self.encoder.parameters())
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in self.objective.parameters())

    def test_a_few_steps_lower_the_loss(self) -> None:
        weights = list(self.objective.parameters())
        if not self.adversarial:
            weights += [*self.encoder.parameters(), self.table_GD]
        optimizer = torch.optim.Adam(weights, lr=1e-2)
        before = float(self.run().loss.detach())
        for _ in range(90 if self.adversarial else 30):
            optimizer.zero_grad()
            self.run().loss.backward()
            optimizer.step()
        assert float(self.run().loss.detach()) < 0.9 * before

    def test_cells_without_tokens_give_a_zero_gradient(self) -> None:
        empty = toy_cells(density=0.0)
        batch = Tokenizer(empty, TokenConfig(num_bins=NUM_BINS)).batch(np.arange(3)).pack()
        output = self.run(batch=batch)
        assert output.count == 0
        assert float(output.loss.detach()) == 0
        output.loss.backward()
