"""Recipe + data -> model: starting rows, inductive features, closed-form evidence, objective statistics."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from grn_cotrain.controls.evidence import build_evidence
from grn_cotrain.data.covariates import categories_of
from grn_cotrain.data.loadings import LOADINGS_NEEDS, gene_loadings
from grn_cotrain.data.nodes import Nodes, node_cells
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.model_inputs import unread_assays
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_skip import CellSkip
from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
from grn_cotrain.nn.inductive import feature_needs, inductive_features
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from grn_cotrain.nn.node_table import loadings_method
from grn_cotrain.objectives import OBJECTIVES
from grn_cotrain.recipe import Recipe

logger = logging.getLogger(__name__)

__all__ = ["build_model", "build_needs", "model_inputs", "weights_note"]


def table_needs(recipe: Recipe) -> frozenset[Need[Any]]:
    """Statistics of the nodes that the table starts from."""
    table = recipe.model.table
    needs: set[Need[Any]] = set()
    if loadings_method(table) not in (None, "gene2vec"):  # gene2vec draws cells of its own
        needs |= LOADINGS_NEEDS
    if table.mode == "trainable":
        needs |= feature_needs(table.inductive)
    return frozenset(needs)


def build_needs(recipe: Recipe) -> frozenset[Need[Any]]:
    """Statistics of all features that the other parts of a recipe's model ask for, so that one pass collects all."""
    model = recipe.model
    needs: set[Need[Any]] = set()
    if _has_known_nodes(recipe):
        needs.add(Moments())
    if model.cell_state != "encoder":
        needs |= CellSkip.needs()
    for spec in model.encoder_specs.values():
        name, options = spec.component.name, spec.component.options
        needs |= CELL_ENCODERS.get(name).needs(CELL_ENCODERS.config(name, options, path=spec.path))
    for name, options in recipe.objectives.items():
        config = OBJECTIVES.config(name, options, path=f"objectives.{name}")
        needs |= OBJECTIVES.get(name).needs(config, num_bins=model.tokens.num_bins)
    return frozenset(needs)


def model_inputs(recipe: Recipe, data: RunData, statistics: Statistics) -> ModelInputs:
    """Arrays that only the data know. Expression is read from training cells alone, for the table of nodes alone."""
    table, width = recipe.model.table, recipe.model.width
    rows_C = data.cell_split.train_C
    nodes = _nodes(recipe, data)
    of_nodes = statistics
    if nodes.num_nodes < data.vocab.num_features:  # other features have rows without loadings and inductive features
        of_nodes = Statistics(node_cells(data.cells, nodes), rows_C)
        of_nodes.collect(table_needs(recipe))
    method = loadings_method(table)
    init_GD = None
    if method is not None:
        # There are no more components than cells or genes; skip-gram has as many columns as it is asked for.
        rank = width if method == "gene2vec" else min(width, len(rows_C) - 1, nodes.num_nodes - 1)
        init_GD = gene_loadings(of_nodes, rank=rank, method=method, seed=recipe.seed)
    features: dict[str, np.ndarray] = {}
    if table.mode == "trainable":
        features = inductive_features(
            table.inductive,
            of_nodes.vocab,
            of_nodes,
            feature_matrix=table.feature_matrix,
            seed=recipe.seed,
        )
    decoder = recipe.model.link_decoder
    evidence = None
    _require_loop(recipe)
    if LINK_DECODERS.get(decoder.name).uses_evidence:
        config = LINK_DECODERS.config(decoder.name, decoder.options, path="model.link_decoder")
        evidence = build_evidence(
            config.evidence,
            data.split,
            data.cells,
            rows_C,
            seed=recipe.seed,
            cache=data.prep.folder / "controls",
            settings=recipe.train.schedule.evidence_settings,
        )
    return ModelInputs(
        vocab=data.vocab,
        init_GD=init_GD,
        features=features,
        evidence=evidence,
        message_2E=data.messages.pairs_2E,
        sign_E=data.messages.sign_E,
        weight_E=data.messages.weight_E,
        bidirectional=recipe.graph.bidirectional,
        known_G=_known_nodes(recipe, data, nodes, statistics),
        covariates=categories_of(data.cells.obs.iloc[rows_C], recipe.model.tokens.covariates),
        nodes=nodes,
        others=data.messages.others,
    )


