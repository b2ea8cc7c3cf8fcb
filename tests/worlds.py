"""Tiny simulated worlds that many tests share, made once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import sparse

from data_prep.simulate import simulate
from data_prep.splits import prepare_splits
from grn_cotrain.config import parse, to_dict
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.recipe import Recipe

__all__ = ["make_batched_world", "make_world", "tiny_recipe", "write_recipe"]


def make_world(folder: Path) -> Path:
    """Simulate 160 cells x 80 genes with 16 TFs and split its network in the four ways."""
    simulate(folder, num_genes=80, num_tfs=16, num_cells=160)
    for kind in ("random", "unseen-tf", "unseen-target", "unseen-both"):
        prepare_splits(folder, kind, seed=0)
    return folder


def make_batched_world(world: Path, folder: Path) -> Path:
    """The cells of ``world`` sequenced in two batches; the second has three times the counts of every other gene."""
    prep = Prep.open(world)
    generator = np.random.default_rng(0)
    second_C = generator.random(prep.cells.num_cells) < 0.4
    factor_CG = np.ones((prep.cells.num_cells, prep.cells.num_features))
    factor_CG[np.ix_(second_C, np.arange(0, prep.cells.num_features, 2))] = 3
    obs = prep.cells.obs.assign(
        batch=np.where(second_C, "lane2", "lane1"), donor=generator.choice(["d1", "d2", "d3"], len(second_C))
    )
    counts = sparse.csr_matrix(prep.cells.values_CG.multiply(factor_CG))
    cells = MemoryStore.build(prep.vocab, counts, kind="counts", obs=obs)
    write_prep(folder, prep.vocab, cells, grn=prep.grn, tfs=prep.meta["tfs"])
    prepare_splits(folder, "unseen-target", seed=0)
    return folder


def tiny_recipe(world: Path, **changes: Any) -> Recipe:
    """A recipe that trains in about a second; ``changes`` are nested mappings merged over it."""
    mapping: dict[str, Any] = {
        "name": "tiny",
        "data": {"prep": str(world), "split": "unseen-target-seed0"},
        "model": {
            "width": 16,
            "cell_encoder": {"name": "transformer", "num_layers": 1, "num_heads": 2},
            "link_decoder": {"name": "bilinear"},
        },
        "train": {
            "max_steps": 8,
            "warmup_steps": 2,
            "tokens_per_batch": 1024,
            "learning_rate": 2e-3,
            "validate_every": 4,
            "checkpoint_every": 2,
            "log_every": 1,
            "gradient_cosine_every": 4,
            "threads": 1,
        },
        "evaluate": {"probe_steps": 4, "bootstrap": 50},
    }
    return parse(Recipe, _merge(mapping, changes))


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """Write a recipe as the YAML file that a user would give."""
    path.write_text(yaml.safe_dump(to_dict(recipe), sort_keys=False), encoding="utf-8")
    return path


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
