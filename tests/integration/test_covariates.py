"""Covariates the whole way: obs of the prepared folder, model, saved categories, cells of other files, integration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_prep.splits import prepare_splits
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.cells import OBSM_KEY, embed_cells
from grn_cotrain.model import CoTrainModel
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

SCGPT = {"name": "scgpt", "num_layers": 1, "num_heads": 2}
OBJECTIVES = {
    "generative": {},
    "gene_from_cell": {},
    "adversarial_covariate": {"covariate": "batch", "ramp_steps": 4},
}


@pytest.fixture(scope="module")
def batched(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world sequenced in two batches; the second has three times the counts of every other gene."""
    prep = Prep.open(tiny_world)
    generator = np.random.default_rng(0)
    second_C = generator.random(prep.cells.num_cells) < 0.4
    factor_CG = np.ones((prep.cells.num_cells, prep.cells.num_genes))
    factor_CG[np.ix_(second_C, np.arange(0, prep.cells.num_genes, 2))] = 3
    obs = prep.cells.obs.assign(
        batch=np.where(second_C, "lane2", "lane1"), donor=generator.choice(["d1", "d2", "d3"], len(second_C))
    )
    counts = sparse.csr_matrix(prep.cells.values_CG.multiply(factor_CG))
    cells = CellMatrix.build(prep.vocab, counts, kind="counts", obs=obs)
    folder = tmp_path_factory.mktemp("batched") / "prep"
    write_prep(folder, prep.vocab, cells, grn=prep.grn, tfs=prep.meta["tfs"])
    prepare_splits(folder, "unseen-target", seed=0)
    return folder


def recipe_of(prep: Path, covariates: list[str], objectives: dict[str, Any], **changes: Any) -> Recipe:
    return tiny_recipe(
        prep,
        model={"cell_encoder": changes.pop("encoder", SCGPT), "tokens": {"covariates": covariates}},
        objectives=objectives,
        train={"schedule": {"name": "mlm_only"}, **changes},
    )


