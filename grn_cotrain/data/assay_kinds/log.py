"""Values on a log scale, as they are given."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from grn_cotrain.data.assay_kinds.base import ASSAY_KINDS, AssayKind

__all__ = ["Log"]


@ASSAY_KINDS.register("log", paper="values as given")
class Log(AssayKind):
    """Log-scale values, which nobody scales again."""

    name = "log"

    @staticmethod
    def depth(values_CF: sparse.csr_matrix) -> np.ndarray:
        """Ones: the depth of normalised values is not known."""
        return np.ones(values_CF.shape[0])

    @staticmethod
    def normalise(value_N: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """The values themselves."""
        return value_N
