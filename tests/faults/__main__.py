"""``python -m tests.faults --out DIR [--short]``: plant faults, list what is not met as it should be, print a table."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.child import OUTCOMES
from tests.faults.classes import CLASSES
from tests.faults.subject import build

__all__ = ["main", "run"]


def run(
    out: Path, *, short: bool, seed: int = 0, only: Sequence[str] = (), verbose: bool = False
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Outcomes by class, and a line for each fault that is neither refused in one line nor without effect."""
    subject = build(out / "subject", out / "work")
    table: dict[str, Counter[str]] = {}
    bad: list[str] = []
    with (out / "tries.txt").open("w", encoding="utf-8", errors="backslashreplace") as log:
        for name, (tries, full, few) in CLASSES.items():
            if only and name not in only:
                continue
            table[name] = Counter()
            for what, case in tries(subject, few if short else full, seed):
                table[name][case.kind] += 1
                line = f"{name}: {what!a}: {case.kind} ({case.outcome.seconds:.1f} s): {case.line!a}"
                print(line, file=log, flush=True)
                if not case.is_good:
                    bad.append(line)
                    if verbose:
                        print(line, flush=True)
    return table, bad


def lines(table: dict[str, Counter[str]]) -> list[str]:
    """The table as aligned text."""
    rows = [["fault", "tries", *OUTCOMES]]
    rows += [[name, str(found.total()), *(str(found[kind]) for kind in OUTCOMES)] for name, found in table.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def main() -> int:
    """Parse the command line, run, print; 1 where a fault is not met as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="new folder to work in")
    parser.add_argument("--short", action="store_true", help="a minute's worth of each class")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the faults")
    parser.add_argument("--only", action="append", default=[], choices=list(CLASSES), help="class to run; repeatable")
    given = parser.parse_args()
    if given.out.exists() and any(given.out.iterdir()):
        parser.error(f"--out '{given.out}': is not empty; give a new folder")
    table, bad = run(given.out.resolve(), short=given.short, seed=given.seed, only=given.only, verbose=True)
    print("\n".join(lines(table)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
