"""Every registry has a contract test module, and every registered class is a case in it."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from grn_cotrain.cli import registries
from grn_cotrain.registry import Registry

ROOT = Path(__file__).resolve().parents[2]

#: Kind -> its contract test modules.
MODULES = {
    "graph_encoder": ("test_graph_encoders",),
    "backend": ("test_backends",),
    "coupling": ("test_couplings",),
    "cell_encoder": ("test_cell_encoders",),
    "link_decoder": ("test_link_decoders",),
    "link_loss": ("test_link_losses",),
    "objective": ("test_objectives", "test_link_objectives"),
    "inductive": ("test_features",),
    "control": ("test_controls",),
    "head": ("test_heads",),
    "edge_format": ("test_edge_formats",),
}


def covered(modules: list[ModuleType]) -> set[str]:
    """Names of the components that these modules test: classes that pytest collects and that inherit their tests."""
    names = set()
    for module in modules:
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != module.__name__ or not cls.__name__.startswith("Test"):
                continue
            inherited = any(
                attribute.startswith("test_")
                for base in cls.__mro__[1:]
                if base.__module__.startswith("tests.cases.")
                for attribute in vars(base)
            )
            if inherited and isinstance(getattr(cls, "name", None), str):
                names.add(cls.name)
    return names


def uncovered(registry: Registry, modules: list[ModuleType]) -> set[str]:
    """Registered names without a case."""
    return set(registry.names()) - covered(modules)


@pytest.mark.parametrize("kind", sorted(registries()))
def test_every_registered_class_has_a_contract_test(kind: str) -> None:
    assert kind in MODULES, f"new kind '{kind}': write tests/cases and tests/contract for it, and name them here"
    modules = [importlib.import_module(f"tests.contract.{name}") for name in MODULES[kind]]
    missing = uncovered(registries()[kind], modules)
    assert not missing, f"{kind}: no contract test for {', '.join(sorted(missing))}"
    for module in modules:
        assert callable(getattr(module, "test_every_component_is_covered", None)), module.__name__


def test_the_command_line_knows_every_registry() -> None:
    made = set()
    for path in (ROOT / "grn_cotrain").rglob("*.py"):
        made |= set(re.findall(r'= Registry\("(\w+)", __package__\)', path.read_text(encoding="utf-8")))
    assert made == set(registries())


def test_every_registered_class_is_documented() -> None:
    for kind, registry in registries().items():
        for component in registry.components():
            assert component.summary.endswith("."), f"{kind} {component.name}: one sentence first"
            assert component.paper, f"{kind} {component.name}: name its paper"


def test_the_checker_can_fail() -> None:
    """A registry with one component more than a module covers; classes that look like tests and are none."""
    registry: Registry[object] = Registry("fake", "tests.contract")
    registry._loaded = True
    registry.register("sage", paper="none")(type("Sage", (), {}))
    registry.register("forgotten", paper="none")(type("Forgotten", (), {}))
    module = importlib.import_module("tests.contract.test_graph_encoders")
    assert uncovered(registry, [module]) == {"forgotten"}

    def make(name: str, /, *bases: type, **body: object) -> type:
        return type(name, bases, {"__module__": "fake", **body})

    case = make("FakeCase", __module__="tests.cases.fake", test_something=lambda self: None)
    fake = ModuleType("fake")
    vars(fake)["TestForgotten"] = make("TestForgotten", name="forgotten")  # inherits no test
    vars(fake)["Forgotten"] = make("Forgotten", case, name="forgotten")  # is not collected
    assert uncovered(registry, [module, fake]) == {"forgotten"}
    vars(fake)["TestReal"] = make("TestReal", case, name="forgotten")
    assert uncovered(registry, [module, fake]) == set()
