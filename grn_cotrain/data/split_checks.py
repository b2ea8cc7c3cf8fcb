"""Whether a split can be trained and judged on: parts without positives or negatives, and how dense candidates are."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.data.edge_split import EdgeSplit, Part
from grn_cotrain.errors import UserError

__all__ = ["density_note", "one_sided", "refuse_one_class", "split_warnings"]

_HELD: tuple[Part, ...] = ("validation", "test")
_ALL: tuple[Part, ...] = ("train", *_HELD)
_FEW = 5


def density_note(split: EdgeSplit) -> str:
    """Share of positives among the candidates of each part, in a line."""
    shares = []
    for part in _ALL:
        positives, pairs = split.counts(part)
        shares.append(f"{part} {positives / pairs:.3%}" if pairs else f"{part} has no candidates")
    return f"density of edges among the candidate pairs of {split.name}: {', '.join(shares)}"


def split_warnings(split: EdgeSplit) -> tuple[str, ...]:
    """Lines on held-out parts that hold very few positives, and on a test of mostly edges; each names the fix."""
    total = split.all_positives().shape[1]
    found = []
    for part in _ALL[1:]:
        positives = split.counts(part)[0]
        if positives >= _FEW:
            continue
        effect = (
            "the best step is chosen and probabilities are calibrated on them"
            if part == "validation"
            else "every link score is measured on them"
        )
        found.append(
            f"split '{split.name}': {positives} {part} positives of {total:,} edges, and {effect}; take another seed or"
            " kind (grn-prep splits --seed, --kind random), or a network with more edges"
        )
    positives, pairs = split.counts("test")
    if 2 * positives > pairs:
        found.append(
            f"split '{split.name}': {positives:,} of the {pairs:,} candidate pairs of its test are edges, so few"
            " negatives are left; keep the strongest edges of the network"
        )
    return tuple(found)


def one_sided(split: EdgeSplit, part: Part) -> str:
    """Describe what a part lacks to be ranked, and the fix; an empty text where it has positives and negatives."""
    positives, pairs = split.counts(part)
    if not positives:
        return (
            f"split '{split.name}': its {part} part has no positive of {pairs:,} candidate pairs; "
            "give a network with more edges or TFs, or take another kind or seed"
        )
    if positives == pairs:
        return (
            f"split '{split.name}': its {part} part has no negative, all {pairs:,} candidate pairs are edges, so "
            "there is nothing to rank; keep the strongest edges of the network and make the split again"
        )
    return ""


def refuse_one_class(splits: Sequence[EdgeSplit]) -> None:
    """Refuse a split whose test part cannot be ranked, or whose training candidates are all edges.

    Raises
    ------
    UserError
        See :func:`one_sided`.
    """
    for split in splits:
        if lacking := one_sided(split, "test"):
            raise UserError(lacking)
        if split.counts("train")[0] and (lacking := one_sided(split, "train")):
            raise UserError(lacking)
