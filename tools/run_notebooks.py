"""Execute notebooks and pages of the documentation: ``python -m tools.run_notebooks [NAME ...]``.

The build of the site finds their outputs; it would execute one after the other.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tools.docs.notebooks import NOTEBOOKS, executed
from tools.docs.run_blocks import CACHE, ROOT, blocks_of, run_page

__all__ = ["main"]


def _one(path: Path) -> str:
    began = time.perf_counter()
    if path.suffix == ".md":
        run_page(path.read_text(encoding="utf-8"), cache=CACHE)
    else:
        executed(path)
    return f"{path.name}: {time.perf_counter() - began:.0f} s"


def main() -> None:
    """Execute the notebooks named on the command line, or all of them and every page with blocks, two at a time."""
    paths = [NOTEBOOKS / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]]
    if not paths:
        pages = sorted((ROOT / "docs").rglob("*.md"))
        paths = [*sorted(NOTEBOOKS.glob("*.ipynb")), *(p for p in pages if blocks_of(p.read_text(encoding="utf-8")))]
    with ProcessPoolExecutor(max_workers=2) as pool:
        for line in pool.map(_one, paths):
            print(line, flush=True)


if __name__ == "__main__":
    main()
