"""Generation in rounds: against a plain loop, blind to the truth, and honest about the gene mean.

Dimension letters: B cells, T packed tokens, C cells of a file, G genes, M unknown tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from typer.testing import CliRunner

import grn_cotrain as gc
from grn_cotrain.cli import app
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.export.generate import generate_cells, generate_file
from grn_cotrain.export.generate_rounds import CellDraws, generate_values, guesser
from grn_cotrain.export.generation_check import accuracy
from grn_cotrain.nn.token_subset import only_tokens
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.value_target import Guess
from grn_cotrain.recipe import TokenConfig
from grn_cotrain.train.run import train
from tests.cases.toy_cells import toy_cells
from tests.worlds import tiny_recipe

NUM_BINS = 4


def toy_batch(rows: list[int]) -> PackedTokens:
    return Tokenizer(toy_cells(), TokenConfig(num_bins=NUM_BINS, zeros_per_cell=2)).batch(np.asarray(rows)).pack()


class Rule:
    """A predictor whose guesses follow from what is visible: mean of the visible values plus the gene's own number."""

    def __init__(self, chance: bool = False) -> None:
        self.seen: list[PackedTokens] = []
        self.chance = chance

    def __call__(self, batch: PackedTokens) -> Guess:
        self.seen.append(batch)
        where_M = torch.nonzero(batch.hidden_T).squeeze(1)
        cell_T, visible_T = batch.cell_of_token_T, ~batch.hidden_T & (batch.values_T != 0)
        count_B = torch.bincount(cell_T[visible_T], minlength=batch.num_cells).clamp_min(1)
        mean_B = torch.bincount(cell_T[visible_T], batch.values_T[visible_T], minlength=batch.num_cells) / count_B
        gene_M = batch.feature_ids_T[where_M]
        values_M = (mean_B[cell_T[where_M]] + (gene_M % 5) / 10).float()
        spread_M = ((gene_M * 7) % 11).float() + 1.0
        return Guess(values_M, spread_M, 0.1 * spread_M, (gene_M % 3 / 2).float() if self.chance else None)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.integers(0, 11), min_size=1, max_size=4),
    rounds=st.integers(1, 9),
    share=st.sampled_from([0.2, 0.7, 1.0]),
    seed=st.integers(0, 99),
)
def test_rounds_are_those_of_a_plain_loop(rows: list[int], rounds: int, share: float, seed: int) -> None:
    """One cell at a time, with sorted lists: the most confident ceil(n k / R) are known after round k."""
    batch = toy_batch(rows)
    draw_T = torch.rand(batch.num_tokens, generator=torch.Generator().manual_seed(seed))
    unknown_T = (draw_T < share) & (batch.feature_ids_T >= 3)
    drawn = generate_values(Rule(), batch, unknown_T, rounds=rounds, num_bins=NUM_BINS)
    for cell in range(batch.num_cells):
        start, end = batch.cu_lens[cell : cell + 2].tolist()
        left = [t for t in range(start, end) if unknown_T[t]]
        asked = len(left)
        values = {t: float(batch.values_T[t]) for t in range(start, end) if not unknown_T[t]}
        for number in range(1, rounds + 1):
            visible = [value for value in values.values() if value != 0]
            mean = sum(visible) / max(1, len(visible))
            order = sorted(left, key=lambda t: ((int(batch.feature_ids_T[t]) * 7) % 11, int(batch.feature_ids_T[t])))
            take = order[: math.ceil(asked * number / rounds) - (asked - len(left))]
            for t in take:
                values[t] = mean + int(batch.feature_ids_T[t]) % 5 / 10
                assert int(drawn.round_T[t]) == number
            left = [t for t in left if t not in take]
        assert not left
        for t, value in values.items():
            assert float(drawn.values_T[t]) == pytest.approx(value, rel=1e-5)
            assert bool(drawn.round_T[t] > 0) is bool(unknown_T[t])


