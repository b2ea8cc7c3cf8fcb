"""Classification heads over cell states, one a file."""

from grn_cotrain.nn.heads.base import HEADS, Head

__all__ = ["HEADS", "Head"]
