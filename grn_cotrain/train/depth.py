"""Directions of read depth in the states of a trained model, fitted once at the end of a run.

Dimension letters: C cells, D width.
"""

from __future__ import annotations

import numpy as np
import torch

from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.streams import TOKENS_PER_BATCH, one_pass
from grn_cotrain.metrics.depth_directions import DEPTH_FILE, DepthDirections
from grn_cotrain.model_io import add_to_model, read_tensors
from grn_cotrain.train.trainer import Trainer

__all__ = ["fit_depth"]

_MOST_CELLS = 10_000  # a covariance with one number needs no more


def fit_depth(trainer: Trainer) -> DepthDirections | None:
    """Fit the directions on states of training cells by the best model of cells, and write them next to it.

    Labels, validation and test cells are not read. The result is None if no objective trains cells.
    """
    if not trainer.schedule.trains_cells:
        return None
    model, data = trainer.model, trainer.data
    folder = trainer.run.model_for("cells")
    model.load_state_dict(read_tensors(folder / "model.safetensors"))
    model.eval()
    tokenizer = model.tokenizer(data.cells)
    rows_C = data.cell_split.train_C
    if len(rows_C) > _MOST_CELLS:
        rows_C = np.sort(np.random.default_rng((trainer.recipe.seed, 23)).choice(rows_C, _MOST_CELLS, replace=False))
    rows_C = rows_C[np.asarray(tokenizer.lengths_C)[rows_C] > 1]  # CLS alone is not a cell
    states_CD = np.zeros((len(rows_C), model.config.width), dtype=np.float32)
    done = 0
    with torch.no_grad():
        genes = model.encode_graph()
        for batch in one_pass(tokenizer, rows_C, tokens_per_batch=TOKENS_PER_BATCH):
            packed = CellBatch.pack(batch).to(trainer.fabric.device)
            states_BD = model.encode_cells(packed, genes).cells_BD.float().cpu().numpy()
            states_CD[done : done + len(states_BD)] = states_BD
            done += len(states_BD)
    depths: dict[str, np.ndarray | None] = {}
    for name, assay in data.cells.assays.items():
        depth_C = np.where(assay.present_C, assay.size_factor_C, np.nan)[rows_C]
        depths[name] = depth_C if assay.has_reads else None
    directions = DepthDirections.fit(states_CD, depths)
    directions.save(folder / DEPTH_FILE)
    add_to_model(folder, DEPTH_FILE)
    return directions
