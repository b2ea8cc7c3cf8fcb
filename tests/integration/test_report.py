"""``grn-cotrain report``: one valid, self-contained page over finished, unfinished and several runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from data_prep.splits import prepare_splits
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.metrics.platt import Calibration
from grn_cotrain.report import write_report
from grn_cotrain.report.figures import Figure
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train
from tests.integration.refusals import refused
from tests.unit.report.html_checks import Parsed, external_resources
from tests.worlds import tiny_recipe

CONTROLS = "random,degree_product,kernel_ridge"
EVIL = "<script>alert(1)</script>"
SECTIONS = ["overview", "links", "tf-scores", "curves", "cells", "network", "embedding", "card", "cell-card"]
SECTIONS += ["training", "data", "power", "recipe", "provenance"]


@pytest.fixture(scope="module")
def evaluated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run with its link table. Read only."""
    folder = tmp_path_factory.mktemp("evaluated") / "first"
    shutil.copytree(tiny_run, folder)
    evaluate_run(folder, controls=CONTROLS)
    return folder


@pytest.fixture(scope="module")
def html(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the evaluated run."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report([evaluated], out, basis="pca", say=said.append) == out
    assert [line for line in said if re.match(r"\d+/\d+ ", line)][-1] == f"{len(SECTIONS)}/{len(SECTIONS)} provenance"
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    return out.read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without a drawing: for tests of what stands around them, drawing takes most of the time."""

    def blank(plot: object, *, size: tuple[float, float], **words: Any) -> Figure:
        del plot, size
        return Figure(**{"drawing": '<svg xmlns="http://www.w3.org/2000/svg"/>', **words})

    for name in ("curves", "embedding", "links", "network", "power", "training"):
        monkeypatch.setattr(f"grn_cotrain.report.sections.{name}.draw", blank)
    monkeypatch.setattr("grn_cotrain.report.cell_maps.draw", blank)


def copied(run: Path, place: Path) -> Path:
    return Path(shutil.copytree(run, place))


def report(runs: list[Path], out: Path, **options: object) -> str:
    """Write a quick report and return it, checked for validity."""
    options = {"basis": "pca", "card": False, **options}
    text = write_report(runs, out, **options).read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert_valid(text)
    return text


def assert_valid(text: str) -> None:
    parsed = Parsed(text)
    assert parsed.unbalanced == []
    assert [name for name, times in parsed.ids.items() if times > 1] == []
    assert parsed.references - parsed.ids.keys() == set()
    assert external_resources(text) == []
    assert parsed.headings[0] == 1
    assert parsed.headings.count(1) == 1
    steps = [b - a for a, b in zip(parsed.headings, parsed.headings[1:], strict=False)]
    assert max(steps) <= 1, "a heading skips a level"


# ---- one finished run ------------------------------------------------------------------------------------------------


def test_page_is_valid_self_contained_and_complete(html: str) -> None:
    assert_valid(html)
    parsed = Parsed(html)
    assert [a["id"] for t, a in parsed.elements if t == "section"] == SECTIONS
    assert [a["href"] for t, a in parsed.elements if t == "a"][1:] == [f"#{name}" for name in SECTIONS]
    assert "Not here" not in html, "nothing is missing in an evaluated run"
    assert len(html) < 2_000_000


def test_figures_of_every_kind_are_there_with_words(html: str) -> None:
    parsed = Parsed(html)
    names = {a["id"] for t, a in parsed.elements if t == "figure"}
    for wanted in (
        "macro-auroc",
        "roc",
        "pr",
        "network",
        "regulon",
        "embedding-degree",
        "embedding-expression",
        "losses",
    ):
        assert any(wanted in str(name) for name in names), wanted
    images = [a for t, a in parsed.elements if t == "svg"]
    assert len(images) == len(names) == parsed.tags["figcaption"]
    assert all(image["role"] == "img" and image["aria-labelledby"] in parsed.ids for image in images)


def test_tables_can_be_read_and_sorted(html: str) -> None:
    parsed = Parsed(html)
    assert parsed.tags["table"] == parsed.tags["caption"] > 10
    assert {a.get("scope") for t, a in parsed.elements if t == "th"} == {"col", "row"}
    assert sum(t == "button" and a.get("class") == "sort" for t, a in parsed.elements) > 20


def test_numbers_are_those_of_the_files(html: str, evaluated: Path) -> None:
    table = LinkTable.read(evaluated)
    value, low, high = table.difference("joint", str(table.best_control()))
    shown = [f"{number:+.3f}".replace("-", "−") for number in (value, low, high)]  # noqa: RUF001
    text = Parsed(html).text
    assert f"difference {shown[0]} [{shown[1]}, {shown[2]}]" in text
    assert table.per_tf is not None
    model = table.per_tf[table.per_tf["scorer"] == "joint"].set_index("tf")
    for tf, row in model.dropna(subset="auroc").iterrows():
        assert re.search(rf'data-value="{re.escape(str(float(row["auroc"])))}"', html), tf
    record = json.loads((evaluated / "run.json").read_text())
    for key in ("split_hash", "vocab_hash", "weights_sha256", "commit"):
        assert record[key] in text
    cells = pd.read_parquet(evaluated / "cells.parquet").set_index(["scorer", "metric"])["value"]
    assert f'data-value="{float(cells["joint", "r2"])}"' in html


def test_every_key_of_the_recipe_is_shown_and_defaults_are_dimmed(html: str, evaluated: Path) -> None:
    from grn_cotrain.report.sections.recipe import flatten

    recipe = flatten(yaml.safe_load((evaluated / "recipe.yaml").read_text()))
    keys = re.findall(r'<tr( class="dim")?>\s*<th scope="row"[^>]*>([^<]*(?:<wbr>[^<]*)*)</th>', html)
    shown = {key.replace("<wbr>", ""): bool(dim) for dim, key in keys}
    assert recipe.keys() <= shown.keys()
    assert shown["train.weight_decay"], "is at its default"
    assert not shown["train.max_steps"]


def test_no_path_of_this_machine_is_told(html: str, evaluated: Path, tiny_world: Path) -> None:
    assert str(evaluated.parent) not in html
    assert str(tiny_world.parent) not in html
    assert f"…/{tiny_world.name}" in html


def test_audit_is_done_anew_and_passes(html: str) -> None:
    text = Parsed(html).text
    assert re.search(r"No leak was found: \d+ checks of split and message edges", text)
    assert "held out message" in text


def test_equal_runs_give_equal_files(html: str, evaluated: Path, tmp_path: Path) -> None:
    assert report([evaluated], tmp_path / "again.html", card=True) == html


@pytest.mark.usefixtures("undrawn")
def test_a_date_and_a_title_show_where_given(evaluated: Path, tmp_path: Path) -> None:
    plain = report([evaluated], tmp_path / "a.html")
    dated = report([evaluated], tmp_path / "b.html", date="2026-01-02", title="My <title>")
    assert "2026-01-02" in dated
    assert "2026-01-02" not in plain
    assert "<title>My &lt;title&gt;</title>" in dated


def part_of(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', text, flags=re.DOTALL)
    assert found is not None, name
    return Parsed(found[0]).text


def test_the_kept_step_is_in_the_overview_and_beside_the_losses(html: str, evaluated: Path) -> None:
    record = json.loads((evaluated / "run.json").read_text())
    kept = f"step {record['best_step']} of {record['steps']} ("
    assert kept in part_of(html, "overview")
    assert f"validation links {record['best_value']:.3f})" in part_of(html, "overview")
    assert kept in part_of(html, "training")
    assert f"kept: step {record['best_step']}" in html, "the figure's legend"
    assert "is not finished" not in html


def test_calibration_is_said_below_its_figure(html: str, evaluated: Path) -> None:
    (said,) = LinkTable.read(evaluated).calibration()
    assert said.startswith("Probabilities of joint ")
    assert said in part_of(html, "curves")


@pytest.mark.usefixtures("undrawn")
def test_doubts_about_edges_are_stated(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "probabilities of some pairs are withheld"
    monkeypatch.setattr(Calibration, "failed", property(lambda self: {"unseen target": why}))
    monkeypatch.setattr("grn_cotrain.export.predicted_edges.LOW_SHARE", 2.0)
    text = part_of(report([evaluated], tmp_path / "doubts.html"), "network")
    assert text.count(why) == 1
    assert "of the scores' variance" in text


# ---- several runs ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_two_runs_stand_side_by_side(evaluated: Path, tmp_path: Path) -> None:
    other = copied(evaluated, tmp_path / "second")
    recipe = yaml.safe_load((other / "recipe.yaml").read_text())
    recipe["train"]["clip_norm"] = 0.25
    (other / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    RunFolder(other).write_recipe(RunFolder(other).recipe())  # a run of these settings, as it were
    text = report([evaluated, other], tmp_path / "two.html", card=True)
    parsed = Parsed(text)
    assert "differences" in parsed.ids
    assert "The runs differ in: train.clip_norm." in parsed.text
    assert "A: tiny, unseen-target-seed0, seed 0" in parsed.text
    assert "B: tiny, unseen-target-seed0, seed 0" in parsed.text
    assert "≠ train.clip_norm" in text.replace("<wbr>", "")
    assert text.count("≠ ") == 1 + text.count("begin with ≠ ")
    assert "A: joint" in parsed.text
    assert "B: joint" in parsed.text
    # Controls of one split are shown once; both models stand above them.
    main = re.search(r'<table id="table-links-unseen-target-seed0-all">.*?</table>', text, flags=re.DOTALL)
    assert main is not None
    assert re.findall(r'<th scope="row"[^>]*>(.*?)</th>', main[0].replace("<wbr>", ""))[:2] == [
        "A: joint (model)",
        "B: joint (model)",
    ]
    assert main[0].count("kernel_<wbr>ridge") == 1
    assert "All runs read the same cells" in text


@pytest.mark.usefixtures("undrawn")
def test_three_runs_are_compared_with_the_first(evaluated: Path, tmp_path: Path) -> None:
    others = [copied(evaluated, tmp_path / name) for name in ("second", "third")]
    text = Parsed(report([evaluated, *others], tmp_path / "three.html")).text
    assert "B against A" in text
    assert "C against A" in text


@pytest.mark.usefixtures("undrawn")
def test_further_tables_are_shown_with_their_verdict(evaluated: Path, tmp_path: Path) -> None:
    for path in evaluated.glob("links*"):
        (tmp_path / "table").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "table")
    alone, both = (report([evaluated], tmp_path / "r.html", tables=tables) for tables in ([], [tmp_path / "table"]))
    assert both.count("its best control</strong>") + both.count("its best control:") > alone.count(
        "its best control</strong>"
    ) + alone.count("its best control:")


# ---- names that bite -------------------------------------------------------------------------------------------------


def test_gene_names_are_text_wherever_they_stand(tiny_world: Path, tmp_path: Path) -> None:
    prep = Prep.open(tiny_world)
    hub = prep.grn.edges["source"].value_counts().index[0]
    rename = {hub: EVIL}
    symbols = [rename.get(symbol, symbol) for symbol in prep.vocab.symbols]
    vocab = FeatureVocab.from_symbols(symbols, species="simulated")
    cells = MemoryStore.build(
        vocab,
        prep.cells.values_CG,
        kind=prep.cells.kind,
        obs=prep.cells.obs,
        size_factor_C=prep.cells.size_factor_C,
    )
    edges = prep.grn.edges[["source", "target", "weight", "sign", "evidence"]].replace(
        {"source": rename, "target": rename}
    )
    write_prep(tmp_path / "prep", vocab, cells, grn=GRN.from_frame(edges, vocab))
    prepare_splits(tmp_path / "prep", "random", seed=0)
    recipe = tiny_recipe(tmp_path / "prep", name=EVIL, data={"split": "random-seed0"})
    run = train(recipe, tmp_path / "run").folder
    evaluate_run(run, controls="random,degree_product")
    text = report([run], tmp_path / "evil.html", card=True)
    assert EVIL not in text
    assert text.count("<script") == 1
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 20


# ---- missing parts ---------------------------------------------------------------------------------------------------


def without_links(run: Path) -> None:
    for path in run.glob("links*"):
        path.unlink()


def without_cells(run: Path) -> None:
    (run / "cells.json").unlink()


def without_curves(run: Path) -> None:
    (run / "links_curves.parquet").unlink()
    (run / "links_per_tf.parquet").unlink()


def with_broken_links(run: Path) -> None:
    (run / "links.parquet").write_bytes(b"nothing")


def without_prep(run: Path) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["prep"] = str(run / "moved")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def unfinished(run: Path) -> None:
    without_links(run)
    without_cells(run)
    shutil.rmtree(run / "model")
    record = json.loads((run / "run.json").read_text())
    kept = {key: value for key, value in record.items() if key not in ("steps", "best_step", "best_value", "seconds")}
    (run / "run.json").write_text(json.dumps({**kept, "status": "running"}))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[:3]) + "\n" + lines[3][:10])


def barely_begun(run: Path) -> None:
    for path in run.iterdir():
        if path.name != "recipe.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("spoil", "sections"),
    [
        (without_links, {"overview", "links", "tf-scores", "curves"}),
        (without_cells, {"cells"}),
        (without_curves, {"tf-scores", "curves"}),
        (with_broken_links, {"overview", "links", "tf-scores", "curves"}),
        (without_prep, {"data", "power"}),
        (unfinished, {"overview", "links", "cells", "network", "embedding", "card", "training"}),
        (barely_begun, {"overview", "links", "cells", "network", "embedding", "card", "training", "provenance"}),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_a_missing_part_says_what_to_run_and_the_rest_stands(
    spoil: Callable[[Path], None], sections: set[str], evaluated: Path, tmp_path: Path
) -> None:
    run = copied(evaluated, tmp_path / "run")
    spoil(run)
    text = report([run], tmp_path / "r.html", card=True)
    found = {}
    for name in SECTIONS:
        part = re.search(rf'<section id="{name}".*?</section>', text, flags=re.DOTALL)
        assert part is not None, name
        found[name] = part[0]
    lacking = {name for name, part in found.items() if "Not here:" in part}
    assert sections <= lacking
    if spoil is not unfinished and spoil is not barely_begun and spoil is not without_prep:
        assert lacking == sections
    for name in sections:
        line = re.search(r'<p class="missing">.*?</p>', found[name])
        assert line is not None, name
        assert "<code>grn-" in line[0]
    assert str(tmp_path) not in text


def test_an_unfinished_run_shows_the_losses_so_far(evaluated: Path, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path / "run")
    unfinished(run)
    text = report([run], tmp_path / "r.html")
    assert "figure-losses" in text
    assert "training has not ended" in text


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_command_writes_into_the_run_and_prints_the_path(evaluated: Path, tmp_path: Path, capsys) -> None:
    run = copied(evaluated, tmp_path / "run")
    assert run_app(app, ["report", str(run), "--no-card", "--basis", "pca"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith(f"report: {run / 'report.html'} (")
    assert lines[0] == "  1/12 overview"
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "{tmp}/nowhere"], ["nowhere", "no run folder", "grn-cotrain train"]),
        (["report", "{world}"], ["no run folder"]),
        (["report", "{run}", "{run}"], ["given twice"]),
        (["report", "{run}", "{tmp}/nowhere"], ["nowhere", "no run folder"]),
        (["report", "{run}", "--out", "{tmp}"], ["is a folder", "name of a file"]),
        (["report", "{run}", "--table", "{world}"], ["--table", "links.json", "evaluate links"]),
        (["report", "{run}", "--basis", "tsne"], ["basis 'tsne'", "umap, pca"]),
        (["report"], ["RUN"]),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], words: list[str], evaluated: Path, tiny_world: Path, tmp_path: Path, capsys
) -> None:
    filled = [argument.format(tmp=tmp_path, run=evaluated, world=tiny_world) for argument in arguments]
    before = sorted(path.name for path in tmp_path.iterdir())
    for word in words:
        refused(word, *filled, capsys=capsys, watch=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.usefixtures("undrawn")
def test_a_failure_on_the_way_leaves_nothing(evaluated: Path, tmp_path: Path, monkeypatch) -> None:
    def broken(*args: object) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr("grn_cotrain.report.write.render_page", broken)
    with pytest.raises(RuntimeError):
        write_report([evaluated], tmp_path / "r.html", basis="pca", card=False)
    assert list(tmp_path.iterdir()) == []