def test_values_of_unknown_genes_are_never_seen() -> None:
    rule, batch = Rule(), toy_batch([0, 3, 5])
    unknown_T = (batch.feature_ids_T % 2 == 0) & (batch.feature_ids_T >= 3)
    generate_values(rule, batch, unknown_T, rounds=3, num_bins=NUM_BINS)
    assert len(rule.seen) == 3
    for shown in rule.seen:
        assert (shown.values_T[shown.hidden_T] == 0).all()
        assert (shown.bins_T[shown.hidden_T] == 0).all()
        again = hide(shown, shown.hidden_T, num_bins=NUM_BINS)  # visible values, generated ones among them, are binned
        assert torch.equal(again.bins_T[~shown.hidden_T], shown.bins_T[~shown.hidden_T])
    assert rule.seen[0].hidden_T.sum() > rule.seen[1].hidden_T.sum() > rule.seen[2].hidden_T.sum() > 0


def test_chances_decide_zeros_and_draws_follow_their_distribution() -> None:
    batch = toy_batch(list(range(12)))
    unknown_T = batch.feature_ids_T >= 3
    plain = generate_values(Rule(chance=True), batch, unknown_T, rounds=1, num_bins=NUM_BINS)
    zero_T = unknown_T & (batch.feature_ids_T % 3 == 0)
    assert (plain.values_T[zero_T] == 0).all()
    assert plain.chance_T is not None
    expected = (batch.feature_ids_T[unknown_T] % 5) / 10 * (batch.feature_ids_T[unknown_T] % 3 != 0)
    torch.testing.assert_close(plain.values_T[unknown_T], expected)

    def certain(batch: PackedTokens) -> Guess:
        count = int(batch.hidden_T.sum())
        values_M = torch.full((count,), 10.0)
        return Guess(values_M, torch.ones(count), torch.full((count,), 0.5), torch.full((count,), 0.7))

    draws = [
        generate_values(certain, batch, unknown_T, rounds=1, num_bins=NUM_BINS, draws=CellDraws(seed)).values_T[
            unknown_T
        ]
        for seed in (0, 0, *range(1, 40))
    ]
    assert torch.equal(draws[0], draws[1])
    every = torch.cat(draws[1:])
    assert float((every != 0).float().mean()) == pytest.approx(0.7, abs=0.02)
    assert float(every[every != 0].mean()) == pytest.approx(10.0, abs=0.02)
    assert float(every[every != 0].std()) == pytest.approx(0.5, abs=0.02)


def test_a_predictor_without_confidence_is_judged_by_its_stability() -> None:
    class Steady:
        """Gene 3, 6 ... depend on the visible values, all others do not."""

        def predict_values(self, model: Any, batch: PackedTokens, genes: Any) -> torch.Tensor:
            found = Rule()(batch)
            fixed_M = batch.feature_ids_T[batch.hidden_T] % 3 != 0
            return torch.where(fixed_M, 1.0, found.values_M)

    batch = toy_batch([0, 1])
    batch = hide(batch, (batch.feature_ids_T % 2 == 0) & (batch.feature_ids_T >= 3), num_bins=NUM_BINS)
    guess = guesser(Steady(), None, None, num_bins=NUM_BINS)(batch)  # type: ignore[arg-type]
    fixed_M = batch.feature_ids_T[batch.hidden_T] % 3 != 0
    assert (guess.spread_M[fixed_M] == 0).all()
    assert (guess.spread_M[~fixed_M] > 0).all()
    assert guess.nonzero_M is None


class Visible:
    """Each hidden value is the mean of what its cell shows, less a number of the gene: below 0 for some."""

    def predict_values(self, model: Any, batch: PackedTokens, genes: Any) -> torch.Tensor:
        shown_T = ~batch.hidden_T & (batch.values_T != 0)
        cell_T = batch.cell_of_token_T
        sums = torch.bincount(cell_T[shown_T], batch.values_T[shown_T].double(), minlength=batch.num_cells)
        means = sums / torch.bincount(cell_T[shown_T], minlength=batch.num_cells).clamp_min(1)
        gene_T = batch.feature_ids_T.double() / 10
        return (means[cell_T] - gene_T)[batch.hidden_T].float()


