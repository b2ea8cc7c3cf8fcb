"""Cell encoders, one a file."""

from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS, AttentionBias, CellEncoder, CellStates

__all__ = ["CELL_ENCODERS", "AttentionBias", "CellEncoder", "CellStates"]
