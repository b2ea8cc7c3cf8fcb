"""Cell lines of a batch that nothing was trained on: a fine-tuned model beside plain classifiers, printed."""

from __future__ import annotations

from pathlib import Path

import anndata
import pytest

from data_prep.counts import prepare_counts
from data_prep.splits import prepare_splits
from grn_cotrain.config import ComponentSpec
from grn_cotrain.evaluate.annotation import FINE_TUNED
from grn_cotrain.evaluate.linear_probe import MAJORITY
from grn_cotrain.finetune.run import finetune_run
from grn_cotrain.jobs.finetune import FinetuneConfig
from grn_cotrain.present.terminal import plain_lines
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

pytestmark = [pytest.mark.real, pytest.mark.slow]

HELD_OUT = "sc_dropseq"


def test_cell_lines_of_a_held_out_batch(real_data: Path, tmp_path: Path) -> None:
    """These lines are easy: plain classifiers find all of them, so the model must too; it is no claim of a gain."""
    source = real_data / "sc_mixology_celllines" / "sc_mixology_5batches.h5ad"
    adata = anndata.read_h5ad(source)
    adata[adata.obs["batch"] != HELD_OUT].copy().write_h5ad(tmp_path / "known.h5ad")
    network = real_data / "grn_priors" / "collectri_human_from_omnipath.tsv.gz"
    prepare_counts(
        tmp_path / "known.h5ad", tmp_path / "prep", genes="hvg:200", grn=network, grn_format="collectri:signed"
    )
    prepare_splits(tmp_path / "prep", "random", seed=0)
    changes = {
        "data": {"split": "random-seed0"},
        "train": {"max_steps": 20, "schedule": {"name": "mlm_only"}, "tokens_per_batch": 4096},
    }
    run = train(tiny_recipe(tmp_path / "prep", **changes), tmp_path / "run").folder
    table = finetune_run(
        run,
        source,
        tmp_path / "out",
        label="cell_line",
        test_by=("batch", HELD_OUT),
        config=FinetuneConfig(head=ComponentSpec("max_pool_linear"), freeze="none", epochs=6, learning_rate=5e-3),
        bootstrap=200,
    )
    print("\n".join(plain_lines(table.tables()[0])))
    macro = table.scores[table.scores["metric"] == "macro_f1"].set_index("scorer").value
    assert macro[FINE_TUNED] > 0.9 > 0.3 > macro[MAJORITY]
    assert table.per_class.num_test.sum() == int((adata.obs["batch"] == HELD_OUT).sum())
