"""Fixtures shared by all tests. Real data are reached through ``GRN_COTRAIN_DATA`` only."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases.skips import skip_listed, unlisted

# A shell ignores Ctrl-C in what it starts in the background, and children inherit that: tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Numba's first parallel function sets the number of OpenMP threads of the whole process, torch's too.
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

# The one place besides the Makefile that knows where a checkout's neighbour keeps real data.
_NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "data"
if "GRN_COTRAIN_DATA" not in os.environ and _NEIGHBOUR.is_dir():
    os.environ["GRN_COTRAIN_DATA"] = str(_NEIGHBOUR)


# Nobody cuts the power during a test. Waiting for the disk, thousands of times, was a tenth of the suite's time.
os.fsync = lambda handle: None

pytest_plugins = ["tests.cases.again"]

_skipped: list[str] = []  # reasons, of all workers: xdist reports to the controller


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the reason of every skip."""
    _keep_reason(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A whole file may skip."""
    _keep_reason(report)


def _keep_reason(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped.append(report.longrepr[2].removeprefix("Skipped: "))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that skipped for a reason that is not listed fails (`tests/cases/skips.py`)."""
    if hasattr(session.config, "workerinput"):
        return
    wrong = unlisted(_skipped, extras_required=os.environ.get("GRN_COTRAIN_EXTRAS") == "required")
    if wrong:
        lines = "".join(f"\n  {reason}" for reason in wrong)
        sys.stderr.write(f"\nerror: tests were skipped for reasons that this environment does not allow:{lines}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
        skip_listed("data")
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