@pytest.mark.parametrize("sample", [False, True])
def test_what_is_generated_for_a_cell_does_not_depend_on_the_others(sample: bool) -> None:
    guess = guesser(Visible(), None, None, num_bins=NUM_BINS)  # type: ignore[arg-type]

    def generated(rows: list[int]) -> tuple[dict[int, list[float]], dict[int, list[int]]]:
        batch = toy_batch(rows)
        unknown_T = (batch.feature_ids_T >= 3) & (batch.feature_ids_T % 3 != 0)
        draws = CellDraws(0) if sample else None
        drawn = generate_values(guess, batch, unknown_T, rounds=3, num_bins=NUM_BINS, draws=draws)
        bounds = batch.cu_lens.tolist()
        spans = {row: slice(bounds[i], bounds[i + 1]) for i, row in enumerate(rows)}
        return (
            {row: drawn.values_T[span].tolist() for row, span in spans.items()},
            {row: drawn.round_T[span].tolist() for row, span in spans.items()},
        )

    values, rounds = generated([4, 2, 7])
    alone_values, alone_rounds = generated([2])
    assert rounds[2] == alone_rounds[2]
    assert values[2] == pytest.approx(alone_values[2], rel=1e-5)
    assert len(set(rounds[2])) > 2, "several rounds, so that their order is told too"
    assert min(min(row) for row in values.values()) >= 0, "no value on a log1p scale is below 0"


def test_some_tokens_of_a_batch_are_a_batch() -> None:
    batch = toy_batch([2, 5, 7])
    kept_T = (batch.feature_ids_T < 3) | (batch.feature_ids_T % 2 == 0)
    some = only_tokens(batch.with_mask(batch.feature_ids_T == 4), kept_T)
    assert some.num_cells == 3
    assert (some.feature_ids_T[some.cls_positions_B] == 2).all()
    for cell in range(3):
        of_cell_T = batch.cell_of_token_T == cell
        ids = batch.feature_ids_T[of_cell_T & kept_T]
        assert torch.equal(some.feature_ids_T[some.cell_of_token_T == cell], ids)
        assert torch.equal(some.values_T[some.cell_of_token_T == cell], batch.values_T[of_cell_T & kept_T])
    assert torch.equal(some.hidden_T, some.feature_ids_T == 4)
    assert some.max_len == int(torch.bincount(some.cell_of_token_T).max())


def test_accuracy_beside_the_mean_of_other_cells_by_hand() -> None:
    truth = sparse.csr_matrix(np.array([[1.0, 0.0, 4.0], [3.0, 2.0, 0.0], [5.0, 0.0, 0.0]]))
    cell, gene = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])
    found = accuracy(truth, cell, gene, np.array([2.0, 2.5, 1.0, 0.5]), np.array([0.9, 0.4, 0.6, 0.2]))
    assert (found.num_values, found.num_cells) == (3, 2)
    assert found.error == pytest.approx((1 + 0.25 + 1) / 3)
    # Others of gene 0: (3 + 5) / 2 and (1 + 5) / 2; gene 1 has no other value: the mean of all five.
    assert found.gene_mean_error == pytest.approx(((4 - 1) ** 2 + 0 + (3 - 2) ** 2) / 3)
    assert found.r2 == pytest.approx(1 - found.error / found.gene_mean_error)
    assert found.correlation == pytest.approx(1.0)
    assert found.right == pytest.approx(3 / 4)
    assert found.majority == pytest.approx(3 / 4)
    assert "gene mean" in found.line()
    nothing = accuracy(truth, cell[3:], gene[3:], np.array([1.0]))
    assert nothing.num_values == 0
    assert "no generated value" in nothing.line()


