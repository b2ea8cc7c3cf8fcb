"""Closed-form evidence for link decoders that start at a control.

Dimension letters: G genes, K channels, M pairs, S sources.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.negatives import LinkSampler
from grn_cotrain.files import atomic_file
from grn_cotrain.nn.link_decoders import PairEvidence
from grn_cotrain.nn.link_decoders.base import HeldOut

__all__ = ["build_evidence"]

logger = logging.getLogger(__name__)

_VERSION = 1  # raise when a control used as evidence changes its scores
_HELD_OUT: dict[str, HeldOut] = {"unseen-tf": "source", "unseen-target": "target", "unseen-both": "both"}


def build_evidence(
    names: Sequence[str], split: EdgeSplit, cells: CellMatrix, *, seed: int = 0, cache: Path | None = None
) -> PairEvidence:
    """Fit the named controls out of fold and on all training positives, standardise them, and weigh them.

    Each channel is centred and scaled by its out-of-fold scores over the training universe, and both versions share
    that scale. Starting weights are those of a logistic regression on the out-of-fold channels, never below 0.

    Parameters
    ----------
    names
        Controls, as the decoder's ``evidence`` lists them.
    split, cells
        Training positives and expression; nothing else is read.
    seed
        Of the folds and sampled negatives.
    cache
        Folder of a cache by content, or None.
    """
    key = canonical_hash([_VERSION, list(names), split.content_hash, cells.content_hash, seed])
    path = None if cache is None else cache / f"evidence-{key}.safetensors"
    if path is not None and path.is_file():
        try:
            return PairEvidence.from_arrays(load_file(path), names=tuple(names))
        except (SafetensorError, KeyError, ValueError) as error:
            logger.warning("evidence cache %s is damaged (%s): computed anew", path.name, error)
    evidence = _fit(tuple(names), split, cells, seed)
    if path is not None:
        with atomic_file(path) as temporary:
            save_file(evidence.to_arrays(), temporary)
    return evidence


def _fit(names: tuple[str, ...], split: EdgeSplit, cells: CellMatrix, seed: int) -> PairEvidence:
    from grn_cotrain.controls.evidence import degree_logits, out_of_fold

    source_logit_G, target_logit_G = degree_logits(split)
    train, full = [], []
    sources_S = np.zeros(0, dtype=np.int64)
    sample = LinkSampler(split, positives_per_step=20_000, negatives_per_positive=3, positive_share=1.0).draw(
        np.random.default_rng((seed, 7))
    )
    pairs_2M = np.concatenate([sample.positives_2P.numpy(), sample.negatives_2N.numpy()], axis=1)
    labels_M = np.arange(pairs_2M.shape[1]) < sample.positives_2P.shape[1]
    columns = []
    for name in names:
        sources_S, train_SG, full_SG = out_of_fold(name, split, cells, seed=seed)
        values_M = train_SG[np.searchsorted(sources_S, pairs_2M[0]), pairs_2M[1]]
        centre, scale = float(values_M.mean()), float(values_M.std()) or 1.0
        train.append(((train_SG - centre) / scale).astype(np.float32))
        full.append(((full_SG - centre) / scale).astype(np.float32))
        columns.append((values_M - centre) / scale)
    num_genes = split.num_genes
    empty_KSG = np.zeros((0, len(sources_S), num_genes), dtype=np.float32)
    return PairEvidence(
        names=names,
        sources_S=sources_S,
        train_KSG=np.stack(train) if train else empty_KSG,
        full_KSG=np.stack(full) if full else empty_KSG,
        source_logit_G=source_logit_G.astype(np.float32),
        target_logit_G=target_logit_G.astype(np.float32),
        held_out=_HELD_OUT.get(split.kind, "none"),
        weight_K=_weights(columns, labels_M) if names else None,
    )


def _weights(columns: list[np.ndarray], labels_M: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0).fit(np.stack(columns, axis=1), labels_M)
    return np.maximum(fitted.coef_[0], 0.0).astype(np.float32)
