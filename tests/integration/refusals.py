"""How bad input must end: exit code 2, one line on stderr, no traceback, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app

__all__ = ["refused", "snapshot"]


def refused(
    message: str,
    *arguments: object,
    capsys: pytest.CaptureFixture[str],
    watch: Path | None = None,
    program: typer.Typer = app,
    quiet: bool = True,
) -> None:
    """The command ends with 2 and one line that holds ``message``; nothing appears or changes below ``watch``.

    ``quiet``: nothing was printed before, as where the input is refused; a write may fail after the work.
    """
    before = snapshot(watch) if watch else {}
    capsys.readouterr()
    assert run_app(program, [str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    assert message in captured.err, captured.err
    assert captured.out == "" or not quiet
    if watch:
        assert snapshot(watch) == before


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
