"""The command line ``grn-cotrain``: one module a group of commands; importing it loads neither torch nor scanpy."""

from __future__ import annotations

from grn_cotrain.cli import (
    annotating,
    cards,
    comparing,
    edges,
    evaluating,
    exporting,
    generating,
    hub,
    listing,
    perturbing,
    reporting,
    starting,
    training,
)
from grn_cotrain.cli.apps import app
from grn_cotrain.cli.listing import registries
from grn_cotrain.commandline import run_app

__all__ = ["app", "main", "registries"]

# Imported for the commands they register, in the order of --help.
_GROUPS = (
    training,
    comparing,
    annotating,
    evaluating,
    exporting,
    edges,
    perturbing,
    generating,
    cards,
    reporting,
    starting,
    hub,
    listing,
)


def main() -> None:
    """Entry point."""
    raise SystemExit(run_app(app))
