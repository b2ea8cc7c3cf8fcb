"""One probe: a linear map fitted on some genes and tested on others, for the embedding and for every control.

Each label set of a probe (a TF's targets, a chromosome, a pathway) is a *task*. Genes are divided into folds; the map
is fitted without a fold and ranks the genes of that fold. A positive is compared with negatives of its own fold only,
since scores of different maps have no common scale. The headline is the mean AUROC over tasks.

Intervals come from one bootstrap over genes and tasks, with the same draws for embedding and controls, so differences
are paired. They hold the fitted maps fixed: they show how far the result depends on the genes and tasks tested, and are
a little narrow for a single question (of random vectors 13 % instead of 5 % fell outside; means over tasks: 1 %). Two
equally good sets of features were called different in 3 % of single questions and in none over 12 tasks (simulated).

**What is claimed**: a probe *beats its controls* when the interval of its difference to the best control, chosen after
the fact in the controls' favour, is above zero, on enough tasks and positives, and training did not show the answer to
the embedding.

Dimension letters: G genes, K tasks, D features, M pairs of task and gene, R groups (task x fold), B bootstrap columns
(column 0: no resampling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from grn_cotrain.card.probes.features import TITLES
from grn_cotrain.card.ridge import out_of_fold
from grn_cotrain.evaluate.bootstrap import Bootstrap, Interval, interval
from grn_cotrain.metrics.blocks import block_auroc, block_average_precision, rank_scores, tie_blocks
from grn_cotrain.present import measured

__all__ = ["MIN_POSITIVES", "MIN_TASKS", "FeatureScore", "NotRun", "Probe", "ProbeResult", "TaskScore", "run_probe"]

Kind = Literal["claim", "negative control", "circular"]
MIN_POSITIVES = 20
"""A probe of a single task with fewer positives supports no claim."""
MIN_TASKS = 10
"""A probe of several tasks with fewer of them supports no claim."""
_EMBEDDING = "embedding"
_ALONE = 2  # fewer positives do not measure a task


@dataclass(frozen=True, eq=False)
class Probe:
    """Question of a probe.

    Attributes
    ----------
    name, title, question
        Name in files, name in tables, and description.
    kind
        ``claim``; ``negative control`` (should be at chance); ``circular`` (training showed the answer).
    tasks
        Name of each task.
    fit_GK
        bool, labels that the map is fitted on.
    folds_G
        Fold of each gene; -1: neither fitted nor tested.
    truth_GK, tested_GK
        Labels and genes tested; by default those that it is fitted on, all of them.
    notes
        Notes for the reader.
    is_single
        One question about genes (TF or not), not a mean over tasks: positives are counted, not tasks.
    """

    name: str
    title: str
    question: str
    kind: Kind
    tasks: Sequence[str]
    fit_GK: np.ndarray
    folds_G: np.ndarray
    truth_GK: np.ndarray | None = None
    tested_GK: np.ndarray | None = None
    notes: Sequence[str] = ()
    is_single: bool = False


@dataclass(frozen=True)
class NotRun:
    """A probe that could not be run, and why."""

    name: str
    title: str
    question: str
    reason: str


@dataclass(frozen=True)
class FeatureScore:
    """Result of one set of features: mean over tasks of AUROC and average precision, with intervals."""

    features: str
    auroc: Interval
    average_precision: Interval


@dataclass(frozen=True)
class TaskScore:
    """One task: positives tested, AUROC from the embedding and from the probe's best control."""

    task: str
    num_positives: int
    auroc: float
    control_auroc: float


@dataclass(frozen=True)
class ProbeResult:
    """Result of a probe; ``is_single``: one question, not a mean over tasks.

    Attributes
    ----------
    num_tasks, num_genes, num_positives, num_folds
        Sizes of the test; ``num_positives`` counts pairs of task and gene.
    prevalence
        Mean share of positives among tested genes: the average precision of chance.
    scores
        Embedding first, then the controls.
    best_control
        Control of the best AUROC.
    difference
        Embedding minus best control (AUROC), paired.
    beats_controls
        See the module; False for what is circular or a negative control.
    at_chance
        Whether .5 is in the interval of the embedding's AUROC.
    words
        The verdict as a sentence.
    per_task
        Every task, by falling AUROC of the embedding.
    """

    name: str
    title: str
    question: str
    kind: Kind
    is_single: bool
    num_tasks: int
    num_genes: int
    num_positives: int
    num_folds: int
    prevalence: float
    scores: tuple[FeatureScore, ...]
    best_control: str
    difference: Interval
    beats_controls: bool
    at_chance: bool
    words: str
    notes: tuple[str, ...]
    per_task: tuple[TaskScore, ...]


