"""Transfer: train on the edges of one cell type or prior, test on another's, genes aligned by symbol."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys
from grn_cotrain.data.split_candidates import Outdated, left_out
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    from grn_cotrain.data.grn import GRN

__all__ = ["transfer_split"]

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1


def transfer_split(
    grn: GRN, train_grn: GRN, *, seed: int = 0, name: str = "transfer", outdated: Outdated = "leave-out"
) -> EdgeSplit:
    """Train and validate on ``train_grn``, test on the edges of ``grn`` that training does not hold.

    The split speaks the vocabulary of ``grn``. Edges of ``train_grn`` with an end outside of it leave, counted in the
    log. An edge of both networks is a training edge (and no test candidate); a training edge whose reverse is tested is
    withheld. A tenth of the training edges validates, both directions of an edge together. TFs of ``grn`` without a
    training edge, and genes outside the vocabulary of ``train_grn``, are held out: they are not training candidates,
    and controls use a prior for them.

    Parameters
    ----------
    grn
        The network to be tested on.
    train_grn
        The network to be trained on, over its own vocabulary.
    seed
        Seed of the validation share.
    name
        Name of the split.
    outdated
        Genes of ``grn`` whose symbol is outdated: ``leave-out`` of candidates and edges, or ``keep``.

    Raises
    ------
    UserError
        No edge of ``train_grn`` has both ends in the vocabulary, or no edge is left to test.
    """
    num_genes = grn.num_genes
    index_G = np.array([-1 if (i := grn.vocab.get(s)) is None else i for s in train_grn.vocab.symbols], dtype=np.int64)
    mapped_2E = index_G[train_grn.pairs_2E]
    inside_E = (mapped_2E >= 0).all(axis=0) & (mapped_2E[0] != mapped_2E[1])
    if not inside_E.any():
        raise UserError(
            "from: no edge of the training network has both ends in this vocabulary; is it another species?"
        )
    if not inside_E.all():
        logger.warning(
            "%d of %d training edges leave: an end is not in this vocabulary", (~inside_E).sum(), inside_E.size
        )
    left_G = left_out(grn, grn.pairs_2E, outdated)
    inside_E &= ~left_G[mapped_2E].any(axis=0)
    train_E = np.unique(pair_keys(mapped_2E[:, inside_E], num_genes))
    own_2E = grn.pairs_2E[:, (grn.pairs_2E[0] != grn.pairs_2E[1]) & ~left_G[grn.pairs_2E].any(axis=0)]
    test_E = np.setdiff1d(pair_keys(own_2E, num_genes), train_E)
    if test_E.size == 0:
        raise UserError("from: every edge of this network is a training edge; there is nothing to test")
    withheld = np.isin(train_E, pair_keys(pairs_from_keys(test_E, num_genes)[::-1], num_genes))
    train_E, withheld_E = train_E[~withheld], train_E[withheld]
    train_2E = pairs_from_keys(train_E, num_genes)
    # Both directions of an edge are one unit, on one side.
    _, unit_E = np.unique(pair_keys(np.sort(train_2E, axis=0), num_genes), return_inverse=True)
    num_units = int(unit_E.max(initial=-1)) + 1
    chosen_U = np.zeros(num_units, dtype=bool)
    chosen_U[np.random.default_rng(seed).permutation(num_units)[: round(num_units * VALIDATION_SHARE)]] = True
    genes_N = np.flatnonzero(~left_G)
    train_sources_S, test_sources_S = np.unique(mapped_2E[0, inside_E]), np.unique(own_2E[0])
    # A gene that the training network does not know can't have an edge there: its degree of 0 carries no information.
    known_N = np.intersect1d(index_G[index_G >= 0], genes_N)
    split = EdgeSplit(
        name=name,
        kind="transfer",
        track="visible",
        seed=seed,
        fold=None,
        num_genes=num_genes,
        vocab_hash=grn.vocab.content_hash,
        grn_hash=grn.content_hash,
        train_2E=train_2E[:, ~chosen_U[unit_E]],
        validation_2E=train_2E[:, chosen_U[unit_E]],
        test_2E=pairs_from_keys(test_E, num_genes),
        withheld_2E=pairs_from_keys(withheld_E, num_genes),
        train_sources_S=train_sources_S,
        train_targets_N=known_N,
        validation_sources_S=train_sources_S,
        validation_targets_N=known_N,
        test_sources_S=test_sources_S,
        test_targets_N=genes_N,
        hidden_sources_S=np.setdiff1d(test_sources_S, train_sources_S),
        hidden_targets_N=np.setdiff1d(genes_N, known_N),
    )
    logger.info("%s; %d training edges withheld: their reverse is tested", split.summary(), withheld.sum())
    return split
