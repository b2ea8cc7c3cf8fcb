"""Name -> component class. A component is one file: a class, its ``Config``, its paper."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from grn_cotrain.config import parse
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.plugins import VARIABLE, load_plugins, plugins

__all__ = ["Component", "Registry"]

T = TypeVar("T")


@dataclass(frozen=True)
class Component(Generic[T]):
    """One registered class."""

    name: str
    cls: type[T]
    paper: str

    @property
    def origin(self) -> str:
        """Module of a component from outside the package; empty for its own."""
        return "" if self.cls.__module__.startswith("grn_cotrain.") else self.cls.__module__

    @property
    def summary(self) -> str:
        """First line of the class docstring."""
        return (inspect.getdoc(self.cls) or "").split("\n", 1)[0]


class Registry(Generic[T]):
    """Components of one kind, found by importing every module of ``package``, and plug-ins, on first use.

    Parameters
    ----------
    kind
        Kind of the components in recipes, for example ``"graph_encoder"``; used in error messages and by ``grn-cotrain
        list``.
    package
        Dotted name of the package whose modules register themselves.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._components: dict[str, Component[T]] = {}
        self._loaded = False

    def register(self, name: str, *, paper: str) -> Callable[[type[T]], type[T]]:
        """Class decorator; ``paper`` is a short citation, shown by ``grn-cotrain list``."""

        def decorate(cls: type[T]) -> type[T]:
            if name in self._components:
                raise ValueError(f"{self.kind} '{name}' is registered twice; choose another name")
            self._components[name] = Component(name, cls, paper)
            return cls

        return decorate

    def _load(self) -> None:
        if not self._loaded:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._loaded = True  # before plug-ins, which may look into registries themselves
            try:
                load_plugins()
            except UserError:
                self._loaded = False
                raise

    def components(self) -> list[Component[T]]:
        """All components, sorted by name."""
        self._load()
        return [self._components[name] for name in sorted(self._components)]

    def names(self) -> list[str]:
        """Sorted names."""
        return [component.name for component in self.components()]

    def get(self, name: str) -> type[T]:
        """Return the class, or raise an error that lists the choices."""
        self._load()
        key = name.strip().lower().replace("-", "_")
        if key not in self._components:
            hint = did_you_mean(key, self._components)
            if not hint and not plugins():
                hint = f" (a component of your own: name its file in {VARIABLE})"
            raise UserError(f"unknown '{name}' for {self.kind}; choose from {', '.join(self.names())}{hint}")
        return self._components[key].cls

    def config(self, name: str, options: Mapping[str, Any], *, path: str = "") -> Any:
        """Parse ``options`` strictly into the component's ``Config``."""
        cls = self.get(name)
        return parse(cls.Config, options, path=path or self.kind)  # type: ignore[attr-defined]

    def build(self, name: str, options: Mapping[str, Any] | None = None, *, path: str = "", **sizes: Any) -> T:
        """Build the component from recipe options and sizes that only the data know."""
        config = self.config(name, options or {}, path=path)
        return self.get(name)(config, **sizes)  # type: ignore[call-arg]
