"""Training objectives, one a file."""

from grn_cotrain.objectives.base import OBJECTIVES, GeneStates, LossOutput, ModelView, Objective, Step, ValuePredictor

__all__ = ["OBJECTIVES", "GeneStates", "LossOutput", "ModelView", "Objective", "Step", "ValuePredictor"]
