"""B4: FLOPs of one training step on one cell of 19,264 genes, counted by torch on a real batch.

Not a race: operations are counted (:mod:`experiments.flops`: matrix products, 2 a multiply-add, backward as twice
forward, as the published figure is), for the designs of ``xtrimogene`` at the published width, six to ten million
parameters. A tenth of the genes is not zero, 30 % of these are hidden and as many zeros. The figure to beat is the
published one, at 9.8 million parameters; the published decoder, rebuilt, is another row. A ratio is a claim only
where the study of decoders has shown equal quality on real cells.
"""

from __future__ import annotations

from experiments.benchmarks.harness import Context, Row
from experiments.encoders.designs import FORMS, WIDTH, shape_flops
from experiments.encoders.full_transcriptome import NUM_GENES, full_cells
from experiments.encoders.gate import PUBLISHED_FLOPS, gate_note

__all__ = ["ID", "TITLE", "run"]

ID = "B4"
TITLE = f"FLOPs a cell of {NUM_GENES:,} genes, forward + backward, by torch's counter (a shape calculation)"

_QUICK_GENES, _QUICK_WIDTH = 600, 32
_GOAL = 10


def run(context: Context) -> list[Row]:
    """Count; ``ratio`` is the published figure over ours."""
    num_genes = _QUICK_GENES if context.quick else NUM_GENES
    cells = full_cells(2, num_genes=num_genes)
    rows = [Row("xTrimoGene, published", note=f"{PUBLISHED_FLOPS:.2e} FLOPs, 9.8M parameters (its table 1)")]
    for form in FORMS:
        count, parameters = shape_flops(form, cells, width=_QUICK_WIDTH if context.quick else WIDTH)
        name = "published decoder, rebuilt" if form == "published" else f"form {form}"
        flops = count.without_recomputation
        said = f"{flops:.2e} FLOPs ({count.total:.2e} with what fused attention computes twice),"
        said += f" {parameters / 1e6:.1f}M parameters"
        if form not in ("published", "A"):
            said += f", goal {_GOAL}x at the quality gate"
        if count.not_counted:
            said += f"; not counted: {', '.join(f'{name} x{calls}' for name, calls in count.not_counted.items())}"
        rows.append(Row(name, None, PUBLISHED_FLOPS / flops, f"{said}; {gate_note(form)}"))
    return rows
