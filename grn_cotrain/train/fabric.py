"""Lightning Fabric, without the five seconds of imports that it does not use.

Fabric imports torchmetrics, which imports transformers where that is installed, to read one version number. The number
is given to it instead. Its own package is imported, since ``lightning.fabric`` would bring the Lightning trainer along.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

__all__ = ["build_fabric", "find_device"]

_ASKED_FOR_ITS_VERSION = "torchmetrics"


def build_fabric(device: str, precision: str, loggers: list[Any], *, option: str = "train.device") -> Fabric:
    """Fabric on one device.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    precision
        ``fp32`` or ``bf16`` (mixed).
    loggers
        As :func:`~grn_cotrain.train.loggers.build_loggers` makes them.
    option
        What the user calls the device, for the error.

    Raises
    ------
    UserError
        The device is unknown, or not on this machine.
    """
    with _stands_in(_ASKED_FOR_ITS_VERSION):
        from lightning_fabric import Fabric
    for name in ("lightning_fabric", "pytorch_lightning"):  # run.json says what they would announce
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=device,
            devices=1,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            loggers=loggers,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"{option} '{device}': {error}; give cpu, or cuda where there is a GPU") from None


def find_device(device: str, *, option: str) -> torch.device:
    """The device of :func:`build_fabric`, for a loop of its own: one list of names, one refusal.

    Raises
    ------
    UserError
        The device is unknown, or not on this machine.
    """
    found: torch.device = build_fabric(device, "fp32", [], option=option).device
    return found


@contextmanager
def _stands_in(name: str) -> Iterator[None]:
    """While this lasts, importing package ``name`` gives its version and nothing else, unless it is there already."""
    if name in sys.modules or importlib.util.find_spec(name) is None:
        yield
        return
    module = ModuleType(name)
    module.__version__ = version(name)  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
