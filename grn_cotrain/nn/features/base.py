"""Contract of feature sources: what the data know in, one row of numbers per gene out.

Dimension letters: F features, G genes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from grn_cotrain.data.statistics import NOTHING, Need, Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.registry import Registry

__all__ = ["FEATURE_SOURCES", "FeatureContext", "FeatureSource", "standardised", "unit_block"]

FEATURE_SOURCES: Registry[FeatureSource] = Registry("inductive", __package__)


@dataclass(frozen=True)
class FeatureContext:
    """Input of a source. It never sees an edge: features must mean the same for genes that training never saw.

    Attributes
    ----------
    vocab
        Genes, in the order of the rows.
    statistics
        Statistics of the training cells, or None.
    feature_matrix
        File of user features, or None.
    seed
        For sources that draw.
    """

    vocab: FeatureVocab
    statistics: Statistics | None = None
    feature_matrix: Path | None = None
    seed: int = 0


class FeatureSource(ABC):
    """``__init__(config)``. Genes that the source knows nothing about are marked in a column: no silent zero rows."""

    Config: ClassVar[type[Any]]
    portable: ClassVar[bool] = False
    """Whether a column means the same on other data, and rows have length 1: new genes can then be read through maps
    that were learned without them."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """Statistics that :meth:`features` reads, so that one pass serves all parts. Default: none."""
        del config
        return NOTHING

    @abstractmethod
    def features(self, context: FeatureContext) -> np.ndarray:
        """Return finite float32 ``[G, F]``.

        Raises
        ------
        UserError
            The context lacks what the source reads.
        """


def standardised(values_GF: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1; constant columns become 0."""
    centred_GF = values_GF - values_GF.mean(axis=0)
    std_F = centred_GF.std(axis=0)
    flat_F = std_F <= 1e-6 * np.abs(values_GF).max(axis=0, initial=0.0)
    return np.where(flat_F, 0.0, centred_GF / np.where(flat_F, 1.0, std_F))


def unit_block(values_GF: np.ndarray) -> np.ndarray:
    """Scale a block of columns to a mean squared row norm of 1, so that blocks side by side weigh the same."""
    norm = float(np.sqrt(np.square(values_GF).sum(axis=1).mean())) if values_GF.size else 0.0
    return values_GF / norm if norm > 0 else values_GF
