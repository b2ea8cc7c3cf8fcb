"""``grn-cotrain evaluate attention`` and ``evaluate links --attention`` on the tiny run, and the frames they write."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import cell_groups, read_attention
from grn_cotrain.evaluate.attention_run import EDGE_COLUMNS, attention_edges, attention_of_tfs, evaluate_attention
from grn_cotrain.export.attention_edges import attention_network, check_names, export_attention
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.metrics.links import auroc
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe


@pytest.fixture(scope="module")
def printed(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Files and output of the command, by cell type."""
    import contextlib
    import io

    from grn_cotrain import commandline

    out = tmp_path_factory.mktemp("attention")
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        commandline.console.cache_clear()
        code = run_app(
            app,
            [
                *("evaluate", "attention", str(tiny_run), "--by", "cell_type", "--out", str(out)),
                *("--max-cells", "12", "--bootstrap", "10", "--top", "50", "--layers", "-1"),
                *("--controls", "spearman"),
            ],
        )
    commandline.console.cache_clear()
    assert code == 0
    return out, stream.getvalue()


def test_command_prints_and_writes_a_row_a_type_and_scorer(printed: tuple[Path, str], tiny_run: Path) -> None:
    out, text = printed
    rows = pd.read_parquet(out / "attention.parquet")
    data = load_run_data(RunFolder.open(tiny_run).recipe())
    sizes = data.cells.obs["cell_type"].value_counts()
    names = {"attention", "attention corrected", "untrained attention", "untrained attention corrected"}
    for cell_type, size in sizes.items():
        part = rows[rows["group"] == cell_type]
        assert set(part["scorer"]) == names | {"co-expression"}
        assert set(part["num_cells"]) == {min(12, size)}
        assert set(part["cells_in_group"]) == {size}
        assert f"{min(12, size)} of {size}" in text
    beside = rows[rows["group"] == ""].set_index("scorer")
    assert set(beside.index) == {"joint", "spearman", "target_degree", "degree_product"}
    assert beside.loc["joint", "kind"] == "model", "the supervised model stands in the same table"
    assert set(rows.loc[rows["scorer"] == "attention", "kind"]) == {"read-out"}
    assert "macro AUROC" in text
    assert "pairs seen" in text
    assert "were trained on the training edges too (by messages and a link loss)" in text
    differences = pd.read_parquet(out / "attention_differences.parquet").set_index(["group", "scorer", "minus"])
    by_name = rows.set_index(["group", "scorer"])["macro_auroc"]
    group = str(sizes.index[0])
    assert differences.loc[(group, "attention", "co-expression"), "value"] == pytest.approx(
        by_name[group, "attention"] - by_name[group, "co-expression"]
    )
    central = pd.read_parquet(out / "attention_centrality.parquet")
    assert set(central["encoder"]) == {"trained", "untrained"}
    assert set(central["group"]) == set(map(str, sizes.index))
    assert (out / "links.json").is_file()


def test_rows_are_the_auroc_of_the_scores_of_those_cells(printed: tuple[Path, str], tiny_run: Path) -> None:
    out, _ = printed
    folder = RunFolder.open(tiny_run)
    data = load_run_data(folder.recipe())
    model, _ = load_model(folder.require_model())
    test = data.split.pairs("test")
    groups, _ = cell_groups(data.cells, "cell_type", max_cells=12)
    config = AttentionConfig(layers=(-1,), max_cells=12)
    rows = pd.read_parquet(out / "attention.parquet").set_index(["group", "scorer"])
    edges = pd.read_parquet(out / "attention_edges.parquet")
    assert tuple(edges.columns) == EDGE_COLUMNS
    known = {part: {tuple(p) for p in getattr(data.split, f"{part}_2E").T.tolist()} for part in ("train", "test")}
    sources = np.unique(data.split.train_2E[0])
    for group, scores in zip(groups, read_attention(model, data.cells, sources, groups, config), strict=True):
        found = auroc(scores.score(test.pairs_2M).astype(np.float32), test.labels_M)
        assert rows.loc[(group.name, "attention"), "auroc"] == pytest.approx(found, abs=1e-6)
        profiles = data.cells.normalised()[group.rows_C].toarray().astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            together = np.nan_to_num(np.abs(np.corrcoef(profiles.T)))
        found = auroc(together[test.pairs_2M[0], test.pairs_2M[1]].round(6), test.labels_M)
        assert rows.loc[(group.name, "co-expression"), "auroc"] == pytest.approx(found, abs=5e-3)
        mine = edges[edges["group"] == group.name]
        assert len(mine) == 50
        assert mine["score"].is_monotonic_decreasing
        assert (mine["num_cells"] >= 5).all()
        np.testing.assert_allclose(mine["score"], mine["weight"] - mine["expected"], atol=1e-6)
        for edge in mine.head(10).itertuples():
            pair = (data.vocab.index(str(edge.source)), data.vocab.index(str(edge.target)))
            part = next((part for part in known if pair in known[part]), "")
            assert edge.known in (part, "validation", "withheld") if not part else edge.known == part


