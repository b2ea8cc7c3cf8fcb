"""A small world of genes and peaks with a network of two relations, and a recipe over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.splits import prepare_splits
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.recipe import Recipe
from tests.worlds import tiny_recipe

__all__ = ["GENES", "PEAKS", "edges", "make_multiome", "multiome_recipe", "multiome_vocab"]

GENES = tuple(f"GENE{i}" for i in range(24))
PEAKS = tuple(f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(12))


def multiome_vocab() -> FeatureVocab:
    """24 genes, then 12 peaks."""
    return FeatureVocab.from_symbols(GENES + PEAKS, modality=["gene"] * 24 + ["peak"] * 12, species="human")


def edges(*, peaks: bool = True) -> pd.DataFrame:
    """Five TFs with twelve targets each; peaks 0 to 5 lie near genes, and TF 0 has a motif in peak 0."""
    rows = [(GENES[s], GENES[(s + 1 + 2 * k) % 24], "regulates", 1.0 + s) for s in range(5) for k in range(12)]
    if peaks:
        rows += [(PEAKS[i], GENES[6 + i], "near", 1.0 + i) for i in range(6)]
        rows += [(GENES[0], PEAKS[0], "motif", 1.0)]
    return pd.DataFrame(rows, columns=["source", "target", "relation", "weight"])


def make_multiome(folder: Path, frame: pd.DataFrame | None = None, *, atac_only: int = 0, rna_only: int = 0) -> Path:
    """48 cells, of which some lack an assay; the network, and a random split."""
    vocab, rng = multiome_vocab(), np.random.default_rng(0)
    counts = rng.poisson(1.0, (48, 36)) + (rng.random((48, 36)) < 0.2)
    has_rna, has_atac = np.arange(48) >= atac_only, np.arange(48) < 48 - rna_only
    counts[~has_rna, :24] = 0
    counts[~has_atac, 24:] = 0
    cells = MemoryStore.build(vocab, counts, kind="counts", present={"rna": has_rna, "atac": has_atac})
    grn = GRN.from_frame(edges(peaks=False) if frame is None else frame, vocab)
    write_prep(folder, vocab, cells, grn=grn)
    prepare_splits(folder, "random", seed=0)
    return folder


def multiome_recipe(world: Path, **changes: Any) -> Recipe:
    """A recipe that trains in a second."""
    changes = {"data": {"split": "random-seed0"}, **changes}
    return tiny_recipe(world, **changes)


def opened(folder: Path) -> Prep:
    """The prepared folder."""
    return Prep.open(folder)
