"""grn_cotrain: gene regulatory networks inside single-cell pretraining.

``import grn_cotrain as gc`` is light: ``gc.CoTrainModel``, ``gc.tl``, ``gc.pl`` and ``gc.hub`` are loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grn_cotrain import hub, pl, tl
    from grn_cotrain.door import CoTrainModel

__all__ = ["CoTrainModel", "__version__", "hub", "pl", "tl"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "CoTrainModel":
        return importlib.import_module("grn_cotrain.door").CoTrainModel
    if name in ("hub", "pl", "tl"):
        return importlib.import_module(f"grn_cotrain.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