def test_best_pairs_are_the_best(tiny_run: Path) -> None:
    folder = RunFolder.open(tiny_run)
    data = load_run_data(folder.recipe())
    model, _ = load_model(folder.require_model())
    groups, _ = cell_groups(data.cells, None, max_cells=20)
    (scores,) = read_attention(model, data.cells, np.unique(data.split.train_2E[0]), groups)
    frame = attention_edges(scores, data.vocab, data.split, top=7, min_cells=15)
    every = attention_edges(scores, data.vocab, None, top=10**6)
    assert (every["known"] == "").all()
    assert len(every) == int((scores.count_SG > 0).sum())
    seen = every[every["num_cells"] >= 15]
    assert frame["score"].tolist() == seen["score"].head(7).tolist()
    assert (every["source"] != every["target"]).all()
    assert attention_edges(scores, data.vocab, top=5, min_cells=10**6).empty
    tf = every["source"].iloc[0]
    of_tf = attention_of_tfs(tiny_run, [tf], config=AttentionConfig(max_cells=20))
    pd.testing.assert_frame_equal(
        of_tf, every[every["source"] == tf].reset_index(drop=True).assign(known=of_tf["known"])
    )
    with pytest.raises(UserError, match="NOGENE"):
        attention_of_tfs(tiny_run, ["NOGENE"])


