"""Reads or molecules: log1p of counts per ten thousand of the cell."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from grn_cotrain.data.assay_kinds.base import ASSAY_KINDS, TARGET_SUM, AssayKind

__all__ = ["Counts"]


@ASSAY_KINDS.register("counts", paper="Zheng et al. 2017")
class Counts(AssayKind):
    """Whole numbers, scaled by the total of the cell in this assay."""

    name = "counts"
    reads = True

    @staticmethod
    def depth(values_CF: sparse.csr_matrix) -> np.ndarray:
        """Total counts of each cell."""
        return np.asarray(values_CF.sum(axis=1, dtype=np.float64)).ravel()

    @staticmethod
    def normalise(value_N: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """``log(1 + 10 000 x / depth)``."""
        return np.log1p(value_N * (TARGET_SUM / np.where(depth_N > 0, depth_N, 1.0))).astype(np.float32)
