"""Absolute Pearson correlation of TF and target over cells.

Dimension letters: C cells, G genes, M pairs, S sources of a block.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.controls.pair_rows import score_by_rows
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["Pearson", "unit_profiles"]


def unit_profiles(profiles_CG: np.ndarray) -> np.ndarray:
    """Centre each gene over cells and scale it to length 1; constant genes become 0 and so correlate with nothing."""
    centred_CG = profiles_CG - profiles_CG.mean(axis=0, dtype=np.float64).astype(np.float32)
    length_G = np.sqrt(np.square(centred_CG).sum(axis=0, dtype=np.float64))
    constant_G = length_G <= 1e-6 * np.sqrt(np.square(profiles_CG).sum(axis=0, dtype=np.float64))
    centred_CG /= np.where(constant_G, 1, length_G).astype(np.float32)
    centred_CG[:, constant_G] = 0
    return centred_CG


@CONTROLS.register("pearson", paper="-")
class Pearson(Control):
    r"""Absolute Pearson correlation of TF and target over all cells.

    .. math:: z_{st} = |\operatorname{corr}(x_s, x_t)|

    Expression is normalised: log1p of counts per ten thousand, or log values as given.
    """

    name = "pearson"
    needs_cells = True
    profiles_CG: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Standardise the expression of every gene; edges are not read."""
        if cells is None:
            raise UserError(f"control '{self.name}': no cells; give cells, or leave it out of --controls")
        self.profiles_CG = self._profiles(cells)
        return self

    def _profiles(self, cells: CellStore) -> np.ndarray:
        return unit_profiles(cells.normalised().toarray())

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``, in [0, 1]."""
        return score_by_rows(pairs_2M, lambda sources_S: np.abs(self.profiles_CG[:, sources_S].T @ self.profiles_CG))
