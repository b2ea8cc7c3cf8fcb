"""Scores of a control for every (source, gene): out of fold for training, from the full fit for use.

Dimension letters: G genes, S sources.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.controls._table_control import TableControl
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.out_of_fold import make_folds
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["out_of_fold"]


def out_of_fold(
    control_name: str, split: EdgeSplit, cells: CellStore | None, *, folds: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a control on all training positives, and again without each fold.

    A model that learns on top of a control must see, in training, scores that never saw the labels it learns from.

    Parameters
    ----------
    control_name
        A control that fills the whole table (``kernel_ridge``, ``knn_family``, ``target_knn``, ...).
    split, cells
        Training positives and expression.
    folds, seed
        Folds are made in the manner of the split's regime: TFs, genes, both, or pairs.

    Returns
    -------
    sources_S, train_SG, full_SG
        Gene indices of the rows; float32 out-of-fold scores and scores of the full fit.

    Raises
    ------
    UserError
        The control cannot be refitted out of fold.
    """
    control = CONTROLS.build(control_name, seed=seed)
    if not isinstance(control, TableControl):
        able = [c.name for c in CONTROLS.components() if issubclass(c.cls, TableControl)]
        raise UserError(f"evidence '{control_name}': cannot be fitted out of fold; choose from {', '.join(able)}")
    control.fit(split, cells)
    made = make_folds(split, control.table, folds=folds, seed=seed)
    return control.table.sources_S, control.out_of_fold(made), control.scores_SG
