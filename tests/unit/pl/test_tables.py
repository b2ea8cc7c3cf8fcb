"""Losses, controls and curves say what the records and the table say."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain import pl
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_files import CURVES_FILE
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.pl.theme import MUTED


def texts(ax) -> list[str]:  # type: ignore[no-untyped-def]
    return [text.get_text() for text in ax.texts]


def legend(ax) -> list[str]:  # type: ignore[no-untyped-def]
    return [text.get_text() for text in ax.get_legend().get_texts()]


def records(run: Path, kind: str) -> list[dict]:  # type: ignore[type-arg]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_the_records(tiny_run: Path) -> None:
    ax = pl.losses(tiny_run)
    assert ax.get_xlabel() == "optimizer step"
    assert ax.get_title(loc="left") == "tiny"
    lines = {line.get_label(): line for line in ax.get_lines()}
    training = records(tiny_run, "train")
    for name, label in (("masked_value", "masked value"), ("link_prediction", "link prediction")):
        line = lines[f"{label}, training"]
        np.testing.assert_array_equal(line.get_xdata(), [r["step"] for r in training])
        np.testing.assert_allclose(line.get_ydata(), [r[f"loss/{name}"] for r in training])
    assert lines["masked value, training"].get_linestyle() != lines["link prediction, training"].get_linestyle()
    validation = records(tiny_run, "validation")
    seen = lines["masked value, validation"]
    np.testing.assert_allclose(seen.get_ydata(), [r["validation/cells/masked_value"] for r in validation])
    kept = lines[f"kept: step {validation[-1]['best_step']:,}"]
    assert kept.get_xdata()[0] == validation[-1]["best_step"]
    (links,) = ax.right_ax.get_lines()[:1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(links.get_ydata(), [r["validation/links/selection"] for r in validation])
    assert len(legend(ax)) == 7


def test_losses_of_many_steps_are_smoothed_over_faint_ones(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_run / "recipe.yaml", tmp_path)
    rows = [{"step": i, "kind": "train", "loss/masked_value": 10.0 ** (-i / 100) + 0.01 * (i % 2)} for i in range(200)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ax = pl.losses(tmp_path)
    assert ax.get_yscale() == "log"
    faint, smooth = ax.get_lines()
    assert faint.get_alpha() < 0.5
    assert np.abs(np.diff(smooth.get_ydata())).max() < np.abs(np.diff(faint.get_ydata())).max()
    assert legend(ax) == ["masked value, training"]


def test_losses_of_nothing(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        pl.losses(tmp_path)
    shutil.copy(tiny_run / "recipe.yaml", tmp_path)
    with pytest.raises(UserError, match="no loss yet"):
        pl.losses(tmp_path)


# ---- controls --------------------------------------------------------------------------------------------------------


def test_controls_are_sorted_and_the_model_and_the_best_control_stand_out(evaluated: Path) -> None:
    table = LinkTable.read(evaluated)
    ax = pl.controls(evaluated)
    rows = table.frame[(table.frame["metric"] == "macro_auroc") & (table.frame["candidates"] == "all")]
    rows = rows.sort_values("value", ascending=False, kind="stable")
    labels = {round(float(tick.get_position()[1])): tick for tick in ax.get_yticklabels()}
    assert [labels[y].get_text() for y in sorted(labels, reverse=True)] == list(rows["scorer"])
    marks = [line for line in ax.get_lines() if line.get_marker() not in ("None", None)]
    np.testing.assert_allclose([line.get_xdata()[0] for line in marks], rows["value"])
    assert [line.get_marker() for line in marks] == ["D" if kind == "model" else "o" for kind in rows["kind"]]
    bars = [line for line in ax.get_lines() if line.get_marker() == "None" and len(set(line.get_ydata())) == 1]
    np.testing.assert_allclose([line.get_xdata() for line in bars], rows[["low", "high"]].to_numpy())
    best = table.best_control()
    (named,) = [text for text in texts(ax) if "best control" in text]
    assert named.startswith(f"{rows.set_index('scorer')['value'][best]:.3f}")
    bold = {tick.get_text() for tick in labels.values() if tick.get_fontweight() == "bold"}
    assert bold == {"joint"}
    assert "chance 0.500" in texts(ax)


def test_controls_of_a_table_with_top_and_other_metrics(evaluated: Path) -> None:
    table = LinkTable.read(evaluated)
    ax = pl.controls(table, top=2)
    assert len(ax.get_yticks()) == 3
    assert "2 lower controls left out" in ax.get_xlabel()
    prevalence = table.frame.iloc[table.row("joint", "auprc")]["prevalence"]
    ax = pl.controls(table, metric="auprc")
    (chance,) = [line for line in ax.get_lines() if line.get_color() == MUTED]
    assert chance.get_xdata()[0] == pytest.approx(prevalence)
    ax = pl.controls(table, metric="brier")
    assert "lower is better" in ax.get_xlabel()
    assert len(ax.get_yticks()) == 1
    assert len(pl.controls(table, metric="auroc", candidates="matched").get_yticks()) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "macro_aurok"}, "did you mean 'macro_auroc'"),
        ({"candidates": "some"}, "candidates 'some': choose from all"),
        ({"candidates": "matched"}, "metric 'macro_auroc': choose from auroc"),
        ({"split": "random"}, "split 'random': choose from unseen-target-seed0"),
        ({"top": 0}, "top '0': give 1 or more"),
    ],
)
def test_controls_refuse(evaluated: Path, options: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=said):
        pl.controls(evaluated, **options)


@pytest.mark.parametrize("draw", [pl.controls, pl.link_curves])
def test_a_run_without_a_table_says_what_to_do(draw, tiny_run: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("links*"))
    with pytest.raises(UserError, match="evaluate first: grn-cotrain evaluate links"):
        draw(tmp_path / "run")
    with pytest.raises(UserError, match="no such folder"):
        draw(tmp_path / "nowhere")
    with pytest.raises(UserError, match="got int"):
        draw(3)


# ---- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "metric"), [("roc", "auroc"), ("pr", "auprc")])
def test_curves_show_model_best_control_and_degree(evaluated: Path, kind: str, metric: str) -> None:
    table = LinkTable.read(evaluated)
    ax = pl.link_curves(evaluated, kind=kind)
    best = table.best_control(metric)
    lines = [line for line in ax.get_lines() if line.get_color() != MUTED]
    names = [str(line.get_label()).split(",")[0] for line in lines]
    assert names == list(dict.fromkeys(["joint", best, "degree_product"]))
    for line, name in zip(lines, names, strict=True):
        value = table.frame.iloc[table.row(name, metric)]["value"]
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(value, abs=2e-3)
        assert f"{value:.3f}".replace("0.", ".") in str(line.get_label())
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == len(lines)  # type: ignore[attr-defined]
    (chance,) = [line for line in ax.get_lines() if line.get_color() == MUTED]
    if kind == "pr":
        assert chance.get_ydata()[0] == pytest.approx(table.frame.iloc[table.row("joint", "auprc")]["prevalence"])
    assert any(str(line.get_label()).endswith("(best control)") for line in lines)


def test_calibration_shows_bins_with_counts_and_intervals(evaluated: Path) -> None:
    table = LinkTable.read(evaluated)
    assert table.curves is not None
    bins = table.curves[table.curves["curve"] == "calibration"]
    ax = pl.link_curves(table, kind="calibration")
    (line,) = [line for line in ax.get_lines() if line.get_label() == "joint"]
    np.testing.assert_allclose(line.get_xdata(), bins["x"])
    (above,) = ax.child_axes
    above.figure.draw_without_rendering()  # type: ignore[union-attr]
    assert [tick.get_text() for tick in above.get_xticklabels()] == [f"{n:,}" for n in bins["n"]]
    with pytest.raises(UserError, match="choose from joint"):
        pl.link_curves(table, kind="calibration", scorers=["random"])


def test_a_log_axis_shows_bins_without_a_link_as_open_triangles(evaluated: Path) -> None:
    table = LinkTable.read(evaluated)
    assert table.curves is not None
    curves = table.curves.query("curve != 'calibration'")
    rows = [("unseen-target-seed0", "joint", "model", "calibration", *row)
            for row in ((1e-4, 0.0, 9000), (1e-2, 0.02, 500), (0.1, 0.08, 100))]  # fmt: skip
    import pandas as pd

    made = pd.concat([curves, pd.DataFrame(rows, columns=curves.columns)])
    ax = pl.link_curves(dataclasses.replace(table, curves=made), kind="calibration")
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "no true link in bin" in legend(ax)
    (open_mark,) = [line for line in ax.get_lines() if line.get_marker() == "v"]
    assert open_mark.get_ydata()[0] == ax.get_ylim()[0]


def test_scorers_are_chosen_by_name_and_old_tables_are_told(evaluated: Path, tmp_path: Path) -> None:
    ax = pl.link_curves(evaluated, scorers=["random", "pearson"])
    assert len(ax.get_lines()) == 3
    with pytest.raises(UserError, match="did you mean 'pearson'"):
        pl.link_curves(evaluated, scorers=["pearsen"])
    with pytest.raises(UserError, match="the list is empty"):
        pl.link_curves(evaluated, scorers=[])
    with pytest.raises(UserError, match="choose from roc, pr, calibration"):
        pl.link_curves(evaluated, kind="rok")
    old = tmp_path / "old"
    shutil.copytree(evaluated, old)
    (old / CURVES_FILE).unlink()
    with pytest.raises(UserError, match=f"evaluate again: grn-cotrain evaluate links {old}"):
        pl.link_curves(old)
    with pytest.raises(UserError, match="it holds no curves"):
        pl.link_curves(LinkTable.read(old))


def test_without_validation_there_is_no_calibration(evaluated: Path) -> None:
    table = LinkTable.read(evaluated)
    assert table.curves is not None
    bare = dataclasses.replace(table, curves=table.curves.query("curve != 'calibration'"))
    with pytest.raises(UserError, match="no scorer on unseen-target-seed0 gives probabilities"):
        pl.link_curves(bare, kind="calibration")
