"""Masked values by sparsity: what is dropped, on which entries scorers are judged, and the numbers by plain loops."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.cells import MemoryStore, cell_split
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.cells import masked_value_table
from grn_cotrain.evaluate.hidden import HiddenCells, hidden_cells
from grn_cotrain.evaluate.run import SPARSITY_FILE
from grn_cotrain.evaluate.sparsity import LEVELS, drop_values, masked_value_by_sparsity
from grn_cotrain.recipe import TokenConfig
from grn_cotrain.run_folder import RunFolder
from tests.cases.toy_cells import toy_cells
from tests.multiome import multiome_vocab

CELLS = toy_cells(num_cells=300, num_genes=40, density=0.5)
CELLS = replace(CELLS, obs=pd.DataFrame({"type": np.where(np.arange(300) % 3, "common", "rare"), "own": "x"}))
SPLIT = cell_split(300, test=0.2)
NUM_FEATURES = int(np.asarray(CELLS.vocab.is_token).sum())


def noisy(batch: PackedTokens) -> np.ndarray:
    """A predictor that depends on hidden positions alone."""
    assert batch.masked_T is not None
    return batch.values_T[batch.masked_T].numpy() * 0.8 + 0.3


def with_zeros(cells: MemoryStore) -> Tokenizer:
    return Tokenizer(cells, TokenConfig(num_bins=4, zeros_per_cell="all", max_tokens=100))


def shown(test: HiddenCells, batch: PackedTokens) -> set[tuple[int, int, float]]:
    """(cell, gene, value) of the visible non-zeros of a batch."""
    seen_T = ~batch.hidden_T & (batch.values_T != 0)
    cell_T = batch.cell_index_B[batch.cell_of_token_T]
    return set(
        zip(
            cell_T[seen_T].tolist(),
            (batch.feature_ids_T[seen_T] - NUM_SPECIAL).tolist(),
            batch.values_T[seen_T].tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("zeros", [False, True])
def test_values_are_dropped_in_supersets_and_hidden_entries_stay(zeros: bool) -> None:
    whole = hidden_cells(CELLS, SPLIT.test_C, seed=1, num_bins=4, tokenize=with_zeros if zeros else None)
    before = set().union(*(shown(whole, batch) for batch in whole.batches))
    total = len(before)
    for level in LEVELS[1:]:
        test = drop_values(whole, level, num_features=NUM_FEATURES, seed=1, num_bins=4)
        left = set().union(*(shown(test, batch) for batch in test.batches))
        assert left < before
        assert len(left) / total == pytest.approx(1 - level, abs=0.05)
        before = left
        rows, columns = test.visible_CG.nonzero()
        assert {(cell, gene) for cell, gene, _ in left} == set(zip(rows.tolist(), columns.tolist(), strict=True))
        for old, new in zip(whole.batches, test.batches, strict=True):
            assert torch.equal(old.values_T[old.hidden_T], new.values_T[new.hidden_T])
            assert torch.equal(old.feature_ids_T[old.hidden_T], new.feature_ids_T[new.hidden_T])
            assert torch.equal(new.cu_lens[1:] - new.cu_lens[:-1], torch.bincount(new.cell_of_token_T).int())
            assert new.max_len == int(new.cu_lens.diff().max())
            # A dropped value is one zero among all, or no token: never the only zeros of a cell.
            assert (new.num_tokens == old.num_tokens) is zeros
            zero_T = (new.values_T == 0) & (new.feature_ids_T >= NUM_SPECIAL)
            assert bool(zero_T.any()) is zeros
            assert (new.bins_T[zero_T] == 0).all()
            seen_T = ~new.hidden_T
            binned = quantile_bins(new.values_T[seen_T], new.cell_of_token_T[seen_T], 4)
            assert torch.equal(new.bins_T[seen_T], binned)


def test_level_zero_is_the_table_of_masked_values() -> None:
    frame = masked_value_by_sparsity({"mine": noisy}, CELLS, SPLIT, seed=2, bootstrap=50)
    table = masked_value_table({"mine": noisy}, CELLS, SPLIT, seed=2, bootstrap=50)
    here = frame[(frame["by"] == "dropout") & (frame["level"] == 0) & (frame["metric"] == "r2")].set_index("scorer")
    there = table[table["metric"] == "r2"].set_index("scorer")
    assert list(here.index) == ["mine", "gene_mean", "gene_and_cell", "factor_analysis"]
    for column in ("value", "low", "high", "num_entries", "num_cells"):
        np.testing.assert_allclose(here[column], there[column], atol=1e-9, err_msg=column)


def test_same_entries_at_every_level_and_baselines_see_less() -> None:
    frame = masked_value_by_sparsity({"mine": noisy}, CELLS, SPLIT, seed=2, bootstrap=0)
    rows = frame[frame["by"] == "dropout"].set_index(["scorer", "metric", "level"]).sort_index()
    assert rows["num_entries"].nunique() == 1
    for metric in ("r2", "mse", "pearson", "pearson_cell"):  # reads hidden positions alone: the same at every level
        values = rows.loc[("mine", metric)]["value"]
        np.testing.assert_allclose(values, values.iloc[0], atol=1e-6)
    np.testing.assert_allclose(rows.loc[("gene_mean", "r2")]["value"], 0, atol=1e-9)
    fitted = rows.loc[("factor_analysis", "r2")]["value"]
    assert fitted.is_monotonic_decreasing
    assert fitted.iloc[0] - fitted.iloc[-1] > 0.02
    sparsity = rows.loc[("mine", "r2")]["sparsity"]
    own = 1 - np.diff(CELLS.values_CG[SPLIT.test_C][:, :NUM_FEATURES].indptr).mean() / NUM_FEATURES
    assert sparsity.iloc[0] == pytest.approx(own)
    np.testing.assert_allclose(1 - sparsity, (1 - own) * (1 - 0.85 * np.asarray(LEVELS)), atol=0.02)
    assert frame[["low", "high"]].isna().all(axis=None)


def test_metrics_of_a_group_by_plain_loops() -> None:
    frame = masked_value_by_sparsity({"mine": noisy}, CELLS, SPLIT, seed=2, bootstrap=0, by="type")
    rows = frame[(frame["by"] == "type") & (frame["scorer"] == "mine")].set_index(["group", "metric"])
    test = hidden_cells(CELLS, SPLIT.test_C, seed=2)
    statistics = Statistics(CELLS, SPLIT.train_C)[Moments()].nonzero(prior=0.0)
    labels = CELLS.obs["type"].to_numpy()[SPLIT.test_C]
    for group in ("common", "rare"):
        genes: dict[int, list[tuple[float, float]]] = {}
        cells: dict[int, list[tuple[float, float]]] = {}
        for cell, gene, value in zip(test.cell_N, test.gene_N, test.value_N, strict=True):
            if labels[cell] == group and statistics.detected_G[gene] >= 0.05:
                mean, std = float(statistics.mean_G[gene]), float(statistics.std_G[gene])
                predicted = value * 0.8 + 0.3
                genes.setdefault(gene, []).append((((predicted - value) / std) ** 2, ((value - mean) / std) ** 2))
                cells.setdefault(cell, []).append((predicted, value))
        pairs = np.concatenate([np.array(one) for one in genes.values()])
        macro = np.array([np.mean(one, axis=0) for one in genes.values()]).mean(axis=0)
        expected = {
            "r2": 1 - macro[0] / macro[1],
            "mse": pairs[:, 0].mean(),
            "pearson": np.corrcoef(np.concatenate([np.array(one) for one in cells.values()]).T)[0, 1],
            "pearson_cell": np.mean(
                [
                    np.corrcoef(np.array(one).T)[0, 1]
                    for one in cells.values()
                    if len(one) > 2 and np.ptp(np.array(one)[:, 1]) > 1e-4
                ]
            ),
        }
        for metric, value in expected.items():
            assert rows.loc[(group, metric), "value"] == pytest.approx(value, abs=1e-5), metric
        assert rows.loc[(group, "r2"), "num_entries"] == len(pairs)
        assert rows.loc[(group, "r2"), "num_cells"] == (labels == group).sum()


def test_groups_by_own_sparsity_cover_the_cells_in_order() -> None:
    frame = masked_value_by_sparsity({}, CELLS, SPLIT, bootstrap=20)
    own = frame[(frame["by"] == "own") & (frame["metric"] == "r2") & (frame["scorer"] == "gene_and_cell")]
    assert list(own["group"]) == [f"{number} of 10" for number in range(1, 11)]
    assert own["sparsity"].is_monotonic_increasing
    assert own["num_cells"].sum() == len(SPLIT.test_C)
    assert (own["low"] <= own["value"]).all()
    assert (own["value"] <= own["high"]).all()
    counts = frame[(frame["metric"] == "r2") & (frame["scorer"] == "gene_mean")].groupby("by")["num_entries"].sum()
    assert counts["own"] * len(LEVELS) == counts["dropout"]


def test_levels_alone_are_given() -> None:
    frame = masked_value_by_sparsity({}, CELLS, SPLIT, levels=(0.4,), bootstrap=0)
    assert set(frame.loc[frame["by"] == "dropout", "level"]) == {0.4}
    assert set(frame.loc[frame["by"] == "own", "level"]) == {0.0}


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UserError, match=r"levels '1.0': give shares"):
        masked_value_by_sparsity({}, CELLS, SPLIT, levels=(0.0, 1.0))
    with pytest.raises(UserError, match="by='tissue': no such column of obs; choose from type, own"):
        masked_value_by_sparsity({}, CELLS, SPLIT, by="tissue")
    each = replace(CELLS, obs=CELLS.obs.assign(name=np.arange(300)))
    with pytest.raises(UserError, match="choose a coarser column"):
        masked_value_by_sparsity({}, each, SPLIT, by="name")
    with pytest.raises(UserError, match="no gene is detected"):
        masked_value_by_sparsity({}, toy_cells(density=0.0, kind="log"), cell_split(12))


def test_what_has_no_row_is_counted_and_named(tmp_path: Path) -> None:
    labels = CELLS.obs["type"].to_numpy().copy()
    labels[SPLIT.test_C[:3]], labels[SPLIT.test_C[3:5]], labels[SPLIT.test_C[5:12]] = "three", "two", None
    cells = replace(CELLS, obs=pd.DataFrame({"type": labels, "own": "x"}))
    frame = masked_value_by_sparsity({}, cells, SPLIT, bootstrap=0, by="type")
    assert set(frame.loc[frame["by"] == "type", "group"]) == {"common", "rare"}
    assert frame.attrs["left_out"] == [
        "type: 2 groups of fewer than 5 held-out cells have no row: three (3), two (2)",
        "type: 7 held-out cells have no label and are in no group",
    ]
    frame.to_parquet(tmp_path / "frame.parquet")
    assert pd.read_parquet(tmp_path / "frame.parquet").attrs == frame.attrs
    assert masked_value_by_sparsity({}, CELLS, SPLIT, bootstrap=0).attrs["left_out"] == []
    with pytest.raises(UserError, match=r"by='own': the table calls something else so"):
        masked_value_by_sparsity({}, CELLS, SPLIT, by="own")


def test_a_wrong_column_changes_no_file(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    for name in ("cells.parquet", "cells.json"):
        (run / name).unlink(missing_ok=True)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for column, words in (("celltype", "(did you mean 'cell_type'?)"), ("own", "--by 'own': no such column")):
        assert run_app(app, ["evaluate", "cells", str(run), "--by-sparsity", "--by", column]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"error: --by '{column}'")
        assert words in captured.err
        assert captured.out == ""
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_that_predicts_no_values_is_said_to_have_no_row(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    folder = RunFolder.open(run)
    assert run_app(app, ["evaluate", "cells", str(run)]) == 0
    assert "no row" not in capsys.readouterr().out
    recipe = folder.recipe()
    schedule = replace(recipe.train.schedule, name="link_only")
    folder.write_recipe(replace(recipe, train=replace(recipe.train, schedule=schedule)))
    assert run_app(app, ["evaluate", "cells", str(run)]) == 0
    assert "the model link_only has no row, since its schedule link_only trains no values" in capsys.readouterr().out


def test_groups_left_out_are_printed(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    monkeypatch.setattr("grn_cotrain.evaluate.sparsity._MIN_CELLS", 6)
    data = load_run_data(RunFolder.open(run).recipe())
    sizes = data.cells.obs["cell_type"].iloc[data.cell_split.test_C].value_counts()
    small = sizes[sizes < 6]
    assert 0 < len(small) < len(sizes), "the tiny world must have both"
    assert run_app(app, ["evaluate", "cells", str(run), "--by-sparsity", "--by", "cell_type"]) == 0
    text = capsys.readouterr().out
    assert f"note: cell_type: {len(small)} groups of fewer than 6 held-out cells have no row" in text
    assert f"{small.index[0]} ({small.iloc[0]})" in text


def test_a_run_is_printed_and_written(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert run_app(app, ["evaluate", "cells", str(run), "--by", "cell_type"]) == 2
    assert "--by-sparsity" in capsys.readouterr().err
    assert run_app(app, ["evaluate", "cells", str(run), "--by-sparsity"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "joint",
        "factor_analysis",
        "share of shown values dropped",
        "75%",
        "sparsity of the cells",
        SPARSITY_FILE,
    ):
        assert text in printed
    frame = pd.read_parquet(run / SPARSITY_FILE)
    assert set(frame["scorer"]) == {"joint", "gene_mean", "gene_and_cell", "factor_analysis"}
    assert np.isfinite(frame.loc[frame["metric"] == "r2", "value"]).all()
    assert (run / "cells.parquet").is_file()


def mosaic_cells() -> MemoryStore:
    """300 cells with counts of 24 genes and 12 peaks: 100 lack ATAC, 100 lack RNA."""
    counts = np.random.default_rng(3).poisson(1.2, (300, 36))
    has_rna, has_atac = np.arange(300) % 3 != 1, np.arange(300) % 3 != 2
    counts[~has_rna, :24] = 0
    counts[~has_atac, 24:] = 0
    kinds = {"rna": "counts", "atac": "counts"}
    obs = pd.DataFrame({"type": np.where(has_rna, "a", "b")})
    return MemoryStore.build(multiome_vocab(), counts, kind=kinds, obs=obs, present={"rna": has_rna, "atac": has_atac})


def test_each_assay_has_its_own_cells_features_and_sparsity() -> None:
    cells = mosaic_cells()
    frame = masked_value_by_sparsity({"mine": noisy}, cells, SPLIT, seed=2, bootstrap=0, by="type")
    table = masked_value_table({"mine": noisy}, cells, SPLIT, seed=2, bootstrap=0)
    r2 = frame[frame["metric"] == "r2"].set_index(["assay", "by", "level", "group", "scorer"]).sort_index()
    for assay in ("rna", "atac"):
        rows_C = SPLIT.test_C[cells.present(assay)[SPLIT.test_C]]
        whole = r2.loc[(assay, "dropout", 0.0, "0%")]
        assert set(whole["num_cells"]) == {len(rows_C)}
        stored = cells.rows(rows_C)[assay]
        assert whole["sparsity"].iloc[0] == pytest.approx(1 - stored.nnz / np.prod(stored.shape))
        there = table[(table["assay"] == assay) & (table["metric"] == "r2")].set_index("scorer")
        for column in ("value", "num_entries"):
            np.testing.assert_allclose(whole[column], there.loc[whole.index, column], atol=1e-9, err_msg=column)
        own = frame[(frame["assay"] == assay) & (frame["by"] == "own") & (frame["metric"] == "r2")]
        assert own[own["scorer"] == "mine"]["num_cells"].sum() == len(rows_C)
    # Cells of type b lack RNA: their group has no row there.
    assert {(one.assay, one.group) for one in frame[frame["by"] == "type"].itertuples()} == {
        ("rna", "a"),
        ("atac", "a"),
        ("atac", "b"),
    }
    assert frame.attrs["left_out"] == ["rna: type: 1 groups of fewer than 5 held-out cells have no row: b (0)"]


def test_an_assay_whose_values_are_alike_is_named() -> None:
    counts = mosaic_cells()
    values = counts.values_CG.copy()
    values.data[values.indices >= 24] = 1
    present = {name: counts.present(name) for name in ("rna", "atac")}
    cells = MemoryStore.build(counts.vocab, values, kind={"rna": "counts", "atac": "binary"}, present=present)
    frame = masked_value_by_sparsity({}, cells, SPLIT, bootstrap=0)
    assert set(frame["assay"]) == {"rna"}
    assert frame.attrs["left_out"] == ["atac: all values that are not zero are alike, so there is no R2 by sparsity"]
    with pytest.raises(UserError, match="all values that are not zero are alike, so there is no R2; give counts"):
        masked_value_by_sparsity({}, cells.only("atac"), cell_split(200))