def run_probe(
    probe: Probe, features: Mapping[str, np.ndarray], *, replicates: int = 200, seed: int = 0
) -> ProbeResult | NotRun:
    """Fit and test ``probe`` on every set of features; ``features`` holds ``embedding`` and at least one control."""
    truth_GK = probe.fit_GK if probe.truth_GK is None else probe.truth_GK
    tested_GK = np.ones(truth_GK.shape, dtype=bool) if probe.tested_GK is None else probe.tested_GK
    tested_GK = tested_GK & (probe.folds_G >= 0)[:, None]
    gene_M, task_M = np.nonzero(tested_GK)
    labels_M = truth_GK[gene_M, task_M]
    positives_K = np.bincount(task_M[labels_M], minlength=len(probe.tasks))
    if not (positives_K >= _ALONE).any():
        return NotRun(probe.name, probe.title, probe.question, f"no task has {_ALONE} positives among the genes tested")
    draws = Bootstrap(np.arange(len(probe.tasks)), np.arange(len(truth_GK)), replicates=replicates, seed=seed)
    results = {}
    for name, rows_GD in features.items():
        scores_GK = out_of_fold(rows_GD, probe.fit_GK, probe.folds_G)
        results[name] = _measure(scores_GK[gene_M, task_M], labels_M, gene_M, task_M, probe.folds_G, draws)
    auroc = {name: np.array(_macro(result[0], draws)) for name, result in results.items()}
    precision = {name: np.array(_macro(result[1], draws)) for name, result in results.items()}
    controls = [name for name in features if name != _EMBEDDING and np.isfinite(auroc[name][0])]
    best = max(controls, key=lambda name: float(auroc[name][0]))
    change_B = auroc[_EMBEDDING] - auroc[best]
    difference = interval(float(change_B[0]), change_B[1:])
    mine = interval(float(auroc[_EMBEDDING][0]), auroc[_EMBEDDING][1:])
    num_tasks = int(np.isfinite(results[_EMBEDDING][0][:, 0]).sum())
    enough = int(positives_K.sum()) >= MIN_POSITIVES if probe.is_single else num_tasks >= MIN_TASKS
    at_chance = bool(mine.low <= 0.5 <= mine.high)
    beats = bool(probe.kind == "claim" and enough and difference.low > 0)
    per_task = [
        TaskScore(name, int(positives_K[k]), float(results[_EMBEDDING][0][k, 0]), float(results[best][0][k, 0]))
        for k, name in enumerate(probe.tasks)
        if np.isfinite(results[_EMBEDDING][0][k, 0])
    ]
    return ProbeResult(
        name=probe.name,
        title=probe.title,
        question=probe.question,
        kind=probe.kind,
        is_single=probe.is_single,
        num_tasks=num_tasks,
        num_genes=len(np.unique(gene_M)),
        num_positives=int(positives_K.sum()),
        num_folds=len(np.unique(probe.folds_G[probe.folds_G >= 0])),
        prevalence=float((positives_K / np.maximum(np.bincount(task_M, minlength=len(probe.tasks)), 1)).mean()),
        scores=tuple(
            FeatureScore(
                name,
                interval(float(auroc[name][0]), auroc[name][1:]),
                _centred(precision[name]),
            )
            for name in features
        ),
        best_control=best,
        difference=difference,
        beats_controls=beats,
        at_chance=at_chance,
        words=_words(probe.kind, mine, best, difference, enough=enough, is_single=probe.is_single),
        notes=tuple(probe.notes),
        per_task=tuple(sorted(per_task, key=lambda task: -task.auroc)),
    )


def _centred(values_B: np.ndarray) -> Interval:
    """Interval around the value: a gene drawn twice is ranked next to itself, which favours average precision."""
    value, replicates_B = float(values_B[0]), values_B[1:]
    defined_B = replicates_B[np.isfinite(replicates_B)]
    return interval(value, replicates_B - defined_B.mean() + value if defined_B.size else replicates_B)


