"""Cells of a full transcriptome, generated, for benchmarks and timed steps of published sizes.

19,264 genes of which a tenth is not zero: the shape that xTrimoGene's FLOPs are stated for. The values follow a low
rank, but what is measured on them is work, not quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from grn_cotrain.config import parse
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.recipe_model import ModelConfig

__all__ = ["DENSITY", "NUM_GENES", "full_batch", "full_cells", "full_model"]

NUM_GENES = 19_264
DENSITY = 0.1


def full_cells(
    num_cells: int = 4, *, num_genes: int = NUM_GENES, density: float = DENSITY, seed: int = 0
) -> MemoryStore:
    """Counts with exactly ``round(density * num_genes)`` genes that are not zero in every cell."""
    generator = np.random.default_rng(seed)
    nonzero = max(1, round(density * num_genes))
    columns = np.concatenate([np.sort(generator.choice(num_genes, nonzero, replace=False)) for _ in range(num_cells)])
    values = generator.geometric(0.4, num_cells * nonzero).astype(np.float32)
    indptr = np.arange(num_cells + 1) * nonzero
    counts = sparse.csr_matrix((values, columns, indptr), shape=(num_cells, num_genes))
    vocab = FeatureVocab.from_symbols([f"GENE{i}" for i in range(num_genes)], species="human")
    return MemoryStore.build(vocab, counts, kind="counts")


def full_model(
    cells: CellStore,
    encoder: str,
    options: Mapping[str, Any],
    *,
    width: int,
    objectives: Mapping[str, Mapping[str, Any]],
    tokens: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> CoTrainNetwork:
    """A model of one cell encoder over random rows of all genes, without a graph, its statistics prepared."""
    config = parse(
        ModelConfig,
        {
            "width": width,
            "table": {"init": "random", "inductive": [], "id_dropout": 0.0},
            "graph_encoder": "identity",
            "coupling": "shared",
            "link_decoder": "inner",
            "cell_encoder": {"name": encoder, **options},
            "tokens": {"max_tokens": cells.num_features + 1, **(tokens or {})},
        },
    )
    none_2E = np.zeros((2, 0), dtype=np.int64)
    inputs = ModelInputs(cells.vocab, None, {}, None, none_2E, none_2E[0])
    model = CoTrainNetwork(config, objectives, inputs, backend="csr", seed=seed)
    model.prepare(Statistics(cells))
    return model


def full_batch(model: CoTrainNetwork, cells: CellStore, *, num_cells: int = 1) -> PackedTokens:
    """The first cells, as the model reads them."""
    return model.prepare_batch(model.tokenizer(cells).batch(np.arange(num_cells), np.random.default_rng(0)).pack())
