"""Which folders a wheel carries, and under which name (docs/decisions/0009-wheel.md); all else is in pyproject.toml.

``data_prep``, the recipes of ``experiments`` and the contract cases of ``tests`` are at the top of the repository. In
site-packages such common names belong to nobody, so there they are parts of ``grn_cotrain``.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

#: Name in site-packages -> folder of the repository.
PLACES = {
    "grn_cotrain.preparing": "data_prep",
    "grn_cotrain.recipes": "experiments/configs",
    "grn_cotrain.testing": "tests/cases",
}

_root = Path(__file__).resolve().parent
_packages = find_packages(str(_root), include=["grn_cotrain", "grn_cotrain.*"])
for _name, _folder in PLACES.items():
    _packages += [_name, *(f"{_name}.{inner}" for inner in find_packages(str(_root / _folder)))]

setup(packages=_packages, package_dir=PLACES)
