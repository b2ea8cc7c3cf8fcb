"""Apply a trained model to cells: a run that is opened once, cells that are read by its vocabulary, one loop over them.

Embedding, annotation, generation, perturbation and fine-tuning use these three.
"""

from __future__ import annotations

from grn_cotrain.apply.cells import Encoder, Reader, over_cells
from grn_cotrain.apply.identity import RunIdentity
from grn_cotrain.apply.open_run import AppliedCells, OpenRun

__all__ = ["AppliedCells", "Encoder", "OpenRun", "Reader", "RunIdentity", "over_cells"]
