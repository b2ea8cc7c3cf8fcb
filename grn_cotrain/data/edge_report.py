"""Outcome of reading the given edges: counted, and named where something was left out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from grn_cotrain.data.alignment import name_some

__all__ = ["DENSE", "EdgeReport"]

DENSE = 0.5
"""Share of all candidate pairs from which a network is called dense."""


@dataclass
class EdgeReport:
    """Outcome of reading the given edges; every gene that was left out is named.

    Attributes
    ----------
    num_given, num_edges
        Rows given, and pairs in the network.
    num_sources, num_targets
        Distinct genes with out-edges, with in-edges.
    duplicates
        Rows merged into an earlier row of the same pair.
    conflicting_signs
        ``TF->target`` of pairs whose rows hold both activation and repression; their sign is 0.
    self_loops
        Genes whose edge to themselves was dropped.
    reciprocal
        Edges whose reverse is an edge too.
    outside_edges, unknown_sources, unknown_targets
        Edges dropped since an end is not in the vocabulary, and the genes to blame. A TF here has no gene in the data.
    num_candidates
        Pairs of a TF of the network and another gene of the data; 0 in reports of earlier versions.
    renamed
        ``(given, symbol)`` where they differ.
    other_relations
        Relations besides regulation, each with its number of edges.
    complexes, notes
        As reported by the parser of the file.
    """

    num_given: int = 0
    num_edges: int = 0
    num_sources: int = 0
    num_targets: int = 0
    duplicates: int = 0
    conflicting_signs: list[str] = field(default_factory=list)
    self_loops: list[str] = field(default_factory=list)
    reciprocal: int = 0
    outside_edges: int = 0
    num_candidates: int = 0
    unknown_sources: list[str] = field(default_factory=list)
    unknown_targets: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    other_relations: list[str] = field(default_factory=list)
    complexes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def density(self) -> float:
        """Share of the candidate pairs that are edges; 0 where that is unknown."""
        return self.num_edges / self.num_candidates if self.num_candidates else 0.0

    def lines(self) -> list[str]:
        """Lines for the user, one fact a line."""
        lines = [
            *self.notes,
            f"{self.num_edges:,} edges of {self.num_given:,} given: "
            f"{self.num_sources:,} TFs, {self.num_targets:,} targets",
        ]
        if self.other_relations:
            lines.append(
                f"other relations, which pass messages and are not scored: {name_some(self.other_relations, 8)}"
            )
        if self.num_candidates:
            lines.append(
                f"density: {self.density:.2%} of the {self.num_candidates:,} pairs of a TF and another gene are edges"
            )
        if self.density >= DENSE:
            lines.append(
                "WARNING: the network holds most of all pairs, so few or no negatives are left to rank its edges "
                "against; keep the strongest edges of the list"
            )
        if self.outside_edges:
            lines.append(f"{self.outside_edges:,} edges have an end outside the data")
        if self.unknown_sources:
            lines.append(
                f"{len(self.unknown_sources):,} TFs have no gene in the data: {name_some(self.unknown_sources)}"
            )
        if self.unknown_targets:
            lines.append(
                f"{len(self.unknown_targets):,} targets have no gene in the data: {name_some(self.unknown_targets)}"
            )
        if self.renamed:
            pairs = [f"{given} -> {symbol}" for given, symbol in self.renamed]
            lines.append(f"{len(self.renamed):,} genes go by another name in the data: {name_some(pairs, 3)}")
        if self.duplicates:
            lines.append(f"{self.duplicates:,} repeated edges were merged")
        if self.conflicting_signs:
            clashes = name_some(self.conflicting_signs, 3)
            lines.append(f"{len(self.conflicting_signs):,} edges have both signs, so none: {clashes}")
        if self.self_loops:
            lines.append(f"{len(self.self_loops):,} self-loops were dropped: {name_some(self.self_loops)}")
        if self.reciprocal:
            lines.append(f"{self.reciprocal:,} edges have their reverse in the network too")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "renamed": [list(pair) for pair in self.renamed]}

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> EdgeReport:
        """Inverse of :meth:`to_dict`; keys of later versions are left out."""
        known = {name.name: mapping[name.name] for name in fields(cls) if name.name in mapping}
        return cls(**{**known, "renamed": [(given, symbol) for given, symbol in known.get("renamed", [])]})
