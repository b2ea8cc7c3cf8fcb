"""Fixtures shared by all tests. Real data are reached through ``GRN_COTRAIN_DATA`` only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Numba's first parallel function sets the number of OpenMP threads of the whole process, torch's too.
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

# The one place besides the Makefile that knows where a checkout's neighbour keeps real data.
_NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "data"
if "GRN_COTRAIN_DATA" not in os.environ and _NEIGHBOUR.is_dir():
    os.environ["GRN_COTRAIN_DATA"] = str(_NEIGHBOUR)


@pytest.fixture(autouse=True)
def threads_stay() -> Iterator[None]:
    """No test leaves another number of threads behind: those after it would be slower, and sum in another order."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else int(os.environ["OMP_NUM_THREADS"])
    yield
    torch = sys.modules.get("torch")
    assert torch is None or torch.get_num_threads() == before, "this test left another number of threads"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data sets; skips, with the reason, where there is none."""
    folder = os.environ.get("GRN_COTRAIN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data absent: set GRN_COTRAIN_DATA to the folder of real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of a tiny simulated world with one split of each kind. Read only."""
    from tests.worlds import make_world

    return make_world(tmp_path_factory.mktemp("world") / "prep")


@pytest.fixture(scope="session")
def tiny_run(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny recipe, joint, on unseen targets. Read only: copy it before you change it."""
    from grn_cotrain.train.run import train
    from tests.worlds import tiny_recipe

    return train(tiny_recipe(tiny_world), tmp_path_factory.mktemp("run") / "run").folder
