"""Control graphs, drawn from given edges alone: degree-preserving rewiring, and random graphs.

Dimension letters: E edges, S sources, T targets, G genes.

The move is the double edge swap of Maslov & Sneppen (2002), Specificity and stability in topology of protein networks:
``a -> b, c -> d`` becomes ``a -> d, c -> b``. Out-degrees hold because sources never move, in-degrees because targets
only change places. Swaps are proposed for all edges at once, in random disjoint couples.
"""

from __future__ import annotations

import logging

import numpy as np

from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.errors import UserError

__all__ = ["exchange_targets", "random_graph", "rewired", "share_moved"]

logger = logging.getLogger(__name__)

_MAX_ROUNDS = 500
_STALLED = 60


def rewired(pairs_2E: np.ndarray, seed: int, *, swaps_per_edge: int = 20) -> np.ndarray:
    """Return a random graph with the in-degree and out-degree of every gene, without self-loops and duplicates.

    Parameters
    ----------
    pairs_2E
        int64 directed edges, distinct, without self-loops (row 0 sources).
    seed
        Seed of the swaps.
    swaps_per_edge
        Number of swaps proposed for each edge.

    Returns
    -------
    ndarray
        int64 ``[2, E]``; edge ``i`` keeps its source, so signs and weights given per edge stay with their TF. The share
        of edges that are no longer edges of the input is logged; a network without freedom (a star, a complete
        bipartite graph) comes back as it was, with a warning.
    """
    pairs_2E = np.asarray(pairs_2E, dtype=np.int64)
    num_genes = int(pairs_2E.max(initial=0)) + 1
    _check_simple(pairs_2E, num_genes)
    rng = np.random.default_rng(seed)
    source_E, target_E = pairs_2E[0], pairs_2E[1].copy()
    for _ in range(swaps_per_edge):
        left, right = _couples(source_E.size, rng)
        current_E = np.sort(source_E * np.int64(num_genes) + target_E)
        _swap(source_E, target_E, left, right, num_genes, current_E)
    result_2E = np.stack([source_E, target_E])
    moved = share_moved(pairs_2E, result_2E)
    log = logger.warning if pairs_2E.shape[1] and moved < 0.5 else logger.info
    log("rewired: %.1f %% of %d edges moved, degrees kept", 100 * moved, pairs_2E.shape[1])
    return result_2E


def share_moved(before_2E: np.ndarray, after_2E: np.ndarray) -> float:
    """Share of the edges of ``after_2E`` that are not edges of ``before_2E``."""
    if after_2E.shape[1] == 0:
        return 0.0
    num_genes = int(max(before_2E.max(initial=0), after_2E.max())) + 1
    return float(1 - np.isin(pair_keys(after_2E, num_genes), pair_keys(before_2E, num_genes)).mean())


def random_graph(pairs_2E: np.ndarray, num_genes: int, seed: int, *, targets_N: np.ndarray | None = None) -> np.ndarray:
    """Return as many random edges, from the sources of ``pairs_2E``; no self-loops, no duplicates.

    Parameters
    ----------
    pairs_2E
        int64 directed edges; only their number and their sources matter.
    num_genes
        G.
    seed
        Seed of the draw.
    targets_N
        Gene indices that may be targets, by default all; give ``split.train_targets_N`` so that a hidden gene
        receives no message from a random graph either.

    Raises
    ------
    UserError
        The universe holds fewer pairs than edges are asked for.
    """
    sources_S = np.unique(pairs_2E[0]).astype(np.int64)
    targets_N = np.arange(num_genes) if targets_N is None else np.unique(np.asarray(targets_N, dtype=np.int64))
    num_edges = pairs_2E.shape[1]
    keys_M = (sources_S[:, None] * np.int64(num_genes) + targets_N[None, :])[sources_S[:, None] != targets_N[None, :]]
    if num_edges > keys_M.size:
        raise UserError(
            f"targets_N: {num_edges} edges do not fit {sources_S.size} sources x {targets_N.size} targets; give more"
        )
    chosen_E = np.sort(np.random.default_rng(seed).choice(keys_M, size=num_edges, replace=False, shuffle=False))
    return np.stack(np.divmod(chosen_E, np.int64(num_genes)))


