"""B2: one masked-value training step on one cell of 19,264 genes, against a Performer of scBERT's size.

The architectures differ, on purpose: the peer (performer-pytorch, 6 layers of 200 columns, 10 heads of 64, 266
features) reads every gene and scores the hidden ones by their class; ours read the visible values and decode the
hidden ones (forms A and C of ``xtrimogene``, about ten million parameters). So nothing can be asserted equal but the
precision; each ratio stands with what the study of decoders found of its quality.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks.harness import Context, Row
from experiments.encoders.designs import WIDTH, design_batch, design_model
from experiments.encoders.full_transcriptome import DENSITY, NUM_GENES, full_cells
from experiments.encoders.gate import gate_note
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.precision import fast_fp32

__all__ = ["ID", "TITLE", "run"]

ID = "B2"
TITLE = f"one masked-value step on a cell of {NUM_GENES:,} genes, against performer-pytorch at scBERT's size"

_QUICK_GENES, _QUICK_WIDTH = 600, 32
_GOALS = {"A": 40, "A1": None, "C": 400}
_CLASSES = 7  # scBERT: classes 0..5 of values, and MASK
_HIDDEN = 0.3


class _PerformerPeer(nn.Module):
    """scBERT's shape: gene row + value row, a Performer over all genes, classes of the hidden values."""

    def __init__(self, num_genes: int, *, width: int, depth: int, heads: int, head_width: int, features: int) -> None:
        super().__init__()
        from performer_pytorch import Performer

        self.genes = nn.Embedding(num_genes, width)
        self.values = nn.Embedding(_CLASSES, width)
        self.trunk = Performer(dim=width, depth=depth, heads=heads, dim_head=head_width, nb_features=features)
        self.head = nn.Linear(width, _CLASSES)

    def step(self, classes_G: Tensor, hidden_G: Tensor) -> float:
        """Loss of the hidden values; gradients of everything."""
        self.zero_grad(set_to_none=True)
        shown_G = classes_G.masked_fill(hidden_G, _CLASSES - 1)
        states_1GD = self.trunk((self.genes.weight + self.values(shown_G))[None])
        loss = F.cross_entropy(self.head(states_1GD[0][hidden_G]), classes_G[hidden_G])
        loss.backward()
        return float(loss.detach())


def our_step(model: CoTrainNetwork, form: str, num_genes: int) -> Callable[[], float]:
    """One training step of a form on one generated cell."""
    cells = full_cells(2, num_genes=num_genes)
    batch = design_batch(form, cells, model)

    def step() -> float:
        model.zero_grad(set_to_none=True)
        generator = torch.Generator().manual_seed(0)
        output = model.objective("masked_value").on_cells(model, model.encode_graph(), batch, generator)
        output.loss.backward()
        return float(output.loss.detach())

    return step


def run(context: Context) -> list[Row]:
    """Time a step of each; the harness asserts nothing here, since no two compute the same thing."""
    num_genes = _QUICK_GENES if context.quick else NUM_GENES
    width = _QUICK_WIDTH if context.quick else WIDTH
    cells = full_cells(2, num_genes=num_genes)
    models = {form: design_model(form, cells, width=width).train() for form in _GOALS}
    steps: dict[str, Callable[[], float]] = {form: our_step(model, form, num_genes) for form, model in models.items()}
    peer = _peer(context, num_genes)
    with fast_fp32(only_where_faster=False) as outcome:
        pass
    route = (lambda: fast_fp32(only_where_faster=False)) if outcome.enabled else nullcontext
    with route():
        ours = context.measure(steps)
        seconds = None
        if peer is not None:
            # Each step takes many seconds: no round of warming up, and the median of three.
            seconds = context.measure({"peer": peer}, warmup=0)["peer"]
    precision = "fp32, re-routed" if outcome.enabled else "fp32, default route"
    rows = [Row(f"ours, form {form}, {precision}", ours[form], None, gate_note(form)) for form in _GOALS]
    if seconds is None:
        return [*rows, Row("performer-pytorch", note="absent: not installed; pip install grn-cotrain[bench]")]
    for form, goal in _GOALS.items():
        note = "architecture differs; same precision" + (f"; goal {goal}x" if goal else "")
        rows.append(Row(f"performer-pytorch 6x200, over form {form}", seconds, seconds / ours[form], note))
    return rows


def _peer(context: Context, num_genes: int) -> Callable[[], float] | None:
    """A step of the peer; None if it is not installed."""
    sizes = {"width": 200, "depth": 6, "heads": 10, "head_width": 64, "features": 266}
    if context.quick:
        sizes = {"width": 32, "depth": 1, "heads": 2, "head_width": 16, "features": 32}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            model = _PerformerPeer(num_genes, **sizes)
    except ImportError:
        return None
    generator = context.generator()
    nonzero_G = torch.rand(num_genes, generator=generator) < DENSITY
    classes_G = torch.where(nonzero_G, torch.randint(1, _CLASSES - 1, (num_genes,), generator=generator), 0)
    hidden_G = nonzero_G & (torch.rand(num_genes, generator=generator) < _HIDDEN)
    return lambda: model.step(classes_G, hidden_G)
