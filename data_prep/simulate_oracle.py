"""The ceiling of a simulated world: a scorer that is given the true dynamics, though not the edges.

Dimension letters: C cells, S TFs, G genes, M pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

from .simulate import SimulatedWorld

__all__ = ["OracleScorer", "oracle_scores"]

_RIDGE = 1.0


def oracle_scores(activity_CS: np.ndarray, log_rate_CG: np.ndarray, tf_index_S: np.ndarray) -> np.ndarray:
    """Return ``[S, G]``: absolute standardised coefficients of every gene's true log rate on all true activities.

    Ridge regression, one gene at a time (penalty 1 on ``C`` cells: next to none). A TF does not explain itself.
    """
    activity_CS, rate_CG = _standardised(activity_CS), _standardised(log_rate_CG)
    gram_SS = activity_CS.T @ activity_CS + _RIDGE * np.eye(activity_CS.shape[1])
    cross_SG = activity_CS.T @ rate_CG
    coefficient_SG = np.linalg.solve(gram_SS, cross_SG)
    for row, gene in enumerate(tf_index_S):
        others = np.arange(len(tf_index_S)) != row
        coefficient_SG[others, gene] = np.linalg.solve(gram_SS[np.ix_(others, others)], cross_SG[others, gene])
        coefficient_SG[row, gene] = 0.0
    return np.abs(coefficient_SG)


class OracleScorer:
    """Scores pairs from the noise-free world; a ceiling to print next to models, never a competitor.

    It knows what no experiment shows: the activity of every TF and the log rate of every gene in every cell, without
    counting noise. It does not know an edge, a sign or a label of any part. Co-factors and thresholds blur its linear
    regression, so it stays below 1. In a world without signal it knows the dynamics of *those* cells, which carry no
    information about the network, and it falls to chance.

    Parameters
    ----------
    folder
        Folder written by :func:`~data_prep.simulate.simulate`.
    """

    name = "oracle (true dynamics)"

    def __init__(self, folder: str | Path) -> None:
        frames = []
        for file in ("truth_activity.parquet", "truth_log_rate.parquet"):
            path = Path(folder) / file
            if not path.is_file():
                raise UserError(f"oracle: no file {path}; only folders of grn-prep simulate have a known truth")
            frames.append(pd.read_parquet(path))
        self._set(*frames)

    @classmethod
    def from_world(cls, world: SimulatedWorld) -> OracleScorer:
        """The oracle of a world in memory."""
        oracle = cls.__new__(cls)
        oracle._set(world.activity, world.log_rate)
        return oracle

    def _set(self, activity: pd.DataFrame, log_rate: pd.DataFrame) -> None:
        tf_index_S = log_rate.columns.get_indexer(activity.columns)
        self.scores_GG = np.zeros((log_rate.shape[1], log_rate.shape[1]))
        self.scores_GG[tf_index_S] = oracle_scores(
            activity.to_numpy(dtype=np.float64), log_rate.to_numpy(dtype=np.float64), tf_index_S
        )

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Nothing to learn: the split is only checked to be of the same world's size."""
        del cells
        if split.num_genes != self.scores_GG.shape[0]:
            raise UserError(
                f"oracle: split '{split.name}' has {split.num_genes} genes, the simulated world "
                f"{self.scores_GG.shape[0]}; give a split of the same folder"
            )
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``; 0 for a source that is no TF of the world."""
        return self.scores_GG[pairs_2M[0], pairs_2M[1]]


def _standardised(values_CN: np.ndarray) -> np.ndarray:
    centred_CN = values_CN - values_CN.mean(axis=0)
    deviation_N = centred_CN.std(axis=0)
    return centred_CN / np.where(deviation_N > 0, deviation_N, 1.0)
