r"""The directions of the states of cells that go with read depth, and states without them.

A linear function of the states can only know the log depth of training cells by their covariance with it,
:math:`u_a = \mathrm{Cov}(z, \log n_a)` for an assay *a*. States without it,

.. math:: z' = z - U (z - \bar z) U^{\mathsf T}, \qquad U \text{ an orthonormal basis of the } u_a,

have the covariance 0, so on training cells no linear function knows depth. It is fitted after training, so no loss
knows of it, and labels are never read. See ``docs/decisions/0012-cell-state.md``.

Dimension letters: C cells, D width, A assays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json

__all__ = ["DEPTH_FILE", "DepthDirections"]

DEPTH_FILE = "depth.json"
"""Its name in a model folder."""

_FEWEST = 50  # cells of an assay: with fewer the covariance is mostly chance
_SHAPE = {
    "format_version": int,
    "mean": [float],
    "directions": {str: [float]},
    "explained": {str: float},
    "without": {str: str},
}


@dataclass(frozen=True, eq=False)
class DepthDirections:
    """Directions of read depth, one an assay.

    Attributes
    ----------
    mean_D
        float64 mean state of training cells, which keeps its place.
    along_AD
        float64 orthonormal directions; there is no row if no assay has a depth.
    explained
        Assay -> share of the variance of training cells' states that its log depth explains.
    without
        Assay -> the reason why it has no direction.
    """

    mean_D: np.ndarray
    along_AD: np.ndarray
    explained: Mapping[str, float]
    without: Mapping[str, str]

    @classmethod
    def fit(cls, states_CD: np.ndarray, depths: Mapping[str, np.ndarray | None]) -> Self:
        """Take covariances over cells.

        Parameters
        ----------
        states_CD
            States ``[C, D]`` of training cells.
        depths
            Assay -> reads of each cell ``[C]``, NaN or 0 where the cell lacks the assay; None: its values are not
            reads.
        """
        states_CD = np.asarray(states_CD, dtype=np.float64)
        mean_D = states_CD.mean(axis=0) if len(states_CD) else np.zeros(states_CD.shape[1])
        along, explained, without = [], dict[str, float](), dict[str, str]()
        for name, depth_C in depths.items():
            if depth_C is None:
                without[name] = "its values are not reads"
                continue
            has_C = np.isfinite(depth_C) & (depth_C > 0)
            if int(has_C.sum()) < _FEWEST:
                without[name] = f"{int(has_C.sum())} training cells have it, and {_FEWEST} are needed"
                continue
            log_C = np.log(depth_C[has_C])
            spread = float(log_C.std())
            centred_CD = states_CD[has_C] - states_CD[has_C].mean(axis=0)
            total = float((centred_CD**2).mean(axis=0).sum())
            if spread < 1e-6 or total == 0:
                without[name] = "all training cells have the same depth" if spread < 1e-6 else "all states are equal"
                continue
            covariance_D = centred_CD.T @ ((log_C - log_C.mean()) / spread) / len(log_C)
            along.append(covariance_D)
            explained[name] = float(covariance_D @ covariance_D) / total
        return cls(mean_D, _orthonormal(along, states_CD.shape[1]), explained, without)

    def removed(self, states_CD: np.ndarray) -> np.ndarray:
        """States without the directions, in their own type; rows of NaN stay so."""
        away_CD = (np.asarray(states_CD, dtype=np.float64) - self.mean_D) @ self.along_AD.T @ self.along_AD
        return (states_CD - away_CD).astype(states_CD.dtype)

    def note(self) -> str:
        """A sentence on the directions that are taken out, or on why there is none."""
        if not self.explained:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.without.items())
            return f"read depth is not taken out of the states ({reasons})"
        shares = ", ".join(f"{share:.1%} ({name})" for name, share in self.explained.items())
        return f"the direction of read depth is taken out; it had {shares} of the variance of training cells"

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically."""
        directions = {str(row): along_D.tolist() for row, along_D in enumerate(self.along_AD)}
        write_json(
            path,
            {
                "format_version": 1,
                "mean": self.mean_D.tolist(),
                "directions": directions,
                "explained": dict(self.explained),
                "without": dict(self.without),
            },
        )

    @classmethod
    def load(cls, path: str | Path, *, width: int) -> Self:
        """Read what :meth:`save` wrote for a model of this width.

        Raises
        ------
        UserError
            Another content, another width, numbers that are not finite, directions that are not orthonormal.
        """
        loaded = read_json(path, what="directions of depth", shape=_SHAPE)
        mean_D = np.asarray(loaded["mean"], dtype=np.float64)
        rows = list(loaded["directions"].values())
        fits = mean_D.shape == (width,) and all(len(row) == width for row in rows) and len(rows) <= width
        along_AD = np.asarray(rows, dtype=np.float64).reshape(-1, width) if fits else np.zeros((0, width))
        numbers = [*loaded["explained"].values(), *mean_D]
        fits = fits and all(map(math.isfinite, numbers)) and bool(np.isfinite(along_AD).all())
        if not fits or not np.allclose(along_AD @ along_AD.T, np.eye(len(along_AD)), atol=1e-6):
            raise UserError(f"directions of depth '{path}': not those of a model of width {width}; train the run again")
        return cls(mean_D, along_AD, loaded["explained"], loaded["without"])


def _orthonormal(along: list[np.ndarray], width: int) -> np.ndarray:
    """Basis ``[A, D]`` of the vectors; what another one already spans is left out."""
    if not along:
        return np.zeros((0, width))
    vectors_AD = np.stack([vector / np.linalg.norm(vector) for vector in along])
    _, size_A, basis_AD = np.linalg.svd(vectors_AD, full_matrices=False)
    return basis_AD[size_A > 1e-6]
