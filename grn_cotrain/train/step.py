"""One optimiser step: the graph is encoded once, and every micro-batch adds to the gradient of what it returned.

The encoded genes are detached into leaves; micro-batches accumulate into the leaves' gradients; one backward pass
carries the sum through the graph encoder into the table. Exact, because the gradient is linear in the upstream gradient
(a test compares it with plain backpropagation to 1e-6). Dimension letters: G genes, D width, M pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.negatives import LinkSupervision
from grn_cotrain.model import CoTrainModel
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.objectives import GeneStates, LossOutput, Step
from grn_cotrain.train.weighting import LossWeighting

__all__ = ["StepInputs", "StepReport", "accumulate_gradients", "gradient_cosine"]

Backward = Callable[[Tensor], None]


@dataclass(frozen=True)
class StepInputs:
    """What one optimiser step consumes.

    Attributes
    ----------
    graph
        Message edges of the step, disjoint from the supervised pairs; shared by its micro-batches.
    batches
        Micro-batches of cells; empty where no cell objective acts.
    links
        Supervised pairs, or None where no link objective acts.
    table_generator
        Draws the id-dropout, once for all micro-batches.
    cell_generators
        One a micro-batch (masks).
    """

    graph: MessageGraph
    batches: Sequence[PackedTokens]
    links: LinkSupervision | None
    table_generator: torch.Generator
    cell_generators: Sequence[torch.Generator]


@dataclass
class StepReport:
    """Plain numbers of a step: losses, their parts, metrics, cells and tokens read."""

    losses: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    num_cells: int = 0
    num_tokens: int = 0

    def add(self, name: str, output: LossOutput, share: float) -> None:
        """Add a micro-batch's record with its share of the step."""
        self.losses[name] = self.losses.get(name, 0.0) + share * float(output.loss.detach())
        values = {key: float(value.detach()) for key, value in output.parts.items()} | output.metrics
        for key, value in values.items():
            full = f"{name}/{key}"
            self.parts[full] = self.parts.get(full, 0.0) + share * value


def _sides(model: CoTrainModel, active: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    cells = frozenset(name for name in active if model.objectives[name].reads_cells)
    return cells, active - cells


def _micro_batches(
    inputs: StepInputs, cells: frozenset[str], links: frozenset[str]
) -> list[tuple[PackedTokens | None, LinkSupervision | None, torch.Generator, frozenset[str], float]]:
    """What is evaluated one after another: each batch of cells with its share, and link objectives once a step."""
    work: list[tuple[PackedTokens | None, LinkSupervision | None, torch.Generator, frozenset[str], float]] = []
    if cells:
        share = 1.0 / len(inputs.batches)
        work += [
            (batch, None, generator, cells, share)
            for batch, generator in zip(inputs.batches, inputs.cell_generators, strict=True)
        ]
    if links:
        work.append((None, inputs.links, inputs.table_generator, links, 1.0))
    return work


def accumulate_gradients(
    model: CoTrainModel,
    weighting: LossWeighting,
    inputs: StepInputs,
    active: frozenset[str],
    step: int,
    *,
    backward: Backward = torch.Tensor.backward,
) -> StepReport:
    """Add the gradients of one optimiser step to ``.grad`` of every parameter; return what was seen.

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
    """
    report = StepReport()
    genes = model.encode_graph(inputs.graph, generator=inputs.table_generator)
    leaves = _as_leaves(genes)
    cells, links = _sides(model, active)
    for batch, supervision, generator, names, share in _micro_batches(inputs, cells, links):
        outputs = model.losses(Step(leaves, batch, supervision, generator), names)
        total = sum(share * weighting.combine(name, output.loss, step) for name, output in outputs.items())
        if isinstance(total, Tensor) and total.requires_grad:
            backward(total)
        for name, output in outputs.items():
            report.add(name, output, share)
        if batch is not None:
            report.num_cells += batch.num_cells
            report.num_tokens += batch.num_tokens
    _through_graph(genes, leaves)
    return report


def _as_leaves(genes: GeneStates) -> GeneStates:
    return replace(
        genes, table_GD=genes.table_GD.detach().requires_grad_(), graph_GD=genes.graph_GD.detach().requires_grad_()
    )


def _through_graph(genes: GeneStates, leaves: GeneStates, *, retain_graph: bool = False) -> None:
    pairs = [
        (output, leaf.grad)
        for output, leaf in ((genes.table_GD, leaves.table_GD), (genes.graph_GD, leaves.graph_GD))
        if leaf.grad is not None and output.requires_grad
    ]
    if pairs:
        outputs, gradients = zip(*pairs, strict=True)
        torch.autograd.backward(outputs, gradients, retain_graph=retain_graph)


def gradient_cosine(model: CoTrainModel, inputs: StepInputs, active: frozenset[str]) -> dict[str, float]:
    """Cosine between the objectives' gradients on the shared table, and their norms; ``.grad`` stays untouched.

    The gradient is taken at the table's output, after both ways back to it (directly, and through the graph
    encoder), so that it means the same whatever the table is made of. Empty where fewer than two objectives act.
    """
    if len(active) < 2:
        return {}
    genes = model.encode_graph(inputs.graph, generator=inputs.table_generator)
    if not genes.table_GD.requires_grad:
        return {}
    cells, links = _sides(model, active)
    gradients: dict[str, Tensor] = {}
    for batch, supervision, generator, names, _ in _micro_batches(inputs, cells, links):
        if batch is not None and batch is not inputs.batches[0]:
            continue  # one micro-batch says enough about a direction
        for name in sorted(names):
            loss = model.losses(Step(genes, batch, supervision, generator), frozenset({name}))[name].loss
            if loss.requires_grad:
                (gradient,) = torch.autograd.grad(loss, genes.table_GD, retain_graph=True, allow_unused=True)
                gradients[name] = torch.zeros_like(genes.table_GD) if gradient is None else gradient
    report = {f"gradient_norm/{name}": float(value.norm()) for name, value in gradients.items()}
    names_ = sorted(gradients)
    for i, first in enumerate(names_):
        for second in names_[i + 1 :]:
            norm = gradients[first].norm() * gradients[second].norm()
            cosine = float((gradients[first] * gradients[second]).sum() / norm) if norm > 0 else 0.0
            report[f"gradient_cosine/{first}+{second}"] = cosine
    return report