@pytest.fixture(scope="module")
def run(batched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = recipe_of(batched, ["donor", "batch"], OBJECTIVES)
    return train(recipe, tmp_path_factory.mktemp("covariates") / "run").folder


def user_cells(batched: Path, **obs: Any) -> anndata.AnnData:
    adata = anndata.read_h5ad(batched / "cells.h5ad")[:20].copy()
    adata.obs_names = [f"user-{i}" for i in range(20)]
    del adata.uns["grn_cotrain_prep"]
    for name, values in obs.items():
        adata.obs[name] = values
    return adata


def embedded(run: Path, adata: anndata.AnnData, folder: Path, name: str) -> tuple[np.ndarray, list[str]]:
    adata.write_h5ad(folder / f"{name}.h5ad")
    lines: list[str] = []
    made = embed_cells(run, folder / f"{name}.h5ad", folder / f"{name}-out.h5ad", say=lines.append)
    return np.asarray(made.obsm[OBSM_KEY]), [line for line in lines if line.startswith("covariate")]


def test_categories_are_learned_saved_and_loaded(run: Path, batched: Path) -> None:
    saved = json.loads((run / "model" / "config.json").read_text())["covariates"]
    assert saved == {"donor": ["d1", "d2", "d3"], "batch": ["lane1", "lane2"]}
    model = CoTrainModel.load(run)
    assert model.cell_encoder.conditions.rows.weight.shape[0] == 4 + 3
    prep = Prep.open(batched)
    codes_CK = model.tokenizer(prep.cells).batch(np.arange(50)).covariates_BK
    assert codes_CK is not None
    assert codes_CK[:, 0].tolist() == [int(donor[1]) - 1 for donor in prep.cells.obs["donor"][:50]]
    assert codes_CK[:, 1].tolist() == [int(batch == "lane2") for batch in prep.cells.obs["batch"][:50]]
    assert model.objective("adversarial_covariate").column == 1


def test_a_loaded_model_says_the_same(run: Path, batched: Path, tmp_path: Path) -> None:
    model = CoTrainModel.load(run)
    model.save(tmp_path / "copy")
    again = CoTrainModel.load(tmp_path / "copy")
    batch = model.tokenizer(Prep.open(batched).cells).batch(np.arange(12))
    with torch.no_grad():
        first, second = (each.encode_cells(batch, each.encode_graph()).cells_BD for each in (model, again))
    assert torch.equal(first, second)


def test_metrics_stand_beside_the_majority(run: Path) -> None:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = {key for record in records for key in record}
    for key in ("accuracy", "majority"):
        assert any(name.endswith(f"adversarial_covariate/{key}") for name in keys), (key, sorted(keys))


class _Stop(LogReporter):
    def step(self, step: int, record: dict) -> None:
        if step == 5:
            raise KeyboardInterrupt


def test_a_broken_run_resumes_to_the_same_weights(batched: Path, run: Path, tmp_path: Path) -> None:
    """Drawn conditions, shares of unknown genes and the ramp's count go on where they were."""
    recipe = recipe_of(batched, ["donor", "batch"], OBJECTIVES)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken", reporter=_Stop())
    resumed = train(recipe, tmp_path / "broken", resume=True)
    assert resumed.record()["resumed"]
    whole = json.loads((run / "run.json").read_text())
    assert resumed.record()["weights_sha256"] == whole["weights_sha256"]


def test_cells_of_unseen_categories_are_counted_named_and_unknown(run: Path, batched: Path, tmp_path: Path) -> None:
    donors = ["d1"] * 8 + ["d9"] * 7 + ["d7"] * 5
    values_CD, notes = embedded(run, user_cells(batched, donor=donors), tmp_path, "unseen")
    assert notes == [
        "covariate 'donor': 12 cells are of categories that the model has not seen, and taken as unknown: d7, d9"
    ]
    none = [*donors[:8], *[np.nan] * 12]
    missing_CD, notes = embedded(run, user_cells(batched, donor=none), tmp_path, "missing")
    assert notes == ["covariate 'donor': 12 cells have none and are taken as unknown"]
    np.testing.assert_array_equal(values_CD, missing_CD)
    adata = user_cells(batched)
    del adata.obs["donor"]
    without_CD, notes = embedded(run, adata, tmp_path, "without")
    assert notes == ["covariate 'donor': no such column of obs; all 20 cells are taken as unknown"]
    np.testing.assert_array_equal(without_CD[8:], values_CD[8:])
    assert not np.allclose(without_CD[:8], values_CD[:8])
    _, notes = embedded(run, user_cells(batched), tmp_path, "known")
    assert notes == []


@pytest.mark.parametrize(
    ("covariates", "objectives", "text"),
    [
        (["batches"], {"generative": {}}, "tokens.covariates 'batches': no such column of obs; .*did you mean 'batch'"),
        ([], {"adversarial_covariate": {}}, r"covariate 'batch': not among model.tokens.covariates \(none\)"),
        (["donor"], {"adversarial_covariate": {}}, r"not among model.tokens.covariates \(donor\)"),
    ],
)
def test_a_column_that_is_not_there_is_one_clear_line(
    batched: Path, tmp_path: Path, covariates: list[str], objectives: dict[str, Any], text: str
) -> None:
    with pytest.raises(UserError, match=text) as caught:
        train(recipe_of(batched, covariates, objectives), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_cell_prompt_for_an_encoder_that_reads_none_is_refused(batched: Path, tmp_path: Path) -> None:
    encoder = {"name": "xtrimogene", "num_layers": 1, "num_heads": 2}
    with pytest.raises(UserError, match="reads no cell prompt"):
        train(recipe_of(batched, [], {"generative": {}}, encoder=encoder), tmp_path / "refused")
    objectives = {"generative": {"cell_prompt_weight": 0.0}}
    assert train(recipe_of(batched, [], objectives, encoder=encoder, max_steps=2), tmp_path / "run").model.is_dir()


def _batch_accuracy(run: Path, prep: Path) -> float:
    """Cross-validated accuracy of a logistic regression of the batch on cell states."""
    model, cells = CoTrainModel.load(run), Prep.open(prep).cells
    batch = model.tokenizer(cells).batch(np.arange(cells.num_cells))
    with torch.no_grad():
        states_CD = model.encode_cells(batch, model.encode_graph()).cells_BD.numpy()
    label_C = (cells.obs["batch"] == "lane2").to_numpy()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(cross_val_score(classifier, states_CD, label_C, cv=5, scoring="balanced_accuracy").mean())


@pytest.mark.slow
def test_conditions_and_the_adversary_take_the_batch_out_of_cell_states(batched: Path, tmp_path: Path) -> None:
    plain: dict[str, Any] = {"gene_from_cell": {}, "generative": {"cell_prompt_weight": 0.0}}
    adversarial = {**plain, "adversarial_covariate": {"covariate": "batch", "strength": 1.0}}
    encoder = {**SCGPT, "values": "continuous", "conditions": "output"}
    steps = {"max_steps": 300, "validate_every": 300, "checkpoint_every": 300, "tokens_per_batch": 4096}
    without = train(recipe_of(batched, [], plain, encoder=encoder, **steps), tmp_path / "without").folder
    with_ = train(recipe_of(batched, ["batch"], adversarial, encoder=encoder, **steps), tmp_path / "with").folder
    before, after = _batch_accuracy(without, batched), _batch_accuracy(with_, batched)
    print(f"balanced accuracy of the batch from cell states: {before:.3f} without, {after:.3f} with")
    assert before > 0.9
    assert after < before - 0.15
