"""Supervision of one training step: positives, negatives by the rules of the split, or whole rows of TFs.

Dimension letters: P positives, N negatives, M pairs, S sources, G genes.

A training negative is any pair that is neither a training positive nor a self-pair, from ``split.train_sources_S``
to ``split.train_targets_N``. Positives of validation and test stay among them: leaving them out would show the model
where they are. Published splits use exactly their labelled pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys
from grn_cotrain.errors import UserError

__all__ = ["LinkSampler", "LinkSupervision", "SupervisionMode"]

SupervisionMode = Literal["pairs", "rows"]


@dataclass(frozen=True)
class LinkSupervision:
    """Link supervision of one step.

    Attributes
    ----------
    positives_2P, negatives_2N
        int64 pairs. In rows mode the positives are those of the rows and ``negatives_2N`` is empty.
    sources_S
        Gene indices of whole TF rows; empty in pairs mode.
    row_labels_SG, row_allowed_SG
        bool ``[S, G]``: training positives, and which entries may be supervised at all; None in pairs mode.
    """

    positives_2P: Tensor
    negatives_2N: Tensor
    sources_S: Tensor
    row_labels_SG: Tensor | None = None
    row_allowed_SG: Tensor | None = None

    @property
    def drop_2M(self) -> Tensor:
        """Pairs whose messages, in either direction, must not pass in this step: all supervised positives."""
        return self.positives_2P

    def to(self, device: torch.device | str) -> LinkSupervision:
        """The same supervision on another device."""
        rows = (self.row_labels_SG, self.row_allowed_SG)
        labels_SG, allowed_SG = (None if row is None else row.to(device) for row in rows)
        return LinkSupervision(
            self.positives_2P.to(device), self.negatives_2N.to(device), self.sources_S.to(device), labels_SG, allowed_SG
        )


class LinkSampler:
    """Draws the supervision of each step from the training part of a split.

    Parameters
    ----------
    split
        Only its training positives (and labelled training negatives) and training universe are read.
    mode
        ``pairs``: sampled positives and negatives. ``rows``: whole rows of a share of the training TFs.
    positives_per_step
        Number of positives in pairs mode; never more than ``positive_share`` of all, since supervised positives send no
        messages in their step and a step without messages would train a graph encoder on nothing.
    negatives_per_positive
        Negatives for each positive in pairs mode.
    source_share
        Share of the training TFs in rows mode.
    positive_share
        Upper bound of the share of training positives in pairs mode.

    Raises
    ------
    UserError
        The split has no training positive or no possible negative, or a number is out of range.
    """

    def __init__(
        self,
        split: EdgeSplit,
        *,
        mode: SupervisionMode = "pairs",
        positives_per_step: int = 4096,
        negatives_per_positive: int = 1,
        source_share: float = 0.2,
        positive_share: float = 0.25,
    ) -> None:
        if mode not in get_args(SupervisionMode):
            raise UserError(f"mode '{mode}': choose from {', '.join(get_args(SupervisionMode))}")
        if positives_per_step < 1:
            raise UserError(f"positives_per_step: got {positives_per_step}; give at least 1")
        if negatives_per_positive < 1:
            raise UserError(f"negatives_per_positive: got {negatives_per_positive}; give at least 1")
        for name, share in (("source_share", source_share), ("positive_share", positive_share)):
            if not 0 < share <= 1:
                raise UserError(f"{name}: got {share}; give a share above 0, at most 1")
        if split.train_2E.shape[1] == 0:
            raise UserError(f"split '{split.name}': no training positive; nothing can be learned from it")
        self.mode = mode
        self.num_genes = split.num_genes
        self.negatives_per_positive = negatives_per_positive
        self._positive_2E = split.train_2E
        self._positive_E = pair_keys(split.train_2E, split.num_genes)  # sorted, as the split keeps its pairs
        self._sources_S, self._targets_N = split.universe("train")
        negatives_2N = split.negatives("train")
        self._labelled_N = None if negatives_2N is None else pair_keys(negatives_2N, split.num_genes)
        self.num_positives = min(positives_per_step, max(1, int(self._positive_E.size * positive_share)))
        self.num_rows = max(1, round(self._sources_S.size * source_share))
        self._check_negatives(split)

    def _check_negatives(self, split: EdgeSplit) -> None:
        if self._labelled_N is not None:
            possible = self._labelled_N.size
        else:
            positives_2E = self._positive_2E
            inside_E = np.isin(positives_2E[0], self._sources_S) & np.isin(positives_2E[1], self._targets_N)
            self_pairs = np.intersect1d(self._sources_S, self._targets_N).size
            possible = self._sources_S.size * self._targets_N.size - self_pairs - int(inside_E.sum())
        if possible <= 0:
            raise UserError(
                f"split '{split.name}': every training pair is a positive; there is no negative to learn from"
            )

    def draw(self, generator: np.random.Generator) -> LinkSupervision:
        """Draw the supervision of one step; the same generator state gives the same draw."""
        return self._draw_pairs(generator) if self.mode == "pairs" else self._draw_rows(generator)

    def _draw_pairs(self, generator: np.random.Generator) -> LinkSupervision:
        chosen_P = generator.choice(self._positive_E.size, size=self.num_positives, replace=False)
        negatives_N = self._draw_negatives(self.num_positives * self.negatives_per_positive, generator)
        return LinkSupervision(
            positives_2P=torch.from_numpy(self._positive_2E[:, np.sort(chosen_P)]),
            negatives_2N=torch.from_numpy(pairs_from_keys(negatives_N, self.num_genes)),
            sources_S=torch.empty(0, dtype=torch.int64),
        )

    def _draw_negatives(self, number: int, generator: np.random.Generator) -> np.ndarray:
        """Keys, uniform over the allowed pairs: distinct where labelled, independent draws of an open universe."""
        if self._labelled_N is not None:
            return generator.choice(self._labelled_N, size=min(number, self._labelled_N.size), replace=False)
        drawn: list[np.ndarray] = []
        missing = number
        while missing > 0:
            # Rejection keeps the draw uniform; a universe without any negative was refused at construction.
            size = 2 * missing + 16
            source_N = generator.choice(self._sources_S, size=size)
            target_N = generator.choice(self._targets_N, size=size)
            keys_N = source_N * np.int64(self.num_genes) + target_N
            at_N = np.minimum(np.searchsorted(self._positive_E, keys_N), self._positive_E.size - 1)
            keys_N = keys_N[(source_N != target_N) & (self._positive_E[at_N] != keys_N)][:missing]
            drawn.append(keys_N)
            missing -= keys_N.size
        return np.concatenate(drawn)

    def _draw_rows(self, generator: np.random.Generator) -> LinkSupervision:
        sources_S = np.sort(generator.choice(self._sources_S, size=self.num_rows, replace=False))
        mine_E = np.isin(self._positive_2E[0], sources_S)
        positives_2P = self._positive_2E[:, mine_E]
        labels_SG = np.zeros((sources_S.size, self.num_genes), dtype=bool)
        labels_SG[np.searchsorted(sources_S, positives_2P[0]), positives_2P[1]] = True
        allowed_SG = np.zeros_like(labels_SG)
        if self._labelled_N is None:
            allowed_SG[:, self._targets_N] = True
            allowed_SG[np.arange(sources_S.size), sources_S] = False
        else:
            negatives_2N = pairs_from_keys(self._labelled_N, self.num_genes)
            negatives_2N = negatives_2N[:, np.isin(negatives_2N[0], sources_S)]
            allowed_SG[np.searchsorted(sources_S, negatives_2N[0]), negatives_2N[1]] = True
            allowed_SG |= labels_SG
        return LinkSupervision(
            positives_2P=torch.from_numpy(positives_2P),
            negatives_2N=torch.empty((2, 0), dtype=torch.int64),
            sources_S=torch.from_numpy(sources_S),
            row_labels_SG=torch.from_numpy(labels_SG),
            row_allowed_SG=torch.from_numpy(allowed_SG),
        )
