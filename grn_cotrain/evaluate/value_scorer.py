"""Gradients and perturbations of predicted values as link scorers, in one table with the model and the controls.

Dimension letters: P pairs, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import nn

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.store import CellStore
from grn_cotrain.evaluate.attention_scorer import READ_OUT, InitialModel, check_split, split_sources
from grn_cotrain.evaluate.value_readouts import FEATURES, ValueModel, ValueScores, read_values
from grn_cotrain.jobs.value_readouts import ValueReadOutConfig
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.progress import counted, quiet

__all__ = [
    "SCORES",
    "ValueReadOut",
    "ValueScorer",
    "ValueTranslator",
    "fit_translator",
    "value_scorers",
    "with_random_head",
]

Score = Literal["value_gradient", "value_perturbation"]
SCORES: dict[Score, str] = {
    "value_gradient": "absolute gradient",
    "value_perturbation": "absolute set to zero",
}
"""Name of a scorer, and the feature by which it ranks."""

PairFeaturesOf = Callable[[np.ndarray], np.ndarray]
"""Features ``[P, F]`` of pairs ``[2, P]``."""

_MOST_NEGATIVES = 50_000


class ValueReadOut:
    """The read-outs of one model, read once however many scorers ask for them.

    Parameters
    ----------
    model
        In evaluation mode.
    cells
        As the run reads them, over the model's vocabulary.
    config
        How to read.
    split_hash, split_name
        Hash and name of the split that the model was trained on; None for an untrained encoder.
    label
        Words before the name of every row, such as ``untrained``.
    say
        Receives lines on progress, with the time left.
    """

    def __init__(
        self,
        model: ValueModel,
        cells: CellStore,
        config: ValueReadOutConfig | None = None,
        *,
        split_hash: str | None = None,
        split_name: str = "",
        label: str = "",
        say: Callable[[str], object] = quiet,
    ) -> None:
        self.model, self.cells, self.config = model, cells, config or ValueReadOutConfig()
        self.split_hash, self.split_name, self.label, self.say = split_hash, split_name, label, say
        self._found: ValueScores | None = None

    def of_split(self, split: EdgeSplit) -> ValueScores:
        """Read-outs of every pair that the split may ask for; refuses a split that the model was not trained on."""
        if self.split_hash is not None:
            check_split(split, self.split_hash, self.split_name)
        sources_S = split_sources(split)
        if self._found is None or not np.isin(sources_S, self._found.sources_S).all():
            parts = [split.universe(part)[1] for part in ("train", "validation", "test")]
            parts += [getattr(split, f"{part}_2E")[1] for part in ("train", "validation", "test")]
            targets = np.concatenate(parts)
            what = f"reading gradients of the {self.label or 'trained'} encoder"
            with counted(what, "cells", console=None, say=self.say) as progress:
                self._found = read_values(self.model, self.cells, sources_S, targets, self.config, progress=progress)
        return self._found


class ValueScorer:
    """Scores pairs by one read-out, without ever seeing an edge itself.

    Parameters
    ----------
    read_out
        Shared by all rows of a model.
    score
        ``value_gradient``: mean absolute gradient of the target's predicted value by the value of the TF;
        ``value_perturbation``: mean absolute change of it when the value of the TF is set to zero.

    Attributes
    ----------
    notes
        After :meth:`score`: cells that were read, and pairs that none of them shows.
    """

    def __init__(self, read_out: ValueReadOut, score: Score) -> None:
        self.read_out, self._feature = read_out, FEATURES.index(SCORES[score])
        self.name = f"{read_out.label} {score}".strip()
        self.kind = "control" if read_out.label else READ_OUT
        self.notes: tuple[str, ...] = ()
        self._scores: ValueScores | None = None

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Read the model; edges are not read."""
        del cells  # the run's own cells are read, whatever the table's controls read
        self._scores = self.read_out.of_split(split)
        return self

    def score(self, pairs_2P: np.ndarray) -> np.ndarray:
        """Mean read-out, float64 ``[P]``."""
        assert self._scores is not None
        self.notes = (_note(self._scores, pairs_2P),)
        return self._scores.features(pairs_2P)[:, self._feature]


