"""Scores of controls, computed once per split and kept by what they depend on.

Dimension letters: M pairs.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.controls import Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore, array_hash
from grn_cotrain.files import atomic_file

__all__ = ["CachedScores", "ControlCache"]

logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True)
class CachedScores:
    """float32 ``scores_M``, the ``seconds`` that fitting and scoring took, and whether they came ``from_cache``."""

    scores_M: np.ndarray
    seconds: float
    from_cache: bool


class ControlCache:
    """Folder of control scores: ``SPLIT_HASH/NAME-KEY.npz``.

    The key covers split, pairs, cells (if the control reads them), name, settings, seed and version of the control. A
    file that is damaged or does not fit is named in :attr:`messages` and in the log, and its scores are computed again.

    Parameters
    ----------
    folder
        Made when the first entry is written. None: nothing is kept, scores are only computed.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.messages: list[str] = []

    def path(self, control: Control, split: EdgeSplit, cells: CellStore | None, hash_of_pairs: str) -> Path | None:
        """File of an entry, whether it exists or not."""
        if self.folder is None:
            return None
        key = canonical_hash(
            {
                "format": _FORMAT,
                "split": split.content_hash,
                "pairs": hash_of_pairs,
                "cells": cells.content_hash + cells.vocab.side_hash
                if control.needs_cells and cells is not None
                else "",
                "control": control.name,
                "config": to_dict(control.config),
                "seed": control.seed,
                "version": control.version,
            }
        )
        return self.folder / split.content_hash / f"{control.name}-{key}.npz"

    def scores(
        self,
        control: Control,
        split: EdgeSplit,
        cells: CellStore | None,
        pairs_2M: np.ndarray,
        *,
        hash_of_pairs: str | None = None,
    ) -> CachedScores:
        """Scores of ``pairs_2M``, from the folder if they are there, else fitted, scored and kept.

        Scores are rounded to float32 in either case, so that a table does not depend on the state of the cache.
        """
        path = self.path(control, split, cells, hash_of_pairs or array_hash(pairs_2M))
        if path is not None and path.exists():
            found = self._read(path, pairs_2M.shape[1])
            if found is not None:
                return found
        start = time.perf_counter()
        scores_M = np.asarray(control.fit(split, cells).score(pairs_2M), dtype=np.float32)
        computed = CachedScores(scores_M, time.perf_counter() - start, from_cache=False)
        if path is not None and np.isfinite(scores_M).all():
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as temporary:
                np.savez(
                    temporary, scores_M=scores_M, seconds=np.float64(computed.seconds), checksum=_checksum(scores_M)
                )
        return computed

    def _read(self, path: Path, num_pairs: int) -> CachedScores | None:
        try:
            with np.load(path, allow_pickle=False) as stored:
                scores_M, seconds, checksum = stored["scores_M"], float(stored["seconds"]), str(stored["checksum"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self._say(path, f"cannot be read ({type(error).__name__})")
            return None
        if scores_M.dtype != np.float32 or scores_M.shape != (num_pairs,) or _checksum(scores_M) != checksum:
            self._say(path, "does not hold what was written")
            return None
        return CachedScores(scores_M, seconds, from_cache=True)

    def _say(self, path: Path, why: str) -> None:
        message = f"cached control '{path.name}' {why}: computed again"
        self.messages.append(message)
        logger.warning("%s", message)


def _checksum(scores_M: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(scores_M, dtype="<f4").tobytes()).hexdigest()
