r"""The order of a TF's predicted targets: by score, or by what is specific to the TF.

The score of a pair is mostly its TF's and its target's, so the best targets of all TFs are the same popular genes. Two
orders bring a TF's own targets up (docs/decisions/0013-pair-evidence.md):

- *gate*: the best 5 % of a TF's targets by score, ordered by score minus half of the target's mean over TFs;
- *sum*: the ranks of the score and of the pair's own evidence, :math:`-\log(1 - \text{percentile})`, added up. It is
  taken where the lists by score share more than 40 % of their targets, since a gate then holds popular genes alone.

Dimension letters: G genes, M pairs, N targets, S sources of a tile, T all TFs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from grn_cotrain.export.best_pairs import best
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.link_decoders.residual import ResidualDecoder

__all__ = ["LIST", "LOW_SHARE", "OVERLAP", "PairScores", "RankBy", "ScoreTable", "list_overlap", "own_columns"]

RankBy = Literal["specific", "score"]
NewPairs = Callable[[np.ndarray, np.ndarray], np.ndarray]

LIST = 50
"""Targets of each TF among which lists are compared."""

OVERLAP = 0.3
"""Lists that share more than this are reported."""

LOW_SHARE = 0.02
"""Scores of which the pairs explain less than this are reported."""

_GATE = 0.05
_CENTRED = 0.5
_SUM_ABOVE = 0.4
_TILE_VALUES = 1 << 20
_TILE_SOURCES = 64


@dataclass(frozen=True, eq=False)
class PairScores:
    """Scores of every gene for any TF, tile by tile, with the part that is a pair's own evidence."""

    model: CoTrainNetwork
    linked_GD: torch.Tensor

    def tiles(self, sources_S: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first position and the sources of each tile."""
        num_genes = self.model.vocab.num_genes
        rows = int(np.clip(_TILE_VALUES // max(1, num_genes), 1, _TILE_SOURCES))
        for first in range(0, sources_S.size, rows):
            yield first, sources_S[first : first + rows]

    @torch.no_grad()
    def block(self, tile_S: np.ndarray) -> np.ndarray:
        """Logits, float64 ``[S, G]``."""
        return self.model.link_decoder.block(self.linked_GD, torch.from_numpy(tile_S)).double().numpy()

    @torch.no_grad()
    def channels(self, pairs_2M: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Names of the decoder's channels of evidence, and their part in each pair, float64 ``[K, M]``."""
        decoder = self.model.link_decoder
        if not isinstance(decoder, ResidualDecoder):
            return (), np.zeros((0, pairs_2M.shape[1]))
        return decoder.config.evidence, decoder.channel_parts(torch.from_numpy(pairs_2M)).double().numpy()

    @property
    def has_evidence(self) -> bool:
        """Whether the decoder has channels of evidence."""
        return bool(self.channels(np.zeros((2, 0), dtype=np.int64))[0])

    @torch.no_grad()
    def evidence(self, tile_S: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
        """Sum of the channels of each pair, float64 ``[S, N]``.

        Where the fit gave no channel a weight, so that a score holds nothing about pairs, channels weigh alike:
        evidence that is 0 everywhere would order a list by its score.
        """
        decoder = self.model.link_decoder
        assert isinstance(decoder, ResidualDecoder)
        grid = np.broadcast_arrays(tile_S[:, None], targets_N[None, :])
        pairs_2M = torch.from_numpy(np.stack(grid).reshape(2, -1))
        weighted = bool((decoder.evidence_weight_K != 0).any())
        parts_KM = decoder.channel_parts(pairs_2M) if weighted else decoder.pair_parts(pairs_2M)
        return parts_KM.double().numpy().sum(axis=0).reshape(grid[0].shape)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Facts about the scores of all TFs of a run, from one pass over them.

    Attributes
    ----------
    target_mean_G
        float64; mean score of each gene as a target, over the TFs.
    pair_share
        Share of the variance of the scores that is neither the TF's mean nor the target's.
    overlap
        Share of a TF's best new targets that another TF's list holds too, mean over pairs of TFs; NaN of one TF.
    """

    target_mean_G: np.ndarray
    pair_share: float
    overlap: float

    @classmethod
    def of(cls, scores: PairScores, sources_T: np.ndarray, targets_N: np.ndarray, new: NewPairs) -> ScoreTable:
        """Read the scores of all TFs; ``new(tile_S, targets_N)`` marks the pairs that may be new edges."""
        num_genes, num = scores.model.vocab.num_genes, max(1, sources_T.size)
        sum_G, row_T, listed_G = np.zeros(num_genes), np.zeros(sources_T.size), np.zeros(num_genes)
        squares = places = 0.0
        centre = None
        for first, tile_S in scores.tiles(sources_T):
            block_SG = scores.block(tile_S)
            centre = float(block_SG[:, targets_N].mean()) if centre is None else centre
            sum_G += block_SG.sum(axis=0)
            centred_SN = block_SG[:, targets_N] - centre
            row_T[first : first + len(tile_S)] = centred_SN.mean(axis=1)
            squares += float(np.square(centred_SN).sum())
            allowed_SN = new(tile_S, targets_N)
            for score_N, allowed_N in zip(centred_SN, allowed_SN, strict=True):
                columns = np.flatnonzero(allowed_N)
                kept = targets_N[columns[best(score_N[columns], LIST)]]
                listed_G[kept] += 1
                places += kept.size
        mean_G = sum_G / num
        mean_N = mean_G[targets_N] - (centre or 0.0)
        total = squares / max(1, num * targets_N.size) - row_T.mean() ** 2 if row_T.size else 0.0
        pair = total - row_T.var() - mean_N.var() if row_T.size else 0.0
        share = max(0.0, pair / total) if total > 1e-12 else math.nan
        return cls(mean_G, share, _overlap(listed_G, sources_T.size, places))

    def keys(
        self, scores_SN: np.ndarray, allowed_SN: np.ndarray, evidence_SN: np.ndarray | None, targets_N: np.ndarray
    ) -> np.ndarray:
        """Values by which the allowed pairs of a tile are ordered for ``rank_by: specific``, float64 ``[S, N]``.

        Parameters
        ----------
        scores_SN, allowed_SN
            Scores, and the pairs that may be kept.
        evidence_SN
            Evidence of the pairs, or None for a decoder without.
        targets_N
            Gene indices of the columns.
        """
        keys_SN = np.full(scores_SN.shape, -np.inf)
        for row, allowed_N in enumerate(allowed_SN):
            columns = np.flatnonzero(allowed_N)
            score = scores_SN[row, columns]
            if evidence_SN is not None and self.uses_sum:
                keys_SN[row, columns] = _rank(score) + _rank(evidence_SN[row, columns])
                continue
            # Targets outside the gate follow by score, after those of every gate.
            key = score - _BEHIND
            gate = best(score, math.ceil(_GATE * columns.size))
            key[gate] = score[gate] - _CENTRED * self.target_mean_G[targets_N[columns[gate]]]
            keys_SN[row, columns] = key
        return keys_SN

    @property
    def uses_sum(self) -> bool:
        """Whether ``specific`` means the sum of ranks (where there is evidence), not the gate."""
        return self.overlap > _SUM_ABOVE


_BEHIND = 1e6


def _rank(values: np.ndarray) -> np.ndarray:
    """``-log(1 - percentile)``; equal values share their rank."""
    ordered = np.sort(values)
    rank = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return -np.log1p(-rank / 2 / (values.size + 1))


def list_overlap(pairs_2M: np.ndarray, num_genes: int) -> float:
    """Share of a TF's list that the list of another TF holds too, mean over the TFs' pairs; NaN of one list."""
    counts_G = np.bincount(pairs_2M[1], minlength=num_genes)
    return _overlap(counts_G, np.unique(pairs_2M[0]).size, float(pairs_2M.shape[1]))


def _overlap(counts_G: np.ndarray, lists: int, places: float) -> float:
    if lists < 2 or not places:
        return math.nan
    return float((counts_G * (counts_G - 1)).sum() / (places * (lists - 1)))


def own_columns(
    scores: PairScores, table: ScoreTable, pairs_2M: np.ndarray, targets_N: np.ndarray
) -> dict[str, np.ndarray]:
    """Columns ``target_mean``, ``evidence_rank`` and ``channels`` of kept pairs, in their order."""
    names, parts_KM = scores.channels(pairs_2M)
    rank_M = np.zeros(pairs_2M.shape[1], dtype=np.int64)
    text_M = np.full(pairs_2M.shape[1], "", dtype=object)
    if names:
        order_KM = np.argsort(-np.abs(parts_KM), axis=0, kind="stable")
        text_M[:] = [
            "; ".join(f"{names[k]} {parts_KM[k, m]:+.2f}" for k in order_KM[:, m] if abs(parts_KM[k, m]) >= _SHOWN)
            for m in range(pairs_2M.shape[1])
        ]
        by_source = np.argsort(pairs_2M[0], kind="stable")
        for tile in np.split(by_source, np.flatnonzero(np.diff(pairs_2M[0][by_source])) + 1):
            tile_S = pairs_2M[0][tile[:1]]
            sorted_N = np.sort(scores.evidence(tile_S, targets_N[targets_N != tile_S[0]])[0])
            rank_M[tile] = 1 + sorted_N.size - np.searchsorted(sorted_N, parts_KM[:, tile].sum(axis=0), "right")
    return {"target_mean": table.target_mean_G[pairs_2M[1]], "evidence_rank": rank_M, "channels": text_M}


_SHOWN = 0.005
