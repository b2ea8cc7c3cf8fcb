"""The embedding and the controls it is held against: the same probe reads each of them.

Dimension letters: G genes, D width, F features.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.card.basis import curve, curves, standardised
from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.export.regulation import network_directions, network_table

__all__ = ["DESCRIPTIONS", "TITLES", "embedding_features", "probe_features"]

TITLES = {
    "embedding": "embedding",
    "degree": "degree",
    "expression": "mean expression",
    "degree_expression": "degree + expression",
    "pca": "PCA loadings",
    "inputs": "model's inputs",
    "network": "training network",
    "random": "random vectors",
}
"""Names of features in tables and sentences."""

DESCRIPTIONS = {
    "embedding": "the gene embedding of this card",
    "degree": "training in- and out-degree alone, as curves",
    "expression": "mean log expression alone, as a curve",
    "degree_expression": "degree and mean expression, as curves with products",
    "pca": "PCA loadings of the training cells' expression, as many columns as the embedding",
    "inputs": "the inductive features that the model was given",
    "network": "principal directions of the training edges alone, as many columns as the embedding",
    "random": "random normal vectors, as many columns as the embedding: chance",
}
_MAX_INPUTS = 512  # columns; wider inputs (protein or text vectors) are read through their leading directions


def embedding_features(inputs: CardInputs, *, seed: int = 0) -> dict[str, np.ndarray]:
    """The embedding, PCA loadings and random vectors, each of one overall scale, ``[G, D]``."""
    values_GD = _scaled(inputs.values_GD)
    features = {"embedding": values_GD}
    if inputs.loadings_GR is not None:
        features["pca"] = _scaled(inputs.loadings_GR)
    features["random"] = np.random.default_rng([seed, 1]).standard_normal(values_GD.shape)
    return features


def probe_features(inputs: CardInputs, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Everything a probe is run on, by the names of :data:`DESCRIPTIONS`."""
    features = embedding_features(inputs, seed=seed)
    degrees = [np.log1p(inputs.in_degree_G), np.log1p(inputs.out_degree_G)]
    features["degree"] = curves(*degrees)
    if inputs.mean_expression_G is not None:
        features["expression"] = curve(inputs.mean_expression_G)
        features["degree_expression"] = curves(*degrees, inputs.mean_expression_G)
    if inputs.features:
        given_GF = np.concatenate([inputs.features[name] for name in sorted(inputs.features)], axis=1)
        given_GF = given_GF[:, np.ptp(given_GF, axis=0) > 0]  # hashed families leave most buckets empty
        features["inputs"] = standardised(given_GF if given_GF.shape[1] <= _MAX_INPUTS else _leading(given_GF, seed))
    edges_2E = inputs.training_2E
    if edges_2E.shape[1]:
        table_SG = network_table(edges_2E, np.unique(edges_2E[0]), inputs.num_genes)
        features["network"] = _scaled(network_directions(table_SG, width=inputs.values_GD.shape[1]))
    return {name: features[name] for name in DESCRIPTIONS if name in features}


def _scaled(values_GD: np.ndarray) -> np.ndarray:
    """Centred, with one factor for all columns: turning the axes of an embedding must change nothing."""
    centred_GD = np.asarray(values_GD, dtype=np.float64) - np.mean(values_GD, axis=0, dtype=np.float64)
    scale = float(np.sqrt((centred_GD**2).mean()))
    return centred_GD / scale if scale > 0 else centred_GD


def _leading(values_GF: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.utils.extmath import randomized_svd

    centred_GF = values_GF - values_GF.mean(axis=0)
    left, singular, _ = randomized_svd(centred_GF, n_components=_MAX_INPUTS, random_state=seed)
    return np.asarray(left * singular)
