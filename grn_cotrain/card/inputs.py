"""Inputs of a card: the embedding, the message edges of its model and, where available, cells and edge split.

A model folder holds vocabulary, weights and message edges by itself. Expression, held-out edges and the list of TFs are
in the prepared folder; where that is missing (a run from elsewhere), the card lists what it leaves out and why.

Dimension letters: V features of the vocabulary, G genes of the card, D width, E edges, R rank, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grn_cotrain.config import to_dict
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.loadings import LOADINGS_NEEDS, gene_loadings
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.run_data import RunData, load_run_data
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.export.gene_frame import GeneEmbeddings
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.files import read_json
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder

__all__ = ["CardInputs", "graph_hash", "read_inputs", "read_rows", "record_of"]

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CardInputs:
    """The genes of a card and what is known about them, in one order.

    Attributes
    ----------
    kind, values_GD
        Kind of embedding, and its rows; all finite (``num_not_finite`` genes were left out).
    vocab, feature_G
        The model's vocabulary, and the gene index of each row.
    message_2E, sign_E
        Message edges of the model, as gene indices of the vocabulary.
    has_id_row_G
        False for genes that are read through their inductive features alone.
    features
        Inductive features of the model by source, ``[G, F]`` each.
    tf_G
        Known TFs: the network's and those of the TF list; without a prepared folder, sources of message edges.
    mean_expression_G, loadings_GR
        Mean log-normalised expression over training cells, and PCA loadings of as many columns as the embedding has;
        None without a prepared folder.
    split
        The edge split, or None.
    grn_hash
        Hash of the network the split was made from, or an empty string.
    missing
        Why cells and split are missing; empty where they are not.
    config, record, recipe
        ``config.json`` of the model, ``run.json``, and the recipe as plain values.
    """

    kind: str
    values_GD: np.ndarray
    num_not_finite: int
    vocab: FeatureVocab
    feature_G: np.ndarray
    message_2E: np.ndarray
    sign_E: np.ndarray
    has_id_row_G: np.ndarray
    features: Mapping[str, np.ndarray]
    tf_G: np.ndarray
    mean_expression_G: np.ndarray | None
    loadings_GR: np.ndarray | None
    split: EdgeSplit | None
    grn_hash: str
    missing: str
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    recipe: Mapping[str, Any]
    weight_E: np.ndarray | None = None

    @property
    def num_genes(self) -> int:
        """G."""
        return len(self.values_GD)

    @cached_property
    def symbols(self) -> np.ndarray:
        """Symbol of each gene."""
        return np.asarray(self.vocab.symbols, dtype=object)[self.feature_G]

    @cached_property
    def names(self) -> list[tuple[str, str]]:
        """``(modality, symbol)`` of each gene: what identifies it in another run."""
        return [(self.vocab.modality[i], self.vocab.symbols[i]) for i in self.feature_G]

    @cached_property
    def _position_V(self) -> np.ndarray:
        position_V = np.full(self.vocab.num_features, -1, dtype=np.int64)
        position_V[self.feature_G] = np.arange(len(self.feature_G))
        return position_V

    def positions(self, pairs_2E: np.ndarray) -> np.ndarray:
        """Pairs of gene indices as rows of the card; pairs with a gene that has no row are left out."""
        placed_2E = self._position_V[pairs_2E]
        return placed_2E[:, (placed_2E >= 0).all(axis=0)]

    @property
    def training_2E(self) -> np.ndarray:
        """Training edges (message edges where the split is missing), as rows of the card."""
        return self.positions(self.message_2E if self.split is None else self.split.train_2E)

    @cached_property
    def out_degree_G(self) -> np.ndarray:
        """Message edges that leave each gene."""
        return np.bincount(self.message_2E[0], minlength=self.vocab.num_features)[self.feature_G]

    @cached_property
    def in_degree_G(self) -> np.ndarray:
        """Message edges that reach each gene."""
        return np.bincount(self.message_2E[1], minlength=self.vocab.num_features)[self.feature_G]

    @property
    def degree_G(self) -> np.ndarray:
        """Message edges at each gene, either way."""
        return self.in_degree_G + self.out_degree_G

    def row(self, name: str) -> int:
        """Row of a gene by symbol or id; a :class:`UserError` with the nearest name where there is none."""
        row = int(self._position_V[self.vocab.index(name)])
        if row < 0:
            raise UserError(f"gene '{name}': has no {self.kind} embedding in this run; choose another gene or kind")
        return row

    def edge_label(self, a: int, b: int) -> str:
        """The network's edges between two genes, in words; empty where they share no edge."""
        return "; ".join(
            f"{part}: {self.symbols[pair[0]]} → {self.symbols[pair[1]]}"
            for part, keys in self._known.items()
            for pair in ((a, b), (b, a))
            if self.feature_G[pair[0]] * self.vocab.num_features + self.feature_G[pair[1]] in keys
        )

    @cached_property
    def _known(self) -> dict[str, set[int]]:
        if self.split is None:
            return {"message": set(pair_keys(self.message_2E, self.vocab.num_features).tolist())}
        parts = {
            "training": self.split.train_2E,
            "validation": self.split.validation_2E,
            "test": self.split.test_2E,
            "withheld": self.split.withheld_2E,
        }
        return {name: set(pair_keys(pairs, self.vocab.num_features).tolist()) for name, pairs in parts.items()}


