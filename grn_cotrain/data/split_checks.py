"""Whether a split can be trained and judged on: parts without positives or negatives, and how dense candidates are."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.data.edge_split import EdgeSplit, Part
from grn_cotrain.errors import UserError

__all__ = ["density_note", "refuse_one_class", "split_warnings"]

_PARTS: tuple[Part, ...] = ("train", "validation", "test")
_FEW = 5


def density_note(split: EdgeSplit) -> str:
    """Share of positives among the candidates of each part, in a line."""
    shares = []
    for part in _PARTS:
        positives, pairs = split.counts(part)
        shares.append(f"{part} {positives / pairs:.3%}" if pairs else f"{part} has no candidates")
    return f"density of edges among the candidate pairs of {split.name}: {', '.join(shares)}"


def split_warnings(split: EdgeSplit) -> tuple[str, ...]:
    """Lines on validation and test parts that are empty or hold very few positives; each names the fix."""
    total = split.all_positives().shape[1]
    found = []
    for part in _PARTS[1:]:
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
    return tuple(found)


def refuse_one_class(splits: Sequence[EdgeSplit]) -> None:
    """Refuse a split with a part that has positives and not one negative: there is nothing to tell apart.

    Raises
    ------
    UserError
        Training or test candidates are all positives.
    """
    for split in splits:
        for part in (_PARTS[0], _PARTS[2]):
            positives, pairs = split.counts(part)
            if positives and positives == pairs:
                raise UserError(
                    f"split '{split.name}': all {pairs:,} {part} candidates are edges, so there is no negative to tell"
                    " them from; keep only the confident edges of the network (a smaller list), then split again"
                )
