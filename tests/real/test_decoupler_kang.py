"""``export edges --format decoupler`` drives decoupler, and interferon regulators rise in stimulated cells.

The runs here are trained on Kang's *control* cells alone: they have never seen what interferon does, so what their new
edges say of the stimulated cells comes from the network and from unstimulated co-expression.
"""

from __future__ import annotations

from pathlib import Path

import anndata
import pandas as pd
import pytest

from experiments.studies.interferon import CELLS, read_cells, shifts, train_on_controls
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from tests.cases.skips import extra

pytestmark = pytest.mark.real

ISGF3 = ("STAT1", "STAT2", "IRF9")


@pytest.fixture(scope="module")
def cells(real_data: Path) -> anndata.AnnData:
    return read_cells(real_data / CELLS)


@pytest.fixture(scope="module")
def small_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of CollecTRI, TFs and targets alone. Every test here infers activities."""
    extra("decoupler")
    folder = tmp_path_factory.mktemp("kang")
    return train_on_controls(real_data, folder, genes="tf+targets", max_steps=20, evidence=("boosting_all",))


def check(table: pd.DataFrame, *, least: float = 0.9) -> None:
    auroc = table.pivot_table(index="network", columns="tf", values="auroc")
    rank = table.pivot_table(index="network", columns="tf", values="rank")
    for name in ("predicted", "predicted, new edges only"):
        assert (auroc.loc[name, list(ISGF3)] > 0.55).all(), f"{name}: {auroc.loc[name].to_dict()}"
        assert (auroc.loc[name, ["STAT2", "IRF9"]] > least).all(), f"{name}: {auroc.loc[name].to_dict()}"
        assert (rank.loc[name, ["STAT2", "IRF9"]] <= 0.1 * table["num_tfs"].min()).all(), rank.loc[name].to_dict()
    # Who regulates whom matters: with degrees kept and targets exchanged, nothing is left of it.
    gain = auroc.loc["predicted, new edges only", list(ISGF3)] - auroc.loc["new edges only, rewired", list(ISGF3)]
    assert gain.mean() > 0.2
    assert abs(auroc.loc["training network, rewired", list(ISGF3)].mean() - 0.5) < 0.15
    assert table["median_auroc"].between(0.3, 0.7).all()  # activities as a whole do not shift


def test_interferon_regulators_rise(small_run: Path, cells: anndata.AnnData) -> None:
    # IRF9 and STAT2 have few training targets, and evidence of the pair counts little where a TF has few.
    check(shifts(small_run, cells[::3].copy()), least=0.75)


def test_the_command_and_decoupler(small_run: Path, cells: anndata.AnnData, tmp_path: Path) -> None:
    """As a user types it: export, read, ulm, compare."""
    import decoupler as dc

    file = tmp_path / "net.csv"
    command = ["export", "edges", str(small_run), "--format", "decoupler", "--rank-by", "specific"]
    assert run_app(app, [*command, "--out", str(file)]) == 0
    mine = cells.copy()
    dc.mt.ulm(mine, pd.read_csv(file))
    activity = mine.obsm["score_ulm"]
    treated = mine.obs["treated"].to_numpy()
    for tf in ("STAT2", "IRF9"):
        difference = activity.loc[treated, tf].mean() - activity.loc[~treated, tf].mean()
        assert difference > activity[tf].std()


@pytest.mark.slow
def test_with_the_whole_network(real_data: Path, cells: anndata.AnnData, tmp_path: Path) -> None:
    run = train_on_controls(real_data, tmp_path, genes="all", max_steps=60)
    check(shifts(run, cells))
