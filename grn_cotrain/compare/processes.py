"""Jobs of a grid, each a process of its own: a crash ends one job only, and peak memory is measured for each job.

A job owns a folder. It is done when the file that its process writes last exists; until then it is run again, and it
may continue from what it left behind (checkpoints, for example).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from grn_cotrain.errors import UserError
from grn_cotrain.files import write_text

__all__ = ["Job", "Start", "error_of", "run_jobs"]

Start = Callable[["Job", dict[str, str]], int]
"""Job, environment -> exit code."""


@dataclass(frozen=True)
class Job:
    """``python -m module arguments`` in ``folder``.

    Attributes
    ----------
    label
        Name for people.
    folder
        Where it writes; ``log.txt`` holds its output, ``error.txt`` its last line if it failed.
    module, arguments
        The module that runs, and its arguments.
    done
        Name of the file in ``folder`` that means it is finished.
    files
        Name -> text, written before it starts.
    """

    label: str
    folder: Path
    module: str
    arguments: tuple[str, ...]
    done: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether it finished."""
        return (self.folder / self.done).is_file()


def run_jobs(
    jobs: Sequence[Job], *, at_a_time: int = 1, say: Callable[[str], None] = print, start: Start | None = None
) -> None:
    """Run what is not done yet, ``at_a_time`` processes side by side, in the order given.

    Raises
    ------
    UserError
        ``at_a_time`` is below 1.
    """
    if at_a_time < 1:
        raise UserError(f"--jobs '{at_a_time}': not a number of processes; give at least 1")
    run = start or _start
    environment = dict(os.environ)
    if at_a_time > 1:  # processes that share the cores must not each start a thread a core
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_a_time)))

    def one(numbered: tuple[int, Job]) -> None:
        number, job = numbered
        label = f"[{number}/{len(jobs)}] {job.label}"
        if job.is_done:
            say(f"{label}: done before")
            return
        say(f"{label}: running")
        for name, text in job.files.items():
            write_text(job.folder / name, text)
        code = run(job, environment)
        say(f"{label}: {'done' if job.is_done else _last_word(job, code)}")
        if not job.is_done:
            write_text(job.folder / "error.txt", _last_word(job, code) + "\n")

    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(one, enumerate(jobs, 1)))


def error_of(job: Job) -> str:
    """Why the job is not done, in one line."""
    file = job.folder / "error.txt"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else "not run"


def _start(job: Job, environment: dict[str, str]) -> int:
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / "log.txt").open("w", encoding="utf-8") as log:
        return subprocess.run(
            [sys.executable, "-m", job.module, *job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode


def _last_word(job: Job, code: int) -> str:
    """The last line of the log that names the problem."""
    if code < 0:
        return f"killed by signal {-code}"
    log = job.folder / "log.txt"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with exit code {code} and no output"
