"""The study of interferon regulators: shifts of activity on made-up cells, and its record among the results."""

from __future__ import annotations

import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from experiments.records import make_study_record, read_records, write_record
from experiments.results import results_text
from experiments.studies.interferon import activity_shift, read_cells
from grn_cotrain.errors import MissingExtraError, UserError
from tests.cases.skips import extra


def made_up() -> tuple[anndata.AnnData, pd.DataFrame]:
    """60 cells, half treated: the targets of UP rise, those of DOWN fall, those of FLAT do neither."""
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(60)]
    values = rng.normal(1, 0.3, size=(60, 60))
    treated = np.arange(60) % 2 == 0
    values[np.ix_(treated, range(10))] += 1
    values[np.ix_(treated, range(10, 20))] -= 1
    cells = anndata.AnnData(
        values, obs=pd.DataFrame({"treated": treated}, index=list(map(str, range(60)))), var=pd.DataFrame(index=genes)
    )
    targets = {"UP": genes[:10], "DOWN": genes[10:20], "FLAT": genes[30:40], "SMALL": genes[:4]}
    rows = [(tf, gene, 1.0) for tf, names in targets.items() for gene in names]
    return cells, pd.DataFrame(rows, columns=["source", "target", "weight"])


def test_activity_shift() -> None:
    extra("decoupler")
    cells, net = made_up()
    found = activity_shift(cells, net)
    assert set(found.index) == {"UP", "DOWN", "FLAT"}  # SMALL has fewer than five targets
    assert found.loc["UP", "auroc"] == 1.0
    assert found.loc["UP", "rank"] == 1
    assert found.loc["DOWN", "auroc"] == 0.0
    assert found.loc["DOWN", "rank"] == 3
    assert 0.2 < found.loc["FLAT", "auroc"] < 0.8
    assert found.loc["UP", "cohens_d"] > 2 > -2 > found.loc["DOWN", "cohens_d"]
    assert found.loc["UP", "p"] < 1e-6 < found.loc["FLAT", "p"]
    assert "score_ulm" not in cells.obsm


def test_decoupler_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decoupler", None)
    with pytest.raises(MissingExtraError, match=r"^study interferon: .*grn-cotrain\[prior\]"):
        activity_shift(*made_up())


def test_cells_without_the_condition(tmp_path: Path) -> None:
    cells = anndata.AnnData(
        np.eye(12, dtype=np.float32), obs=pd.DataFrame({"condition": ["ctrl"] * 12}, index=list("abcdefghijkl"))
    )
    cells.var_names = [f"GENE{i}" for i in range(12)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(UserError, match="condition = stim"):
        read_cells(tmp_path / "cells.h5ad")


def test_a_study_among_the_results(tmp_path: Path) -> None:
    body = {"header": ["network", "STAT1"], "table": [["predicted", "0.9 (1)"]], "rows": [], "notes": ["a note"]}
    write_record(make_study_record("interferon_test", body, command="python -m study"), tmp_path)
    text = results_text(read_records(tmp_path))
    assert "## interferon_test" in text
    assert "| predicted | 0.9 (1) |" in text
    assert "- a note" in text
    with pytest.raises(UserError, match="name"):
        make_study_record("Bad Name", body)
