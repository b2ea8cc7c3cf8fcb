"""Environment of a run. Equal numbers are promised under an equal environment alone."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from grn_cotrain.files import sha256_file
from grn_cotrain.plugins import plugins

__all__ = ["CUBLAS_WORKSPACE", "deterministic", "differences", "environment"]

_PACKAGES = ("grn-cotrain", "torch", "torch-geometric", "pytorch-lightning", "numpy", "scipy", "anndata")


def environment(device: str) -> dict[str, Any]:
    """Python, packages, processor, threads, device."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "python": platform.python_version(),
        "packages": versions,
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": device,
        **({"plugins": _plugins()} if plugins() else {}),
    }


def _plugins() -> dict[str, str]:
    """Plug-in -> checksum of its file, so that a run records the user's code that it was made with."""
    return {Path(name).name: sha256_file(path) if Path(path).is_file() else "" for name, path in plugins().items()}


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Describe differences in what bitwise equality depends on."""
    found = [
        f"{key} was {old.get(key)}, is {new.get(key)}"
        for key in ("machine", "processor", "threads", "device", "plugins")
        if old.get(key) != new.get(key)
    ]
    before, now = old.get("packages", {}).get("torch"), new.get("packages", {}).get("torch")
    return found + ([f"torch was {before}, is {now}"] if before != now else [])


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


CUBLAS_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Environment variable and its value under which cuBLAS is deterministic (NVIDIA's documentation of cuBLAS)."""


@contextlib.contextmanager
def deterministic(enabled: bool, *, threads: int | None = None) -> Iterator[None]:
    """Deterministic algorithms and thread count inside; the caller's settings and random state outside.

    On CUDA matrix products are deterministic only with a fixed workspace, which torch asks for by an environment
    variable (:data:`CUBLAS_WORKSPACE`) and refuses to run without; one that the user has set stays.
    """
    old_deterministic = torch.are_deterministic_algorithms_enabled()
    old_threads = torch.get_num_threads()
    name, size = CUBLAS_WORKSPACE
    ours = enabled and name not in os.environ
    if ours:
        os.environ[name] = size
    with torch.random.fork_rng():
        try:
            torch.use_deterministic_algorithms(enabled)
            if threads:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.use_deterministic_algorithms(old_deterministic)
            torch.set_num_threads(old_threads)
            if ours:
                os.environ.pop(name, None)
