"""Antibody counts: the centred log-ratio of a cell, in the form that keeps zeros at zero."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from grn_cotrain.data.assay_kinds.base import ASSAY_KINDS, AssayKind

__all__ = ["CentredLogRatio"]


@ASSAY_KINDS.register("clr", paper="Stoeckius et al. 2017")
class CentredLogRatio(AssayKind):
    r"""Counts divided by the geometric mean of the cell: :math:`\log(1 + x / \exp(\mathrm{mean}\,\log(1 + x)))`."""

    name = "clr"

    @staticmethod
    def depth(values_CF: sparse.csr_matrix) -> np.ndarray:
        """The geometric mean of ``1 + x`` over all features of the cell, zeros included."""
        logs = values_CF.copy()
        logs.data = np.log1p(values_CF.data.astype(np.float64))
        return np.exp(np.asarray(logs.sum(axis=1)).ravel() / max(1, values_CF.shape[1]))

    @staticmethod
    def normalise(value_N: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """``log(1 + x / geometric mean)``."""
        return np.log1p(value_N / depth_N).astype(np.float32)
