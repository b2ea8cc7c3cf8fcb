"""Execute the notebooks of the documentation: ``python -m tools.run_notebooks [NAME ...]``."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tools.docs.notebooks import NOTEBOOKS, executed

__all__ = ["main"]


def _one(path: Path) -> str:
    began = time.perf_counter()
    kept = executed(path)
    return f"{path.name}: {time.perf_counter() - began:.0f} s -> {kept}"


def main() -> None:
    """Execute the notebooks named on the command line, or all, two at a time."""
    paths = [NOTEBOOKS / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    with ProcessPoolExecutor(max_workers=2) as pool:
        for line in pool.map(_one, paths):
            print(line, flush=True)


if __name__ == "__main__":
    main()
