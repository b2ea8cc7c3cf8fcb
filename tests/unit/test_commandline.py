"""The wrapper around every command: exit codes, one-line errors, no traces left in the process."""

from __future__ import annotations

import logging
import warnings

import pytest
import typer

from grn_cotrain.commandline import run_app, say
from grn_cotrain.errors import MissingExtraError, UserError


def make_app(action) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    def go(number: int = 1) -> None:
        action()

    @app.command()
    def rest() -> None:
        pass

    return app


def failing(error: BaseException):
    def action() -> None:
        raise error

    return make_app(action)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("--x 'y': wrong\n  over two lines; fix it"), 2, "error: --x 'y': wrong over two lines; fix it\n"),
        (MissingExtraError("dgl is missing; run `make setup-ci`"), 2, "error: dgl is missing; run `make setup-ci`\n"),
        (
            OSError(28, "No space left on device", "/out"),
            2,
            "error: the system refused '/out': No space left on device",
        ),
        (MemoryError("8 GiB"), 2, "error: out of memory (8 GiB)"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            2,
            "error: out of memory ([enforce fail] DefaultCPUAllocator: can't allocate memory",
        ),
        (RuntimeError("Symlink loop from '/x'"), 2, "error: the system refused: Symlink loop from '/x'"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(3), 3, ""),
        (typer.Abort(), 130, ""),
    ],
)
def test_known_troubles_are_one_line(capsys, error, code, message) -> None:
    assert run_app(failing(error), ["go"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == (1 if message else 0)
    assert captured.out == ""


def test_defects_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_app(failing(ZeroDivisionError()), ["go"])


@pytest.mark.parametrize("arguments", [["go", "--nmber", "1"], ["go", "--number", "one"], ["og"], ["go", "extra"]])
def test_usage_errors_are_one_line(capsys, arguments) -> None:
    assert run_app(make_app(lambda: None), arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.err.rstrip().endswith("--help")


def test_success_is_zero(capsys) -> None:
    assert run_app(make_app(lambda: say("fine [not markup] " + "x" * 200)), ["go"]) == 0
    assert capsys.readouterr().out == "fine [not markup] " + "x" * 200 + "\n"


def test_help_is_success(capsys) -> None:
    assert run_app(make_app(lambda: None), ["--help"]) == 0
    assert "go" in capsys.readouterr().out


def test_library_warnings_are_shown_and_developers_warnings_are_not(capsys) -> None:
    def action() -> None:
        logging.getLogger("grn_cotrain.anything").warning("two TFs lost")
        warnings.warn("deprecated", FutureWarning, stacklevel=1)

    handlers, filters = list(logging.getLogger().handlers), list(warnings.filters)
    assert run_app(make_app(action), ["go"]) == 0
    assert capsys.readouterr().err == "WARNING: two TFs lost\n"
    assert logging.getLogger().handlers == handlers
    assert list(warnings.filters) == filters


def test_names_that_are_no_text_and_lines_without_end(capsys) -> None:
    assert run_app(make_app(lambda: None), ["go", "caf\udce9.h5ad"]) == 2
    assert (
        capsys.readouterr().err == "error: argument 'caf\\udce9.h5ad': is not valid UTF-8; rename the file or folder\n"
    )
    assert run_app(failing(UserError(f"gene '{'A' * 10**6}': unknown; give another")), ["go"]) == 2
    line = capsys.readouterr().err
    assert line.endswith("unknown; give another\n")
    assert line.startswith("error: gene 'AAA")
    assert len(line) < 4100
