"""Components from outside: installed packages that announce themselves, and files or modules that the user names.

A package announces a module by an entry point::

    [project.entry-points."grn_cotrain.components"]
    my_encoders = "my_package.encoders"

and ``GRN_COTRAIN_PLUGINS`` names files (``my_encoder.py``) and modules, separated as paths are (``:``). Each is
imported once, when the first registry is read; what it registers is then a component like any other. Nothing else is
ever imported: no recipe, run or model folder can name code to be run.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from grn_cotrain.errors import UserError

__all__ = ["ENTRY_POINTS", "VARIABLE", "load_plugins", "plugins"]

ENTRY_POINTS = "grn_cotrain.components"
VARIABLE = "GRN_COTRAIN_PLUGINS"

_loaded: dict[str, ModuleType] = {}


def plugins() -> dict[str, str]:
    """Plug-in as named -> the file of its module; those loaded so far."""
    return {name: str(getattr(module, "__file__", "") or "") for name, module in _loaded.items()}


def load_plugins() -> None:
    """Import what is announced or named and not imported yet.

    Raises
    ------
    UserError
        A file or module that is missing or fails; the message names it and the reason.
    """
    for point in entry_points(group=ENTRY_POINTS):
        _load(f"{point.name} = {point.value}", point.module)
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        _load(name.strip(), name.strip())


def _load(label: str, target: str) -> None:
    if label in _loaded:
        return
    what = f"plug-in '{label}'"
    path = Path(target)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise UserError(f"{what}: no such file; correct {VARIABLE}")
    try:
        _loaded[label] = _import_file(path) if is_file else importlib.import_module(target)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
    except ModuleNotFoundError as error:
        raise UserError(f"{what}: no module named '{error.name}'; install it, or correct {VARIABLE}") from None
    except Exception as error:  # whatever a stranger's file raises, the user must learn which file it was
        raise UserError(f"{what}: {type(error).__name__}: {error}; mend the file, or leave it out") from error


def _import_file(path: Path) -> ModuleType:
    name = f"grn_cotrain_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
