"""Launchers that start one command several times: ``torchrun`` starts the processes that train together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from grn_cotrain.errors import UserError
from grn_cotrain.recipe_train import TrainConfig

__all__ = ["Launch", "PeerFailed", "is_first", "one_voice", "refuse_several_processes"]

_TORCHRUN = "WORLD_SIZE"
_SIZES = {
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
    "SLURM_STEP_NUM_TASKS": "srun",
}
"""Variable with the number of processes -> the launcher that sets it; these give the processes no address."""
_PLACE = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class PeerFailed(SystemExit):
    """Training ended because of another process, which reports why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code)
        self.text = text


@dataclass(frozen=True)
class Launch:
    """This process among those that train together.

    Attributes
    ----------
    rank, size
        Its number and how many there are.
    local_size
        How many of them run on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.size // self.local_size

    @classmethod
    def of(cls, environment: Mapping[str, str], config: TrainConfig) -> Launch:
        """Read the launcher's variables, and compare them with ``train.devices``.

        Raises
        ------
        UserError
            Another launcher than ``torchrun``; a variable of torchrun is missing; another number of processes than the
            recipe asks for.
        """
        launch = cls()
        if _number(environment, _TORCHRUN) > 1:
            launch = cls._of_torchrun(environment)
        else:
            refuse_several_processes(environment, instead=_how_to(2))
        if config.devices not in (None, launch.size):
            started = "this is one process" if launch.size == 1 else f"torchrun started {launch.size} processes"
            raise UserError(
                f"train.devices: {config.devices}, but {started}; start {_how_to(config.devices)}, or set train.devices"
                f" to {launch.size}"
            )
        return launch

    @classmethod
    def _of_torchrun(cls, environment: Mapping[str, str]) -> Launch:
        size = _number(environment, _TORCHRUN)
        missing = [name for name in _PLACE if not environment.get(name)]
        if missing:
            raise UserError(
                f"{_TORCHRUN}={size}: {', '.join(missing)} of torchrun's variables are not set; start {_how_to(size)}"
            )
        rank, local_size = _number(environment, "RANK"), _number(environment, "LOCAL_WORLD_SIZE")
        if not 0 <= rank < size or local_size < 1 or size % local_size:
            raise UserError(
                f"{_TORCHRUN}={size}, RANK={environment['RANK']}, LOCAL_WORLD_SIZE={environment['LOCAL_WORLD_SIZE']}:"
                f" do not fit together; start {_how_to(size)}"
            )
        return cls(rank, size, local_size)


def _how_to(processes: int | None) -> str:
    return f"torchrun --nproc-per-node {processes} -m grn_cotrain train RECIPE --out RUN"


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdecimal() else 0


def is_first(environment: Mapping[str, str]) -> bool:
    """Whether this process reports: the only one, or process 0 of ``torchrun``."""
    return _number(environment, _TORCHRUN) <= 1 or _number(environment, "RANK") == 0


@contextlib.contextmanager
def one_voice(environment: Mapping[str, str]) -> Iterator[None]:
    """Bad input is the same in every process of ``torchrun``: process 0 reports it, the others end in silence."""
    try:
        yield
    except UserError as error:
        if not is_first(environment):
            raise PeerFailed(2, str(error)) from None
        raise


def refuse_several_processes(
    environment: Mapping[str, str], *, command: str = "grn-cotrain train", instead: str = ""
) -> None:
    """Refuse to be one of several processes that know nothing of each other.

    A batch script of SLURM runs once, whatever ``SLURM_NTASKS`` is; with ``srun`` it is the step that has tasks.

    Parameters
    ----------
    command
        Command to run once.
    instead
        How several processes are started, where the command can use them; without it ``torchrun`` is refused too.

    Raises
    ------
    UserError
        Names the variable and the command to run instead.
    """
    for name, launcher in (_SIZES if instead else {_TORCHRUN: "torchrun", **_SIZES}).items():
        _refuse(environment, name, launcher, command, instead)
    started_by_srun = "SLURM_STEP_ID" in environment or environment.get("SLURM_PROCID", "0") != "0"
    if "SLURM_PROCID" in environment and started_by_srun:
        _refuse(environment, "SLURM_NTASKS", "srun", command, instead)


def _refuse(environment: Mapping[str, str], name: str, launcher: str, command: str, instead: str) -> None:
    size = _number(environment, name)
    if size > 1:
        several = f", or start several that share the work with {instead}" if instead else ""
        raise UserError(
            f"{name}={size}: {launcher} starts {size} processes, and each would do the whole work; run `{command}`"
            f" once, without {launcher}{several}"
        )
