"""Run the tutorials of ``docs/``, each in a copy of the repository; fail if a page is wrong.

``python -m tools.tutorial`` extracts a page's blocks: titled ones become files (or ends of files), shell blocks are
run in their order. Between writing the component and its test, the contract's own check must fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Step", "main", "run_tutorial", "steps_of"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial-encoder.md")
_FENCE = re.compile(r'^```(python|bash)(?: title="([^"]+)")?\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)
_COPIED = ("grn_cotrain", "data_prep", "experiments", "tests", "pyproject.toml")
_END = "at the end of "


@dataclass(frozen=True)
class Step:
    """A file to write (``path`` and ``text``), text to append, or shell lines to run."""

    kind: str
    text: str
    path: str = ""


def steps_of(markdown: str) -> list[Step]:
    """The page's blocks in their order; Python without a title is not a step."""
    steps = []
    for language, title, text in _FENCE.findall(markdown):
        if language == "bash":
            steps.append(Step("run", text))
        elif title.startswith(_END):
            steps.append(Step("append", text, title.removeprefix(_END)))
        elif title:
            steps.append(Step("write", text, title))
    return steps


def run_tutorial(folder: Path, page: Path) -> list[str]:
    """Follow the page in ``folder``; return one line per step.

    Raises
    ------
    RuntimeError
        A step fails, or the contract does not notice a component without a test.
    """
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "records"))
        else:
            shutil.copy(source, folder / name)
    done = []
    for step in steps_of(page.read_text(encoding="utf-8")):
        if step.kind == "run":
            for line in filter(None, map(str.strip, step.text.splitlines())):
                status, output = _shell(line, folder)
                if status != 0:
                    raise RuntimeError(f"{page.name}: '{line}' ends with {status}:\n{output[-3000:]}")
                done.append(f"ran {line}")
            continue
        path = folder / step.path
        if step.kind == "write" and path.exists():
            raise RuntimeError(f"{page.name}: {step.path} exists already; the page would overwrite it")
        if step.kind == "append":
            status, _ = _shell(f"{sys.executable} -m pytest -q -k every_component_is_covered {step.path}", folder)
            if status != 1:
                raise RuntimeError(f"{step.path} does not notice a component without a contract test")
            done.append("a component without a contract test is noticed")
        with path.open("a", encoding="utf-8") as stream:
            stream.write(("\n\n" if step.kind == "append" else "") + step.text)
        done.append(f"wrote {step.path}")
    return done


def _shell(line: str, folder: Path) -> tuple[int, str]:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(folder),  # before the installed packages
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _one(page: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return run_tutorial(Path(folder), page)


def main() -> None:
    """Run the tutorials side by side, each in a temporary folder, and report what was done."""
    with ThreadPoolExecutor(len(PAGES)) as pool:
        try:
            for page, lines in zip(PAGES, pool.map(_one, PAGES), strict=True):
                print("\n  ".join([page.name, *lines]))
        except RuntimeError as error:
            raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
