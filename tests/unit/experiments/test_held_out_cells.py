"""The study of cells that no training saw: its cases, and its table by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from experiments.studies.held_out_cells import CASES, Case, held_out_table, parts_of


def row(neighbours: float, transfer: float | None) -> dict[str, Any]:
    """What one run of a case gives."""
    names = ("embedding", "pca", "hvg")
    gap = {"value": 0.125, "low": -0.25, "high": 0.5}
    return {
        "neighbours": {**dict.fromkeys(names, neighbours), "refitted": 0.75},
        "transfer": {} if transfer is None else dict.fromkeys(names, transfer),
        "minus_refitted": gap,
        "minus_pca": None if transfer is None else gap,
    }


def test_the_table_has_the_model_and_its_controls() -> None:
    lines = held_out_table({"bmmc": [row(0.5, 0.25), row(1.0, 0.75)], "kang-pbmc3k": [row(0.5, None)]})
    assert len(lines) == 8
    assert lines[0] == ["bmmc", "model, as it is", "2", "0.750", "+0.125 [-0.250, +0.500]", "0.500", lines[0][4]]
    assert lines[3] == ["bmmc", "PCA refitted on the held-out cells", "", "0.750", "-", "-", "-"]
    assert lines[4][5:] == ["-", "-"], "labels of another data set are not carried over"


def test_training_and_held_out_cells_share_no_cell(tmp_path: Path) -> None:
    obs = pd.DataFrame({"batch": ["a", "b", "a"], "label": ["x", "y", "x"]}, index=["c0", "c1", "c2"])
    anndata.AnnData(np.eye(3, dtype=np.float32), obs=obs).write_h5ad(tmp_path / "all.h5ad")
    files = parts_of(Case("all.h5ad", "label", ("batch", "b")), tmp_path, tmp_path / "parts")
    names = [list(anndata.read_h5ad(file).obs_names) for file in files]
    assert names == [["c0", "c2"], ["c1"]]


def test_every_case_holds_out_a_group_or_another_file() -> None:
    assert all((case.group is None) == bool(case.other) for case in CASES.values())
