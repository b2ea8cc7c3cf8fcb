"""Lightning Fabric, imported where a device is chosen and nowhere else.

Its import takes seconds: Fabric imports torchmetrics to read its version, and torchmetrics imports transformers where
that is installed. ``lightning_fabric`` is imported by its own name, since ``lightning.fabric`` would bring the
Lightning trainer along.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

__all__ = ["build_fabric", "find_device"]

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