def test_genes_that_the_file_lacks_are_no_true_zeros() -> None:
    truth = sparse.csr_matrix(np.array([[1.0, 0.0, 0.0], [3.0, 2.0, 0.0]]))
    cell, gene = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    values, chances = np.array([1.5, 0.0, 4.0, 2.0, 1.0, 4.0]), np.array([0.9, 0.7, 0.1, 0.9, 0.8, 0.1])
    measured = np.array([True, True, False])
    found = accuracy(truth, cell, gene, values, chances, measured)
    kept = gene < 2
    expected = accuracy(truth, cell[kept], gene[kept], values[kept], chances[kept])
    assert found == replace(expected, num_unmeasured=2, num_unmeasured_genes=1)
    assert found.right == pytest.approx(3 / 4)  # with the gene's zeros taken for true ones it would be 5 / 6
    assert found.majority == pytest.approx(3 / 4)
    assert found.line() == expected.line() + "; left out: 2 generated values of 1 genes that the file lacks"
    nothing = accuracy(truth, cell[~kept], gene[~kept], values[~kept], chances[~kept], measured)
    assert np.isnan(nothing.right)
    assert "left out: 2 generated values of 1 genes" in nothing.line()


# -- the whole way ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scgpt_run(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of scgpt with both passes of the generative objective, zeros among its tokens."""
    recipe = tiny_recipe(
        tiny_world,
        model={
            "cell_encoder": {"name": "scgpt", "num_layers": 1, "num_heads": 2},
            "tokens": {"zeros_per_cell": 4},
        },
        objectives={"generative": {"hide_zeros": True}},
        train={"schedule": {"name": "mlm_only"}},
    )
    return train(recipe, tmp_path_factory.mktemp("scgpt") / "run").folder


@pytest.fixture
def user(tiny_world: Path) -> anndata.AnnData:
    adata = Prep.open(tiny_world).to_anndata()[:20].copy()
    adata.obs_names = [f"user-{i}" for i in range(20)]
    return adata


def generated(run: Path, adata: anndata.AnnData, **options: Any) -> tuple[anndata.AnnData, list[str]]:
    lines: list[str] = []
    return generate_cells(run, counts_from_anndata(adata), say=lines.append, **options), lines


def dense(made: anndata.AnnData, layer: str) -> np.ndarray:
    return np.asarray(made.layers[layer].todense())


@pytest.mark.parametrize("prompt", ["genes", "cell"])
def test_half_of_each_cell_from_the_other_half(scgpt_run: Path, user: anndata.AnnData, prompt: str) -> None:
    made, lines = generated(scgpt_run, user, known=0.5, prompt=prompt, rounds=3)
    truth, known, new, turn = (dense(made, name) for name in ("truth", "known", "generated", "round"))
    assert ((truth > 0) == ((known > 0) | (turn > 0))).all()
    assert not ((known > 0) & (turn > 0)).any()
    np.testing.assert_array_equal(known[known > 0], truth[known > 0])
    np.testing.assert_allclose(np.asarray(made.X.todense()), known + new)
    assert set(np.unique(turn)) == {0, 1, 2, 3}
    assert 0.4 < (known > 0).sum() / (truth > 0).sum() < 0.6
    np.testing.assert_array_equal(made.obs["generate_known"], (known > 0).sum(1))
    np.testing.assert_array_equal(made.obs["generate_asked"], (turn > 0).sum(1))
    (line,) = [line for line in lines if line.startswith("accuracy on")]
    about = made.uns["grn_cotrain"]["generate"]
    assert f"mean squared error {about['error']:.4f}, gene mean {about['gene_mean_error']:.4f}" in line
    error = ((new - truth)[turn > 0] ** 2).mean()
    assert about["error"] == pytest.approx(error, rel=1e-4)
    assert list(made.obs_names) == list(user.obs_names)


