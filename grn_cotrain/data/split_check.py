"""Whether a part of a split can be ranked at all: it needs positives, and negatives to rank them against."""

from __future__ import annotations

from grn_cotrain.data.edge_split import EdgeSplit, Part

__all__ = ["one_sided"]


def one_sided(split: EdgeSplit, part: Part) -> str:
    """Say what a part lacks and what helps; an empty text where it has positives and negatives."""
    num_positives, num_pairs = split.counts(part)
    if not num_positives:
        return (
            f"split '{split.name}': its {part} part has no positive of {num_pairs:,} candidate pairs; "
            "give a network with more edges or TFs, or another kind or seed"
        )
    if num_positives == num_pairs:
        return (
            f"split '{split.name}': its {part} part has no negative, all {num_pairs:,} candidate pairs are edges, so "
            "there is nothing to rank; keep the strongest edges of the network and make the split again"
        )
    return ""
