"""Blocks of a page that run, and what they print: ```` ```bash run ````, ```` ```python run ```` and, for a file that
later blocks read, ```` ```python run file=NAME ````.

The blocks of a page run in their order, in one temporary folder that sees ``experiments`` as a checkout does; Python
blocks share one interpreter, and figures that a block leaves open become pictures. A failing block fails the build.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["CACHE", "Block", "Output", "blocks_of", "run_page", "with_outputs"]

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "docs" / "blocks"
"""Outputs of pages that were executed."""
_BLOCK = re.compile(
    r"^```(?P<language>bash|python) run(?P<options>[^\n]*)\n(?P<code>.*?)^```[ ]*$", flags=re.MULTILINE | re.DOTALL
)
_TIMEOUT = 600


@dataclass(frozen=True)
class Block:
    """One block: ``bash`` or ``python``; ``quiet`` shows no output, ``file`` is written and not run."""

    language: str
    code: str
    quiet: bool = False
    file: str = ""

    @classmethod
    def of(cls, match: re.Match[str]) -> Block:
        """Read a block and its options."""
        words = match["options"].split()
        names = [word.removeprefix("file=") for word in words if word.startswith("file=")]
        return cls(match["language"], match["code"], "quiet" in words, names[0] if names else "")


@dataclass(frozen=True)
class Output:
    """Output of a block, and its figures as PNG in base64."""

    text: str
    figures: tuple[str, ...] = ()


def blocks_of(markdown: str) -> list[Block]:
    """Blocks that run, in their order."""
    return [Block.of(match) for match in _BLOCK.finditer(markdown)]


def with_outputs(markdown: str, outputs: list[Output]) -> str:
    """The page with plain blocks and, below each, what it printed."""
    waiting = iter(outputs)

    def replace(match: re.Match[str]) -> str:
        output = next(waiting)
        block = Block.of(match)
        title = f' title="{block.file}"' if block.file else ""
        shown = f"```{block.language}{title}\n{block.code}```\n"
        if block.quiet:
            return shown
        if output.text.strip():
            shown += f"\n```text\n{output.text.rstrip()}\n```\n"
        for figure in output.figures:
            shown += (
                f'\n<img class="figure" alt="figure drawn by the code above" src="data:image/png;base64,{figure}">\n'
            )
        return shown

    return _BLOCK.sub(replace, markdown)


def run_page(markdown: str, *, cache: Path) -> list[Output]:
    """Run a page's blocks in a process of their own; what has run before with the same code is read from ``cache``.

    Raises
    ------
    RuntimeError
        A block failed; the message holds its end.
    """
    blocks = blocks_of(markdown)
    if not blocks:
        return []
    key = hashlib.sha256(json.dumps([asdict(block) for block in blocks]).encode() + _code_hash()).hexdigest()[:20]
    kept = cache / f"{key}.json"
    if not kept.is_file():
        with tempfile.TemporaryDirectory() as folder:
            request = Path(folder) / "request.json"
            request.write_text(json.dumps([asdict(block) for block in blocks]), encoding="utf-8")
            work = Path(folder) / "work"
            work.mkdir()
            (work / "experiments").symlink_to(ROOT / "experiments")
            answer = Path(folder) / "answer.json"
            done = subprocess.run(
                [sys.executable, "-m", "tools.docs.run_blocks", str(request), str(answer)],
                cwd=work,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"a block of the page failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
            cache.mkdir(parents=True, exist_ok=True)
            kept.write_text(answer.read_text(encoding="utf-8").replace(f"{work}/", ""), encoding="utf-8")
    return [Output(item["text"], tuple(item["figures"])) for item in json.loads(kept.read_text(encoding="utf-8"))]


def _environment() -> dict[str, str]:
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {
        **os.environ,
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "110",
        "NO_COLOR": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _code_hash() -> bytes:
    """Hash of every source file of the packages: an output is as old as the code that made it."""
    digest = hashlib.sha256()
    for package in ("grn_cotrain", "data_prep", "experiments"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".py", ".yaml", ".tsv") and path.is_file():
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.digest()


# ---- in the process that runs the blocks -----------------------------------------------------------------------------


def _run_bash(code: str) -> Output:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{code}\nexit code {done.returncode}:\n{done.stdout}")
    return Output(done.stdout)


def _run_python(code: str, namespace: dict[str, object]) -> Output:
    """Run a block; the value of a last line that is an expression is printed, as a notebook would."""
    import ast

    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<page>", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<page>", "eval"), namespace)
            if value is not None and "matplotlib" not in type(value).__module__:
                print(value)
    return Output(printed.getvalue(), _figures())


def _figures() -> tuple[str, ...]:
    if "matplotlib" not in sys.modules:
        return ()
    import matplotlib.pyplot as plt

    pictures = []
    for number in plt.get_fignums():
        buffer = io.BytesIO()
        plt.figure(number).savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        pictures.append(base64.b64encode(buffer.getvalue()).decode())
    plt.close("all")
    return tuple(pictures)


def _run(block: Block, namespace: dict[str, object]) -> Output:
    if block.file:
        Path(block.file).write_text(block.code, encoding="utf-8")
        return Output("")
    return _run_bash(block.code) if block.language == "bash" else _run_python(block.code, namespace)


def _main() -> None:
    request, answer = map(Path, sys.argv[1:])
    namespace: dict[str, object] = {"__name__": "__main__"}
    outputs = []
    for item in json.loads(request.read_text(encoding="utf-8")):
        outputs.append(asdict(_run(Block(**item), namespace)))
    answer.write_text(json.dumps(outputs), encoding="utf-8")


if __name__ == "__main__":
    _main()