@pytest.mark.parametrize("options", [{}, {"prompt": "cell"}, {"rounds": 5, "sample": True}])
def test_the_truth_of_unknown_genes_changes_nothing(
    scgpt_run: Path, user: anndata.AnnData, options: dict[str, Any]
) -> None:
    """Other non-zero counts of the unknown genes (with the same size factors) give the same values."""
    user.obs["size_factor"] = np.asarray(user.X.sum(1), dtype=np.float64).ravel()
    names = list(user.var_names[:25])
    other = user.copy()
    counts = other.X.tolil()
    for gene in range(25, other.n_vars):
        column = np.asarray(counts[:, gene].todense()).ravel()
        counts[:, gene] = np.where(column > 0, 9 - np.minimum(column, 8), 0)[:, None]
    other.X = counts.tocsr()
    first, _ = generated(scgpt_run, user, known=names, **options)
    second, _ = generated(scgpt_run, other, known=names, **options)
    assert abs(first.layers["truth"] - second.layers["truth"]).sum() > 0
    np.testing.assert_array_equal(dense(first, "generated"), dense(second, "generated"))
    np.testing.assert_array_equal(dense(first, "round"), dense(second, "round"))
    known = dense(first, "known")
    assert (known[:, 25:] == 0).all()
    again, _ = generated(scgpt_run, user, known=names, **options)
    np.testing.assert_array_equal(dense(first, "generated"), dense(again, "generated"))


def test_all_genes_from_a_cells_state(scgpt_run: Path, user: anndata.AnnData) -> None:
    made, lines = generated(scgpt_run, user, known=1.0, prompt="cell", genes="all", rounds=2)
    turn = dense(made, "round")
    is_token = np.ones(made.n_vars, dtype=bool)
    assert (turn[:, is_token] > 0).all()
    assert any("reconstructed from states that have read these very values" in line for line in lines)
    assert any("zero or not" in line for line in lines)
    np.testing.assert_allclose(np.asarray(made.X.todense()), dense(made, "generated"), atol=1e-6)
    # Another cell's state gives other values.
    new = dense(made, "generated")
    assert not np.array_equal(new[0], new[1])


def test_the_truth_of_genes_that_the_file_lacks_is_unknown(
    scgpt_run: Path, user: anndata.AnnData, tmp_path: Path
) -> None:
    lacking = list(user.var_names[-12:])
    fewer = user[:, :-12].copy()
    made, lines = generated(scgpt_run, fewer, known=0.5, genes="all", rounds=1)
    whole, _ = generated(scgpt_run, user, known=0.5, rounds=1)
    assert list(made.var_names[~made.var["in_file"]]) == lacking
    assert whole.var["in_file"].all()
    truth, turn = dense(made, "truth"), dense(made, "round")
    absent = ~made.var["in_file"].to_numpy()
    assert (turn[:, absent] > 0).all()
    np.testing.assert_array_equal(np.isnan(truth), (turn > 0) & absent)
    (line,) = [line for line in lines if line.startswith("accuracy on")]
    num = int(turn[:, absent].astype(bool).sum())
    assert f"left out: {num:,} generated values of 12 genes that the file lacks" in line
    about = made.uns["grn_cotrain"]["generate"]
    assert (about["num_unmeasured"], about["num_unmeasured_genes"]) == (num, 12)
    asked = (turn > 0) & ~absent
    zeros = (truth[asked] == 0).mean()
    assert about["majority"] == pytest.approx(max(zeros, 1 - zeros))
    assert np.isfinite(np.asarray(made.X.todense())).all()
    made.write_h5ad(tmp_path / "made.h5ad")
    np.testing.assert_array_equal(dense(anndata.read_h5ad(tmp_path / "made.h5ad"), "truth"), truth)


