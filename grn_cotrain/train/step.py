"""One optimiser step: the graph is encoded once, each view of the cells once, and every sum is divided once.

1. The views of all micro-batches are drawn, so that the counts of the whole step are known: over all micro-batches, and
   over all processes.
2. Where an objective compares all cells of the step, their states are computed without a gradient, and become leaves of
   its loss.
3. Each micro-batch is encoded and scored. A sum is divided by the count of the step, so the gradient is that of the
   mean over all tokens of the step, however they are cut into micro-batches or spread over processes.
4. Encoded genes are leaves too: micro-batches add to their gradients, and one backward pass carries the sum through the
   graph encoder into the table. Exact, because the gradient is linear in the upstream gradient.

Dimension letters: G genes, D width, M pairs, N cells of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from grn_cotrain.data.negatives import LinkSupervision
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.objectives import GeneStates, LossOutput, Step
from grn_cotrain.objectives.reading import Views, cell_losses, draw_views, score_views
from grn_cotrain.objectives.view import View
from grn_cotrain.train.counting import CallCounters, notes_of, replay_notes
from grn_cotrain.train.group import ALONE, Group
from grn_cotrain.train.pooling import MicroBatch, Pooled, pool_states
from grn_cotrain.train.random_state import RandomState
from grn_cotrain.train.tally import StepReport, Tally
from grn_cotrain.train.weighting import LossWeighting

__all__ = ["StepInputs", "accumulate_gradients", "gradient_cosine"]

Backward = Callable[[Tensor], None]
Counts = Mapping[str, Mapping[str, float]]
"""Objective -> part of its loss -> what its sum is divided by."""


@dataclass(frozen=True)
class StepInputs:
    """Inputs of one optimiser step in this process.

    Attributes
    ----------
    graph
        Message edges of the step, disjoint from the supervised pairs; shared by its micro-batches.
    cells
        Micro-batches of this process; empty where no cell objective acts.
    links
        Supervised pairs, the same in every process, one of which scores them; None if no link objective acts.
    table_generator
        Draws the id-dropout, once for all micro-batches.
    num_micro_batches
        Micro-batches of the step over all processes.
    reseed
        Called with the number of a micro-batch before it is computed, and with None before what is computed once:
        seeds dropout. Not called for micro-batch 0, which continues where the graph encoder stopped.
    """

    graph: MessageGraph
    cells: Sequence[MicroBatch]
    links: LinkSupervision | None
    table_generator: torch.Generator
    num_micro_batches: int
    reseed: Callable[[int | None], None] = field(default=lambda number: None)


def _sides(model: CoTrainNetwork, active: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    cells = frozenset(name for name in active if model.objectives[name].reads_cells)
    return cells, active - cells


def accumulate_gradients(
    model: CoTrainNetwork,
    weighting: LossWeighting,
    inputs: StepInputs,
    active: frozenset[str],
    step: int,
    *,
    backward: Backward = torch.Tensor.backward,
    group: Group = ALONE,
) -> StepReport:
    """Set ``.grad`` of every parameter to the gradient of one optimiser step; return what was seen.

    Gradients must be None or zero before. Every process of ``group`` ends with the same gradients.

    Parameters
    ----------
    model, weighting
        Modules whose parameters receive gradients.
    inputs
        Message graph, micro-batches, supervision, generators.
    active
        Names of the objectives that act.
    step
        Number of the step, for scheduled weights.
    backward
        How a scalar loss is backpropagated (Fabric's, where it scales).
    group
        The processes that share the step.
    """
    work = _Work(model, weighting, inputs, active, step, backward, group)
    work.draw()
    if work.pooling:
        work.pool()
    group.together(work.score)
    group.add_gradients([*model.parameters(), *weighting.parameters()])
    tally, noted = zip(*group.gather((work.tally, notes_of(model))), strict=True)
    if work.cells:
        work.counters.at(inputs.num_micro_batches)
        replay_notes(model, noted)
    return Tally.of(tally).report()


class _Work:
    """One process's part of a step."""

    def __init__(
        self,
        model: CoTrainNetwork,
        weighting: LossWeighting,
        inputs: StepInputs,
        active: frozenset[str],
        step: int,
        backward: Backward,
        group: Group,
    ) -> None:
        self.model, self.weighting, self.inputs = model, weighting, inputs
        self.step, self.backward, self.group = step, backward, group
        self.cells, self.links = _sides(model, active)
        self.pooling = tuple(name for name in sorted(self.cells) if model.objective(name).pools)
        self.counters = CallCounters(model)
        self.tally = Tally()
        self.views: list[Views] = []
        self.counts: Counts = {}
        self.pooled: Pooled | None = None

    def draw(self) -> None:
        """Encode the graph, draw the views, and learn the counts of the whole step."""
        self.genes, counts = self.group.together(self._draw)
        self.leaves = as_leaves(self.genes)
        self.random = RandomState(self.genes.table_GD.device)
        if self.cells:
            self.counts = _total(self.group.gather(counts))

    def _draw(self) -> tuple[GeneStates, Counts]:
        model, inputs = self.model, self.inputs
        genes = model.encode_graph(inputs.graph, generator=inputs.table_generator)
        if self.cells:
            for batch in inputs.cells:
                views = draw_views(model, model.objectives, batch.tokens, batch.generator, self.cells)
                self.views.append(views)
                self.tally.num_cells += batch.tokens.num_cells
                self.tally.num_tokens += batch.tokens.num_tokens
        each = [
            {name: model.objective(name).counts(*read) for name, read in views.items() if name not in self.pooling}
            for views in self.views
        ]
        return genes, _total(each)

    def begin(self, batch: MicroBatch) -> None:
        """Put counters and dropout where this micro-batch finds them in whichever process."""
        self.counters.at(batch.index)
        if batch.index > 0:
            self.inputs.reseed(batch.index)

    def pool(self) -> None:
        """Losses over all cells of the step, down to the gradients of the cells' states."""
        self.pooled = pool_states(
            self.model, self.leaves, self.inputs.cells, self.views, self.pooling,
            begin=self.begin, counters=self.counters, random=self.random, group=self.group,
        )  # fmt: skip

        def score() -> None:
            assert self.pooled is not None
            state = self.random.get()
            self.inputs.reseed(None)  # alike in every process
            outputs = {
                name: self.model.objective(name).pooled(self.model, self.leaves, self.pooled.leaves[name])
                for name in self.pooling
            }
            total = self._weighted(outputs, {name: _own_counts(output) for name, output in outputs.items()}, 1.0)
            # Every process has the same loss: one of them passes it on to weights, all to the states of their cells.
            self.pooled.backward(total, self.backward if self.group.is_first else None)
            if self.group.is_first:
                self.tally.add(outputs)
            self.random.set(state)

        self.group.together(score)

    def score(self) -> None:
        """Encode, score and backpropagate every micro-batch, then the links, then the graph."""
        model, inputs = self.model, self.inputs
        for batch, views in zip(inputs.cells, self.views, strict=False):
            self.begin(batch)
            outputs, encodings = score_views(model, model.objectives, self.leaves, views, before=self._replay)
            total = self._weighted(outputs, self.counts, 1.0 / inputs.num_micro_batches)
            if self.pooled is not None:
                total = total + self.pooled.surrogate(batch.index, views, encodings)
            self._backward(total)
            self.tally.add(outputs)
        if self.links and inputs.links is not None and self.group.takes_links:
            inputs.reseed(None)
            step = Step(self.leaves, links=inputs.links)
            outputs = {name: model.objective(name)(model, step) for name in model.objectives if name in self.links}
            self._backward(self._weighted(outputs, {name: _own_counts(out) for name, out in outputs.items()}, 1.0))
            self.tally.add(outputs)
        through_graph(self.genes, self.leaves)

    def _replay(self, view: View) -> None:
        if self.pooled is not None:
            self.pooled.replay(view)

    def _weighted(self, outputs: Mapping[str, LossOutput], counts: Counts, share: float) -> Tensor:
        """The losses with the counts of the step, weighted and added; ``share`` of each penalty."""
        total = self.leaves.table_GD.new_zeros(())
        for name, output in outputs.items():
            if output.parts.keys() != counts[name].keys():
                raise ValueError(
                    f"objective {name}: forward gives {', '.join(output.parts)}, counts {', '.join(counts[name])}"
                )
            parts = [part.weight * part.sum / (counts[name][key] or 1.0) for key, part in output.parts.items()]
            total = total + self.weighting.combine(name, torch.stack(parts).sum(), self.step, share=share)
        return total

    def _backward(self, total: Tensor) -> None:
        if total.requires_grad:
            self.backward(total)


def _total(counts: Sequence[Counts]) -> Counts:
    """Counts added by objective and part."""
    total: dict[str, dict[str, float]] = {}
    for one in counts:
        for name, parts in one.items():
            mine = total.setdefault(name, {})
            for key, count in parts.items():
                mine[key] = mine.get(key, 0.0) + count
    return total


def _own_counts(output: LossOutput) -> dict[str, float]:
    return {key: part.count for key, part in output.parts.items()}


def as_leaves(genes: GeneStates) -> GeneStates:
    """The same numbers, from which no gradient goes further."""
    leaves = {name: getattr(genes, name).detach().requires_grad_() for name in ("table_GD", "graph_GD")}
    return replace(genes, **leaves)


def through_graph(genes: GeneStates, leaves: GeneStates) -> None:
    """Carry the gradients of the leaves through the graph encoder into the table."""
    pairs = [
        (output, leaf.grad)
        for output, leaf in ((genes.table_GD, leaves.table_GD), (genes.graph_GD, leaves.graph_GD))
        if leaf.grad is not None and output.requires_grad
    ]
    if pairs:
        outputs, gradients = zip(*pairs, strict=True)
        torch.autograd.backward(outputs, gradients)


def gradient_cosine(model: CoTrainNetwork, inputs: StepInputs, active: frozenset[str]) -> dict[str, float]:
    """Cosine between the objectives' gradients on the shared table, and their norms; ``.grad`` stays untouched.

    The gradient is taken at the table's output, after both ways back to it (directly, and through the graph
    encoder), so that it means the same whatever the table is made of. Empty where fewer than two objectives act.
    Cell objectives are judged by the first micro-batch, which is enough for a direction; those that pool are left out.
    """
    if len(active) < 2:
        return {}
    inputs.reseed(None)
    genes = model.encode_graph(inputs.graph, generator=inputs.table_generator)
    if not genes.table_GD.requires_grad:
        return {}
    cells, links = _sides(model, active)
    counters = CallCounters(model)
    gradients: dict[str, Tensor] = {}

    def add(name: str, loss: Tensor) -> None:
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, genes.table_GD, retain_graph=True, allow_unused=True)
            gradients[name] = torch.zeros_like(genes.table_GD) if gradient is None else gradient

    for batch in inputs.cells[:1]:
        for name in sorted(name for name in cells if not model.objective(name).pools):
            outputs = cell_losses(model, model.objectives, genes, batch.tokens, batch.generator, (name,))
            add(name, outputs[name].loss)
    if inputs.links is not None:
        for name in sorted(links):
            add(name, model.objective(name)(model, Step(genes, links=inputs.links)).loss)
    counters.at(0)
    replay_notes(model, [[{} for _ in notes_of(model)]])  # a look at gradients leaves no trace in running statistics
    report = {f"gradient_norm/{name}": float(value.norm()) for name, value in gradients.items()}
    names_ = sorted(gradients)
    for i, first in enumerate(names_):
        for second in names_[i + 1 :]:
            norm = gradients[first].norm() * gradients[second].norm()
            cosine = float((gradients[first] * gradients[second]).sum() / norm) if norm > 0 else 0.0
            report[f"gradient_cosine/{first}+{second}"] = cosine
    return report