def _measure(
    scores_M: np.ndarray,
    labels_M: np.ndarray,
    gene_M: np.ndarray,
    task_M: np.ndarray,
    folds_G: np.ndarray,
    draws: Bootstrap,
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision of each task in each bootstrap column, ``[K, B]``; NaN where undefined."""
    num_tasks, num_folds = len(draws.sources_S), int(folds_G.max()) + 1
    group_M = task_M * num_folds + folds_G[gene_M]
    blocks = tie_blocks(rank_scores(scores_M), labels_M, group_M)
    weights_GB = draws.target_weight_NC
    assert weights_GB is not None
    # A block's weight in a replicate is the sum over its genes of how often each was drawn: one sparse product.
    bounds_K = np.append(blocks.start_K, len(blocks.order_O))
    gene_O, label_O = gene_M[blocks.order_O], labels_M[blocks.order_O].astype(np.float32)
    shape = (blocks.num_blocks, len(weights_GB))
    total_BK = (sparse.csr_matrix((np.ones_like(label_O), gene_O, bounds_K), shape=shape) @ weights_GB).T
    positive_BK = (sparse.csr_matrix((label_O, gene_O, bounds_K), shape=shape) @ weights_GB).T
    positive_BK, negative_BK = positive_BK.astype(np.float64), (total_BK - positive_BK).astype(np.float64)
    first_R = blocks.first_R
    task_R = blocks.group_R // num_folds
    weight_BR = np.add.reduceat(positive_BK, first_R, axis=1)
    values = []
    for metric in (block_auroc, block_average_precision):
        value_BR = metric(positive_BK, negative_BK, first_R)
        defined_BR = np.isfinite(value_BR)
        # Folds are averaged by their positives; a fold that a replicate left without a class drops out.
        to_task = sparse.csr_matrix(
            (np.ones(len(task_R)), (task_R, np.arange(len(task_R)))), shape=(num_tasks, len(task_R))
        )
        numerator_KB = to_task @ np.where(defined_BR, value_BR * weight_BR, 0).T
        denominator_KB = to_task @ np.where(defined_BR, weight_BR, 0).T
        values.append(
            np.divide(numerator_KB, denominator_KB, out=np.full(numerator_KB.shape, np.nan), where=denominator_KB > 0)
        )
    return values[0], values[1]


def _macro(values_KB: np.ndarray, draws: Bootstrap) -> np.ndarray:
    """Mean over tasks in each bootstrap column, each task as often as it was drawn."""
    weight_KB = np.where(np.isfinite(values_KB), draws.source_weight_SC, 0)
    total_B = weight_KB.sum(axis=0)
    sums_B = (weight_KB * np.nan_to_num(values_KB)).sum(axis=0)
    return np.divide(sums_B, total_B, out=np.full(total_B.shape, np.nan), where=total_B > 0)


def _words(kind: Kind, mine: Interval, best: str, difference: Interval, *, enough: bool, is_single: bool) -> str:
    change = measured(*difference, sign=True)
    beside = f"AUROC {measured(*mine)}, {change} against the best control ({TITLES.get(best, best)})"
    if kind == "circular":
        return f"no claim: training showed the answer ({beside})"
    if kind == "negative control":
        if mine.low <= 0.5 <= mine.high:
            return f"at chance, as it should be ({beside})"
        if mine.high < 0.5:
            return f"below chance, which no information can do: chance alone, or too few genes ({beside})"
        if difference.low > 0:
            return f"ABOVE CHANCE and above every control: look for a leak ({beside})"
        return (
            f"above chance, as its controls are: genes of one family are neighbours and look alike ({beside})"
            if difference.high >= 0
            else f"above chance, but below its best control: gene families, no leak ({beside})"
        )
    if not enough:
        least = f"{MIN_POSITIVES} positives" if is_single else f"{MIN_TASKS} tasks"
        return f"no claim: fewer than {least} ({beside})"
    if difference.low > 0:
        return f"BEATS ITS CONTROLS ({beside})"
    if difference.high < 0:
        return f"no claim: below its best control ({beside})"
    return f"no claim: level with its best control ({beside})"
