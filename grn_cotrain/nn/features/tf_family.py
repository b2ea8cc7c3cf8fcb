"""Family of each gene by its symbol, hashed to a fixed number of columns.

Dimension letters: F features, G genes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.data.families import tf_family
from grn_cotrain.nn.features.base import FEATURE_SOURCES, FeatureContext, FeatureSource

__all__ = ["TFFamilyFeatures"]


@FEATURE_SOURCES.register("tf_family", paper="Weinberger et al. 2009, Feature hashing; families by symbol stem")
class TFFamilyFeatures(FeatureSource):
    """One signed, hashed column per family (STAT1 and STAT3 share it), and one that marks genes without relatives.

    The column of a family depends on its name alone, not on the vocabulary, so that weights carry over to other data.
    A family that has a single member among these genes adds nothing to an id row; it is not counted.

    Parameters
    ----------
    config
        ``buckets``: columns that families are hashed to.
    """

    portable = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Size of the hash.

        Attributes
        ----------
        buckets
            Columns that families are hashed to.
        """

        buckets: int = 256

        def __post_init__(self) -> None:
            require(self.buckets >= 1, f"buckets: got {self.buckets}; give at least 1")

    def features(self, context: FeatureContext) -> np.ndarray:
        """See :class:`FeatureSource`."""
        family_G = [tf_family(symbol) for symbol in context.vocab.symbols]
        members = Counter(family for family in family_G if family)
        values_GF = np.zeros((len(family_G), self.config.buckets + 1), dtype=np.float32)
        for gene, family in enumerate(family_G):
            if family and members[family] > 1:
                column, sign = _bucket(family, self.config.buckets)
                values_GF[gene, column] = sign
            else:
                values_GF[gene, -1] = 1.0
        return values_GF


def _bucket(family: str, buckets: int) -> tuple[int, float]:
    """Column and sign of a family; the sign makes two families that share a column differ half of the time."""
    number = int.from_bytes(hashlib.blake2b(family.encode(), digest_size=8).digest(), "little")
    return (number >> 1) % buckets, 1.0 if number & 1 else -1.0
