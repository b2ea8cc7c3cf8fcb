"""Reasons for which a test may be skipped. No test skips in another way, and `tests/conftest.py` holds every run to it.

An *extra* is an optional dependency of pyproject.toml. A newcomer's environment holds the core alone, so a test that
needs an extra calls :func:`extra`, which names it. Where ``GRN_COTRAIN_EXTRAS=required`` is set, as
`.ci/run` does in the full environment, a test may skip for a reason of :data:`LISTED` only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import NoReturn

import pytest

__all__ = ["EXTRAS", "LISTED", "extra", "listed", "missing_extra", "skip_listed", "unlisted"]

#: Module -> the extra of pyproject.toml that brings it.
EXTRAS = {
    "decoupler": "prior",
    "dgl": "dgl",
    "huggingface_hub": "hub",
    "latex2mathml": "docs",
    "mkdocs": "docs",
    "performer_pytorch": "bench",
    "torch_scatter": "scatter",
}

#: Reasons that depend on the machine alone, not on what is installed on it.
LISTED = {
    "data": "real data are absent: set GRN_COTRAIN_DATA to the folder of real data sets",
    "cuda": "a CUDA device is absent",
    "no cuda": "this machine has a CUDA device, and the test needs one without",
    "git": "this is not a git checkout, so the list of tracked files is unknown",
    "root": "root may write everywhere, so no folder refuses it",
    "samples": "the control draws or chooses by the number of a gene",
}

_EXTRA = "needs the extra '{extra}' ({module}): run make setup-ci"


def extra(module: str) -> ModuleType:
    """Import an optional dependency, or skip with a reason that names the extra and the command that installs it."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError):  # OSError: a shared library that does not fit the installed torch
        missing_extra(module)


def missing_extra(module: str) -> NoReturn:
    """Skip for want of ``module``. ``allow_module_level``: a whole file may need one."""
    pytest.skip(_EXTRA.format(extra=EXTRAS[module], module=module), allow_module_level=True)


def skip_listed(name: str) -> NoReturn:
    """Skip for the reason ``name`` of :data:`LISTED`."""
    pytest.skip(LISTED[name])


def listed(name: str, condition: bool) -> pytest.MarkDecorator:
    """A mark that skips for the reason ``name`` of :data:`LISTED` where ``condition`` holds."""
    return pytest.mark.skipif(condition, reason=LISTED[name])


def unlisted(reasons: Iterable[str], *, extras_required: bool) -> list[str]:
    """The reasons, without repeats, for which this environment must not skip."""
    allowed = set(LISTED.values())
    if not extras_required:
        allowed |= {_EXTRA.format(extra=name, module=module) for module, name in EXTRAS.items()}
    return [reason for reason in dict.fromkeys(reasons) if reason not in allowed]
