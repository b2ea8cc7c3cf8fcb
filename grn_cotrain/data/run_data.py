"""Data that a run reads: cells, split, message edges, after the recipe's ablations.

Dimension letters: E edges, M pairs, C cells, G genes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from grn_cotrain.data.cells import CellSplit, cell_split
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.prep_hook import open_prepared
from grn_cotrain.data.relations import RelationEdges, relative_weights
from grn_cotrain.data.rewire import random_graph, rewired
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe

__all__ = ["Messages", "RunData", "load_run_data", "message_edges"]

logger = logging.getLogger(__name__)


class _StoredGraph(Protocol):
    @property
    def message_2E(self) -> np.ndarray: ...
    @property
    def sign_E(self) -> np.ndarray: ...
    @property
    def weight_E(self) -> np.ndarray | None: ...
    @property
    def others(self) -> RelationEdges: ...


@dataclass(frozen=True)
class Messages:
    """Message edges of a run, and what to drop when training edges are supervised.

    Attributes
    ----------
    pairs_2E, sign_E
        Message edges of regulation (gene indices) and signs -1, 0, 1.
    weight_E
        float32 weights relative to the mean weight of the training edges; None if all are equal. In a control graph,
        a stand-in has the sign and the weight of the training edge that it stands for.
    given_weights
        Least and largest weight of the network, and its edges of weight 0; None if all weights are equal.
    train_keys_E
        Sorted keys of the training edges, where a control graph replaced them: message edge ``i`` stands for training
        edge ``i``. None for the true graph.
    num_genes
        G.
    others
        Message edges of other relations (indices of features). In a control graph, they are a control of their own.
    """

    pairs_2E: np.ndarray
    sign_E: np.ndarray
    train_keys_E: np.ndarray | None
    num_genes: int
    weight_E: np.ndarray | None = None
    given_weights: tuple[float, float, int] | None = None
    others: RelationEdges = field(default_factory=RelationEdges.none)

    def dropped_by(self, supervised_2M: np.ndarray) -> np.ndarray:
        """Message pairs that must not pass while ``supervised_2M`` are supervised.

        In a control graph the stand-ins of the supervised edges rest too, so that every arm of a comparison trains on
        as many messages as the true graph does.
        """
        if self.train_keys_E is None or not self.pairs_2E.shape[1]:
            return supervised_2M
        at_M = np.searchsorted(self.train_keys_E, pair_keys(supervised_2M, self.num_genes))
        return np.concatenate([supervised_2M, self.pairs_2E[:, at_M]], axis=1)

    def require_same(self, stored: _StoredGraph, split: EdgeSplit, symbols: Sequence[str], *, what: str) -> None:
        """Refuse the messages that a model was saved with, if they are not these.

        Parameters
        ----------
        stored
            Has ``message_2E``, ``sign_E`` and ``weight_E``, as :class:`~grn_cotrain.model.ModelInputs` does; the scores
            come from them, whatever the recipe asks for.
        split
            Split that defines which of the others are held out.
        symbols
            Gene symbols, for examples.
        what
            Where they are stored, for the message.

        Raises
        ------
        UserError
            Edges that are not these, or other signs or weights.
        """
        size = max(self.num_genes, int(stored.message_2E.max(initial=0)) + 1, int(self.pairs_2E.max(initial=0)) + 1)
        mine_E, found_E = pair_keys(self.pairs_2E, size), pair_keys(stored.message_2E, size)
        added, lost = np.setdiff1d(found_E, mine_E), np.setdiff1d(mine_E, found_E)
        if added.size or lost.size or mine_E.size != found_E.size:
            held = np.concatenate([pair_keys(split.positives(part), size) for part in ("validation", "test")])
            leaked = np.intersect1d(added, held)
            named = [
                " -> ".join(str(symbols[int(gene)]) if gene < len(symbols) else str(gene) for gene in pair)
                for pair in pairs_from_keys(np.concatenate([leaked, added, lost])[:3], size).T
            ]
            raise UserError(
                f"{what}: its messages are not those of the run: {added.size:,} more edges, {leaked.size:,} of them"
                f" validation or test positives, {lost.size:,} fewer ({', '.join(named) or 'edges are repeated'}); such"
                " scores would leak: copy the model again, or train again"
            )
        order_E, other_E = np.argsort(mine_E, kind="stable"), np.argsort(found_E, kind="stable")
        if not np.array_equal(self.sign_E[order_E], stored.sign_E[other_E]):
            raise UserError(f"{what}: its signs are not those of the run; copy the model again, or train again")
        ones_E = np.ones(mine_E.size, dtype=np.float32)
        mine_weight_E = ones_E if self.weight_E is None else self.weight_E
        found_weight_E = ones_E if stored.weight_E is None else stored.weight_E
        if not np.allclose(mine_weight_E[order_E], found_weight_E[other_E], rtol=1e-5):
            raise UserError(f"{what}: its edge weights are not those of the run; copy the model again, or train again")
        if not self.others.equals(stored.others):
            raise UserError(
                f"{what}: its edges of other relations than regulation are not those of the run; copy the model again,"
                " or train again"
            )


def message_edges(
    kind: str, split: EdgeSplit, grn: GRN, *, seed: int, weights: bool = True, relations: Sequence[str] | None = None
) -> Messages:
    """Message edges of a run: the training edges, or a control graph drawn from training edges alone.

    Parameters
    ----------
    kind
        ``true``; ``rewired`` (degrees kept); ``random`` (as many edges, same TFs, training targets); ``none``. Other
        relations are treated alike, each by itself.
    split, grn
        Training edges, and the signs and weights of the network, with its other relations.
    seed
        Seed of the control graph.
    weights
        Whether messages keep the network's weights.
    relations
        Other relations whose edges pass messages; None: all.
    """
    train_2E = split.train_2E
    keys_E = pair_keys(train_2E, split.num_genes)
    grn_keys_E = pair_keys(grn.pairs_2E, split.num_genes)
    order_E = np.argsort(grn_keys_E, kind="stable")
    at_E = np.searchsorted(grn_keys_E[order_E], keys_E).clip(max=max(0, grn_keys_E.size - 1))
    found_E = grn_keys_E[order_E[at_E]] == keys_E if grn_keys_E.size else np.zeros(keys_E.size, dtype=bool)
    sign_E = np.where(found_E, grn.sign_E[order_E[at_E]], 0) if grn_keys_E.size else np.zeros(keys_E.size)
    sign_E = sign_E.astype(np.int64)
    others = grn.others.only(relations).relative(weights=weights)
    if kind == "none":
        silent = others.keep(np.zeros(others.num_edges, dtype=bool))
        return Messages(train_2E[:, :0], sign_E[:0], None, split.num_genes, None, _spread(grn), silent)
    weight_E = _relative(grn.weight_E[order_E[at_E]], found_E) if weights and found_E.any() else None
    if kind == "true":
        return Messages(train_2E, sign_E, None, split.num_genes, weight_E, _spread(grn), others)
    others = _control_of(others, kind, grn.vocab.num_features, seed)
    if kind == "rewired":
        drawn_2E = rewired(train_2E, seed)
    else:
        drawn_2E = random_graph(train_2E, split.num_genes, seed, targets_N=split.train_targets_N)
    return Messages(drawn_2E, sign_E, keys_E, split.num_genes, weight_E, _spread(grn), others)


def _control_of(others: RelationEdges, kind: str, num_features: int, seed: int) -> RelationEdges:
    """The same number of edges of each relation, with other partners; signs and weights stay with the source."""
    pairs_2E = others.pairs_2E.copy()
    for name in others.names:
        at = others.of(name)
        given_2E = pairs_2E[:, at]
        if kind == "rewired":
            pairs_2E[:, at] = rewired(given_2E, seed)
        else:
            pairs_2E[:, at] = random_graph(given_2E, num_features, seed, targets_N=np.unique(given_2E[1]))
    return replace(others, pairs_2E=pairs_2E)


def _spread(grn: GRN) -> tuple[float, float, int] | None:
    weight_E = np.abs(grn.weight_E)
    if not weight_E.size or weight_E.min() == weight_E.max():
        return None
    return float(weight_E.min()), float(weight_E.max()), int((weight_E == 0).sum())


def _relative(weight_E: np.ndarray, found_E: np.ndarray) -> np.ndarray | None:
    """Weights of the training edges over their mean; None if all are equal.

    A training edge that the network does not hold (a published file's) has the mean weight.
    """
    relative = relative_weights(weight_E[found_E])
    if relative is None:
        return None
    relative_E = np.ones(weight_E.size, dtype=np.float32)
    relative_E[found_E] = relative
    return relative_E


@dataclass(frozen=True)
class RunData:
    """Everything a run reads, aligned to one vocabulary."""

    prep: Prep
    vocab: FeatureVocab
    cells: CellStore
    cell_split: CellSplit
    split: EdgeSplit
    messages: Messages


def load_run_data(recipe: Recipe, prep: Prep | None = None) -> RunData:
    """Open (and, by the recipe's ``prep:`` block, prepare) the data of a run and audit them.

    Parameters
    ----------
    recipe
        Resolved recipe.
    prep
        The prepared folder, opened, where it is known already: nothing is prepared then. A run that was trained finds
        its own with :meth:`~grn_cotrain.run_folder.RunFolder.load_data`.

    Raises
    ------
    UserError
        The folder or split is missing or belongs to other data, or the leak audit found an error.
    """
    prep = open_prepared(recipe) if prep is None else prep
    split = prep.split(recipe.data.split)
    if split.vocab_hash != prep.vocab.content_hash:
        raise UserError(
            f"data.split '{split.name}': made for another vocabulary ({split.vocab_hash}, the folder's is"
            f" {prep.vocab.content_hash}); make it again with grn-prep splits"
        )
    cells = prep.store(recipe.data.store)
    if recipe.data.expression == "permuted_genes":
        cells = cells.permuted_genes(prep.tf_index, recipe.seed)
    elif recipe.data.expression == "permuted_cells":
        cells = cells.permuted_cells(recipe.seed)
    messages = message_edges(
        recipe.graph.messages,
        split,
        prep.grn,
        seed=recipe.seed,
        weights=recipe.graph.weights,
        relations=recipe.graph.relations,
    )
    # A control graph may hold a test pair by chance, as any random pair may, but never an edge to a hidden gene.
    assert_no_leak(
        split,
        messages.pairs_2E,
        others=messages.others,
        control_graph=recipe.graph.messages != "true",
        vocab_hash=prep.vocab.content_hash,
        symbols=prep.vocab.symbols,
    )
    # Which cells are held out never depends on the run's seed: arms and seeds are compared on the same cells.
    held = cell_split(
        cells.num_cells, validation=recipe.data.validation_cells, test=recipe.data.test_cells, seed=split.seed
    )
    return RunData(prep, prep.vocab, cells, held, split, messages)
