"""Launchers that start one command several times: each process would train the whole run."""

from __future__ import annotations

from collections.abc import Mapping

from grn_cotrain.errors import UserError

__all__ = ["refuse_several_processes"]

_SIZES = {
    "WORLD_SIZE": "torchrun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
    "SLURM_STEP_NUM_TASKS": "srun",
}
"""Variable with the number of processes -> the launcher that sets it."""


def refuse_several_processes(environment: Mapping[str, str], *, command: str = "grn-cotrain train") -> None:
    """Refuse to be one of several processes, until training on several devices is built.

    A batch script of SLURM runs once, whatever ``SLURM_NTASKS`` says; with ``srun`` it is the step that has tasks.

    Raises
    ------
    UserError
        Names the variable and says what to run instead.
    """
    for name, launcher in _SIZES.items():
        _refuse(environment, name, launcher, command)
    started_by_srun = "SLURM_STEP_ID" in environment or environment.get("SLURM_PROCID", "0") != "0"
    if "SLURM_PROCID" in environment and started_by_srun:
        _refuse(environment, "SLURM_NTASKS", "srun", command)


def _refuse(environment: Mapping[str, str], name: str, launcher: str, command: str) -> None:
    value = environment.get(name, "")
    if value.isdecimal() and int(value) > 1:
        raise UserError(
            f"{name}={value}: {launcher} starts {value} processes, and each would train the whole run, for training on"
            f" several devices is not built yet; run `{command}` once, without {launcher}"
        )