def exchange_targets(
    pairs_2E: np.ndarray,
    num_genes: int,
    rng: np.random.Generator,
    *,
    forbidden: np.ndarray,
    allowed: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange the targets of edges among their sources until no edge is a forbidden pair.

    Parameters
    ----------
    pairs_2E
        int64 edges; they may themselves be forbidden (positives that are to become negatives).
    num_genes
        G, for keys.
    rng
        Generator of the swaps.
    forbidden
        Sorted keys of pairs that must not come out.
    allowed
        Sorted keys of the only pairs that may come out, or None.

    Returns
    -------
    targets_E, solved_E
        New target of each edge, and whether ``(source, new target)`` is allowed; where every edge is solved, the
        targets are a permutation of the old ones and the new pairs are distinct.
    """
    source_E, target_E = pairs_2E[0], pairs_2E[1].copy()

    def solved() -> np.ndarray:
        keys_E = source_E * np.int64(num_genes) + target_E
        good_E = (source_E != target_E) & ~_contains(forbidden, keys_E)
        return good_E if allowed is None else good_E & _contains(allowed, keys_E)

    good_E, stalled = solved(), 0
    for _ in range(_MAX_ROUNDS):
        if good_E.all() or stalled >= _STALLED:
            break
        left, right = _couples(source_E.size, rng)
        useful = ~(good_E[left] & good_E[right])
        current_E = np.sort(source_E * np.int64(num_genes) + target_E)
        _swap(source_E, target_E, left[useful], right[useful], num_genes, current_E, forbidden, allowed)
        now_E = solved()
        stalled = 0 if now_E.sum() > good_E.sum() else stalled + 1
        good_E = now_E
    if not good_E.all():
        logger.info("%d of %d edges have no partner to exchange targets with", (~good_E).sum(), good_E.size)
    return target_E, good_E


def _swap(
    source_E: np.ndarray,
    target_E: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    num_genes: int,
    current_E: np.ndarray,
    forbidden: np.ndarray | None = None,
    allowed: np.ndarray | None = None,
) -> None:
    """Exchange targets of couples in place, where both new edges are new, distinct, allowed and no self-loop."""
    new_2M = np.stack([source_E[left] * np.int64(num_genes) + target_E[right],
                       source_E[right] * np.int64(num_genes) + target_E[left]])  # fmt: skip
    ok_2M = ~_contains(current_E, new_2M)
    ok_2M &= np.stack([source_E[left] != target_E[right], source_E[right] != target_E[left]])
    if forbidden is not None:
        ok_2M &= ~_contains(forbidden, new_2M)
    if allowed is not None:
        ok_2M &= _contains(allowed, new_2M)
    _, inverse, count = np.unique(new_2M.ravel(), return_inverse=True, return_counts=True)
    ok_2M &= count[inverse].reshape(new_2M.shape) == 1
    ok_M = ok_2M.all(axis=0)
    left, right = left[ok_M], right[ok_M]
    target_E[left], target_E[right] = target_E[right], target_E[left]


def _couples(number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(number)
    half = number // 2
    return order[:half], order[half : 2 * half]


def _contains(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Membership in a sorted array: a binary search, since ``np.isin`` would sort again in every round."""
    if sorted_keys.size == 0:
        return np.zeros(keys.shape, dtype=bool)
    return sorted_keys[np.minimum(np.searchsorted(sorted_keys, keys), sorted_keys.size - 1)] == keys


def _check_simple(pairs_2E: np.ndarray, num_genes: int) -> None:
    if (pairs_2E[0] == pairs_2E[1]).any():
        raise UserError(f"pairs_2E: {(pairs_2E[0] == pairs_2E[1]).sum()} self-loops; remove them before rewiring")
    if np.unique(pair_keys(pairs_2E, num_genes)).size != pairs_2E.shape[1]:
        raise UserError("pairs_2E: duplicated edges; remove them before rewiring")