def test_named_genes_that_the_file_lacks_are_told_and_not_shown(scgpt_run: Path, user: anndata.AnnData) -> None:
    lacking, there = list(user.var_names[-3:]), list(user.var_names[:7])
    fewer = user[:, :-3].copy()
    made, lines = generated(scgpt_run, fewer, known=[*there, *lacking], genes="all", rounds=1)
    assert made.uns["grn_cotrain"]["generate"]["known"] == "7 of 10 named genes"
    (line,) = [line for line in lines if "named genes are not in the file" in line]
    assert line == f"3 of the named genes are not in the file, so they are not shown: {', '.join(lacking)}"
    assert (dense(made, "round")[:, -3:] > 0).all()  # unknown like all others, so asked
    assert (made.obs["generate_known"] <= 7).all()
    with pytest.raises(UserError, match="known: the file has none of the 3 named genes; name genes of the file"):
        generated(scgpt_run, fewer, known=lacking)


def test_the_command_writes_what_the_tool_returns_and_leaves_the_file(
    scgpt_run: Path, user: anndata.AnnData, tmp_path: Path
) -> None:
    user.write_h5ad(tmp_path / "cells.h5ad")
    before = (tmp_path / "cells.h5ad").read_bytes()
    names = tmp_path / "known.txt"
    names.write_text("# shown\n" + "\n".join(user.var_names[:10]) + "\n")
    arguments = ["generate", str(scgpt_run), str(tmp_path / "cells.h5ad"), "--rounds", "2"]
    done = CliRunner().invoke(app, [*arguments, "--known", str(names), "--out", str(tmp_path / "out.h5ad")])
    assert done.exit_code == 0, done.output
    assert "gene mean" in done.output
    assert (tmp_path / "cells.h5ad").read_bytes() == before
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    made = gc.tl.generate(user, scgpt_run, known=list(user.var_names[:10]), rounds=2)
    for layer in ("known", "generated", "round", "truth"):
        np.testing.assert_array_equal(dense(written, layer), dense(made, layer))
    assert written.uns["grn_cotrain"]["generate"]["known"] == "10 named genes"
    done = CliRunner().invoke(
        app, [*arguments, "--known", ",".join(user.var_names[:10]), "--out", str(tmp_path / "second.h5ad")]
    )
    assert done.exit_code == 0, done.output
    second = anndata.read_h5ad(tmp_path / "second.h5ad")
    np.testing.assert_array_equal(dense(written, "generated"), dense(second, "generated"))


def test_any_run_with_masked_values_generates(tiny_run: Path, user: anndata.AnnData) -> None:
    made, lines = generated(tiny_run, user, known=0.25, rounds=3)
    assert set(np.unique(dense(made, "round"))) == {0, 1, 2, 3}
    _, lines = generated(tiny_run, user, known=0.25, rounds=1, prompt="cell")
    assert any("never trained to predict genes from a prompting cell state" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"known": 1.5}, "known=1.5: give"),
        ({"known": []}, "known: no name given"),
        ({"known": ["NOSUCHGENE"]}, "NOSUCHGENE"),
        ({"known": 1.0}, "there is nothing to generate"),
        ({"rounds": 0}, "rounds=0: give 1 or more"),
        ({"seed": -1}, "seed=-1: give 0 to 4294967295"),
        ({"seed": 2**64, "sample": True}, "give 0 to 4294967295"),
        ({"genes": "some"}, "genes='some'"),
        ({"prompt": "cells"}, "prompt='cells'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    scgpt_run: Path, user: anndata.AnnData, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        generated(scgpt_run, user, **options)


def test_the_output_is_never_the_input_and_only_h5ad(scgpt_run: Path, user: anndata.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    user.write_h5ad(path)
    with pytest.raises(UserError, match="is the input itself"):
        generate_file(scgpt_run, path, path)
    with pytest.raises(UserError, match="written as h5ad"):
        generate_file(scgpt_run, path, tmp_path / "out.csv")
    with pytest.raises(UserError, match="known=2"):
        generate_file(scgpt_run, path, tmp_path / "out.h5ad", known=2.0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cells.h5ad"]
