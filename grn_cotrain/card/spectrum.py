"""Is the embedding sound: missing numbers, empty or repeated rows, how many directions it really uses.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.card.vectors import unit_rows
from grn_cotrain.present import number

__all__ = ["Spectrum", "spectrum_of"]

_PAIRS = 20_000  # random pairs for the mean cosine
_ANISOTROPIC = 0.5


@dataclass(frozen=True)
class Spectrum:
    """Health of an embedding.

    Attributes
    ----------
    num_not_finite
        Genes with a NaN or an infinite number; such rows are left out of everything else in a card.
    num_zero_rows, num_duplicate_rows
        Genes whose row is 0; genes whose row equals that of an earlier gene.
    num_constant_dimensions
        Dimensions that are equal for all genes.
    effective_rank
        ``exp(entropy)`` of the shares of variance (Roy & Vetterli 2007): from 1 to the width.
    participation_ratio
        ``(sum v)^2 / sum v^2`` of the variances v of the principal directions.
    variance_shares
        Shares of variance of the ten leading principal directions.
    dimensions_for_90_percent
        Leading directions that hold 90 % of the variance.
    mean_cosine
        Mean cosine of random pairs: near 0 for directions that spread, near 1 where all rows share one direction.
    note
        Advice for the user, or nothing.
    """

    num_not_finite: int
    num_zero_rows: int
    num_duplicate_rows: int
    num_constant_dimensions: int
    effective_rank: float
    participation_ratio: float
    variance_shares: tuple[float, ...]
    dimensions_for_90_percent: int
    mean_cosine: float
    note: str


def spectrum_of(values_GD: np.ndarray, *, seed: int = 0) -> Spectrum:
    """Measure an embedding ``[G, D]`` (rows may hold numbers that are not finite)."""
    finite_G = np.isfinite(values_GD).all(axis=1)
    kept_GD = np.asarray(values_GD, dtype=np.float64)[finite_G]
    num_zero = int((kept_GD == 0).all(axis=1).sum())
    centred_GD = kept_GD - kept_GD.mean(axis=0) if len(kept_GD) else kept_GD
    variance_D = np.linalg.svd(centred_GD, compute_uv=False) ** 2 if centred_GD.size else np.zeros(0)
    total = float(variance_D.sum())
    share_D = variance_D / total if total > 0 else np.zeros_like(variance_D)
    positive_D = share_D[share_D > 0]
    generator = np.random.default_rng(seed)
    cosine = float("nan")
    if len(kept_GD) > 1:
        unit_GD = unit_rows(kept_GD)
        a, b = generator.integers(len(unit_GD), size=(2, _PAIRS))
        cosine = float((unit_GD[a[a != b]] * unit_GD[b[a != b]]).sum(axis=1).mean())
    note = ""
    if cosine > _ANISOTROPIC:
        note = (
            f"random pairs of genes have a cosine of {number(cosine, 2)}: all rows share one direction, so cosines are "
            "high everywhere; subtract the mean row before you compare genes"
        )
    return Spectrum(
        num_not_finite=int((~finite_G).sum()),
        num_zero_rows=num_zero,
        num_duplicate_rows=len(kept_GD) - len(np.unique(kept_GD, axis=0)),
        num_constant_dimensions=int((np.ptp(kept_GD, axis=0) == 0).sum()) if len(kept_GD) else kept_GD.shape[1],
        effective_rank=float(np.exp(-(positive_D * np.log(positive_D)).sum())) if total > 0 else 0.0,
        participation_ratio=float(total**2 / (variance_D**2).sum()) if total > 0 else 0.0,
        variance_shares=tuple(float(share) for share in share_D[:10]),
        dimensions_for_90_percent=int(np.searchsorted(np.cumsum(share_D), 0.9 - 1e-12) + 1) if total > 0 else 0,
        mean_cosine=cosine,
        note=note,
    )
