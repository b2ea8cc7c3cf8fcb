"""Open or closed: a value of 1 means that a feature was seen, and nothing scales it."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from grn_cotrain.data.assay_kinds.base import ASSAY_KINDS, AssayKind

__all__ = ["Binary"]


@ASSAY_KINDS.register("binary", paper="Cusanovich et al. 2015")
class Binary(AssayKind):
    """Presence or absence of a feature in a cell."""

    name = "binary"

    @staticmethod
    def depth(values_CF: sparse.csr_matrix) -> np.ndarray:
        """Number of features that were seen, for the record: values are not divided by it."""
        return np.diff(values_CF.indptr).astype(np.float64)

    @staticmethod
    def normalise(value_N: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """1 where something was seen."""
        return (value_N > 0).astype(np.float32)
