"""``grn-cotrain list``: the components and their registries."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from grn_cotrain.cli.apps import PREPARE, app
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["list_components", "registries"]

#: Kind -> module and name of its registry, in the order of a recipe; then what leaves a run.
_REGISTRIES = {
    "graph_encoder": ("grn_cotrain.nn.graph_encoders", "GRAPH_ENCODERS"),
    "backend": ("grn_cotrain.nn.backends", "BACKENDS"),
    "coupling": ("grn_cotrain.nn.couplings", "COUPLINGS"),
    "cell_encoder": ("grn_cotrain.nn.cell_encoders", "CELL_ENCODERS"),
    "link_decoder": ("grn_cotrain.nn.link_decoders", "LINK_DECODERS"),
    "link_loss": ("grn_cotrain.nn.link_losses", "LINK_LOSSES"),
    "objective": ("grn_cotrain.objectives", "OBJECTIVES"),
    "inductive": ("grn_cotrain.nn.features", "FEATURE_SOURCES"),
    "control": ("grn_cotrain.controls", "CONTROLS"),
    "head": ("grn_cotrain.nn.heads", "HEADS"),
    "edge_format": ("grn_cotrain.export.edge_formats", "EDGE_FORMATS"),
}


def registries() -> dict[str, Any]:
    """Kind -> registry of its components."""
    return {kind: getattr(importlib.import_module(module), name) for kind, (module, name) in _REGISTRIES.items()}


@command(app, "list", panel=PREPARE)
def list_components(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Kind to list; default: all.")] = None,
) -> None:
    """List components with their papers."""
    chosen = registries()
    if kind is not None:
        key = kind.strip().lower().replace("-", "_")
        if key not in chosen:
            raise UserError(f"KIND '{kind}': choose from {', '.join(chosen)}{did_you_mean(key, chosen)}")
        chosen = {key: chosen[key]}
    for name, registry in chosen.items():
        say(name, style="bold")
        components = registry.components()
        width = max(len(component.name) for component in components)
        for component in components:
            origin = f"  (plug-in {component.origin})" if component.origin else ""
            say(f"  {component.name:<{width}}  {component.summary}  [{component.paper}]{origin}")
    next_step("grn-cotrain", "check", "RECIPE.yaml")
