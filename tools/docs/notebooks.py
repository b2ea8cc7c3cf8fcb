"""Notebooks: executed in a fresh kernel, then turned into a page of the site; stored without outputs.

An executed copy is kept under ``build/docs`` by the hash of the notebook and of the code, so that a second build is
quick and a changed package runs them again.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from tools.docs.run_blocks import ROOT, _code_hash, _environment

__all__ = ["NOTEBOOKS", "executed", "page_of"]

NOTEBOOKS = ROOT / "docs" / "notebooks"
CACHE = ROOT / "build" / "docs" / "notebooks"
_SECONDS = 600
_STYLE = re.compile(r"<style scoped>.*?</style>\s*", re.DOTALL)


def executed(path: Path, *, cache: Path = CACHE) -> Path:
    """Path of the executed copy of a notebook, made where there is none for this code.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell raised.
    RuntimeError
        A cell that shows a figure holds none.
    """
    key = hashlib.sha256(path.read_bytes() + _code_hash()).hexdigest()[:16]
    kept = cache / f"{path.stem}-{key}.ipynb"
    if kept.is_file():
        return kept
    import tempfile

    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    before = dict(os.environ)
    # A kernel has the environment of its parent.
    os.environ.update(_environment() | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    try:
        with tempfile.TemporaryDirectory() as work:
            (Path(work) / "experiments").symlink_to(ROOT / "experiments")
            client = NotebookClient(
                notebook,
                timeout=_SECONDS,
                kernel_name="python3",
                resources={"metadata": {"path": work}},
            )
            client.execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    _check_figures(notebook, path.name)
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob(f"{path.stem}-*.ipynb"):
        old.unlink()
    nbformat.write(notebook, kept)
    return kept


def _check_figures(notebook: Any, name: str) -> None:
    """A cell that ends with ``plt.show()`` holds a picture, or the page would be missing it."""
    for number, cell in enumerate(notebook.cells):
        shows = cell.cell_type == "code" and cell.source.rstrip().endswith("plt.show()")
        if shows and not any("image/png" in output.get("data", {}) for output in cell.outputs):
            raise RuntimeError(f"{name}: cell {number} shows a figure, but holds no picture")


def page_of(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of an executed notebook, and its pictures by file name."""
    from nbconvert import MarkdownExporter

    body, resources = MarkdownExporter().from_filename(str(path))
    body = _STYLE.sub("", body)
    # Pictures are next to the page; names are made unique by the notebook's.
    stem = re.sub(r"-[0-9a-f]{16}$", "", path.stem)
    pictures = {}
    for name, data in resources["outputs"].items():
        pictures[f"{stem}_{name}"] = data
        body = body.replace(f"![png]({name})", f"![Figure drawn by the code above]({stem}_{name})")
    return body, pictures
