"""Writes prepared folders of format 1, as they were before assays had folders of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.data.prep import Prep
from grn_cotrain.files import read_json, write_json

__all__ = ["write_format_one"]


def write_format_one(source: Path, folder: Path) -> Path:
    """Write the content of a folder of today as format 1 had it: one matrix, one kind, one size factor a cell."""
    prep = Prep.open(source)
    adata = prep.to_anndata()
    for name, assay in prep.cells.assays.items():
        if len(prep.cells.assays) > 1:
            adata.obs[f"has_{assay.space.name}"] = adata.obs.pop(f"present_{name}")
    adata.uns["grn_cotrain_prep"] = {"vocab_hash": prep.vocab.content_hash, "kind": prep.kind}
    folder.mkdir()
    adata.write_h5ad(folder / "cells.h5ad", compression="gzip")
    prep.vocab.save(folder / "vocab.json")
    meta = {
        key: value for key, value in prep.meta.items() if key not in ("assays", "files", "num_features", "checksum")
    }
    write_json(folder / "prep.json", {**meta, "format_version": 1}, checked=True)
    shutil.copy(source / "alignment.json", folder / "alignment.json")
    if prep.has_grn:
        edges = pd.read_parquet(source / "graph.parquet")
        edges[["source", "target", "weight", "sign", "evidence"]].to_parquet(folder / "grn.parquet", index=False)
        write_json(folder / "grn.json", read_json(source / "graph.json"), checked=True)
    if (source / "splits").is_dir():
        shutil.copytree(source / "splits", folder / "splits")
    assert np.array_equal(adata.obs_names, prep.cells.obs.index)
    return folder
