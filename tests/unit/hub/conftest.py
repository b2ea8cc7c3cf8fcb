"""Fixtures of the hub's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.skips import extra
from tests.unit.hub.fake_hub import FakeHub


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    huggingface_hub = extra("huggingface_hub")
    fake = FakeHub(tmp_path / "hub", tmp_path / "downloads")
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    return fake
