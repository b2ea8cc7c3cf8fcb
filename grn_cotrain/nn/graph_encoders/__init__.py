"""Graph encoders, one a file."""

from grn_cotrain.nn.graph_encoders.base import GRAPH_ENCODERS, GraphEncoder

__all__ = ["GRAPH_ENCODERS", "GraphEncoder"]
