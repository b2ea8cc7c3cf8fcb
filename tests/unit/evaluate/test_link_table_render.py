"""Printing a link table whose folds lack a candidate set."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
from rich.console import Console

from tests.unit.compare.tables import link_table


def test_a_candidate_set_that_only_a_fold_has_is_not_printed() -> None:
    table = link_table({"joint": ("model", 0.8), "random": ("control", 0.5)})
    fold = table.frame.assign(split="s-fold0", candidates="matched")
    both = dataclasses.replace(
        table,
        frame=pd.concat([table.frame, fold], ignore_index=True),
        replicates_LB=np.concatenate([table.replicates_LB, table.replicates_LB]),
        keys={"s": "k", "s-fold0": "k"},
    )
    out = io.StringIO()
    both.render(Console(file=out, width=200))
    assert "s, all candidates" in out.getvalue()
    assert "degree-matched 1:1" not in out.getvalue()
