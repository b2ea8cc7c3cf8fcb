"""Centrality against closed forms, and worlds in which expression alone, or attention alone, makes a gene central."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import cell_groups, read_attention
from grn_cotrain.evaluate.centrality import centrality_genes, centrality_table, partial_spearman
from tests.cases.attention import PlantedModel
from tests.cases.toy_links import NUM_GENES, NUM_TFS, toy_cells, toy_grn

RNG = np.random.default_rng(0)


def test_partial_spearman_is_the_textbook_formula_and_the_residual_of_ranks() -> None:
    x, y, z, w = RNG.random((4, 40)).round(1)  # with ties
    y = y + x
    z = z + x
    assert partial_spearman(x, y, np.zeros((40, 0))) == pytest.approx(spearmanr(x, y).statistic)
    xy, xz, yz = (spearmanr(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    formula = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, z[:, None]) == pytest.approx(formula)
    # With two columns: apply the formula to itself, w out of everything first.
    by_w = {}
    for name, (a, b) in {"xy": (x, y), "xz": (x, z), "yz": (y, z)}.items():
        ab, aw, bw = (spearmanr(p, q).statistic for p, q in ((a, b), (a, w), (b, w)))
        by_w[name] = (ab - aw * bw) / np.sqrt((1 - aw**2) * (1 - bw**2))
    twice = (by_w["xy"] - by_w["xz"] * by_w["yz"]) / np.sqrt((1 - by_w["xz"] ** 2) * (1 - by_w["yz"] ** 2))
    assert partial_spearman(x, y, np.column_stack([z, w])) == pytest.approx(twice)
    assert np.isnan(partial_spearman(np.ones(40), y, z[:, None]))
    assert np.isnan(partial_spearman(z, y, z[:, None]))  # nothing of z is left given z


def world(num_genes: int = 600, *, by_expression: float, by_tf: float) -> pd.DataFrame:
    """TFs are expressed more; attention follows expression, TF status, or both."""
    draws = np.random.default_rng(3)
    is_tf = np.arange(num_genes) < num_genes // 5
    level = draws.normal(size=num_genes) + 0.8 * is_tf
    received = np.exp(by_expression * level + by_tf * is_tf + 0.3 * draws.normal(size=num_genes))
    return pd.DataFrame(
        {
            "received": received,
            "pagerank": received,
            "detection": 1 / (1 + np.exp(-level)),
            "mean": np.exp(level + 0.1 * draws.normal(size=num_genes)),
            "is_tf": is_tf,
            "out_degree": np.where(is_tf, draws.poisson(np.exp(0.5 * level + 1)), 0),
        }
    )


def values(genes: pd.DataFrame, **options) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    return centrality_table(genes, bootstrap=40, **options).set_index(["measure", "against", "statistic"])


def test_attention_that_follows_expression_alone_adds_nothing() -> None:
    found = values(world(by_expression=1.0, by_tf=0.0))
    plain = found.loc[("received", "TF or not", "Spearman")]
    assert plain["low"] > 0.1
    given = found.loc[("received", "TF or not", "partial Spearman")]
    assert given["low"] < 0 < given["high"]
    gained = found.loc[("received", "TF or not", "AUROC gained")]
    assert gained["value"] < 0.01
    assert gained["low"] < 0.005
    assert found.loc[("expression", "TF or not", "AUROC"), "value"] > 0.65


def test_attention_that_follows_tfs_adds_what_it_knows() -> None:
    found = values(world(by_expression=1.0, by_tf=2.0))
    assert found.loc[("received", "TF or not", "partial Spearman"), "low"] > 0.3
    gained = found.loc[("received", "TF or not", "AUROC gained")]
    assert gained["low"] > 0.1
    both = found.loc[("received", "TF or not", "AUROC"), "value"]
    alone = found.loc[("expression", "TF or not", "AUROC"), "value"]
    assert gained["value"] == pytest.approx(both - alone)
    assert found.loc[("received", "out-degree", "Spearman"), "num_genes"] == 120
    assert found.loc[("received", "out-degree", "Spearman"), "value"] == pytest.approx(
        spearmanr(*world(by_expression=1.0, by_tf=2.0).query("is_tf")[["received", "out_degree"]].T.values).statistic
    )


def test_the_same_seed_gives_the_same_table() -> None:
    genes = world(by_expression=0.5, by_tf=0.5)
    pd.testing.assert_frame_equal(centrality_table(genes, bootstrap=5), centrality_table(genes, bootstrap=5))
    other = centrality_table(genes, bootstrap=5, seed=1)
    assert not other["low"].equals(centrality_table(genes, bootstrap=5)["low"])


def test_too_few_genes_say_nothing() -> None:
    few = values(world(45, by_expression=1.0, by_tf=1.0))  # 9 TFs
    assert np.isnan(few.loc[("received", "out-degree", "Spearman"), "value"])
    assert np.isnan(few.loc[("received", "TF or not", "AUROC gained"), "value"])
    assert np.isfinite(few.loc[("received", "TF or not", "Spearman"), "value"])
    with pytest.raises(UserError, match="no column received"):
        centrality_table(pd.DataFrame({"pagerank": [1.0]}))


def test_genes_of_a_group_have_its_expression_and_the_networks_degree() -> None:
    cells = toy_cells()
    model = PlantedModel(lambda readers, read, cell: np.ones((len(readers), len(read))))
    groups, _ = cell_groups(cells, None, max_cells=25)
    (scores,) = read_attention(model, cells, np.arange(NUM_TFS), groups, centrality=True)
    genes = centrality_genes(scores, cells, toy_grn(), np.arange(NUM_TFS)).set_index("gene")
    assert "GENE33" not in genes.index  # seen in no cell
    assert len(genes) <= NUM_GENES - 1
    values_CG = cells.normalised()[groups[0].rows_C].toarray()
    for index in (0, 30, 79):
        row = genes.loc[f"GENE{index}"]
        assert row["detection"] == pytest.approx((values_CG[:, index] > 0).mean())
        assert row["mean"] == pytest.approx(values_CG[:, index].mean(), rel=1e-5)
        assert row["out_degree"] == int((toy_grn().pairs_2E[0] == index).sum())
        assert row["is_tf"] == (index < NUM_TFS)
        # Everyone else in a cell reads with weight 1.
        partners = [(values_CG[c] > 0).sum() - 1 for c in np.flatnonzero(values_CG[:, index] > 0)]
        assert row["received"] == pytest.approx(np.mean(partners))
        assert row["num_cells"] == len(partners)
