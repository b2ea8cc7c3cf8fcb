"""Training objectives, one a file."""

from grn_cotrain.objectives.base import (
    OBJECTIVES,
    GeneStates,
    LossOutput,
    ModelView,
    Objective,
    PooledStates,
    PredictsValues,
    PredictsZeros,
    Step,
    Sum,
    ValuePredictor,
)
from grn_cotrain.objectives.view import Encodings, View

__all__ = [
    "OBJECTIVES",
    "Encodings",
    "GeneStates",
    "LossOutput",
    "ModelView",
    "Objective",
    "PooledStates",
    "PredictsValues",
    "PredictsZeros",
    "Step",
    "Sum",
    "ValuePredictor",
    "View",
]
