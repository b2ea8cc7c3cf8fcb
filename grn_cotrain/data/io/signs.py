"""Words and numbers that state whether an edge activates or represses."""

from __future__ import annotations

__all__ = ["SIGN_WORDS"]

SIGN_WORDS: dict[str, int] = {
    **dict.fromkeys(("1", "1.0", "+", "+1", "activation", "activates", "activator", "activating"), 1),
    **dict.fromkeys(("stimulation", "stimulates", "positive", "pos", "up", "induction", "induces", "increase"), 1),
    **dict.fromkeys(("upregulation", "up-regulation", "upregulates", "upregulated", "up-regulates", "increases"), 1),
    **dict.fromkeys(("activate", "activated", "stimulate", "stimulator", "induce", "inducer", "enhances"), 1),
    **dict.fromkeys(("->", "-->", "=>", "\u2192"), 1),
    **dict.fromkeys(("-1", "-1.0", "-", "repression", "represses", "repressor", "repressing"), -1),
    **dict.fromkeys(("inhibition", "inhibits", "negative", "neg", "down", "suppression", "suppresses"), -1),
    **dict.fromkeys(("downregulation", "down-regulation", "downregulates", "downregulated", "down-regulates"), -1),
    **dict.fromkeys(("decrease", "decreases", "repress", "repressed", "inhibit", "inhibitor", "suppressor"), -1),
    **dict.fromkeys(("-|", "--|", "=|", "\u22a3"), -1),
    **dict.fromkeys(("0", "0.0", "", "unknown", "unk", "na", "nan", "none", "?", "both", "dual", "ambiguous"), 0),
}
"""In lower case -> 1 activation, -1 repression, 0 unknown."""
