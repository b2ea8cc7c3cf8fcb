"""Fabric is imported where a device is chosen; the choice has one list of names and one refusal."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from grn_cotrain.errors import UserError
from grn_cotrain.train.fabric import build_fabric, find_device
from tests.cases.skips import listed

CHILD = """
import sys
import grn_cotrain.cli
from grn_cotrain.train.fabric import build_fabric
assert not {"lightning_fabric", "torchmetrics"} & set(sys.modules)
assert str(build_fabric("cpu", "fp32", []).device) == "cpu"
assert "pytorch_lightning" not in sys.modules
assert sys.modules["torchmetrics"].__spec__.origin, "the package itself, and nothing that stands in for it"
"""


def test_a_process_imports_fabric_where_it_is_used_and_no_trainer() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_precision_is_that_of_the_recipe() -> None:
    assert build_fabric("cpu", "bf16", [])._precision.precision == "bf16-mixed"
    assert build_fabric("cpu", "fp32", [])._precision.precision == "32-true"


def test_an_unknown_device_is_one_line() -> None:
    with pytest.raises(UserError, match=r"train.device 'tpuu'.*give cpu, or cuda") as caught:
        build_fabric("tpuu", "fp32", [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gpuu", "", "cuda:x", "tpu"])
def test_a_loop_of_its_own_takes_the_same_devices(name: str) -> None:
    assert find_device("cpu", option="--device") == torch.device("cpu")
    with pytest.raises(UserError, match=f"^device='{name}': .*give cpu, or cuda where there is a GPU$") as caught:
        find_device(name, option="--device")
    assert "\n" not in str(caught.value)


@listed("no cuda", torch.cuda.is_available())
def test_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^device='cuda': .*not available.*give cpu, or cuda where there is a GPU$"):
        find_device("cuda", option="--device")
