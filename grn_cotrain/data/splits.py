"""Edge splits of a network: random edges, unseen TFs, unseen targets, both.

Edges that each kind hides (``share`` of validation in brackets):

=============  ====================================================  =========================================
kind           test                                                  validation, inside the rest
=============  ====================================================  =========================================
random         a third of each TF's targets                          a tenth of the rest's edges
unseen-tf      out-edges of a fifth of the TFs with >= 5 targets     out-edges of a tenth of the other such TFs
unseen-target  in-edges of a fifth of the genes                      in-edges of a tenth of the other genes
unseen-both    held-out TFs x held-out genes                         0.15 of other TFs x 0.15 of other genes
=============  ====================================================  =========================================

Validation has the regime of the test, so that what is selected on it is selected for the test. ``unseen-both`` takes a
larger share because its validation edges are a product of two shares.

Both directions of an edge are always on one side: a training edge whose reverse is held out is withheld (in ``random``
the two directions are assigned together). A network that stores nearly every TF-TF edge in both directions is
undirected (BEELINE's STRING: all of them; directed networks: at most two thirds); there, a held-out TF has no in-edges
that are not reversed out-edges, so it is a hidden target, on either track.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from grn_cotrain.data.edge_split import EdgeSplit, LabelledPairs, SplitKind, Track
from grn_cotrain.data.pairs import pair_keys, sorted_pairs
from grn_cotrain.data.split_candidates import Outdated, left_out
from grn_cotrain.data.split_published import published_split
from grn_cotrain.data.split_transfer import transfer_split
from grn_cotrain.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from grn_cotrain.data.grn import GRN

__all__ = [
    "EdgeSplit",
    "LabelledPairs",
    "is_undirected",
    "make_split",
    "published_split",
    "reciprocity",
    "split_name",
    "transfer_split",
]

logger = logging.getLogger(__name__)

MIN_TARGETS = 5
UNDIRECTED = 0.9
TEST_SHARE_RANDOM = 1 / 3
VALIDATION_SHARE = 0.1
VALIDATION_SHARE_BOTH = 0.15
MIN_VALIDATION_UNITS = 5
_MADE = ("random", "unseen-tf", "unseen-target", "unseen-both")
_FOLDED = ("unseen-tf", "unseen-target")


def reciprocity(pairs_2E: np.ndarray, num_genes: int) -> float:
    """Share of TF-TF edges (both ends are sources) whose reverse is an edge too; 0 where there is no such edge."""
    between_E = np.isin(pairs_2E[1], pairs_2E[0]) & (pairs_2E[0] != pairs_2E[1])
    if not between_E.any():
        return 0.0
    between_2E = pairs_2E[:, between_E]
    return float(np.isin(pair_keys(between_2E[::-1], num_genes), pair_keys(between_2E, num_genes)).mean())


def is_undirected(pairs_2E: np.ndarray, num_genes: int) -> bool:
    """Whether the network stores undirected edges in both directions."""
    return reciprocity(pairs_2E, num_genes) >= UNDIRECTED


def split_name(kind: str, track: str, seed: int, fold: int | None = None) -> str:
    """File name of a split; the track is named where it is not the only choice in use (``unseen-tf``, or hidden)."""
    if kind in ("published", "transfer"):
        return kind
    middle = f"-{track}" if kind == "unseen-tf" or (track == "hidden" and kind != "random") else ""
    return f"{kind}{middle}-seed{seed}" + (f"-fold{fold}" if fold is not None else "")


def make_split(
    grn: GRN,
    kind: SplitKind,
    *,
    seed: int = 0,
    track: Track = "visible",
    folds: int = 5,
    every_fold: bool = False,
    outdated: Outdated = "leave-out",
) -> list[EdgeSplit]:
    """Split a network's edges; self-loops and edges of genes with an outdated symbol leave, counted in the log.

    Parameters
    ----------
    grn
        The network; every pair is a gene index of its vocabulary.
    kind
        ``random``, ``unseen-tf`` (one split per fold), ``unseen-target`` or ``unseen-both``.
    seed
        Seed of the draw. The folds of one seed partition the TFs that have at least 5 targets.
    track
        ``visible``: a held-out TF keeps its in-edges (a held-out gene its out-edges) in training. ``hidden``: it has no
        edge in training at all, and held-out TFs leave the candidate targets of ``unseen-tf``.
    folds
        Number of folds of ``unseen-tf``; for the other unseen kinds, the held-out share is ``1 / folds``.
    every_fold
        Whether ``unseen-target`` makes one split for each fold, so that every gene is held out once. The first fold
        holds out the same genes as the single split of this seed does.
    outdated
        Genes whose symbol the vocabulary marks as outdated: ``leave-out`` takes them from the candidates and their
        edges from the network, since they are hardly ever targets, which would reward a scorer that knows them;
        ``keep`` treats them as all others.

    Returns
    -------
    list of EdgeSplit
        One split, or ``folds`` of them for ``unseen-tf`` and where ``every_fold`` asks for them.

    Raises
    ------
    UserError
        Unknown kind or track, a network without edges, or too few TFs or genes for the folds.
    """
    if kind not in _MADE:
        raise UserError(
            f"kind '{kind}': not made from a network; choose from {', '.join(_MADE)}{did_you_mean(kind, _MADE)}"
        )
    if track not in get_args(Track):
        raise UserError(f"track '{track}': choose from {', '.join(get_args(Track))}")
    if folds < 2:
        raise UserError(f"folds: got {folds}; give at least 2")
    if every_fold and kind not in _FOLDED:
        raise UserError(
            f"every_fold: a split of kind {kind} has no folds; leave it out, or take {' or '.join(_FOLDED)}"
        )
    num_genes = grn.num_genes
    pairs_2E = sorted_pairs(grn.pairs_2E, num_genes)
    loops_E = pairs_2E[0] == pairs_2E[1]
    if loops_E.any():
        logger.warning("%d self-loops of the network leave: no split trains on or scores a self-pair", loops_E.sum())
        pairs_2E = pairs_2E[:, ~loops_E]
    if pairs_2E.shape[1] == 0:
        raise UserError("grn: the network has no edges; nothing can be split")
    left_G = left_out(grn, pairs_2E, outdated)
    pairs_2E = pairs_2E[:, ~left_G[pairs_2E].any(axis=0)]
    if pairs_2E.shape[1] == 0:
        raise UserError("outdated: every edge has an end whose symbol is outdated; keep them, or map them by --aliases")
    undirected = is_undirected(pairs_2E, num_genes)
    if undirected:
        logger.info("the network is undirected, stored in both directions: both are hidden on one side")
    if kind == "random":
        track = "visible"  # no gene is held out: the two tracks are the same split
    maker = _Maker(grn, pairs_2E, np.flatnonzero(~left_G), undirected, seed, track, folds)
    splits = maker.make(kind, every_fold=every_fold)
    for split in splits:
        logger.info("%s", split.summary())
    return splits


@dataclass(frozen=True)
class _Maker:
    grn: GRN
    pairs_2E: np.ndarray
    genes_N: np.ndarray
    undirected: bool
    seed: int
    track: Track
    folds: int

    @property
    def num_genes(self) -> int:
        return self.grn.num_genes

    def make(self, kind: SplitKind, *, every_fold: bool) -> list[EdgeSplit]:
        if kind == "random":
            return [self._random()]
        if kind == "unseen-tf":
            parts = self._fold_tfs()
            return [self._unseen_tf(parts, fold) for fold in range(self.folds)]
        if kind == "unseen-target":
            return [self._unseen_target(fold) for fold in (range(self.folds) if every_fold else (None,))]
        return [self._unseen_both()]

    def _generator(self, *stream: int) -> np.random.Generator:
        # One stream per purpose: a change in one draw must not move another.
        return np.random.default_rng([self.seed, *stream])

    def _split(self, kind: SplitKind, fold: int | None, part_E: np.ndarray, **universes: np.ndarray) -> EdgeSplit:
        """``part_E``: 0 train, 1 validation, 2 test, 3 withheld; withholds reversed copies of held-out edges."""
        part_E = self._withhold_reversed(part_E)
        return EdgeSplit(
            name=split_name(kind, self.track, self.seed, fold),
            kind=kind,
            track=self.track,
            seed=self.seed,
            fold=fold,
            num_genes=self.num_genes,
            vocab_hash=self.grn.vocab.content_hash,
            grn_hash=self.grn.content_hash,
            train_2E=self.pairs_2E[:, part_E == 0],
            validation_2E=self.pairs_2E[:, part_E == 1],
            test_2E=self.pairs_2E[:, part_E == 2],
            withheld_2E=self.pairs_2E[:, part_E == 3],
            **universes,
        )

    def _withhold_reversed(self, part_E: np.ndarray) -> np.ndarray:
        part_E = part_E.copy()
        reversed_E = pair_keys(self.pairs_2E[::-1], self.num_genes)
        keys_E = pair_keys(self.pairs_2E, self.num_genes)
        for part in (2, 1):  # a validation edge yields to a test edge, a training edge to both
            moved_E = (part_E < part) & np.isin(reversed_E, keys_E[part_E == part])
            part_E[moved_E] = 3
            if moved_E.any():
                logger.info(
                    "%d edges are withheld: their reverse is in %s", moved_E.sum(), ("validation", "test")[part - 1]
                )
        return part_E

    def _random(self) -> EdgeSplit:
        rng = self._generator(0)
        # Both directions of an edge are one unit, owned by one of its TFs, drawn at random where both are TFs.
        low_E, high_E = self.pairs_2E.min(axis=0), self.pairs_2E.max(axis=0)
        _, first_U, unit_E = np.unique(
            low_E * np.int64(self.num_genes) + high_E, return_index=True, return_inverse=True
        )
        num_units = first_U.size
        shuffled_E = rng.permutation(self.pairs_2E.shape[1])
        owner_U = np.empty(num_units, dtype=np.int64)
        owner_U[unit_E[shuffled_E]] = self.pairs_2E[0, shuffled_E]
        # Rank of each unit within its owner, in random order; the first third of the ranks is the test.
        order_U = np.lexsort((rng.random(num_units), owner_U))
        _, start_S, count_S = np.unique(owner_U[order_U], return_index=True, return_counts=True)
        rank_U = np.arange(num_units) - np.repeat(start_S, count_S)
        test_U = np.empty(num_units, dtype=bool)
        test_U[order_U] = rank_U < np.repeat(np.rint(count_S * TEST_SHARE_RANDOM), count_S)
        rest_U = rng.permutation(np.flatnonzero(~test_U))
        part_U = np.where(test_U, 2, 0)
        part_U[rest_U[: round(rest_U.size * VALIDATION_SHARE)]] = 1
        sources_S, genes_N = np.unique(self.pairs_2E[0]), self.genes_N
        none = np.empty(0, dtype=np.int64)
        return self._split(
            "random", None, part_U[unit_E],
            **{f"{part}_sources_S": sources_S for part in ("train", "validation", "test")},
            **{f"{part}_targets_N": genes_N for part in ("train", "validation", "test")},
            hidden_sources_S=none, hidden_targets_N=none,
        )  # fmt: skip

    def _fold_tfs(self) -> list[np.ndarray]:
        """TFs with at least 5 targets, shuffled, in ``folds`` parts of nearly equal size."""
        sources_S, count_S = np.unique(self.pairs_2E[0], return_counts=True)
        eligible = sources_S[count_S >= MIN_TARGETS]
        if eligible.size < self.folds:
            raise UserError(
                f"folds: {self.folds} folds need at least {self.folds} TFs with {MIN_TARGETS} or more targets, the "
                f"network has {eligible.size}; give fewer folds or a larger network"
            )
        return np.array_split(self._generator(1).permutation(eligible), self.folds)

    def _validation_units(self, units: np.ndarray, share: float, *stream: int) -> np.ndarray:
        # At least five units (a third of a small network): selection on two TFs would be selection by chance.
        number = max(round(units.size * share), min(MIN_VALIDATION_UNITS, units.size // 3), 1)
        return self._generator(*stream).permutation(np.sort(units))[:number]

    def _unseen_tf(self, parts: list[np.ndarray], fold: int) -> EdgeSplit:
        test_S = parts[fold]
        rest = np.concatenate([part for i, part in enumerate(parts) if i != fold])
        validation_S = self._validation_units(rest, VALIDATION_SHARE, 2, fold)
        held_S = np.concatenate([test_S, validation_S])
        part_E = np.zeros(self.pairs_2E.shape[1], dtype=np.int8)
        cold = self.track == "hidden" or self.undirected
        if cold:
            part_E[np.isin(self.pairs_2E[1], held_S)] = 3
        sources_S, genes_N = np.unique(self.pairs_2E[0]), self.genes_N
        # The hidden track does not score held-out TFs as targets: at degree 0 among seen genes they would look alike.
        targets_N = np.setdiff1d(genes_N, held_S) if self.track == "hidden" else genes_N
        scored_E = np.isin(self.pairs_2E[1], targets_N)
        part_E[np.isin(self.pairs_2E[0], validation_S)] = 1
        part_E[np.isin(self.pairs_2E[0], test_S)] = 2
        part_E[(part_E > 0) & ~scored_E] = 3
        return self._split(
            "unseen-tf", fold, part_E,
            train_sources_S=np.setdiff1d(sources_S, held_S),
            train_targets_N=np.setdiff1d(genes_N, held_S) if cold else genes_N,
            validation_sources_S=validation_S, validation_targets_N=targets_N,
            test_sources_S=test_S, test_targets_N=targets_N,
            hidden_sources_S=held_S, hidden_targets_N=held_S if cold else held_S[:0],
        )  # fmt: skip

    def _hidden_genes(self, share: float, fold: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Genes of test and validation, drawn from all genes of the set; the folds' test genes partition them."""
        shuffled, size = self._generator(3).permutation(self.genes_N), self.genes_N.size
        first, last = (round(size * place / self.folds) for place in (fold, fold + 1))
        test_N, rest = shuffled[first:last], np.concatenate([shuffled[:first], shuffled[last:]])
        if test_N.size == 0 or rest.size < 3:
            raise UserError(f"folds: a {self.folds}th of {size} genes cannot be held out; give more genes")
        # The first fold draws from the stream of the single split: the two hold out the same genes.
        return test_N, self._validation_units(rest, share, *((4, fold) if fold else (4,)))

    def _unseen_target(self, fold: int | None) -> EdgeSplit:
        test_N, validation_N = self._hidden_genes(VALIDATION_SHARE, fold or 0)
        held_N = np.concatenate([test_N, validation_N])
        part_E = np.zeros(self.pairs_2E.shape[1], dtype=np.int8)
        sources_S, genes_N = np.unique(self.pairs_2E[0]), self.genes_N
        hidden_S = held_N[:0]
        if self.track == "hidden":
            hidden_S = np.intersect1d(held_N, sources_S)
            part_E[np.isin(self.pairs_2E[0], hidden_S)] = 3
        scored_S = np.setdiff1d(sources_S, hidden_S)
        scored_E = np.isin(self.pairs_2E[0], scored_S)
        part_E[scored_E & np.isin(self.pairs_2E[1], validation_N)] = 1
        part_E[scored_E & np.isin(self.pairs_2E[1], test_N)] = 2
        return self._split(
            "unseen-target", fold, part_E,
            train_sources_S=scored_S, train_targets_N=np.setdiff1d(genes_N, held_N),
            validation_sources_S=scored_S, validation_targets_N=validation_N,
            test_sources_S=scored_S, test_targets_N=test_N,
            hidden_sources_S=hidden_S, hidden_targets_N=held_N,
        )  # fmt: skip

    def _unseen_both(self) -> EdgeSplit:
        parts = self._fold_tfs()
        test_S, rest = parts[0], np.concatenate(parts[1:])
        validation_S = self._validation_units(rest, VALIDATION_SHARE_BOTH, 5)
        test_N, validation_N = self._hidden_genes(VALIDATION_SHARE_BOTH)
        held_S, held_N = np.concatenate([test_S, validation_S]), np.concatenate([test_N, validation_N])
        sources_S, genes_N = np.unique(self.pairs_2E[0]), self.genes_N
        hidden_S, hidden_N = held_S, held_N
        if self.track == "hidden":
            hidden_S = np.union1d(held_S, np.intersect1d(held_N, sources_S))
        if self.track == "hidden" or self.undirected:
            hidden_N = np.union1d(held_N, held_S)
        source_E, target_E = self.pairs_2E
        part_E = np.zeros(source_E.size, dtype=np.int8)
        part_E[np.isin(source_E, hidden_S) | np.isin(target_E, hidden_N)] = 3
        part_E[np.isin(source_E, validation_S) & np.isin(target_E, validation_N)] = 1
        part_E[np.isin(source_E, test_S) & np.isin(target_E, test_N)] = 2
        return self._split(
            "unseen-both", None, part_E,
            train_sources_S=np.setdiff1d(sources_S, hidden_S), train_targets_N=np.setdiff1d(genes_N, hidden_N),
            validation_sources_S=validation_S, validation_targets_N=validation_N,
            test_sources_S=test_S, test_targets_N=test_N,
            hidden_sources_S=hidden_S, hidden_targets_N=hidden_N,
        )  # fmt: skip
