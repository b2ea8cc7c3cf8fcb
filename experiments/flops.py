"""FLOPs of a step: counted by torch on a real batch, and by formula where the counter is blind.

``torch.utils.flop_counter.FlopCounterMode`` counts matrix products (2 a multiply-add) and the fused attention kernels
that it knows, forward and backward as they run. The CPU's fused attention kernel is not among those it knows; its
formula is given here (:data:`CPU_ATTENTION`), by torch's own convention: two products forward, five backward, since the
kernel computes the scores again. What moves along edges (``embedding_bag``, sampled products) is not a matrix product
in this accounting, as in xTrimoGene's; calls of such operators are reported, not counted.

Dimension letters: T tokens, D width, F width of the feed-forward part, L length of a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.model import CoTrainNetwork

__all__ = [
    "CPU_ATTENTION",
    "FlopCount",
    "count_flops",
    "step_flops",
    "transformer_flops",
]


def _forward(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


_aten = torch.ops.aten
CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}
"""Formulas that torch's counter lacks, by operator."""

# Operators that do arithmetic worth knowing of, for which there is no formula: named with their calls.
_WATCHED = ("embedding_bag", "sampled_addmm", "sparse", "linear_cross_entropy", "varlen", "_flash", "einsum", "matmul")


class _Calls(TorchDispatchMode):
    """Counts calls by operator."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[str(func._overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class FlopCount:
    """FLOPs of one call.

    Attributes
    ----------
    total
        Matrix products, 2 a multiply-add.
    by_operator
        The same by operator.
    not_counted
        Operator -> calls, of those that the counter has no formula for and that are more than element-wise.
    """

    total: int
    by_operator: dict[str, int] = field(default_factory=dict)
    not_counted: dict[str, int] = field(default_factory=dict)

    @property
    def without_recomputation(self) -> int:
        """The total less the scores that fused attention computes a second time, one of its five backward products.

        A backward pass is then twice the forward one, as papers count: with that rule the formula for a transformer
        meets xTrimoGene's published figure for one to 0.1 %.
        """
        again = sum(
            value for name, value in self.by_operator.items() if "attention" in name and name.endswith("_backward")
        )
        return self.total - again // 5


def count_flops(function: Callable[[], Any]) -> FlopCount:
    """Run ``function`` once and count what it computes, backward passes inside it included."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter, _Calls() as calls:
        function()
    known = {str(operator) for operator in counter.flop_registry}
    counts = {str(operator): int(value) for operator, value in counter.get_flop_counts().get("Global", {}).items()}
    missed = {
        name: number
        for name, number in sorted(calls.calls.items())
        if name not in known and any(word in name for word in _WATCHED)
    }
    return FlopCount(sum(counts.values()), counts, missed)


def step_flops(model: CoTrainNetwork, batch: PackedTokens, objective: str, *, seed: int = 0) -> FlopCount:
    """FLOPs of forward and backward of one cell objective on one batch, the graph's share left out.

    The graph is encoded once a step whatever the number of cells, so its cost is not a cost per cell: the gene states
    are computed beforehand and taken as leaves, as a training step does. Divide by ``batch.num_cells``.

    Parameters
    ----------
    model
        Any; its gradients are cleared before and after.
    batch
        Cells as the stream gives them; the objective draws its own mask.
    objective
        Name of a cell objective of the model.
    seed
        Seed of the mask.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device=device).manual_seed(seed)
    with torch.no_grad():
        genes = model.encode_graph(generator=generator)
    leaves = type(genes)(genes.table_GD.detach().requires_grad_(), genes.graph_GD.detach().requires_grad_())
    cells = batch.to(device)

    def run() -> None:
        model.objective(objective).on_cells(model, leaves, cells, generator).loss.backward()

    model.zero_grad(set_to_none=True)
    try:
        return count_flops(run)
    finally:
        model.zero_grad(set_to_none=True)


def transformer_flops(lengths: Sequence[int], *, width: int, ffn_width: int, num_layers: int, backward: bool) -> int:
    """FLOPs of a stack of transformer blocks over packed cells, by hand.

    A block multiplies every token by ``D x 3D`` (queries, keys, values), ``D x D``, ``D x F`` and ``F x D``, and in a
    cell of L tokens computes ``L x L`` scores and reads ``L x L`` times ``D``: ``2 T (4 D^2 + 2 D F) + 4 D sum L^2``.
    Backward, a linear map costs twice its forward pass and fused attention 2.5 times (five products for two).
    """
    tokens, squares = sum(lengths), sum(length * length for length in lengths)
    linear = 2 * tokens * (4 * width * width + 2 * width * ffn_width)
    attention = 4 * width * squares
    forward = linear + attention
    return num_layers * (forward + (2 * linear + 5 * attention // 2 if backward else 0))
