"""Probe: can a linear map recognise the targets of a TF from gene vectors alone?

Training edges carried messages, so a probe that is tested on training targets asks for what training showed: it is
printed, and never claimed. What counts are held-out targets, which no message of that TF reached:

- A TF with training targets: the map is fitted on them (held-out targets stay among the unlabelled genes, since leaving
  them out would name them) and ranks the candidates of the test part, gene folds apart.
- A TF without any (unseen-TF splits): the map is fitted on some of its held-out targets and tested on others.

Dimension letters: G genes, K TFs, M pairs.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.card.probes.base import NotRun, Probe
from grn_cotrain.card.ridge import fold_numbers

__all__ = ["regulon_probes"]

_LEAST_TARGETS = 10  # to fit on
_LEAST_TESTED = 3  # held-out targets to test on
_MOST_TFS = 300  # the TFs with most targets; their mean no longer moves, and time grows with them
_MOST_SHOWN = 60  # of the circular probe, from which nothing follows
_HELD_OUT = ("regulons_held_out", "Regulon membership, held-out targets")
_TRAINING = ("regulons_training", "Regulon membership, training targets (circular)")
_QUESTION = "Is the gene a target of the TF? One map a TF on gene vectors, mean over TFs"


def regulon_probes(inputs: CardInputs, *, seed: int = 0) -> list[Probe | NotRun]:
    """Held-out targets first, then training targets."""
    folds_G = fold_numbers(np.zeros(inputs.num_genes), seed=seed)
    return [_held_out(inputs, folds_G), _training(inputs, folds_G)]


def _training(inputs: CardInputs, folds_G: np.ndarray) -> Probe | NotRun:
    question = f"{_QUESTION}; tested on training targets, whose edges training used."
    pairs_2M = inputs.training_2E
    counts_G = np.bincount(pairs_2M[0], minlength=inputs.num_genes)
    tfs_K, notes = _most(np.flatnonzero(counts_G >= _LEAST_TARGETS), counts_G, _MOST_SHOWN)
    if not len(tfs_K):
        return NotRun(*_TRAINING, question, f"no TF has {_LEAST_TARGETS} training targets")
    tested_GK = np.ones((inputs.num_genes, len(tfs_K)), dtype=bool)
    tested_GK[tfs_K, np.arange(len(tfs_K))] = False
    names = [str(inputs.symbols[tf]) for tf in tfs_K]
    labels_GK = _labels(pairs_2M, tfs_K, inputs.num_genes)
    return Probe(*_TRAINING, question, "circular", names, labels_GK, folds_G, tested_GK=tested_GK, notes=notes)


def _held_out(inputs: CardInputs, folds_G: np.ndarray) -> Probe | NotRun:
    question = f"{_QUESTION}; tested on targets that were hidden in training (split's test part)."
    if inputs.split is None:
        return NotRun(*_HELD_OUT, question, "the edge split is missing (no prepared folder)")
    if inputs.recipe["graph"]["messages"] not in ("true", "none"):
        note = "the model's message edges are a control graph"
    else:
        note = ""
    split = inputs.split
    training_2E, test_2E = inputs.training_2E, inputs.positions(split.test_2E)
    trained_G = np.bincount(training_2E[0], minlength=inputs.num_genes)
    tested_G = np.bincount(test_2E[0], minlength=inputs.num_genes)
    seen_G = (trained_G >= _LEAST_TARGETS) & (tested_G >= _LEAST_TESTED)
    unseen_G = (trained_G == 0) & (tested_G >= _LEAST_TARGETS)
    tfs_K, notes = _most(np.flatnonzero(seen_G | unseen_G), tested_G, _MOST_TFS)
    if not len(tfs_K):
        return NotRun(
            *_HELD_OUT,
            question,
            f"no TF has {_LEAST_TARGETS} training and {_LEAST_TESTED} held-out targets, or {_LEAST_TARGETS} held-out "
            "ones and none in training",
        )
    truth_GK = _labels(test_2E, tfs_K, inputs.num_genes)
    fit_GK = np.where(unseen_G[tfs_K], truth_GK, _labels(training_2E, tfs_K, inputs.num_genes))
    tested_GK = _candidates(inputs, tfs_K)
    if unseen_G[tfs_K].any():
        notes.append(
            f"{int(unseen_G[tfs_K].sum())} of {len(tfs_K)} TFs had no training target: their maps were fitted on other "
            "held-out targets of theirs"
        )
    return Probe(
        *_HELD_OUT,
        question,
        "claim",
        [str(inputs.symbols[tf]) for tf in tfs_K],
        fit_GK,
        folds_G,
        truth_GK,
        tested_GK,
        notes=[*notes, *([note] if note else [])],
    )


def _most(tfs_N: np.ndarray, counts_G: np.ndarray, most: int) -> tuple[np.ndarray, list[str]]:
    """At most ``most`` TFs, those with most targets."""
    if len(tfs_N) <= most:
        return tfs_N, []
    kept = np.sort(tfs_N[np.argsort(-counts_G[tfs_N], kind="stable")[:most]])
    return kept, [f"the {most} TFs with most targets, of {len(tfs_N):,} that qualify"]


def _labels(pairs_2M: np.ndarray, tfs_K: np.ndarray, num_genes: int) -> np.ndarray:
    """bool ``[G, K]``: which genes are targets of which TF."""
    column_G = np.full(num_genes, -1, dtype=np.int64)
    column_G[tfs_K] = np.arange(len(tfs_K))
    kept_M = column_G[pairs_2M[0]] >= 0
    labels_GK = np.zeros((num_genes, len(tfs_K)), dtype=bool)
    labels_GK[pairs_2M[1, kept_M], column_G[pairs_2M[0, kept_M]]] = True
    return labels_GK


def _candidates(inputs: CardInputs, tfs_K: np.ndarray) -> np.ndarray:
    """bool ``[G, K]``: candidate pairs of the split's test part, the same that the link table scores."""
    assert inputs.split is not None
    pairs_2M = inputs.split.pairs("test").pairs_2M
    return _labels(inputs.positions(pairs_2M), tfs_K, inputs.num_genes)
