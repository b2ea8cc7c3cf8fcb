"""Freed memory goes back to the system, where the C library knows how; elsewhere nothing happens."""

from __future__ import annotations

import sys

import pytest

from grn_cotrain.train import free_memory


def test_trim_may_be_called_at_any_time() -> None:
    free_memory.trim()
    free_memory.trim()


def test_another_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory._malloc_trim.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert free_memory._malloc_trim() is None
    free_memory.trim()
    free_memory._malloc_trim.cache_clear()
