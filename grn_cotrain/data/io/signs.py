"""Words and numbers that say whether an edge activates or represses."""

from __future__ import annotations

__all__ = ["SIGN_WORDS"]

SIGN_WORDS: dict[str, int] = {
    **dict.fromkeys(("1", "1.0", "+", "+1", "activation", "activates", "activator", "activating"), 1),
    **dict.fromkeys(("stimulation", "stimulates", "positive", "pos", "up", "induction", "induces"), 1),
    **dict.fromkeys(("-1", "-1.0", "-", "repression", "represses", "repressor", "repressing"), -1),
    **dict.fromkeys(("inhibition", "inhibits", "negative", "neg", "down", "suppression", "suppresses"), -1),
    **dict.fromkeys(("0", "0.0", "", "unknown", "unk", "na", "nan", "none", "?", "both", "dual", "ambiguous"), 0),
}
"""In lower case -> 1 activation, -1 repression, 0 unknown."""
