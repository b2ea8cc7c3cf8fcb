"""Edges of other relations than regulation: they may pass messages, and are neither hidden nor scored.

Dimension letters: E edges, R relations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["REGULATES", "RelationEdges", "relative_weights"]

REGULATES = "regulates"
"""The relation between a TF and its target gene: the only one that splits hide, losses supervise and tables score."""

_ARRAYS = ("pairs_2E", "relation_E", "sign_E", "weight_E")


@dataclass(frozen=True, eq=False)
class RelationEdges:
    """Edges between features of any spaces, by relation.

    Attributes
    ----------
    names
        Names of the relations; never :data:`REGULATES`.
    pairs_2E
        int64 indices in the vocabulary of sources and targets.
    relation_E
        int64 position among ``names``.
    sign_E
        int64 -1 repression, 0 unknown, 1 activation.
    weight_E
        float32 weights, at least 0.
    """

    names: tuple[str, ...]
    pairs_2E: np.ndarray
    relation_E: np.ndarray
    sign_E: np.ndarray
    weight_E: np.ndarray

    def __post_init__(self) -> None:
        count = self.pairs_2E.shape[-1]
        shapes = {name: getattr(self, name).shape for name in _ARRAYS}
        if shapes != dict.fromkeys(_ARRAYS, (count,)) | {"pairs_2E": (2, count)}:
            raise UserError(f"relations: arrays of shapes {shapes}; give one value of each for every edge")
        if REGULATES in self.names or len(set(self.names)) != len(self.names):
            raise UserError(f"relations: {', '.join(self.names)}; give distinct names other than {REGULATES}")
        if count and not (self.relation_E.min() >= 0 and self.relation_E.max() < len(self.names)):
            raise UserError(f"relations: an edge of a relation past the {len(self.names)} names")

    @classmethod
    def none(cls) -> RelationEdges:
        """No relation but regulation."""
        empty = np.zeros(0, dtype=np.int64)
        return cls((), np.zeros((2, 0), dtype=np.int64), empty, empty, np.zeros(0, dtype=np.float32))

    @property
    def num_edges(self) -> int:
        """E."""
        return int(self.pairs_2E.shape[1])

    def __bool__(self) -> bool:
        return self.num_edges > 0

    @property
    def counts(self) -> dict[str, int]:
        """Edges of each relation."""
        return dict(zip(self.names, np.bincount(self.relation_E, minlength=len(self.names)).tolist(), strict=True))

    def equals(self, other: RelationEdges) -> bool:
        """Whether the two have the same relations and edges, in any order; weights may differ by rounding."""
        if self.names != other.names or self.num_edges != other.num_edges:
            return False
        mine_E, other_E = (np.lexsort((e.relation_E, e.pairs_2E[1], e.pairs_2E[0])) for e in (self, other))
        same = all(
            np.array_equal(getattr(self, name)[..., mine_E], getattr(other, name)[..., other_E])
            for name in ("pairs_2E", "relation_E", "sign_E")
        )
        return same and np.allclose(self.weight_E[mine_E], other.weight_E[other_E], rtol=1e-5)

    def of(self, name: str) -> np.ndarray:
        """bool ``[E]``: which edges are of this relation."""
        return self.relation_E == self.names.index(name)

    def keep(self, kept_E: np.ndarray) -> RelationEdges:
        """The edges that are marked, under the same names."""
        return RelationEdges(
            self.names, self.pairs_2E[:, kept_E], self.relation_E[kept_E], self.sign_E[kept_E], self.weight_E[kept_E]
        )

    def only(self, names: Sequence[str] | None) -> RelationEdges:
        """The relations that a recipe names, in its order; None: all.

        Raises
        ------
        UserError
            A name that the network does not have, or one twice.
        """
        if names is None:
            return self
        known = ", ".join(self.names) or f"none except {REGULATES}"
        for name in names:
            if name not in self.names:
                raise UserError(
                    f"graph.relations: '{name}' is not a relation of the network (it has {known})"
                    f"{did_you_mean(name, self.names)}"
                )
        if len(set(names)) != len(names):
            raise UserError(f"graph.relations: {', '.join(names)}; name each relation once")
        kept = self.keep(np.isin(self.relation_E, [self.names.index(name) for name in names]))
        position_R = np.array([names.index(n) if n in names else -1 for n in self.names] or [0], dtype=np.int64)
        return RelationEdges(tuple(names), kept.pairs_2E, position_R[kept.relation_E], kept.sign_E, kept.weight_E)

    def relative(self, *, weights: bool) -> RelationEdges:
        """The same edges with weights relative to the mean weight of their relation, or all of weight 1."""
        weight_E = np.ones(self.num_edges, dtype=np.float32)
        if weights:
            for name in self.names:
                at = self.of(name)
                relative = relative_weights(self.weight_E[at])
                weight_E[at] = 1.0 if relative is None else relative
        return RelationEdges(self.names, self.pairs_2E, self.relation_E, self.sign_E, weight_E)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays for a safetensors file; empty without edges."""
        return {f"other_{name}": np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS} if self.names else {}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], names: Sequence[str]) -> RelationEdges:
        """Inverse of :meth:`to_arrays`.

        Raises
        ------
        UserError
            Arrays that are missing or do not fit each other.
        """
        if not names:
            return cls.none()
        missing = [name for name in _ARRAYS if f"other_{name}" not in arrays]
        if missing:
            raise UserError(f"relations: the array 'other_{missing[0]}' is missing")
        return cls(tuple(names), *(np.asarray(arrays[f"other_{name}"]) for name in _ARRAYS))


def relative_weights(weight_E: np.ndarray) -> np.ndarray | None:
    """Weights over their mean, so that confidences and importances of any scale act alike; None if all are equal.

    The sign of a weight is not read: it is kept apart.
    """
    given_E = np.abs(weight_E.astype(np.float64))
    if not given_E.size or given_E.min() == given_E.max():
        return None
    return (given_E / given_E.mean()).astype(np.float32)
