"""Closed-form evidence for link decoders that start at a control, cached by content."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grn_cotrain.config import canonical_hash
from grn_cotrain.controls.evidence import out_of_fold
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.files import atomic_file
from grn_cotrain.nn.link_decoders import PairEvidence
from grn_cotrain.nn.pair_evidence import assemble_evidence

__all__ = ["build_evidence"]

logger = logging.getLogger(__name__)

_VERSION = 3  # raise when a control used as evidence changes its scores, or the file its form
_CHECKSUM = "checksum"


def build_evidence(
    names: Sequence[str], split: EdgeSplit, cells: CellStore, *, seed: int = 0, cache: Path | None = None
) -> PairEvidence:
    """Fit the named controls out of fold and on all training positives; see :func:`assemble_evidence` for the rest.

    Parameters
    ----------
    names
        Controls, as the decoder's ``evidence`` lists them.
    split, cells
        Training positives and expression; nothing else is read.
    seed
        Seed of the folds and sampled negatives.
    cache
        Folder of a cache by content, or None.
    """
    cells = cells.genes()
    key = canonical_hash([_VERSION, list(names), split.content_hash, cells.content_hash, seed])
    path = None if cache is None else cache / f"evidence-{key}.safetensors"
    if path is not None and path.is_file():
        try:
            arrays = load_file(path)
            if arrays.pop(_CHECKSUM).tobytes() != _digest(arrays):
                raise ValueError("it does not have its checksum")
            return PairEvidence.from_arrays(arrays, names=tuple(names))
        except (SafetensorError, KeyError, ValueError) as error:
            logger.warning("evidence cache %s is damaged (%s): computed again", path.name, error)
    evidence = _fit(tuple(names), split, cells, seed)
    if path is not None:
        with atomic_file(path) as temporary:
            arrays = evidence.to_arrays()
            save_file({**arrays, _CHECKSUM: np.frombuffer(_digest(arrays), np.uint8)}, temporary)
    return evidence


def _digest(arrays: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}:{array.dtype}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _fit(names: tuple[str, ...], split: EdgeSplit, cells: CellStore, seed: int) -> PairEvidence:
    return assemble_evidence(split, {name: out_of_fold(name, split, cells, seed=seed) for name in names})
