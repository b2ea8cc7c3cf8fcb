"""Link scorers that need no model: the bars that every claim must clear."""

from grn_cotrain.controls.base import CONTROLS, Control, LinkScorer

__all__ = ["CONTROLS", "Control", "LinkScorer"]
