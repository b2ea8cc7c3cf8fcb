"""Manners shared by the project's command-line programs.

Bad input is one line on stderr, ``error: ...``, and exit code 2; never a traceback. Output is plain lines unless stdout
is a terminal.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import typer
from rich.console import Console

import grn_cotrain
from grn_cotrain.errors import UserError

__all__ = ["console", "next_step", "run_app", "say", "version_option"]

# Typer carries its own copy of click in some versions, so the base of its errors is found through a class it exports.
_CommandError: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")


_LONGEST = 4000
"""Characters of an error's line."""


@cache
def console() -> Console:
    """The console for results, on stdout."""
    return Console(highlight=False)


def say(line: str = "", *, style: str | None = None) -> None:
    """Print one line, unwrapped and without interpreting brackets; ``style`` shows on terminals only."""
    console().print(line, style=style, markup=False, soft_wrap=True)


def next_step(*words: object) -> None:
    """Name a sensible next command, the last line of every command; words with blanks are quoted."""
    say(f"next: {' '.join(shlex.quote(str(word)) for word in words)}")


def version_option(program: str) -> Any:
    """Return the option ``--version`` of a program."""

    def show(value: bool) -> None:
        if value:
            say(f"{program} {grn_cotrain.__version__}")
            raise typer.Exit

    return typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=show)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run a typer app and return its exit code: 0, or 2 for bad input, or 130 after Ctrl-C.

    :class:`UserError`, usage errors, errors of the operating system and a lack of memory become one line. Anything else
    is a defect of ours and keeps its traceback.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    strange = [argument for argument in given if not _is_unicode(argument)]
    if strange:
        return _fail(f"argument {strange[0]!a}: is not valid UTF-8; rename the file or folder")
    try:
        with _plain_messages():
            result: Any = typer.main.get_command(app).main(args=given, standalone_mode=False)
    except UserError as error:
        return _fail(error.on_command_line())
    except _CommandError as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):  # some versions of typer turn Ctrl-C into the former, some into code 130
        return 130
    except BrokenPipeError:  # `| head` closed our output: point it elsewhere so that the flush at exit is quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        return _fail(f"out of memory ({error}); take fewer cells or genes, or a larger machine")
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        return _fail(f"the system refused{place}: {error.strerror or error}; check path, permissions and free space")
    except RuntimeError as error:
        told = _of_the_system(error)
        if told is None:
            raise
        return _fail(told)
    return result if isinstance(result, int) else 0


def _is_unicode(argument: str) -> bool:
    """Whether a name can be printed and recorded; bytes that are not UTF-8 reach Python as lone surrogates."""
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _of_the_system(error: RuntimeError) -> str | None:
    """The system's refusal, where a library wraps it: torch's lack of memory, Python's loop of links."""
    text = str(error).splitlines()[0] if str(error) else ""
    if re.search(r"can't allocate memory|not enough memory|out of memory", text, re.IGNORECASE):
        return f"out of memory ({text[:200]}); take fewer cells or genes, a smaller model, or a larger machine"
    if text.startswith("Symlink loop"):
        return f"the system refused: {text}; a link leads back to itself, give another path"
    return None


@contextmanager
def _plain_messages() -> Iterator[None]:
    """Log warnings of the libraries on stderr, one line each; hide Python's ``warnings`` for developers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)


def _fail(message: str) -> int:
    line = " ".join(message.split())
    if len(line) > _LONGEST:  # a stranger's file may hold a name of megabytes; the fix stands at the end
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    print(f"error: {line}", file=sys.stderr)
    return 2


def _usage(error: Exception) -> int:
    """One line for an unknown option or a missing argument; no arguments at all print the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(getattr(error, "message", ""), file=sys.stderr)
        return 2
    context = getattr(error, "ctx", None)
    hint = f"; see {context.command_path} --help" if context is not None else ""
    return _fail(error.format_message().rstrip(".") + hint)  # type: ignore[attr-defined]