def test_links_prints_attention_beside_model_and_controls(
    tiny_run: Path, tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert run_app(app, ["evaluate", "links", str(run), "--attention", "--controls", "random", "--bootstrap", "0"]) == 0
    text = capsys.readouterr().out
    for name in ("joint (model)", "attention (read-out)", "attention corrected (read-out)", "untrained attention"):
        assert name in text
    assert "have the expected weight" in text
    assert run_app(app, ["evaluate", "links", str(tiny_world), "--attention", "--split", "unseen-target-seed0"]) == 2
    assert "has no encoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layers", "first"), "--layers 'first': give all"),
        (("--layers", "7"), "--layers: got 7; choose from 0 to 0"),
        (("--by", "celltype"), "--by 'celltype': no such column of obs"),
        (("--direction", "up"), "--direction 'up': choose from target_reads_tf"),
        (("--top", "0"), "--top '0': give 1 or more"),
        (("--bootstrap", "-1"), "--bootstrap '-1'"),
        (("--min-cells", "0"), "--min-cells '0': give 1 or more"),
        (("--min-cells", "9", "--max-cells", "8"), "--min-cells '9': more than are read of any group (8)"),
        (("--seed", "-1"), "--seed '-1': give 0 to 4294967295"),
    ],
)
def test_bad_words_are_one_line(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    code = run_app(app, ["evaluate", "attention", str(tiny_run), "--out", str(tmp_path / "out"), *arguments])
    assert code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_edges_leave_in_any_format(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--by", "cell_type", "--max-cells", "8", "--bootstrap", "0", "--top", "30", "--no-untrained"]
    arguments += ["--controls", "none"]
    code = run_app(app, ["evaluate", "attention", str(tiny_run), "--out", str(tmp_path), "--edges", "tsv", *arguments])
    assert code == 0
    assert "edges, format tsv: attention_" in capsys.readouterr().out
    frame = pd.read_parquet(tmp_path / "attention_edges.parquet")
    assert "untrained attention" not in set(pd.read_parquet(tmp_path / "attention.parquet")["scorer"])
    group = str(frame["group"].iloc[0])
    written = pd.read_csv(tmp_path / f"attention_{group}.tsv", sep="\t").set_index(["source", "target"])
    mine = frame[frame["group"] == group].set_index(["source", "target"])
    assert set(written.index) == set(mine.index)
    score = written.loc[mine.index, "score"]
    np.testing.assert_allclose(score, np.log(mine["weight"] / mine["expected"]), rtol=1e-6)
    assert written["score"].is_monotonic_decreasing
    assert written["probability"].isna().all()
    assert written["known"].fillna("").loc[mine.index].tolist() == mine["known"].tolist()
    network = attention_network(tiny_run, frame, group)
    share = network.frame.set_index(["source", "target"]).assign(share=network.weights())["share"]
    np.testing.assert_allclose(share.loc[mine.index], mine["weight"] / (mine["weight"] + mine["expected"]), rtol=1e-6)
    with pytest.raises(UserError, match="group 'nobody': not read; choose from"):
        attention_network(tiny_run, frame, "nobody")
    slashed = pd.concat([frame.head(1).assign(group="a/b"), frame.head(1).assign(group="a b")])
    with pytest.raises(UserError, match="several cell types would be written to 'attention_a_b'"):
        export_attention(tiny_run, slashed, "tsv", tmp_path)
    with pytest.raises(UserError, match="group 'edges': its edges would be written over the table 'attention_edges"):
        export_attention(tiny_run, frame.head(1).assign(group="edges"), "parquet", tmp_path)
    assert run_app(app, ["evaluate", "attention", str(tiny_run), "--out", str(tmp_path), "--edges", "tvs"]) == 2


def world_with(labels: list[str], run: Path, tmp_path: Path) -> Path:
    """A copy of the run over a copy of its prepared folder, whose cells have these types in turn."""
    folder = RunFolder.open(shutil.copytree(run, tmp_path / "run"))
    recipe = folder.recipe()
    prep = Path(shutil.copytree(recipe.data.prep, tmp_path / "prep"))
    obs = pd.read_parquet(prep / "obs.parquet")
    obs.assign(group=(labels * len(obs))[: len(obs)]).to_parquet(prep / "obs.parquet")
    folder.write_recipe(replace(recipe, data=replace(recipe.data, prep=str(prep))))
    return folder.folder


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: object, **options: object) -> None:
        pytest.fail("attention was read before the request was refused")

    monkeypatch.setattr("grn_cotrain.evaluate.attention_run.read_attention", read)


def test_what_cannot_be_written_is_told_before_anything_is_read(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unread(monkeypatch)
    run, out = world_with(["a/b", "a b"], tiny_run, tmp_path), tmp_path / "out"
    arguments = ["evaluate", "attention", str(run), "--out"]
    assert run_app(app, [*arguments, str(out), "--by", "group", "--edges", "tsv"]) == 2
    assert "several cell types would be written to 'attention_a_b'" in capsys.readouterr().err
    assert not out.exists()
    (tmp_path / "file").write_text("x")
    assert run_app(app, [*arguments, str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    data = load_run_data(RunFolder.open(run).recipe())
    renamed = replace(data.vocab, symbols=("two words", *data.vocab.symbols[1:]))
    with pytest.raises(UserError, match=r"format: 1 names of genes cannot be written in it \('two words'\)"):
        check_names("gmt", ["B"], renamed.symbols)
    check_names("gmt", ["B"], data.vocab.symbols)
    with pytest.raises(UserError, match=r"over the table 'attention_genes\.parquet'"):
        check_names("parquet", ["genes"], data.vocab.symbols)


def test_a_failure_after_the_reading_leaves_nothing_new(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "own.txt").write_text("of the user")
    arguments = ["evaluate", "attention", str(tiny_run), "--out", str(out), "--max-cells", "8", "--bootstrap", "0"]
    arguments += ["--controls", "none"]
    # Two edges are no regulon of ten targets: GMT finds that out when it writes.
    assert run_app(app, [*arguments, "--no-untrained", "--top", "2", "--edges", "gmt"]) == 2
    assert "no regulon has as many targets" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["own.txt"]


def test_only_the_default_fewest_cells_is_lowered_and_told(tiny_run: Path, tmp_path: Path) -> None:
    run = world_with(["many"] * 49 + ["few"], tiny_run, tmp_path)
    options = {"by": "group", "bootstrap": 0, "top": 20, "controls": "none"}
    default = evaluate_attention(run, **options)
    data = load_run_data(RunFolder.open(run).recipe())
    few = int((data.cells.obs["group"] == "few").sum())
    assert few < 5, "the group must have fewer cells than the default asks for"
    assert f"groups of fewer than 5 cells, where all cells must show an edge: few ({few})" in default.notes
    assert set(default.edges.loc[default.edges["group"] == "few", "num_cells"]) == {few}
    asked = evaluate_attention(run, min_cells=5, **options)
    assert set(asked.edges["group"]) == {"many"}
    assert f"no edge, as no pair is seen in enough cells: few (5 of {few} needed)" in asked.notes
    assert not any("fewer than 5 cells" in note for note in asked.notes)


def test_layers_in_which_no_gene_reads_another_are_refused(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The decoder of form A serves hidden genes alone, and a read-out hides none: its layers would score nothing."""
    recipe = tiny_recipe(
        tiny_world,
        model={"cell_encoder": {"name": "xtrimogene", "decoder": "A", "num_layers": 1, "decoder_layers": 1}},
        train={"max_steps": 1, "validate_every": 1, "checkpoint_every": 1},
    )
    run = train(recipe, tmp_path / "run").folder
    arguments = ["evaluate", "attention", str(run), "--max-cells", "4", "--bootstrap", "0", "--controls", "none"]
    assert run_app(app, [*arguments, "--out", str(tmp_path / "out"), "--layers", "-1"]) == 2
    assert "--layers '-1': no gene reads another there in cells of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run_app(app, [*arguments, "--out", str(tmp_path / "out"), "--layers", "0"]) == 0