class ValueTranslator:
    """Boosted trees on all read-outs of a pair, fitted to training pairs; the translator of Qi et al. 2026.

    Test pairs are never read. Read-outs of a run that was trained on links are not out of fold for its training pairs,
    so its translator may trust them too much; those of ``train.schedule: {name: mlm_only}`` with ``graph.messages:
    none`` have seen no edge.

    Parameters
    ----------
    read_out
        Shared by all rows of a model.
    seed
        Seed of the draw of negatives and of the trees.
    """

    def __init__(self, read_out: ValueReadOut, *, seed: int = 0) -> None:
        self.read_out, self.seed = read_out, seed
        self.name = f"{read_out.label} value_translator".strip()
        self.kind = "control" if read_out.label else READ_OUT
        self._scores: ValueScores | None = None
        self._model: Any = None

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Fit the trees to training pairs."""
        del cells
        self._scores = self.read_out.of_split(split)
        pairs = split.pairs("train")
        self._model = fit_translator(self._scores.inputs, pairs.pairs_2M, pairs.labels_M, seed=self.seed)
        return self

    def score(self, pairs_2P: np.ndarray) -> np.ndarray:
        """Log-odds, float64 ``[P]``; 0 where training has one class of pairs."""
        assert self._scores is not None
        if self._model is None:
            return np.zeros(pairs_2P.shape[1])
        return np.asarray(self._model.decision_function(self._scores.inputs(pairs_2P)))


def fit_translator(features: PairFeaturesOf, pairs_2P: np.ndarray, labels_P: np.ndarray, *, seed: int = 0) -> Any:
    """Boosted trees on features of labelled pairs, at most 50,000 of them negative; None for a single class.

    Parameters
    ----------
    features
        Function that gives the features ``[P, F]`` of pairs.
    pairs_2P, labels_P
        Pairs and bool labels.
    seed
        Seed of the draw of negatives and of the trees.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    positive, negative = np.flatnonzero(labels_P), np.flatnonzero(~labels_P)
    if not len(positive) or not len(negative):
        return None
    if len(negative) > _MOST_NEGATIVES:
        negative = np.sort(np.random.default_rng([seed, 31]).choice(negative, _MOST_NEGATIVES, replace=False))
    kept = np.concatenate([positive, negative])
    trees = HistGradientBoostingClassifier(max_leaf_nodes=15, learning_rate=0.05, max_iter=150, random_state=seed)
    return trees.fit(features(pairs_2P[:, kept]), labels_P[kept])


def _note(scores: ValueScores, pairs_2P: np.ndarray) -> str:
    unseen, read = int((scores.count(pairs_2P) == 0).sum()), len(scores.group.rows_C)
    return (
        f"gradients: {read:,} of {scores.group.num_cells:,} cells; {unseen:,} of {pairs_2P.shape[1]:,} pairs are shown"
        " by none of them and have the value that their genes lead to expect"
    )


def with_random_head(model: CoTrainNetwork, *, seed: int) -> CoTrainNetwork:
    """The model, with random weights in the layers of its value predictor that start at zero.

    Such a head predicts the same value whatever the encoder gives it, so an untrained encoder would have no read-out.
    """
    head = model.value_predictor()
    if isinstance(head, nn.Module):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in head.modules():
                if isinstance(layer, nn.Linear) and not layer.weight.any():
                    layer.reset_parameters()
    return model


def value_scorers(
    run: OpenRun,
    data: RunData,
    config: ValueReadOutConfig | None = None,
    *,
    initial: InitialModel | None = None,
    say: Callable[[str], object] = quiet,
) -> list[ValueScorer | ValueTranslator]:
    """Rows of a run for the link table: scores and the translator and, as controls, those of the untrained encoder.

    Parameters
    ----------
    run, data
        The run and what it reads.
    config
        How to read; the same cells and draws serve every row.
    initial
        Builds the model before training, whose head gets random weights (:func:`with_random_head`). None: its rows are
        left out.
    say
        Receives lines on progress, with the time left.
    """
    meta = run.meta
    read_outs = [
        ValueReadOut(run.model, data.cells, config, split_hash=meta["split_hash"], split_name=meta["split"], say=say)
    ]
    if initial is not None:
        untrained = with_random_head(initial(run.recipe, data), seed=run.recipe.seed).eval()
        read_outs.append(ValueReadOut(untrained, data.cells, config, label="untrained", say=say))
    rows: list[ValueScorer | ValueTranslator] = []
    for read_out in read_outs:
        rows += [ValueScorer(read_out, score) for score in SCORES]
        rows.append(ValueTranslator(read_out, seed=run.recipe.seed))
    return rows
