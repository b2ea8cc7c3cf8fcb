"""Fabric comes without what it imports for a version number, and leaves nothing false behind."""

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
from grn_cotrain.train.fabric import build_fabric
assert str(build_fabric("cpu", "fp32", []).device) == "cpu"
assert not {"torchmetrics", "transformers", "pytorch_lightning"} & set(sys.modules)
from lightning_fabric.utilities import imports
assert imports._TORCHMETRICS_GREATER_EQUAL_1_0_0  # other code of the process reads it
from importlib.util import find_spec
assert find_spec("torchmetrics").origin  # the real one is found by who needs it
"""


def test_a_process_that_trains_imports_no_more_than_it_uses() -> None:
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
    with pytest.raises(UserError, match=f"^--device '{name}': .*give cpu, or cuda where there is a GPU$") as caught:
        find_device(name, option="--device")
    assert "\n" not in str(caught.value)


@listed("no cuda", torch.cuda.is_available())
def test_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^--device 'cuda': .*not available.*give cpu, or cuda where there is a GPU$"):
        find_device("cuda", option="--device")
