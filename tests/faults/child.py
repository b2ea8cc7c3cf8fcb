"""A command in a forked child with a time limit, and what became of it."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from grn_cotrain.commandline import run_app
from grn_cotrain.compare.processes import Job

__all__ = [
    "LIMIT",
    "ONE_LINE",
    "OUTCOMES",
    "RIGHT",
    "WARNED",
    "Child",
    "Outcome",
    "commands",
    "run_forked",
    "start_forked",
]

LIMIT = 20.0
"""Seconds that a command may take on a damaged file."""
ONE_LINE, RIGHT, WARNED = "one line + exit 2", "right content", "warned"
OUTCOMES = (ONE_LINE, RIGHT, WARNED, "other content", "unclear", "traceback", "crash", "hang")
"""Columns of the table.

``warned``: exit 0, and a warning names the file, which is a log that no number comes from. ``other content``: exit 0
and another result, without that. ``unclear``: exit 2 without exactly one line, or another exit code.
"""
_MEMORY = 12 << 30  # address space of a child: a file that asks for more is a fault, not the machine's end


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its kind without a look at content (``RIGHT`` stands for exit 0), and what it printed."""

    kind: str
    code: int
    err: str
    seconds: float

    @property
    def line(self) -> str:
        """The last line of stderr."""
        return (self.err.strip().splitlines() or [""])[-1]


class Child:
    """``work`` in a forked process whose working folder is ``folder``; its result is the exit code.

    What takes seconds to import is there already, and a signal or a death is that of a real process.
    """

    def __init__(self, work: Callable[[], int], folder: Path) -> None:
        self._started = time.monotonic()
        self._pipe, theirs = os.pipe()  # not a file: a limit on the size of files must not cut what is said
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _child(work, folder, theirs)
        os.close(theirs)
        os.set_blocking(self._pipe, False)

    def outcome(self, limit: float = LIMIT) -> Outcome:
        """Wait for its end; it is stopped after ``limit`` seconds."""
        status, raw = _wait(self._pid, self._started + limit, self._pipe)
        os.close(self._pipe)
        seconds = time.monotonic() - self._started
        err = raw.decode("utf-8", errors="replace")
        if status is None:
            return Outcome("hang", -1, err, seconds)
        if os.WIFSIGNALED(status):
            return Outcome("crash", -os.WTERMSIG(status), err, seconds)
        code = os.waitstatus_to_exitcode(status)
        lines = [line for line in err.splitlines() if line.strip() and not line.startswith("WARNING:")]
        if "Traceback (most recent call last)" in err:
            kind = "traceback"
        elif code == 0:
            kind = RIGHT
        elif code == 2 and len(lines) == 1 and lines[0].startswith("error: "):
            kind = ONE_LINE
        else:
            kind = "unclear"
        return Outcome(kind, code, err, seconds)


def run_forked(work: Callable[[], int], folder: Path, *, limit: float = LIMIT) -> Outcome:
    """Run ``work`` in a :class:`Child` to its end."""
    return Child(work, folder).outcome(limit)


def start_forked(job: Job, environment: dict[str, str]) -> int:
    """A job of a grid in a forked process, in place of a new Python."""
    del environment
    main = importlib.import_module(job.module).main
    return run_forked(partial(main, job.arguments), Path.cwd(), limit=120).code


def _child(work: Callable[[], int], folder: Path, write: int) -> None:
    import resource

    code = 70
    try:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        read, quiet = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
        for source, target in ((read, 0), (quiet, 1), (write, 2)):
            os.dup2(source, target)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
        code = work()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, end: float, pipe: int) -> tuple[int | None, bytes]:
    """Status of the child, or None if it had to be stopped; and what it wrote."""
    raw = bytearray()
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        with contextlib.suppress(BlockingIOError):
            while part := os.read(pipe, 1 << 16):
                raw += part
        if done:
            return status, bytes(raw)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None, bytes(raw)


def commands(*steps: tuple[typer.Typer, Sequence[str]]) -> Callable[[], int]:
    """Run command lines one after the other, until one does not end with 0."""

    def work() -> int:
        for app, arguments in steps:
            code = run_app(app, arguments)
            if code:
                return code
        return 0

    return work