def _require_loop(recipe: Recipe) -> None:
    """Refuse a loop whose result no decoder reads: it would train what ``joint`` trains."""
    decoder = recipe.model.link_decoder
    if not recipe.train.schedule.plan.loops:
        return
    if not LINK_DECODERS.get(decoder.name).uses_evidence:
        raise UserError(
            f"train.schedule 'loop': the decoder {decoder.name} reads no evidence; give model.link_decoder residual"
        )
    config = LINK_DECODERS.config(decoder.name, decoder.options, path="model.link_decoder")
    if not any(name.partition(".")[0] == "regulon_loop" for name in config.evidence):
        raise UserError(
            "train.schedule 'loop': the decoder does not read it; add regulon_loop, or a channel of it such as"
            " regulon_loop.partial, to model.link_decoder.evidence"
        )


def _nodes(recipe: Recipe, data: RunData) -> Nodes:
    """Nodes of a run: ends in the network, not in the messages, so that a control graph has the true one's nodes."""
    linked_2E = data.prep.grn.others.only(recipe.graph.relations).pairs_2E
    return Nodes.of(data.vocab, recipe.model.table.nodes, linked_2E)


def weights_note(recipe: Recipe, data: RunData) -> str | None:
    """Use of the network's edge weights in this run, in a line; None if all edges weigh alike."""
    if data.messages.given_weights is None:
        return None
    least, most, zero = data.messages.given_weights
    told = f"edge weights ({least:.3g} to {most:.3g})"
    if not recipe.graph.weights:
        return f"{told} are not used: graph.weights is false"
    if recipe.graph.messages == "none":
        return f"{told} are not used: graph.messages: none"
    name = recipe.model.graph_encoder.name
    if not GRAPH_ENCODERS.get(name).uses_weights:
        users = ", ".join(key for key in GRAPH_ENCODERS.names() if GRAPH_ENCODERS.get(key).uses_weights)
        return f"{told} are not used by the graph encoder {name}; {users} use them"
    silent = f"; {zero:,} edges of weight 0 carry no message" if zero else ""
    return f"{told} are used by {name}, relative to the mean weight of the training edges{silent}"


def _has_known_nodes(recipe: Recipe) -> bool:
    table = recipe.model.table
    return table.mode == "trainable" and table.init == "random" and bool(table.inductive)


def _known_nodes(recipe: Recipe, data: RunData, nodes: Nodes, statistics: Statistics) -> np.ndarray | None:
    """Nodes that some training step touches, where an untouched id row would be noise; else None.

    A row that starts at the gene's own loadings carries information without any training; a random one does not, and
    the gene is then read through its features alone.
    """
    if not _has_known_nodes(recipe):
        return None
    known_G = np.zeros(data.vocab.num_features, dtype=bool)
    known_G[np.unique(data.split.train_2E)] = True
    known_G[np.unique(data.messages.others.pairs_2E)] = True
    if recipe.train.schedule.plan.trains_cells:
        known_G |= statistics.layout.is_token_G & (statistics[Moments()].count_G > 0)
    return known_G[nodes.feature_N]


def build_model(recipe: Recipe, data: RunData) -> CoTrainNetwork:
    """Build the model of a recipe, its encoders and objectives prepared with statistics of the training cells."""
    statistics = Statistics(data.cells, data.cell_split.train_C)
    every_feature = _nodes(recipe, data).num_nodes == data.vocab.num_features
    statistics.collect(build_needs(recipe) | (table_needs(recipe) if every_feature else frozenset()))
    model = CoTrainNetwork(
        recipe.model,
        recipe.objectives,
        model_inputs(recipe, data, statistics),
        backend=recipe.graph.backend,
        seed=recipe.seed,
    )
    for assay in unread_assays(model.reads, data.vocab):
        logger.warning("no encoder reads the assay %s; its values are not used by the cells' part of the model", assay)
    model.prepare(statistics)
    return model
