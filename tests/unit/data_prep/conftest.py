"""A local server and an empty cache for the tests of fetching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from data_prep.fetch.cache import CACHE_VARIABLE
from data_prep.fetch.catalogue import CATALOGUE_VARIABLE
from data_prep.fetch.fetcher import MIRROR_VARIABLE, OFFLINE_VARIABLE
from tests.unit.data_prep.file_server import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxy between us and loopback."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    for name in (CATALOGUE_VARIABLE, MIRROR_VARIABLE, OFFLINE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def catalogue(tmp_path: Path) -> Callable[..., Path]:
    """Write a user's catalogue of entries; what an entry leaves out is filled in."""

    def write(*entries: dict, name: str = "catalogue.yaml") -> Path:
        plain = {
            "what": "a test",
            "kind": "cells",
            "format": "h5ad",
            "licence": "CC0",
            "citation": "Nobody 2024",
            "source": "made up",
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump({"resources": [plain | entry for entry in entries]}))
        return path

    return write
