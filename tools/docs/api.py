"""The public Python objects, and a page for each."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

from tools.docs.tables import markdown
from tools.docs.text import parse_docstring

__all__ = ["GROUPS", "PublicObject", "api_index", "api_page", "public_objects"]

#: Heading -> modules; ``module`` takes all of its ``__all__``, ``module:a,b`` the names given.
GROUPS: dict[str, tuple[str, ...]] = {
    "Tools on AnnData": ("grn_cotrain.tl",),
    "Figures": ("grn_cotrain.pl",),
    "Models and runs": ("grn_cotrain:CoTrainModel", "grn_cotrain.run_folder:RunFolder", "grn_cotrain.hub"),
    "Exports of a run": ("grn_cotrain.export",),
    "Card and report": ("grn_cotrain.card", "grn_cotrain.report"),
    "Data": (
        "grn_cotrain.data.vocab:FeatureVocab,AlignmentReport",
        "grn_cotrain.data.cells:MemoryStore",
        "grn_cotrain.data.grn:GRN",
        "grn_cotrain.data.edge_split:EdgeSplit",
        "grn_cotrain.data.prep:Prep",
        "grn_cotrain.data.leakage:assert_no_leak",
    ),
    "Readers": (
        "grn_cotrain.data.io.counts",
        "grn_cotrain.data.io.edges",
        "grn_cotrain.data.io.names",
    ),
    "Preparing and fetching": (
        "data_prep.counts:prepare_counts",
        "data_prep.grn:prepare_grn",
        "data_prep.splits:prepare_splits",
        "data_prep.simulate:simulate,simulate_world",
        "data_prep.demo:pbmc_counts,blood_network,prepare_demo",
        "data_prep.fetch",
    ),
    "Recipes, training, evaluation": (
        "grn_cotrain.recipe:Recipe,load_recipe",
        "grn_cotrain.train.run:train",
        "grn_cotrain.train.check:check_recipe",
        "grn_cotrain.evaluate.run:evaluate_run",
        "grn_cotrain.evaluate.link_table:LinkTable",
        "grn_cotrain.evaluate.bootstrap:beats",
        "grn_cotrain.evaluate.score:score_pairs",
        "grn_cotrain.registry:Registry",
        "grn_cotrain.errors:UserError,MissingExtraError",
    ),
}


@dataclass(frozen=True)
class PublicObject:
    """One object: the name users type, where it is defined, its page and its first line."""

    name: str
    defined: str
    page: str
    summary: str
    group: str


def public_objects() -> list[PublicObject]:
    """All public objects, group by group, in the order of their modules' ``__all__``."""
    found: dict[str, PublicObject] = {}
    for group, specifications in GROUPS.items():
        for specification in specifications:
            module_name, _, names = specification.partition(":")
            module = importlib.import_module(module_name)
            for name in names.split(",") if names else module.__all__:
                public = _public(getattr(module, name), module_name, name, group)
                if public is not None:
                    found.setdefault(public.defined, public)
    return list(found.values())


def _public(value: Any, module: str, name: str, group: str) -> PublicObject | None:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return None  # constants and submodules have no page of their own
    defined = f"{value.__module__}.{value.__qualname__}"
    shown = f"{module}.{name}"
    return PublicObject(shown, defined, f"api/{shown}.md", parse_docstring(value).summary, group)


def api_page(public: PublicObject) -> str:
    """Markdown of one object's page."""
    module, _, name = public.name.rpartition(".")
    return f"---\ntitle: {name}\n---\n\n::: {public.defined}\n\n---\n\n`from {module} import {name}`\n"


def api_index() -> str:
    """All public objects in tables, with links."""
    parts = [
        "# Python API\n\nA page per public object. The caller's AnnData is never changed unless you ask for it; "
        "functions that draw return their Axes and never show them.\n"
    ]
    for group in GROUPS:
        rows = [
            (f"[`{public.name.removeprefix('grn_cotrain.')}`]({public.page.removeprefix('api/')})", public.summary)
            for public in public_objects()
            if public.group == group
        ]
        parts.append(f"\n## {group}\n\n{markdown(('', ''), rows)}\n")
    return "".join(parts)
