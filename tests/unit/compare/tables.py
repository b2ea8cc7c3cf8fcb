"""Hand-made link tables and cells for the tests of comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.compare.grid import Cell, CellResult
from grn_cotrain.compare.table import METRICS
from grn_cotrain.compare.vary import Arm
from grn_cotrain.evaluate.link_table import COLUMNS, LinkTable
from grn_cotrain.recipe import DataConfig, Recipe

__all__ = ["cell_result", "link_table"]

REPLICATES = 50


def link_table(values: dict[str, tuple[str, float]], *, seed: int = 0, num_tfs: int = 20, key: str = "k") -> LinkTable:
    """``values``: scorer -> (kind, value of every metric). Replicates scatter by .01, alike for all scorers."""
    noise_B = np.random.default_rng(0).normal(0, 0.01, REPLICATES)
    rows, replicates = [], []
    for scorer, (kind, value) in values.items():
        for metric in METRICS:
            rows.append(
                (
                    *("s", scorer, kind, metric, value, value - 0.02, value + 0.02, num_tfs, 100, 0.1, 0.0),
                    *(seed, "visible", "all", "h", "r", "c"),
                )
            )
            replicates.append(value + noise_B)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({k: v for k, v in COLUMNS.items() if v != "str"})
    return LinkTable(frame, np.stack(replicates).astype(np.float32), {"s": key}, False, "s")


def cell_result(
    arm: str, seed: int, value: float | None, *, r2: float | None = 0.2, scorer: str = "model", split: str = "s"
) -> CellResult:
    """A finished cell, or a failed one where ``value`` is None."""
    recipe = Recipe(name="t", data=DataConfig(prep="p", split="s"))
    cell = Cell(Arm(arm, {"train.schedule.name": arm}), seed, recipe, Path("nowhere"), split_hash=split)
    if value is None:
        return CellResult(cell, None, None, "killed by signal 9")
    facts = {
        "scorer": scorer,
        "kind": "model",
        "cells": {"r2": r2, "factor_analysis_r2": 0.3},
        "train_seconds": 10.0,
        "memory_mb": 500.0,
    }
    return CellResult(cell, facts, link_table({scorer: ("model", value)}, seed=seed), None)
