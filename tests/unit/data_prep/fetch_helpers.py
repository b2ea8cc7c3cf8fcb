"""A resource of the local server and a fetcher that is quick to give up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from data_prep.fetch import Fetcher
from data_prep.fetch.catalogue import Resource

__all__ = ["BODY", "QUICK", "SHA", "fetcher", "leftovers", "resource"]

BODY = np.random.default_rng(0).bytes(1_000_000)
SHA = hashlib.sha256(BODY).hexdigest()
QUICK = {"attempts": 3, "backoff": 0.0, "timeout": (2.0, 2.0)}


def resource(url: str, **more) -> Resource:
    plain = {
        "name": "thing",
        "what": "a thing",
        "kind": "cells",
        "format": "h5ad",
        "licence": "CC0",
        "citation": "Nobody 2024",
        "source": "made up",
        "url": url,
        "file": "thing.h5ad",
    }
    return Resource(**(plain | more))


def fetcher(lines: list[str] | None = None, **more) -> Fetcher:
    options = QUICK | more.pop("options", {})
    return Fetcher({}, say=(lines if lines is not None else []).append, options=options, **more)


def leftovers(cache: Path) -> list[str]:
    """Everything below the cache but the processes' lock."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name != ".busy")
