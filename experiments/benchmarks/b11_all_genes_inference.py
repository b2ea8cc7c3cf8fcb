"""B11: all 19,264 genes of one cell at inference: cross-attention from latents against a Performer over all genes.

Every gene of the cell is hidden or zero for a reader of values, and a value is wanted for each. Ours encode the visible
values once and ask for all genes; forms A and C were trained on hidden genes alone, and asking for more of them is the
same function, since genes that ask do not see each other (asserted). The rival is the same encoder with the published
decoder, a Performer over all genes. The architectures differ: see the study of decoders for their quality.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from experiments.benchmarks.harness import Context, Row, assert_agrees
from experiments.encoders.designs import WIDTH, design_options
from experiments.encoders.full_transcriptome import NUM_GENES, full_batch, full_cells, full_model
from experiments.encoders.gate import gate_note
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.precision import fast_fp32

__all__ = ["ID", "TITLE", "run"]

ID = "B11"
TITLE = f"all {NUM_GENES:,} genes of one cell at inference, against a Performer-style decoder"

_QUICK_GENES, _QUICK_WIDTH = 600, 32
_FORMS = ("A", "C")
_GOAL_RATIO, _GOAL_SECONDS = 20, 0.040


def inference_model(form: str, cells: MemoryStore, width: int) -> CoTrainNetwork:
    """A form that reads every gene as a token; its head is not the untrained one, which predicts the gene's mean for
    all cells."""
    model = full_model(
        cells,
        "xtrimogene",
        design_options(form),
        width=width,
        objectives={"masked_value": {}},
        tokens={"zeros_per_cell": "all"},
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.objectives.parameters():
            if not weight.any():
                weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
    return model


def asking_for_all(batch: PackedTokens) -> PackedTokens:
    """Zeros, and every third value, are asked for; the other values are what the cell shows."""
    gene_T = batch.feature_ids_T >= NUM_SPECIAL
    return replace(batch, masked_T=gene_T & ((batch.values_T == 0) | (batch.feature_ids_T % 3 == 0)))


def run(context: Context) -> list[Row]:
    """Check that asking for all genes gives each the value it gets when asked for alone, then time."""
    num_genes = _QUICK_GENES if context.quick else NUM_GENES
    width = _QUICK_WIDTH if context.quick else WIDTH
    cells = full_cells(2, num_genes=num_genes)
    calls: dict[str, Callable[[], Tensor]] = {}
    agreed = {}
    for form in (*_FORMS, "published"):
        model = inference_model(form, cells, width)
        batch = asking_for_all(full_batch(model, cells))
        calls[form] = _predict(model, batch)
        if form != "published":
            agreed[form] = _subset_agrees(model, batch, calls[form]())
    with fast_fp32(only_where_faster=False) as outcome:
        pass
    route = (lambda: fast_fp32(only_where_faster=False)) if outcome.enabled else nullcontext
    with route():
        seconds = context.measure(calls)
    precision = "fp32, re-routed" if outcome.enabled else "fp32, default route"
    rows = []
    for form in _FORMS:
        goal = f"; goal {1000 * _GOAL_SECONDS:.0f} ms on two cores" if form == "C" else ""
        rows.append(
            Row(f"ours, form {form}, {precision}", seconds[form], None, f"{agreed[form]}{goal}; {gate_note(form)}")
        )
    rival = seconds["published"]
    for form in _FORMS:
        note = "architecture differs" + (f"; goal {_GOAL_RATIO}x" if form == "C" else "")
        rows.append(Row(f"Performer decoder over all genes, over form {form}", rival, rival / seconds[form], note))
    return rows


def _predict(model: CoTrainNetwork, batch: PackedTokens) -> Callable[[], Tensor]:
    with torch.no_grad():
        genes = model.encode_graph()
    predictor = model.value_predictor()
    assert predictor is not None
    return lambda: predictor.predict_values(model, batch, genes)


def _subset_agrees(model: CoTrainNetwork, batch: PackedTokens, found_M: Tensor) -> str:
    """A zero that is not asked for is not read either, so fewer questions leave the other answers as they are."""
    assert batch.masked_T is not None
    where_M = torch.nonzero(batch.masked_T).squeeze(1)
    dropped_M = (batch.values_T[where_M] == 0) & (where_M % 2 == 0)
    fewer_T = batch.masked_T.clone()
    fewer_T[where_M[dropped_M]] = False
    return assert_agrees(
        "values of fewer genes", _predict(model, replace(batch, masked_T=fewer_T))(), found_M[~dropped_M]
    )
