"""The figure of masked values by sparsity: what is drawn, in which order, and where it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain import pl
from grn_cotrain.errors import UserError


def levels(*, models: tuple[str, ...] = ("joint",), assay: str = "rna") -> pd.DataFrame:
    """Two levels and two cell types; the model is best."""
    rows = []
    for by, groups in {"dropout": {"0%": 0.9, "75%": 0.96}, "type": {"T": 0.95, "B": 0.91}}.items():
        for group, share in groups.items():
            for place, scorer in enumerate([*models, "gene_mean", "factor_analysis"]):
                for metric in ("r2", "pearson"):
                    value = 0.8 - 0.2 * place - share / 10 + (0.5 if metric == "pearson" else 0)
                    rows.append(
                        {
                            "assay": assay,
                            "by": by,
                            "group": group,
                            "sparsity": share,
                            "scorer": scorer,
                            "metric": metric,
                        }
                        | {"value": value, "low": value - 0.05, "high": value + 0.1}
                    )
    return pd.DataFrame(rows)


def test_lines_are_values_over_the_share_of_zeros() -> None:
    ax = pl.sparsity(levels())
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == ["joint", "factor analysis", "gene mean"]
    np.testing.assert_allclose(lines["joint"].get_xdata(), [0.9, 0.96])
    np.testing.assert_allclose(lines["joint"].get_ydata(), [0.71, 0.704])
    assert len(ax.collections) == 3  # bands
    assert ax.get_ylabel() == "R2, standardised by gene"
    assert ax.get_xlabel() == "share of zeros: values dropped from the same cells"
    assert len({(line.get_marker(), line.get_color()) for line in lines.values()}) == 3


def test_groups_stand_in_order_of_sparsity_without_lines() -> None:
    ax = pl.sparsity(levels(), metric="pearson", by="type")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["B (91.0 %)", "T (95.0 %)"]
    joint = next(line for line in ax.get_lines() if line.get_label() == "joint")
    assert joint.get_linestyle() == "None"
    np.testing.assert_allclose(joint.get_ydata(), [1.209, 1.205])
    assert ax.get_ylabel() == "Pearson over entries (mostly gene means)"


def test_one_of_several_assays_is_named() -> None:
    both = pd.concat([levels(assay="rna"), levels(assay="atac").assign(value=0.25)])
    with pytest.raises(UserError, match="assay: not given, and the frame holds rna, atac; name one"):
        pl.sparsity(both)
    with pytest.raises(UserError, match=r"assay 'atca': choose from rna, atac \(did you mean 'atac'\?\)"):
        pl.sparsity(both, assay="atca")
    ax = pl.sparsity(both, assay="atac")
    assert ax.get_title(loc="left") == "Hidden values by sparsity: atac"
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), 0.25)


def test_marks_tell_models_apart_and_flat_lines_stay_flat() -> None:
    ax = pl.sparsity(levels(models=("joint", "mlm_only")))
    assert len({line.get_marker() for line in ax.get_lines()}) == 4
    flat = levels()
    flat[["value", "low", "high"]] = 0.5
    low, high = pl.sparsity(flat).get_ylim()
    assert high - low >= 0.1


def test_what_cannot_be_drawn_is_said(tiny_run: Path) -> None:
    with pytest.raises(UserError, match="metric 'r3': choose from r2, mse, pearson, pearson_cell"):
        pl.sparsity(levels(), metric="r3")
    with pytest.raises(UserError, match="by 'own': choose from dropout, type"):
        pl.sparsity(levels(), by="own")
    with pytest.raises(UserError, match="metric 'mse': no scorer has a value"):
        pl.sparsity(levels(), metric="mse")
    with pytest.raises(UserError, match="no column sparsity; give that of masked_value_by_sparsity"):
        pl.sparsity(levels().drop(columns="sparsity"))
    with pytest.raises(UserError, match="got int; give a run folder"):
        pl.sparsity(3)
    with pytest.raises(UserError, match="holds 4 models"):
        pl.sparsity(levels(models=("a", "b", "c", "d")))
    with pytest.raises(UserError, match=r"evaluate cells .* --by-sparsity"):
        pl.sparsity(tiny_run)
