"""Votes of training targets: they add up to the score of a baseline, and name targets of the TF alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import grn_cotrain.tl as tl
from grn_cotrain.apply import OpenRun
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls.knn_target_stem import KnnTargetStem
from grn_cotrain.controls.target_knn import TargetKnn
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.explain import EXPLAIN_COLUMNS, explain
from tests.unit.export.test_edges import moved

SPLIT = "unseen-target-seed0"


def fitted(world: Path, name: str) -> TargetKnn | KnnTargetStem:
    prep = Prep.open(world)
    control = CONTROLS.build(name, {}, seed=0).fit(prep.split(SPLIT), prep.cells.genes())
    assert isinstance(control, TargetKnn | KnnTargetStem)
    return control


def test_votes_and_the_prior_are_the_score(tiny_world: Path) -> None:
    control = fitted(tiny_world, "target_knn")
    columns_N = np.arange(control.table.num_genes)
    votes_NG = control.voters(columns_N)
    positive_SN = (control.table.sparse_SG @ votes_NG.T).toarray()
    prior_N = 1 - np.asarray(votes_NG.sum(axis=1))
    expected_SN = positive_SN + control.table.source_rate_S[:, None] * prior_N
    np.testing.assert_allclose(control.scores_SG, expected_SN, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["target_knn", "knn_target_stem"])
def test_no_gene_votes_for_itself_and_held_out_genes_have_no_vote(tiny_world: Path, name: str) -> None:
    control = fitted(tiny_world, name)
    votes_NG = control.voters(np.arange(control.table.num_genes)).toarray()
    assert (votes_NG >= 0).all()
    assert (votes_NG.sum(axis=1) < 1).all()
    assert not votes_NG.diagonal().any()
    assert not votes_NG[:, ~control.table.seen_G].any()


def test_data_sets_add_up_to_the_cosine(tiny_world: Path) -> None:
    control = fitted(tiny_world, "target_knn")
    assert isinstance(control, TargetKnn)
    assert control.set_widths == {}
    unit_GR = control.finder.unit_GR
    control.set_widths = {"other": unit_GR.shape[1] // 3}
    pairs_2M = np.array([[0, 3, 5], [1, 4, 2]])
    parts = control.cosines_by_set(pairs_2M)
    assert list(parts) == ["cells", "other"]
    np.testing.assert_allclose(sum(parts.values()), (unit_GR[pairs_2M[0]] * unit_GR[pairs_2M[1]]).sum(1), atol=1e-6)


def test_both_doors_name_training_targets(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> None:
    plain, found = tl.infer_grn(tiny_run, top_per_tf=10), tl.infer_grn(tiny_run, top_per_tf=10, explain=True)
    pd.testing.assert_frame_equal(found[list(plain.columns)], plain)
    assert list(found.columns[-2:]) == list(EXPLAIN_COLUMNS)
    assert (found["neighbours"] != "").any()
    assert (found["data_sets"] == "").all(), "the cells are the only data set"
    prep = Prep.open(tiny_world)
    split, symbols = prep.split(SPLIT), prep.vocab.symbols
    training = {(symbols[source], symbols[target]) for source, target in split.train_2E.T}
    for source, target, text in found[["source", "target", "neighbours"]].itertuples(index=False):
        for part in filter(None, text.split("; ")):
            voters = [one.split(" ")[0] for one in part.split(": ")[1].split(", ")]
            votes = [float(one.split(" ")[1]) for one in part.split(": ")[1].split(", ")]
            assert {(source, voter) for voter in voters} <= training
            assert target not in voters
            assert votes == sorted(votes, reverse=True)
    out = tmp_path / "edges.parquet"
    assert run_app(app, ["export", "edges", str(tiny_run), "--out", str(out), "--top-per-tf", "10", "--explain"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), found, check_dtype=False)


def test_a_source_without_a_row_has_no_votes(tiny_run: Path) -> None:
    opened = OpenRun(tiny_run, side="links")
    known = set(explain_sources(opened))
    stranger = next(gene for gene in range(opened.model.vocab.num_genes) if gene not in known)
    found = explain(opened, np.array([[stranger], [0 if stranger else 1]]))
    assert [column.tolist() for column in found.values()] == [[""], [""]]


def explain_sources(opened: OpenRun) -> list[int]:
    split = opened.folder.require_prep(None).split(opened.recipe.data.split)
    return [*split.train_2E[0], *split.validation_sources_S, *split.test_sources_S]


def test_without_the_prepared_folder_the_error_names_the_option(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="explain: the votes need the run's prepared folder"):
        tl.infer_grn(moved(tiny_run, tmp_path), top=5, explain=True)
