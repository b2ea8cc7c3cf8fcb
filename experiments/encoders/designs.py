"""The designs of ``xtrimogene`` at the size of PERFORMANCE's table, their FLOPs, and the quality gate.

Size: width 256, 6 blocks (or what stands in their place), about ten million parameters with the table of 19,264 genes;
a tenth of the genes not zero, 30 % of these hidden and as many zeros. FLOPs at this size are a *shape calculation*: the
operations of one step on one generated cell, counted by torch; nothing is claimed of its quality there.

The gate: a ratio is claimed for a decoder only where, on real cells of the size at hand, its held-out gene-standardised
masked-value R2 is above 0 and within 0.005 of form A's after equally many steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.encoders.full_transcriptome import DENSITY, full_batch, full_model
from experiments.flops import FlopCount, step_flops
from experiments.records import RECORDS, read_records
from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.model import CoTrainModel

__all__ = [
    "FORMS",
    "PUBLISHED_FLOPS",
    "RECORD",
    "TOLERANCE",
    "WIDTH",
    "Verdict",
    "claims",
    "design_batch",
    "design_model",
    "design_objective",
    "design_options",
    "design_tokens",
    "gate",
    "gate_note",
    "shape_flops",
]

FORMS = ("published", "A", "A1", "D2", "D1", "C")
"""The encoder's five forms of decoder, and ``A1``: form A with one block and one layer of its decoder, no latents."""

WIDTH = 256
PUBLISHED_FLOPS = 3.35e11
"""Forward and backward of one sample at 9.8 million parameters: xTrimoGene, table 1."""

TOLERANCE = 0.005
RECORD = "decoders"
_REFERENCE = "A"
_MASK_SHARE = 0.3


def design_options(form: str) -> dict[str, Any]:
    """Options of the encoder: the defaults of the form; with C only hidden values ask the latents."""
    if form == "A1":
        return {"decoder": "A", "num_layers": 1, "decoder_layers": 1}
    return {"decoder": form, **({"decode_visible": False} if form == "C" else {})}


def design_tokens(form: str, num_nonzero: int) -> dict[str, Any]:
    """Zeros among the tokens: all for the published decoder, which reads them; else as many as there are values.

    Forms with cross-attention never read a zero, they are asked for hidden ones alone, so a zero that is not hidden
    costs nothing and need not be there.
    """
    return {"zeros_per_cell": "all" if form == "published" else num_nonzero}


def design_objective(form: str) -> dict[str, dict[str, Any]]:
    """30 % of the values hidden, and as many zeros."""
    options: dict[str, Any] = {"mask_share": _MASK_SHARE, "mask_zeros": True}
    if form == "published":  # every zero is a token there; the other forms show just those that are hidden
        options["mask_balance"] = "equal_count"
    return {"masked_value": options}


def design_model(form: str, cells: CellMatrix, *, width: int = WIDTH, **options: Any) -> CoTrainModel:
    """The model of a form over generated cells (:mod:`experiments.encoders.full_transcriptome`)."""
    num_nonzero = round(DENSITY * cells.num_genes)
    return full_model(
        cells,
        "xtrimogene",
        {**design_options(form), **options},
        width=width,
        objectives=design_objective(form),
        tokens={"max_tokens": cells.num_genes + 1 + num_nonzero, **design_tokens(form, num_nonzero)},
    )


def design_batch(form: str, cells: CellMatrix, model: CoTrainModel) -> CellBatch:
    """One cell as the form reads it."""
    del form
    return full_batch(model, cells, num_cells=1)


def shape_flops(form: str, cells: CellMatrix, *, width: int = WIDTH) -> tuple[FlopCount, int]:
    """FLOPs of one training step on one cell, and the parameters of encoder and table."""
    model = design_model(form, cells, width=width)
    model.train()
    count = step_flops(model, design_batch(form, cells, model), "masked_value")
    return count, sum(p.numel() for part in (model.cell_encoder, model.table) for p in part.parameters())


@dataclass(frozen=True)
class Verdict:
    """A form at the gate: its R2 and its difference to form A's, each with a 95 % interval over held-out cells."""

    form: str
    r2: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    num_seeds: int

    @property
    def passes(self) -> bool:
        """R2 above 0 and at most 0.005 below A's."""
        return self.r2 > 0 and self.difference >= -TOLERANCE


def gate(replicates: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Verdict]:
    """Verdict of every form from the paired replicates of R2 of its seeds (the first entry is the sample itself).

    A form is compared with A under the same seeds; where A is missing nobody passes, and there are no verdicts.
    """
    if not replicates.get(_REFERENCE):
        return {}
    found = {}
    for form, runs in replicates.items():
        if not runs:
            continue
        both = min(len(runs), len(replicates[_REFERENCE]))
        mine_B = np.mean([np.asarray(run) for run in runs], axis=0)
        paired_B = np.mean([np.asarray(runs[i]) - np.asarray(replicates[_REFERENCE][i]) for i in range(both)], axis=0)
        found[form] = Verdict(form, *_interval(mine_B), *_interval(paired_B), num_seeds=len(runs))
    return found


def _interval(values_B: np.ndarray) -> tuple[float, float, float]:
    tail = values_B[1:] if len(values_B) > 1 else values_B
    return float(values_B[0]), float(np.quantile(tail, 0.025)), float(np.quantile(tail, 0.975))


def claims(verdicts: Mapping[str, Verdict], flops: Mapping[str, float]) -> list[str]:
    """What may be said: a ratio for each form that passes, and whether ten times fewer is among them."""
    passing = {form: PUBLISHED_FLOPS / flops[form] for form, v in verdicts.items() if v.passes and form in flops}
    lines = [
        f"{form}: {ratio:.1f}x fewer FLOPs a cell than xTrimoGene's published {PUBLISHED_FLOPS:.2e} (a shape"
        f" calculation at 19,264 genes); R2 {verdicts[form].r2:.3f}, {verdicts[form].difference:+.4f} of A's"
        for form, ratio in sorted(passing.items(), key=lambda item: -item[1])
        if ratio > 1
    ]
    best = max(passing.values(), default=0.0)
    if best >= 10:
        names = ", ".join(form for form, ratio in passing.items() if ratio >= 10)
        lines.insert(0, f"10x fewer FLOPs than xTrimoGene at the quality gate: {names}")
    else:
        said = f"the best that passes is {best:.1f}x" if best else "no form passes"
        lines.insert(0, f"no claim of 10x fewer FLOPs: {said}")
    return lines


def gate_note(form: str, folder: Path = RECORDS) -> str:
    """What the recorded study says of a form, for a benchmark's row."""
    record = next((one for one in read_records(folder) if one["name"] == RECORD), None) if folder.is_dir() else None
    if record is None:
        return "equal quality not shown: no record of the study of decoders, so no claim"
    row = next((row for row in record["body"]["verdicts"] if row["form"] == form), None)
    if row is None:
        return "equal quality not shown: the study of decoders holds no such form, so no claim"
    verdict = Verdict(**row)
    if verdict.form == _REFERENCE and verdict.passes:
        return f"the gate's reference, R2 {verdict.r2:.3f}"
    spread = f"[{verdict.difference_low:+.4f}, {verdict.difference_high:+.4f}]"
    found = f"R2 {verdict.r2:.3f}, {verdict.difference:+.4f} of A's {spread}"
    return f"at the quality gate: {found}" if verdict.passes else f"fails the quality gate, no claim: {found}"
