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
from datetime import timedelta
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

__all__ = ["build_fabric", "find_device"]

_ASKED_FOR_ITS_VERSION = "torchmetrics"
_PATIENCE = timedelta(days=7)


def build_fabric(
    device: str,
    precision: str,
    loggers: list[Any],
    *,
    option: str = "train.device",
    processes: int = 1,
    nodes: int = 1,
) -> Fabric:
    """Fabric on one device of this process.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    precision
        ``fp32`` or ``bf16`` (mixed).
    loggers
        As :func:`~grn_cotrain.train.loggers.build_loggers` makes them.
    option
        Name of the option, for the error.
    processes, nodes
        Processes on each machine, and machines, that were started together; several of them are connected here.

    Raises
    ------
    UserError
        The device is unknown, or not on this machine.
    """
    with _stands_in(_ASKED_FOR_ITS_VERSION):
        from lightning_fabric import Fabric
    for name in ("lightning_fabric", "pytorch_lightning"):  # run.json holds what they would announce
        logging.getLogger(name).setLevel(logging.WARNING)
    several = processes * nodes > 1
    try:
        fabric = Fabric(
            accelerator=device,
            devices=processes,
            num_nodes=nodes,
            strategy=_strategy() if several else "auto",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            loggers=loggers,
        )
        if several:
            fabric.launch()
        return fabric
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"{option} '{device}': {error}; give cpu, or cuda where there is a GPU") from None


def _strategy() -> Any:
    """Connected processes. They wait for process 0 as long as it validates or prepares, which may take hours."""
    from lightning_fabric.strategies import DDPStrategy

    return DDPStrategy(timeout=_PATIENCE)


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
