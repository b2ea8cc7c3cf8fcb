"""An evaluated copy of the tiny run, and the promise that figures leave matplotlib as it was."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("agg")


@pytest.fixture(scope="session")
def evaluated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with its link table, against four controls."""
    from grn_cotrain.evaluate.run import evaluate_run

    run = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(tiny_run, run)
    evaluate_run(run, controls="random,degree_product,target_knn,pearson", bootstrap=20)
    return run


@pytest.fixture(autouse=True)
def matplotlib_is_left_alone() -> Iterator[None]:
    """No figure of pyplot stays open, no setting changes, and nothing is warned of."""
    import matplotlib.pyplot as plt

    before, settings = plt.get_fignums(), dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield
    assert plt.get_fignums() == before
    assert dict(mpl.rcParams) == settings
