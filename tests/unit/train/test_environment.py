"""Global settings of a run: set inside, and as the caller had them outside."""

from __future__ import annotations

import os

import pytest
import torch

from grn_cotrain.train.environment import CUBLAS_WORKSPACE, deterministic


def test_what_cuda_needs_to_be_deterministic_is_set_inside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it torch refuses every matrix product on a GPU under deterministic algorithms, which are the default."""
    name, size = CUBLAS_WORKSPACE
    monkeypatch.delenv(name, raising=False)
    with deterministic(True):
        assert os.environ[name] == size
        assert torch.are_deterministic_algorithms_enabled()
    assert name not in os.environ
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        assert name not in os.environ
    monkeypatch.setenv(name, ":16:8")
    with deterministic(True):
        assert os.environ[name] == ":16:8", "the user's own setting stays"
    assert os.environ[name] == ":16:8"
    monkeypatch.delenv(name)

    def failing() -> None:
        with deterministic(True):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert name not in os.environ
    assert not torch.are_deterministic_algorithms_enabled()


def test_threads_and_random_state_are_the_callers_again() -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    with deterministic(True, threads=before + 1):
        assert torch.get_num_threads() == before + 1
        torch.rand(3)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)
