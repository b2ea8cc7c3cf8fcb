"""Losses over all cells of a step, such as contrastive ones: the states of the cells become leaves.

States are first computed without a gradient, micro-batch by micro-batch and process by process. The loss is taken over
all of them, and gives the gradient of each state. When the micro-batches are encoded again, with the same dropout, the
inner product of states and gradients carries it into the encoder. The gradient is that of one large batch, and the
memory is that of one micro-batch (gradient caching; Gao et al. 2021).

Dimension letters: N cells of a step, B cells of a micro-batch, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.objectives import GeneStates, PooledStates
from grn_cotrain.objectives.reading import Views
from grn_cotrain.objectives.view import Encodings, View
from grn_cotrain.train.counting import CallCounters
from grn_cotrain.train.group import Group
from grn_cotrain.train.random_state import RandomState

__all__ = ["MicroBatch", "Pooled", "pool_states"]

_Before = tuple[tuple[Tensor, Tensor | None], list[int]]
"""Random state and counters just before a view was encoded."""


@dataclass(frozen=True)
class MicroBatch:
    """Cells that are encoded together.

    Attributes
    ----------
    index
        Its number in the step, over all processes.
    tokens
        The cells.
    generator
        Draws their views.
    """

    index: int
    tokens: PackedTokens
    generator: torch.Generator


class Pooled:
    """Leaves of the pooled losses, and the way back from them.

    Attributes
    ----------
    leaves
        Objective -> the states of all cells, one entry for each view that it reads.
    """

    def __init__(
        self,
        leaves: dict[str, tuple[PooledStates, ...]],
        places: dict[int, slice],
        before: dict[View, _Before],
        counters: CallCounters,
        random: RandomState,
    ) -> None:
        self.leaves = leaves
        self._places, self._before, self._counters, self._random = places, before, counters, random
        self._gradients: dict[str, tuple[Tensor, ...]] = {}

    def backward(self, total: Tensor, backward: Callable[[Tensor], None] | None) -> None:
        """Take the gradients of the leaves; with ``backward`` also those of the weights that the loss reads."""
        every = [one.cells_ND for states in self.leaves.values() for one in states]
        if backward is not None:
            backward(total)
            found = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in every]
        else:
            grads = torch.autograd.grad(total, every, allow_unused=True)
            found = [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(every, grads, strict=True)]
        given = iter(found)
        self._gradients = {name: tuple(next(given) for _ in states) for name, states in self.leaves.items()}

    def replay(self, view: View) -> None:
        """Put dropout and counters where they were when ``view`` was encoded for the leaves."""
        if view in self._before:
            state, calls = self._before[view]
            self._random.set(state)
            self._counters.set(calls)

    def surrogate(self, index: int, views: Views, encodings: Encodings) -> Tensor:
        """A number whose gradient in the states of micro-batch ``index`` is that of the pooled losses."""
        place = self._places[index]
        parts = [
            (encodings.of(view).cells_BD * gradient_ND[place]).sum()
            for name, gradients in self._gradients.items()
            for view, gradient_ND in zip(views[name], gradients, strict=True)
        ]
        return torch.stack(parts).sum()


def pool_states(
    model: CoTrainNetwork,
    genes: GeneStates,
    batches: Sequence[MicroBatch],
    views: Sequence[Views],
    names: Sequence[str],
    *,
    begin: Callable[[MicroBatch], None],
    counters: CallCounters,
    random: RandomState,
    group: Group,
) -> Pooled:
    """Encode what the objectives ``names`` read, without a gradient, and bring together the states of all processes.

    Parameters
    ----------
    begin
        Puts dropout and counters at the start of a micro-batch.
    """
    before: dict[View, _Before] = {}

    def encode() -> dict[int, dict[str, list[tuple[Tensor, Tensor]]]]:
        start = random.get()
        found = {}
        for batch, read in zip(batches, views, strict=True):
            begin(batch)
            encodings = Encodings(model, genes, lambda view: before.update({view: (random.get(), counters.now())}))
            with torch.no_grad():
                found[batch.index] = {
                    name: [(encodings.of(view).cells_BD.cpu(), view.tokens.cell_index_B.cpu()) for view in read[name]]
                    for name in names
                }
        random.set(start)  # micro-batch 0 continues where the graph encoder stopped
        return found

    by_index = {index: found for part in group.gather(group.together(encode)) for index, found in part.items()}
    order = sorted(by_index)
    device = genes.table_GD.device
    leaves: dict[str, tuple[PooledStates, ...]] = {}
    for name in names:
        columns = zip(*(by_index[index][name] for index in order), strict=True)
        leaves[name] = tuple(
            PooledStates(
                torch.cat([cells_BD for cells_BD, _ in column]).to(device).requires_grad_(),
                torch.cat([cell_index_B for _, cell_index_B in column]).to(device),
            )
            for column in columns
        )
    places, position = {}, 0
    for index in order:
        size = len(by_index[index][names[0]][0][0])
        places[index] = slice(position, position + size)
        position += size
    return Pooled(leaves, places, before, counters, random)
