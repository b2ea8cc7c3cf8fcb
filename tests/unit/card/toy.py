"""Card inputs with planted structure, without a model or a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["toy_inputs", "toy_split"]


def toy_split(num_genes: int, vocab_hash: str, train_2E: np.ndarray, test_2E: np.ndarray) -> EdgeSplit:
    """Candidates of the test part: every TF with test edges x every gene."""
    none_2E = np.zeros((2, 0), dtype=np.int64)
    everyone = np.arange(num_genes)
    sources = np.unique(np.concatenate([train_2E[0], test_2E[0]]))
    return EdgeSplit(
        name="toy",
        kind="random",
        track="visible",
        seed=0,
        fold=None,
        num_genes=num_genes,
        vocab_hash=vocab_hash,
        grn_hash="",
        train_2E=train_2E,
        validation_2E=none_2E,
        test_2E=test_2E,
        withheld_2E=none_2E,
        train_sources_S=sources,
        train_targets_N=everyone,
        validation_sources_S=none_2E[0],
        validation_targets_N=none_2E[0],
        test_sources_S=np.unique(test_2E[0]),
        test_targets_N=everyone,
        hidden_sources_S=none_2E[0],
        hidden_targets_N=none_2E[0],
    )


def toy_inputs(
    values_GD: np.ndarray,
    train_2E: np.ndarray | None = None,
    test_2E: np.ndarray | None = None,
    *,
    expression_G: np.ndarray | None = None,
    tfs: np.ndarray | None = None,
    **changes: Any,
) -> CardInputs:
    """Genes G0, G1, ... with the embedding given; by default no edge, random expression and loadings."""
    num_genes = len(values_GD)
    generator = np.random.default_rng(99)
    vocab = FeatureVocab.from_symbols([f"G{i}" for i in range(num_genes)], species="human")
    train_2E = np.zeros((2, 0), dtype=np.int64) if train_2E is None else np.asarray(train_2E, dtype=np.int64)
    split = None if test_2E is None else toy_split(num_genes, vocab.content_hash, train_2E, np.asarray(test_2E))
    tf_G = np.zeros(num_genes, dtype=bool)
    tf_G[np.unique(train_2E[0]) if tfs is None else tfs] = True
    parts: dict[str, Any] = {
        "kind": "graph",
        "values_GD": np.asarray(values_GD, dtype=np.float32),
        "num_not_finite": 0,
        "vocab": vocab,
        "feature_G": np.arange(num_genes),
        "message_2E": train_2E,
        "sign_E": np.zeros(train_2E.shape[1], dtype=np.int8),
        "has_id_row_G": np.ones(num_genes, dtype=bool),
        "features": {},
        "tf_G": tf_G,
        "mean_expression_G": generator.random(num_genes) if expression_G is None else expression_G,
        "loadings_GR": generator.standard_normal(np.shape(values_GD)),
        "split": split,
        "grn_hash": "",
        "missing": "",
        "config": {"meta": {}, "sha256": {"model.safetensors": "0"}},
        "record": {},
        "recipe": {"name": "toy", "seed": 0, "graph": {"messages": "true"}},
    }
    return CardInputs(**{**parts, **changes})
