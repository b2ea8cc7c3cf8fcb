"""Recipe + data -> model: starting rows, inductive features, closed-form evidence, objective statistics."""

from __future__ import annotations

import numpy as np

from grn_cotrain.data.covariates import categories_of
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.run_data import RunData
from grn_cotrain.model import CoTrainModel, ModelInputs
from grn_cotrain.nn.gene_embedding import loadings_method
from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
from grn_cotrain.nn.inductive import inductive_features
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.evidence import build_evidence

__all__ = ["build_model", "model_inputs", "weights_note"]


def model_inputs(recipe: Recipe, data: RunData) -> ModelInputs:
    """Arrays that only the data know. Expression is read from training cells alone."""
    table, width = recipe.model.table, recipe.model.width
    rows_C = data.cell_split.train_C
    method = loadings_method(table)
    init_GD = None
    if method is not None:
        # There are no more components than cells or genes; skip-gram has as many columns as it is asked for.
        rank = width if method == "gene2vec" else min(width, len(rows_C) - 1, data.vocab.num_features - 1)
        init_GD = gene_loadings(data.cells, rank=rank, method=method, seed=recipe.seed, rows=rows_C)
    features: dict[str, np.ndarray] = {}
    if table.mode == "trainable":
        features = inductive_features(
            table.inductive,
            data.vocab,
            data.cells,
            rows=rows_C,
            feature_matrix=table.feature_matrix,
            seed=recipe.seed,
        )
    decoder = recipe.model.link_decoder
    evidence = None
    if LINK_DECODERS.get(decoder.name).uses_evidence:
        config = LINK_DECODERS.config(decoder.name, decoder.options, path="model.link_decoder")
        evidence = build_evidence(
            config.evidence, data.split, data.cells.rows(rows_C), seed=recipe.seed, cache=data.prep.folder / "controls"
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
        known_G=_known_genes(recipe, data),
        covariates=categories_of(data.cells.obs.iloc[rows_C], recipe.model.tokens.covariates),
    )


def weights_note(recipe: Recipe, data: RunData) -> str | None:
    """What becomes of the network's edge weights in this run, in a line; None where all edges weigh alike."""
    if data.messages.given_weights is None:
        return None
    least, most, zero = data.messages.given_weights
    told = f"edge weights ({least:.3g} to {most:.3g})"
    if not recipe.graph.weights:
        return f"{told} are not used: graph.weights is false"
    if recipe.graph.messages == "none":
        return f"{told} are not used: graph.messages is none"
    name = recipe.model.graph_encoder.name
    if not GRAPH_ENCODERS.get(name).uses_weights:
        users = ", ".join(key for key in GRAPH_ENCODERS.names() if GRAPH_ENCODERS.get(key).uses_weights)
        return f"{told} are not used by the graph encoder {name}; {users} use them"
    silent = f"; {zero:,} edges of weight 0 carry no message" if zero else ""
    return f"{told} are used by {name}, relative to the mean weight of the training edges{silent}"


def _known_genes(recipe: Recipe, data: RunData) -> np.ndarray | None:
    """Genes that some training step touches, where an untouched id row would be noise; else None.

    A row that starts at the gene's own loadings says something without any training; a random one does not, and the
    gene is then read through its features alone.
    """
    table = recipe.model.table
    if table.mode != "trainable" or table.init != "random" or not table.inductive:
        return None
    known_G = np.zeros(data.vocab.num_features, dtype=bool)
    known_G[np.unique(data.split.train_2E)] = True
    if recipe.train.schedule.plan.trains_cells:
        values_CG = data.cells.values_CG[data.cell_split.train_C]
        known_G |= np.asarray(data.vocab.is_token) & (np.bincount(values_CG.indices, minlength=len(known_G)) > 0)
    return known_G


def build_model(recipe: Recipe, data: RunData) -> CoTrainModel:
    """Build the model of a recipe, its encoder and objectives prepared with statistics of the training cells."""
    model = CoTrainModel(
        recipe.model, recipe.objectives, model_inputs(recipe, data), backend=recipe.graph.backend, seed=recipe.seed
    )
    model.cell_encoder.prepare(data.cells, data.cell_split.train_C)
    for name in model.objectives:
        model.objective(name).prepare(data.cells, data.cell_split.train_C)
    return model
