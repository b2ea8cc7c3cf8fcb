"""B13: time and peak memory of preparing, training and embedding as the number of cells grows.

Each stage runs in a process of its own, whose largest resident memory is reported. The stages use only what earlier
versions have too, so that the file can be run on an older tree: ``PYTHONPATH=OLDER python b13_ground_floor.py``.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.harness import Context, Row

__all__ = ["ID", "TITLE", "generate", "run"]

ID = "B13"
TITLE = "ground floor: prepare, tokenizer, train step, embed (2,000 genes, 200 values a cell)"

_GENES, _VALUES, _TFS = 2_000, 200, 20
_EMBEDDED = 500
_ROOT = Path(__file__).resolve().parents[2]
_SIZES = (2_000, 50_000, 100_000)


def generate(folder: Path, num_cells: int) -> None:
    """Write ``cells.h5ad`` (raw counts) and ``edges.tsv``."""
    import anndata
    import pandas as pd
    from scipy import sparse

    draws = np.random.default_rng(0)
    step_C = draws.integers(0, _GENES // _VALUES, num_cells)[:, None]
    indices = (step_C + np.arange(_VALUES)[None, :] * (_GENES // _VALUES)).astype(np.int32).ravel()
    data = (1 + draws.poisson(2.0, indices.size)).astype(np.float32)
    X = sparse.csr_matrix((data, indices, np.arange(num_cells + 1) * _VALUES), shape=(num_cells, _GENES))
    names = [f"GENE{i}" for i in range(_GENES)]
    obs = pd.DataFrame(index=[f"c{i}" for i in range(num_cells)])
    anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=names)).write_h5ad(folder / "cells.h5ad")
    pairs = [(names[tf], names[_TFS + draws.integers(_GENES - _TFS)]) for tf in range(_TFS) for _ in range(60)]
    pd.DataFrame(pairs, columns=["source", "target"]).drop_duplicates().to_csv(
        folder / "edges.tsv", sep="\t", index=False
    )


def _prepare(folder: Path) -> None:
    from data_prep.counts import prepare_counts
    from data_prep.splits import prepare_splits

    prepare_counts(folder / "cells.h5ad", folder / "prep", grn=folder / "edges.tsv")
    prepare_splits(folder / "prep", "unseen-target", seed=0)


def _cells(folder: Path) -> Any:
    from grn_cotrain.data.prep import Prep

    prep = Prep.open(folder / "prep")
    return prep.store("backed") if hasattr(prep, "store") else prep.cells


def _tokenizer(folder: Path) -> dict[str, float]:
    from grn_cotrain.data.tokens import Tokenizer
    from grn_cotrain.recipe import TokenConfig

    cells = _cells(folder)
    tracemalloc.start()
    Tokenizer(cells, TokenConfig(max_tokens=128)).batch(np.arange(64))
    peak = tracemalloc.get_traced_memory()[1]
    return {"bytes_per_value": peak / (cells.num_cells * _VALUES)}


def _recipe(folder: Path) -> Any:
    from grn_cotrain.config import parse
    from grn_cotrain.recipe import DataConfig, Recipe

    data = {"prep": str(folder / "prep"), "split": "unseen-target-seed0"}
    if "store" in {field.name for field in fields(DataConfig)}:
        data["store"] = "backed"
    encoder = {"name": "transformer", "num_layers": 1, "num_heads": 2}
    return parse(
        Recipe,
        {
            "name": "b13",
            "data": data,
            "model": {"width": 32, "cell_encoder": encoder, "tokens": {"max_tokens": 128}},
            "train": {"max_steps": 3, "tokens_per_batch": 2048, "threads": 1, "validate_every": 3},
            "evaluate": {"bootstrap": 0},
        },
    )


def _train(folder: Path) -> None:
    from grn_cotrain.train.run import train

    recipe = _recipe(folder)
    share = min(0.4, 200 / max(1, _num_cells(folder)))  # as many cells validate, however many there are
    train(replace(recipe, data=replace(recipe.data, validation_cells=share, test_cells=share)), folder / "run")


def _num_cells(folder: Path) -> int:
    return int(json.loads((folder / "prep" / "prep.json").read_text())["num_cells"])


def _embed(folder: Path) -> None:
    import torch

    from grn_cotrain.data.streams import one_pass
    from grn_cotrain.model_io import load_model

    model, _ = load_model(folder / "run" / "model")
    model.eval()
    cells = _cells(folder)
    with torch.inference_mode():
        genes = model.encode_graph()
        for batch in one_pass(model.tokenizer(cells), np.arange(_EMBEDDED), tokens_per_batch=4096):
            tokens: Any = batch.pack() if hasattr(batch, "pack") else batch
            model.encode_cells(tokens, genes)


_STAGES: dict[str, Callable[[Path], dict[str, float] | None]] = {
    "prepare": _prepare,
    "tokenizer": _tokenizer,
    "train 3 steps": _train,
    f"embed {_EMBEDDED} cells": _embed,
}


def _child(stage: str, folder: Path) -> None:
    started = time.perf_counter()
    facts = _STAGES[stage](folder) or {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - started, "mib": peak, **facts}))


def run(context: Context) -> list[Row]:
    """See the module."""
    rows = []
    for num_cells in (200, 400) if context.quick else _SIZES:
        with tempfile.TemporaryDirectory() as place:
            generate(Path(place), num_cells)
            for stage in _STAGES:
                command = [sys.executable, os.fspath(Path(__file__)), stage, place]
                # Run as a file, a process sees its own folder alone; an older tree that PYTHONPATH names comes first.
                roots = [root for root in (os.environ.get("PYTHONPATH"), os.fspath(_ROOT)) if root]
                environment = {
                    **os.environ,
                    "OMP_NUM_THREADS": str(context.threads),
                    "PYTHONPATH": os.pathsep.join(roots),
                }
                done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if done.returncode:
                    raise RuntimeError(f"{stage} of {num_cells:,} cells failed: {done.stderr.strip()[-400:]}")
                found = json.loads(done.stdout.strip().splitlines()[-1])
                note = f"peak {found['mib']:,.0f} MiB"
                if "bytes_per_value" in found:
                    note += f", {found['bytes_per_value']:.1f} bytes per stored value"
                rows.append(Row(f"{stage}, {num_cells:,} cells", found["seconds"], None, note))
    return rows


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _child(sys.argv[1], Path(sys.argv[2]))
    else:
        for row in run(Context(threads=1)):
            print(f"{row.name:32} {row.seconds or 0:7.1f} s   {row.note}")
