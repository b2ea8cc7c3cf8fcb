"""One run, one machine, all rivals side by side: agreement first, then interleaved medians.

A benchmark is a module ``bNN_name.py`` of this package with ``ID`` ("B6"), ``TITLE`` and
``run(context) -> list[Row]``. It asserts that the rivals compute the same thing (:func:`assert_agrees`) before it times
them (:meth:`Context.measure`). Ratios carry from machine to machine, seconds do not; so the thread count is pinned and
the machine's own matrix-multiply rate is printed with every table.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import experiments.benchmarks
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import write_json

__all__ = ["AgreementError", "Context", "Row", "assert_agrees", "assert_near", "gemm_rate", "main", "modules"]

_GEMM_SIZE = 2048


class AgreementError(AssertionError):
    """Two rivals do not compute the same thing, so their times must not be compared."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    ``seconds`` is a median; ``ratio`` states how many times slower than ours the rival is, measured in this run (None
    if there is nothing to compare); ``note`` states what agreed, what differs, or why the row is absent.
    """

    name: str
    seconds: float | None = None
    ratio: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Context:
    """How to measure: ``quick`` asks for small sizes (a smoke test, whose ratios mean nothing).

    ``clock`` is ``"wall"``, or ``"cpu"`` for processor seconds, which other processes disturb less; these add up over
    threads, waiting ones included, so on a busy machine use it with one thread.
    """

    quick: bool = False
    threads: int = 2
    repeats: int = 3
    seed: int = 0
    clock: str = "wall"

    def now(self) -> float:
        """Seconds of the chosen clock."""
        return time.process_time() if self.clock == "cpu" else time.perf_counter()

    def generator(self) -> torch.Generator:
        """A fresh generator; every call gives the same stream."""
        return torch.Generator().manual_seed(self.seed)

    def measure(
        self, rivals: Mapping[str, Callable[[], Any]], *, repeats: int | None = None, warmup: int = 1
    ) -> dict[str, float]:
        """Median seconds per rival; rounds are interleaved, so that a busy moment of the machine hits all alike."""
        times: dict[str, list[float]] = {name: [] for name in rivals}
        for function in rivals.values():
            for _ in range(warmup):
                function()
        for _ in range(max(3, repeats or self.repeats)):
            for name, function in rivals.items():
                start = self.now()
                function()
                times[name].append(self.now() - start)
        return {name: statistics.median(values) for name, values in times.items()}


def assert_agrees(what: str, ours: Tensor, theirs: Tensor, *, tolerance: float = 1e-5) -> str:
    """Compare by the largest difference over the largest magnitude; return a note for the row.

    Raises
    ------
    AgreementError
        Shapes differ, a value is not finite, or the difference exceeds ``tolerance``.
    """
    if ours.shape != theirs.shape:
        raise AgreementError(f"{what}: shapes {tuple(ours.shape)} and {tuple(theirs.shape)} differ")
    scale = float(theirs.abs().max()) or 1.0
    difference = float((ours.double() - theirs.double()).abs().max()) / scale
    if not difference <= tolerance:  # also true for nan
        raise AgreementError(f"{what}: relative difference {difference:.2e} exceeds {tolerance:.0e}")
    return f"{what} equal to {difference:.0e}"


def assert_near(what: str, ours: float, theirs: float, *, tolerance: float) -> str:
    """Compare two figures (losses, AUROC) by their absolute difference; return a note for the row."""
    if not abs(ours - theirs) <= tolerance:
        raise AgreementError(f"{what}: {ours:.5f} and {theirs:.5f} differ by more than {tolerance}")
    return f"{what} {ours:.4f} against {theirs:.4f}"


def gemm_rate() -> float:
    """GFLOP/s of a float32 product of two 2048 x 2048 matrices, by torch's default route, at the current threads."""
    left = torch.rand(_GEMM_SIZE, _GEMM_SIZE, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(left, left)
        times.append(time.perf_counter() - start)
    return 2 * _GEMM_SIZE**3 / statistics.median(times[1:]) / 1e9


def modules() -> dict[str, ModuleType]:
    """All benchmarks by id, in the order of their file names."""
    names = sorted(module.name for module in pkgutil.iter_modules(experiments.benchmarks.__path__))
    found = [
        importlib.import_module(f"{experiments.benchmarks.__name__}.{name}") for name in names if _is_benchmark(name)
    ]
    return {module.ID: module for module in found}


def _is_benchmark(name: str) -> bool:
    return name[0] == "b" and name[1:3].isdigit()


@contextmanager
def _pinned_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _processor() -> str:
    """The processor's name, as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _lines(rows: Sequence[Row]) -> list[str]:
    """Plain, aligned lines: they are read in logs."""
    width = max(len(row.name) for row in rows)
    result = []
    for row in rows:
        seconds = "-" if row.seconds is None else f"{row.seconds:.4f} s"
        ratio = "" if row.ratio is None else f"{row.ratio:.1f}x"
        result.append(f"  {row.name:<{width}}  {seconds:>11}  {ratio:>8}  {row.note}".rstrip())
    return result


def _select(wanted: Sequence[str], found: Mapping[str, ModuleType]) -> list[ModuleType]:
    chosen = []
    for name in wanted or found:
        if name.upper() not in found:
            choices = ", ".join(found)
            raise UserError(f"argument 'ID': no benchmark '{name}'{did_you_mean(name, found)}; choose from {choices}")
        chosen.append(found[name.upper()])
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named (all, if none is) and print one table each; 1 if any rivals disagree."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="For example B6 B7; all if none is given.")
    parser.add_argument("--quick", action="store_true", help="Small sizes: does it run; the ratios mean nothing.")
    parser.add_argument("--threads", type=int, default=2, help="Threads of torch (2).")
    parser.add_argument("--repeats", type=int, default=3, help="Rounds, at least 3 (3).")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="Cpu: on a busy machine, with --threads 1."
    )
    parser.add_argument("--out", type=Path, help="Folder for one JSON record per benchmark.")
    options = parser.parse_args(arguments)
    try:
        chosen = _select(options.ids, modules())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    context = Context(quick=options.quick, threads=options.threads, repeats=options.repeats, clock=options.clock)
    failed = False
    with _pinned_threads(context.threads):
        machine = {
            "processor": _processor(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": context.threads,
            "clock": context.clock,
            "gemm_gflops": round(gemm_rate(), 1),
        }
        print(
            f"{machine['processor']}; torch {machine['torch']}, {context.threads} threads; "
            f"float32 GEMM {machine['gemm_gflops']} GFLOP/s; {context.clock} clock"
        )
        if context.quick:
            print("quick sizes: ratios mean nothing")
        for module in chosen:
            print(f"\n{module.ID}  {module.TITLE}", flush=True)
            start = time.perf_counter()
            problem = None
            try:
                rows: list[Row] = module.run(context)
            except AgreementError as error:
                rows, problem, failed = [Row("rivals disagree, nothing timed", note=str(error))], str(error), True
            seconds = time.perf_counter() - start
            print("\n".join(_lines(rows)))
            print(f"  ({seconds:.0f} s in all)", flush=True)
            if options.out is not None:
                record = {
                    "id": module.ID,
                    "title": module.TITLE,
                    "when": datetime.now(UTC).isoformat(timespec="seconds"),
                    "quick": context.quick,
                    "repeats": max(3, context.repeats),
                    "machine": machine,
                    "seconds": seconds,
                    "problem": problem,
                    "rows": [asdict(row) for row in rows],
                }
                write_json(options.out / f"{module.ID.lower()}.json", record)
    return int(failed)
