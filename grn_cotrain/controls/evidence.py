"""Evidence of links from controls: fitted out of fold for training and on all positives for use, cached by content.

Dimension letters: G genes, S sources.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grn_cotrain.config import canonical_hash
from grn_cotrain.controls._table_control import EvidenceControl
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.out_of_fold import make_folds
from grn_cotrain.controls.pair_evidence import PairEvidence, assemble_evidence
from grn_cotrain.data.cell_blocks import is_in_memory
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file

__all__ = ["build_evidence", "fit_channels"]

logger = logging.getLogger(__name__)

_VERSION = 7  # raise when a control used as evidence changes its scores, or the file its form
_CHECKSUM = "checksum"

NO_SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
Channel = tuple[np.ndarray, np.ndarray, np.ndarray]


def build_evidence(
    names: Sequence[str],
    split: EdgeSplit,
    cells: CellStore,
    *,
    seed: int = 0,
    cache: Path | None = None,
    settings: Mapping[str, Mapping[str, Any]] = NO_SETTINGS,
) -> PairEvidence:
    """Fit the named controls out of fold and on all training positives; see :func:`assemble_evidence` for the rest.

    Parameters
    ----------
    names
        Controls, or channels of them (``regulon_factor.partial``), as the decoder's ``evidence`` lists them.
    split, cells
        Training positives and expression of all cells that have genes, as controls read them; nothing else is read.
        Where the evidence is in the cache, no value is read.
    seed
        Seed of the folds and of the sampled negatives.
    cache
        Folder of a cache by content, or None.
    settings
        Options of controls, by name; a control that is not named has its defaults.
    """
    # Products over cells on disk are equal to those in memory up to rounding, or to a tolerance: see principal_axes.
    content = [cells.content_hash + cells.vocab.side_hash, is_in_memory(cells)]
    used = {name: dict(settings[name]) for name in sorted(_by_control(names)) if settings.get(name)}
    key = canonical_hash([_VERSION, list(names), split.content_hash, *content, seed, *([used] if used else [])])
    path = None if cache is None else cache / f"evidence-{key}.safetensors"
    if path is not None and path.is_file():
        try:
            arrays = load_file(path)
            if arrays.pop(_CHECKSUM).tobytes() != _digest(arrays):
                raise ValueError("it does not have its checksum")
            return PairEvidence.from_arrays(arrays, names=tuple(names))
        except (SafetensorError, KeyError, ValueError) as error:
            logger.warning("evidence cache %s is damaged (%s): computed again", path.name, error)
    channels = fit_channels(names, split, cells.genes(), seed=seed, settings=settings)
    # A channel of a control is a statistic of its own, whatever the control's score is.
    controls = {name: CONTROLS.get(name) for name in names if "." not in name}
    of_odds = {name: cls for name, cls in controls.items() if issubclass(cls, EvidenceControl) and cls.log_odds}
    degrees = any(cls.holds_degrees() for cls in of_odds.values())
    evidence = assemble_evidence(split, channels, log_odds=list(of_odds), target_prior=not degrees)
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


def _by_control(names: Sequence[str]) -> dict[str, list[str | None]]:
    """Control -> its channels, None for the score."""
    found: dict[str, list[str | None]] = {}
    for name in names:
        control, _, channel = name.partition(".")
        found.setdefault(control, []).append(channel or None)
    return found


def fit_channels(
    names: Sequence[str],
    split: EdgeSplit,
    cells: CellStore | None,
    *,
    folds: int = 5,
    seed: int = 0,
    settings: Mapping[str, Mapping[str, Any]] = NO_SETTINGS,
) -> dict[str, Channel]:
    """Fit controls on all training positives, and again without each fold; each control once for all its channels.

    A model that learns on top of a control must see, in training, scores that never saw the labels it learns from.

    Parameters
    ----------
    names
        ``control`` for its score, or ``control.channel`` (``kernel_ridge``, ``regulon_factor.partial``, ...).
    split, cells
        Training positives and expression.
    folds, seed
        Folds are made in the manner of the split's regime: TFs, genes, both, or pairs.
    settings
        Options of controls, by name.

    Returns
    -------
    dict
        Name -> ``(sources_S, train_SG, full_SG)``: gene indices of the rows; float32 out-of-fold scores and scores for
        use, which are those of the full fit or, for training entries, of
        :meth:`~grn_cotrain.controls._table_control.EvidenceControl.of_seen_pairs`.

    Raises
    ------
    UserError
        A control cannot be refitted out of fold, or doesn't have the channel.
    """
    found: dict[str, Channel] = {}
    for control_name, channels in _by_control(names).items():
        control = CONTROLS.build(control_name, settings.get(control_name, {}), seed=seed)
        if not isinstance(control, EvidenceControl):
            able = [c.name for c in CONTROLS.components() if issubclass(c.cls, EvidenceControl)]
            raise UserError(f"evidence '{control_name}': cannot be fitted out of fold; choose from {', '.join(able)}")
        for channel in channels:
            if channel is not None and channel not in control.channels:
                having = f"choose from {', '.join(control.channels)}" if control.channels else "name the control alone"
                raise UserError(f"evidence '{control_name}.{channel}': unknown channel of {control_name}; {having}")
        control.fit(split, cells)
        made = make_folds(split, control.table, folds=folds, seed=seed)
        seen_SG = control.of_seen_pairs(split, cells)
        for channel in channels:
            train_SG, full_SG = control.evidence(made, channel)
            if seen_SG is not None:
                full_SG = np.where(control.table.known_SG, seen_SG, full_SG)
            name = control_name if channel is None else f"{control_name}.{channel}"
            found[name] = (control.table.sources_S, train_SG, full_SG)
    return {name: found[name] for name in names}
