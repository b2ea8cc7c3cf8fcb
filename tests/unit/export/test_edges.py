"""Predicted edges against brute force, with and without the prepared folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.evaluate.score import score_named
from grn_cotrain.export import edge_ranking
from grn_cotrain.export import edges as edges_module
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.known_edges import pair_correlations
from grn_cotrain.export.predicted_edges import COLUMNS, PredictedEdges
from grn_cotrain.metrics.platt import Calibration
from grn_cotrain.run_folder import RunFolder

SPLIT = "unseen-target-seed0"


def quiet(line: str) -> None:
    del line


def key(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(frame["source"], frame["target"], strict=True))


@pytest.fixture(scope="module")
def everything(tiny_run: Path) -> PredictedEdges:
    return predict_edges(tiny_run, say=quiet)


@pytest.fixture(scope="module")
def reference(tiny_run: Path, tiny_world: Path) -> pd.DataFrame:
    """Every pair of a TF of the split and a gene, scored one by one, sorted in plain Python."""
    scorer, split = ModelScorer(tiny_run), Prep.open(tiny_world).split(SPLIT)
    sources = sorted(set(split.train_2E[0]) | set(split.validation_sources_S) | set(split.test_sources_S))
    pairs = [(s, t) for s in sources for t in range(split.num_genes) if s != t]
    scores = scorer.score(np.array(pairs).T)
    order = sorted(range(len(pairs)), key=lambda i: (-scores[i], pairs[i]))
    symbols = scorer.model.vocab.symbols
    rows = [(symbols[pairs[i][0]], symbols[pairs[i][1]], scores[i]) for i in order]
    return pd.DataFrame(rows, columns=["source", "target", "score"])


def moved(tiny_run: Path, folder: Path, **changes: str) -> Path:
    """A copy of the run whose recipe names a prepared folder that is not there."""
    copy = folder / "run"
    shutil.copytree(tiny_run, copy)
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    recipe["data"]["prep"] = str(folder / "gone")
    recipe["graph"] |= changes
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    RunFolder(copy).write_recipe(RunFolder(copy).recipe())  # a run of these settings, as it were
    return copy


def test_all_pairs_as_by_brute_force(tiny_run: Path, reference: pd.DataFrame) -> None:
    everything = predict_edges(tiny_run, rank_by="score", say=quiet)
    assert list(everything.frame.columns) == list(COLUMNS)
    assert everything.num_candidates == len(reference) == len(everything)
    assert key(everything.frame) == key(reference)
    np.testing.assert_allclose(everything.frame["score"], reference["score"], rtol=1e-6, atol=1e-6)
    assert (everything.frame["source"] != everything.frame["target"]).all()


@pytest.mark.parametrize("tile", [1, 200, 10**6])
def test_tiles_do_not_matter(
    tiny_run: Path, everything: PredictedEdges, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_ranking, "_TILE_VALUES", tile)
    steps: list[tuple[int, int]] = []
    found = predict_edges(tiny_run, top=37, say=quiet, progress=lambda done, total: steps.append((done, total)))
    assert key(found.frame) == key(everything.frame.head(37))
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


def test_top_per_tf(tiny_run: Path, everything: PredictedEdges) -> None:
    found = predict_edges(tiny_run, top_per_tf=3, say=quiet).frame
    assert key(found) == key(everything.frame.groupby("source", sort=False).head(3))
    both = predict_edges(tiny_run, top_per_tf=3, top=10, say=quiet).frame
    assert key(both) == key(found.head(10))


def test_top_per_tf_of_training(tiny_run: Path, tiny_world: Path) -> None:
    prep = Prep.open(tiny_world)
    split = prep.split(SPLIT)
    found = predict_edges(tiny_run, top_per_tf="training", say=quiet)
    sources, counts = np.unique(split.train_2E[0], return_counts=True)
    expected = {prep.vocab.symbols[s]: n for s, n in zip(sources, counts, strict=True)}
    assert found.frame["source"].value_counts().to_dict() == expected
    assert found.num_train == split.train_2E.shape[1] == len(found)


def test_min_probability(tiny_run: Path, everything: PredictedEdges) -> None:
    least = float(everything.frame["probability"].quantile(0.9))
    found = predict_edges(tiny_run, min_probability=least, say=quiet).frame
    assert set(key(found)) == set(key(everything.frame[everything.frame["probability"] >= least]))


def test_known_edges_by_part(tiny_run: Path, tiny_world: Path, everything: PredictedEdges) -> None:
    prep = Prep.open(tiny_world)
    split = prep.split(SPLIT)
    assert everything.labels == "split"
    for part in ("train", "validation", "test", "withheld"):
        pairs = {(prep.vocab.symbols[a], prep.vocab.symbols[b]) for a, b in getattr(split, f"{part}_2E").T}
        assert set(key(everything.frame[everything.frame["known"] == part])) == pairs
    new = predict_edges(tiny_run, known="drop", say=quiet).frame
    only = predict_edges(tiny_run, known="only", say=quiet).frame
    assert set(new["known"]) == {""}
    assert "" not in set(only["known"])
    assert len(new) + len(only) == len(everything)


def test_signs_of_training_edges_alone_come_from_the_network(tiny_world: Path, everything: PredictedEdges) -> None:
    """A held-out edge is treated as any other pair: its sign would be an answer."""
    prep = Prep.open(tiny_world)
    sign = prep.grn.edges.set_index(["source", "target"])["sign"]
    frame = everything.frame
    own = frame[frame["sign_source"] == "network"]
    assert len(own) == (frame["known"] == "train").sum() > 0
    assert all(sign[pair] == found for pair, found in zip(key(own), own["sign"], strict=True))
    least = 1.96 / np.sqrt(prep.cells.num_cells)
    others = frame[frame["sign_source"] != "network"]
    np.testing.assert_array_equal(
        others["sign"], np.where(np.abs(others["correlation"]) >= least, np.sign(others["correlation"]), 0)
    )
    assert (others["sign_source"] == "correlation").any()
    assert ((others["sign_source"] == "") == (others["sign"] == 0)).all()


def test_correlation_is_pearsons(tiny_world: Path, everything: PredictedEdges) -> None:
    prep = Prep.open(tiny_world)
    values = prep.cells.normalised().toarray()
    for row in everything.frame.sample(20, random_state=0).itertuples():
        a, b = prep.vocab.index(str(row.source)), prep.vocab.index(str(row.target))
        assert row.correlation == pytest.approx(np.corrcoef(values[:, a], values[:, b])[0, 1], abs=1e-5)


def test_correlation_over_the_cells_whose_genes_were_measured(tiny_world: Path) -> None:
    cells = Prep.open(tiny_world).cells
    there_C = np.arange(cells.num_cells) % 3 > 0
    values_CG = cells.rows(np.arange(cells.num_cells))["rna"].multiply(there_C[:, None])
    part = MemoryStore.build(cells.vocab, values_CG, kind="log", present={"rna": there_C})
    found, num_cells = pair_correlations(part, np.array([[0], [1]]))
    assert num_cells == there_C.sum()
    profiles_C2 = part.normalised().toarray()[there_C, :2].astype(np.float64)
    assert found[0] == pytest.approx(np.corrcoef(profiles_C2.T)[0, 1], abs=1e-5)


def test_probability_and_its_prevalence(tiny_run: Path, tiny_world: Path, everything: PredictedEdges) -> None:
    split = Prep.open(tiny_world).split(SPLIT)
    # Held-out targets are drawn from all genes, so training genes are a sample of them too.
    known_M = np.concatenate([split.pairs(part).labels_M for part in ("train", "validation")])
    assert everything.prevalence == pytest.approx(known_M.mean())
    assert f"{everything.prevalence:.3%}" in everything.summary()
    calibration, frame = ModelScorer(tiny_run).calibration, everything.frame
    assert calibration is not None
    assert set(calibration.by_kind) == {"unseen target"}
    unseen = frame["target"].isin(hidden_symbols(tiny_world)).to_numpy()
    expected = calibration.main.probability(frame["score"].to_numpy())
    np.testing.assert_allclose(frame["probability"][unseen], expected[unseen])
    assert frame["probability"][~unseen].isna().all(), "no validation pair has a seen target"
    assert everything.uncalibrated == {"seen": int((~unseen).sum())}
    assert f"{int((~unseen).sum()):,} edges have no probability" in everything.summary()


def hidden_symbols(world: Path) -> list[str]:
    prep = Prep.open(world)
    return [prep.vocab.symbols[i] for i in prep.split(SPLIT).hidden_targets_N]


def test_a_least_probability_names_the_pairs_that_have_none(tiny_run: Path, everything: PredictedEdges) -> None:
    said: list[str] = []
    predict_edges(tiny_run, min_probability=1e-9, say=said.append)
    assert any(f"{everything.uncalibrated['seen']:,} pairs have no probability" in line for line in said)


def test_without_probabilities(tiny_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    (copy / "model" / "platt.json").unlink()
    found = predict_edges(copy, top=5, say=quiet)
    assert found.frame["probability"].isna().all()
    assert "no probability" in found.summary()
    np.testing.assert_allclose(found.weights(), 1 / (1 + np.exp(-found.frame["score"])))
    with pytest.raises(UserError, match="no probabilities"):
        predict_edges(copy, min_probability=0.1, say=quiet)


def test_probabilities_whose_check_failed_are_withheld(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "probabilities of pairs of kind 'unseen target' are withheld: a reason"
    monkeypatch.setattr(Calibration, "failed", property(lambda self: {"unseen target": why}))
    found = predict_edges(tiny_run, top=5, say=quiet)
    assert found.frame["probability"].isna().all()
    assert found.summary().splitlines().count(f"warning: {why}") == 1
    assert "no validation pairs" not in found.summary()
    np.testing.assert_allclose(found.weights(), 1 / (1 + np.exp(-found.frame["score"])))
    with pytest.raises(UserError, match=r"has no probabilities, as probabilities of pairs .* are withheld.*give top"):
        predict_edges(tiny_run, min_probability=0.1, say=quiet)
    scored = score_named(tiny_run, found.frame[["source", "target"]])
    assert "probability" not in scored.frame
    assert scored.lines()[-1] == why


def test_without_the_prepared_folder(
    tiny_run: Path, tiny_world: Path, everything: PredictedEdges, tmp_path: Path
) -> None:
    said: list[str] = []
    run = moved(tiny_run, tmp_path)
    found = predict_edges(run, say=said.append)
    assert found.labels == "graph"
    assert "validation and test edges count as new" in said[0]
    assert set(found.frame["known"]) == {"train", ""}
    train = everything.frame["known"] == "train"
    merged = found.frame.merge(everything.frame, on=["source", "target"], suffixes=("", "_split"))
    assert len(merged) == len(found)
    assert ((merged["known"] == "train") == (merged["known_split"] == "train")).all()
    assert int((merged["known"] == "train").sum()) == int(train.sum())
    known = merged[merged["known"] == "train"]
    assert (known["sign"] == known["sign_split"]).all()
    assert found.frame["correlation"].isna().all()
    with_prep = predict_edges(run, prep=tiny_world, say=said.append)
    pd.testing.assert_frame_equal(with_prep.frame, everything.frame)
    assert len(said) == 1


def test_without_the_prepared_folder_of_a_control_graph(tiny_run: Path, tmp_path: Path) -> None:
    """The messages of a rewired graph are no training edges, whatever the model folder holds."""
    run = moved(tiny_run, tmp_path, messages="rewired")
    found = predict_edges(run, top=5, say=quiet)
    assert found.labels == "none"
    assert set(found.frame["known"]) == {""}
    assert "known edges: unknown (no prepared folder)" in found.summary()
    for options in ({"known": "drop"}, {"top_per_tf": "training"}):
        with pytest.raises(UserError, match="cannot be determined"):
            predict_edges(run, say=quiet, **options)


def test_the_wrong_prepared_folder(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_world, other)
    for suffix in (".json", ".parquet"):
        (other / "splits" / f"{SPLIT}{suffix}").unlink()
    with pytest.raises(UserError, match="not in"):
        predict_edges(tiny_run, prep=other, say=quiet)
    said: list[str] = []
    shutil.copytree(tiny_run, tmp_path / "run")
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    recipe["data"]["prep"] = str(other)
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert predict_edges(tmp_path / "run", top=5, say=said.append).labels == "graph"
    assert "not in" in said[0]


def test_named_tfs_and_targets(tiny_run: Path, tiny_world: Path, everything: PredictedEdges) -> None:
    said: list[str] = []
    vocab = Prep.open(tiny_world).vocab
    tf = everything.frame["source"].iloc[0]
    targets = list(vocab.symbols[:10])
    found = predict_edges(tiny_run, tfs=[tf, "nobody"], targets=targets, say=said.append)
    expected = everything.frame[(everything.frame["source"] == tf) & everything.frame["target"].isin(targets)]
    assert key(found.frame) == key(expected)
    assert said == ["1 of 2 tfs are unknown to the model and left out: nobody"]
    said.clear()
    plain = next(s for s in vocab.symbols if s not in set(everything.frame["source"]))
    predict_edges(tiny_run, tfs=[plain], top=3, say=said.append)
    assert said == [f"1 TFs have no training edge, so their scores are the least certain: {plain}"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top=0: give 1 or more"),
        ({"top": 10**9}, "top=1000000000: more than one table holds"),
        ({"top_per_tf": -3}, "top_per_tf=-3: give 1 or more"),
        ({"top_per_tf": "all"}, "a number or training"),
        ({"min_probability": 1.5}, "give 0 to 1"),
        ({"min_probability": 1.0}, "no pair is left"),
        ({"known": "sometimes"}, "choose from"),
        ({"tfs": ["nobody"]}, "none of 1 names is a gene"),
        ({"targets": []}, "none of 0 names"),
    ],
)
def test_bad_requests(tiny_run: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        predict_edges(tiny_run, say=quiet, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_too_many_rows(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_module, "MOST_EDGES", 100)
    with pytest.raises(UserError, match="give top, top_per_tf or min_probability"):
        predict_edges(tiny_run, say=quiet)
    with pytest.raises(UserError, match="more than 100 pairs"):
        predict_edges(tiny_run, min_probability=0.0, say=quiet)
    assert len(predict_edges(tiny_run, top=100, say=quiet)) == 100


def test_network_of_the_edges(everything: PredictedEdges) -> None:
    grn = everything.to_grn()
    assert grn.num_edges == len(everything)
    weight = grn.edges.set_index(["source", "target"])["weight"]
    first = everything.frame.iloc[0]
    # Edges of seen targets have no probability, so all weights are sigmoids of scores: one scale for one network.
    assert weight[first["source"], first["target"]] == pytest.approx(1 / (1 + np.exp(-first["score"])))


def test_summary_counts(everything: PredictedEdges) -> None:
    counts = everything.counts()
    assert counts["edges"] == sum(counts[part] for part in ("new", "train", "validation", "test", "withheld"))
    text = everything.summary()
    assert f"{counts['train']:,} train" in text
    assert "a fit, not a prediction" in text