def graph_hash(vocab_hash: str, pairs_2E: np.ndarray, sign_E: np.ndarray, weight_E: np.ndarray | None = None) -> str:
    """16 hex digits of message edges: vocabulary, pairs, signs and weights, independent of their order."""
    order_E = np.lexsort((pairs_2E[1], pairs_2E[0]))
    digest = hashlib.sha256(vocab_hash.encode())
    digest.update(np.ascontiguousarray(pairs_2E[:, order_E], dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(np.asarray(sign_E)[order_E], dtype="<i1").tobytes())
    if weight_E is not None:
        digest.update(np.ascontiguousarray(np.asarray(weight_E)[order_E], dtype="<f4").tobytes())
    return digest.hexdigest()[:16]


def record_of(run: RunFolder) -> dict[str, Any]:
    """``run.json``, or nothing where a copied run came without it."""
    return run.record() if run.record_file.is_file() else {}


def read_rows(run: str | Path, kind: str) -> tuple[list[tuple[str, str]], np.ndarray, dict[str, Any], str]:
    """Rows of another run: names ``(modality, symbol)`` and finite rows ``[G, D]``, its recipe, the hash of its
    weights."""
    folder = RunFolder.open(run)
    embedding = gene_embeddings(folder.folder, kind=kind)
    rows_GD = embedding.matrix()
    finite_G = np.isfinite(rows_GD).all(axis=1)
    weights = str(read_json(folder.model / "config.json")["sha256"]["model.safetensors"])
    names = [name for name, finite in zip(_names(embedding), finite_G, strict=True) if finite]
    return names, rows_GD[finite_G], to_dict(folder.recipe()), weights


def _names(embedding: GeneEmbeddings) -> list[tuple[str, str]]:
    columns = (embedding.frame[name].astype(str) for name in ("modality", "symbol"))
    return list(zip(*columns, strict=True))


def read_inputs(
    run: str | Path, *, kind: str = "graph", prep: str | Path | None = None, say: Say = print
) -> CardInputs:
    """Read a run for a card.

    Raises
    ------
    UserError
        No run, no model, an unknown kind, or an embedding with fewer than three genes.
    """
    folder = RunFolder.open(run)
    model, config = load_model(folder.require_model())
    embedding = gene_embeddings(folder.folder, kind=kind, prep=prep)
    vocab = model.vocab
    rows_GD = embedding.matrix()
    index = {name: i for i, name in enumerate(zip(vocab.modality, vocab.symbols, strict=True))}
    feature_G = np.array([index[name] for name in _names(embedding)], dtype=np.int64)
    finite_G = np.isfinite(rows_GD).all(axis=1)
    rows_GD, feature_G = rows_GD[finite_G], feature_G[finite_G]
    if len(rows_GD) < 3:
        raise UserError(f"run '{run}': only {len(rows_GD)} genes have a finite {kind} embedding; a card needs 3")
    data, missing = _data(folder, model, config, prep, say)
    tfs = np.unique(model.inputs.message_2E[0]) if data is None else data.prep.tf_index
    known_N = getattr(model.table, "known_G", torch.ones(model.nodes.num_nodes, dtype=torch.bool)).numpy()
    node_G = model.nodes.node_F[feature_G]
    is_node_G = node_G >= 0  # other features have a row in the encoder that reads them, and no inductive features
    recipe = folder.recipe()
    expression = _expression(data, rows_GD.shape[1], feature_G, recipe.seed)
    features = getattr(model.table, "features", {}) if hasattr(model.table, "sources") else {}
    return CardInputs(
        kind=kind,
        values_GD=rows_GD,
        num_not_finite=int((~finite_G).sum()),
        vocab=vocab,
        feature_G=feature_G,
        message_2E=np.asarray(model.inputs.message_2E, dtype=np.int64).reshape(2, -1),
        sign_E=np.asarray(model.inputs.sign_E),
        has_id_row_G=known_N[node_G] | ~is_node_G,
        features={name: tensor.numpy()[node_G] * is_node_G[:, None] for name, tensor in features.items()},
        tf_G=np.isin(feature_G, tfs),
        mean_expression_G=expression[0],
        loadings_GR=expression[1],
        split=None if data is None else data.split,
        grn_hash="" if data is None else data.split.grn_hash,
        missing=missing,
        config=config,
        record=record_of(folder),
        recipe=to_dict(recipe),
        weight_E=model.inputs.weight_E,
    )


def _data(
    folder: RunFolder, model: CoTrainNetwork, config: Mapping[str, Any], prep: str | Path | None, say: Say
) -> tuple[RunData | None, str]:
    """Cells, split and TFs of the run; where they cannot be had the card continues without them, and reports it."""
    try:
        # The folder is opened as it is: a card reads, it never prepares anything again.
        data = load_run_data(folder.recipe(), folder.require_prep(prep))
        folder.check_data(data, model.vocab, config["meta"], model=model)
    except UserError as error:
        say(f"warning: no expression, held-out edges or TF list, so parts of the card are not run: {error}")
        return None, "the prepared folder of the run is missing, or changed since training"
    return data, ""


def _expression(
    data: RunData | None, rank: int, feature_G: np.ndarray, seed: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Mean log expression and PCA loadings from the cells and the expression (ablated or not) that training read."""
    if data is None:
        return None, None
    rows_C = data.cell_split.train_C
    statistics = Statistics(data.cells, rows_C)
    statistics.collect(LOADINGS_NEEDS | {Moments()})
    mean_V = statistics[Moments()].mean_of_cells_G
    loadings_VR = gene_loadings(statistics, rank=min(rank, len(rows_C) - 1, data.vocab.num_features - 1), seed=seed)
    return mean_V[feature_G], loadings_VR[feature_G]
