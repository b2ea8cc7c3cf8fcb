"""Worlds of the study of encoders on real data: caps hold, judged cells and labels never reach what is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.encoders.worlds import WORLDS, probe_split

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("name", "least_edges"), [("kang", 7_000), ("mixology", 3_000), ("pbmc3k", 700), ("hesc", 4_000)]
)
def test_world(name: str, least_edges: int, real_data: Path, tmp_path: Path) -> None:
    world = WORLDS[name]
    prep = world.prepare(real_data, tmp_path)
    assert prep.vocab.num_features <= world.max_genes
    assert prep.grn.num_edges >= least_edges
    assert world.split in prep.split_names()
    assert prep.cells.obs.columns.empty, "no label to learn from"
    again = (tmp_path / "prep" / "prep.json").stat().st_mtime_ns
    world.prepare(real_data, tmp_path)
    assert (tmp_path / "prep" / "prep.json").stat().st_mtime_ns == again, "prepared once"
    if world.probe is None:
        return
    everything = world.all_cells(tmp_path).adata
    split = probe_split(world.probe, everything.obs)
    trained = set(prep.cells.obs.index)
    assert trained == set(everything.obs_names[split.train_C])
    assert not trained & set(everything.obs_names[split.test_C])
    labels = everything.obs[world.probe.label].astype(str).to_numpy()
    assert np.isin(np.unique(labels[split.test_C]), labels[split.train_C]).all(), "every judged label can be found"
