"""Cell encoders, one a file."""

from grn_cotrain.nn.cell_encoders.base import (
    CELL_ENCODERS,
    NO_COVARIATES,
    AttentionBias,
    CellEncoder,
    CellStates,
    token_bias,
)

__all__ = ["CELL_ENCODERS", "NO_COVARIATES", "AttentionBias", "CellEncoder", "CellStates", "token_bias"]
