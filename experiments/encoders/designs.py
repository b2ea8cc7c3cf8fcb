"""The designs of ``xtrimogene`` at the size of PERFORMANCE's table, and their FLOPs.

Size: width 256, 6 blocks (or what stands in their place), about ten million parameters with the table of 19,264 genes;
a tenth of the genes not zero, 30 % of these hidden and as many zeros. FLOPs at this size are a *shape calculation*: the
operations of one step on one generated cell, counted by torch; nothing is claimed of its quality there: that is for
:mod:`experiments.encoders.gate`.
"""

from __future__ import annotations

from typing import Any

from experiments.encoders.full_transcriptome import DENSITY, full_batch, full_model
from experiments.flops import FlopCount, step_flops
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.model import CoTrainNetwork

__all__ = [
    "FORMS",
    "WIDTH",
    "design_batch",
    "design_model",
    "design_objective",
    "design_options",
    "design_tokens",
    "shape_flops",
]

FORMS = ("published", "A", "A1", "D2", "D1", "C")
"""The encoder's five forms of decoder, and ``A1``: form A with one block and one layer of its decoder, no latents."""

WIDTH = 256
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


def design_model(form: str, cells: MemoryStore, *, width: int = WIDTH, **options: Any) -> CoTrainNetwork:
    """The model of a form over generated cells (:mod:`experiments.encoders.full_transcriptome`)."""
    num_nonzero = round(DENSITY * cells.num_features)
    return full_model(
        cells,
        "xtrimogene",
        {**design_options(form), **options},
        width=width,
        objectives=design_objective(form),
        tokens={"max_tokens": cells.num_features + 1 + num_nonzero, **design_tokens(form, num_nonzero)},
    )


def design_batch(form: str, cells: MemoryStore, model: CoTrainNetwork) -> PackedTokens:
    """One cell as the form reads it."""
    del form
    return full_batch(model, cells, num_cells=1)


def shape_flops(form: str, cells: MemoryStore, *, width: int = WIDTH) -> tuple[FlopCount, int]:
    """FLOPs of one training step on one cell, and the parameters of encoder and table."""
    model = design_model(form, cells, width=width)
    model.train()
    count = step_flops(model, design_batch(form, cells, model), "masked_value")
    return count, sum(p.numel() for part in (model.cell_encoder, model.table) for p in part.parameters())
