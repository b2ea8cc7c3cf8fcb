"""Training from Python: objects in memory in, tables out; the recipe underneath is that of the command line."""

from grn_cotrain.door.model import CoTrainModel

__all__ = ["CoTrainModel"]
