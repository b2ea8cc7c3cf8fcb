"""Score links: every scorer on the same pairs, with the same draws, under the same audit.

Dimension letters: G genes, M pairs, E edges, F folds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.config import canonical_hash
from grn_cotrain.controls import CONTROLS, Control, LinkScorer
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.split_checks import one_sided
from grn_cotrain.data.store import CellStore, array_hash
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import Bootstrap, Sample
from grn_cotrain.evaluate.control_cache import ControlCache
from grn_cotrain.evaluate.curves import (
    PER_TF_COLUMNS,
    Curves,
    pool_curves,
    scorer_curves,
    scores_of_tfs,
)
from grn_cotrain.evaluate.link_table import COLUMNS, LinkTable
from grn_cotrain.evaluate.measure import Universe, measure
from grn_cotrain.evaluate.specificity import specificity
from grn_cotrain.metrics.blocks import rank_scores
from grn_cotrain.metrics.links import MIN_POSITIVES, leave_one_out_degree, reliability
from grn_cotrain.options import Options, keywords, option

__all__ = ["LinkSettings", "evaluate_links"]

Scorers = Sequence[LinkScorer] | Callable[[EdgeSplit], Sequence[LinkScorer]]

_TWO_WAY = ("unseen-target", "unseen-both")
# Only the pooled list is balanced in every TF and every target: macro values would not be .5 for degree alone.
_MATCHED_METRICS = ("auroc", "auprc")
_MATCHED_SEED = 0
_KNOWN_REGULATOR_BELOW = 0.95
"""Genes without a known regulator get a row set of their own where they are at least a twentieth of the candidates."""


@dataclass(frozen=True, kw_only=True)
class LinkSettings(Options):
    """How a link table is made: what is audited, drawn and recorded."""

    bootstrap: int = option(1000, "Number of bootstrap replicates; 0: no intervals.", low=0)
    bootstrap_seed: int = option(0, "Random seed of the draws; keep it so that tables of several runs are paired.")
    min_positives: int = option(MIN_POSITIVES, "Minimum number of test positives of a TF for macro metrics.")
    message_2E: np.ndarray | Mapping[str, np.ndarray] | None = option(
        None, "Messages for the leak audit; of several splits, by their names."
    )
    audit_options: Mapping[str, Any] | None = option(None, "Options of the leak audit.")
    seed: int = option(0, "Random seed of the run; it is written in every row.")
    recipe_hash: str = option("", "Hash of the recipe; it is written in every row.")
    commit: str = option("", "Commit of the code; it is written in every row.")


@keywords(LinkSettings)
def evaluate_links(
    split: EdgeSplit | Sequence[EdgeSplit],
    scorers: Scorers,
    cells: CellStore | None,
    options: LinkSettings,
    *,
    cache: ControlCache | None = None,
    symbols: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> LinkTable:
    """Audit, fit, score and measure.

    Parameters
    ----------
    split
        One split, or the folds of one. Folds are pooled: metrics over TFs are means over the TFs of all folds, metrics
        of one ranked list are averaged over folds.
    scorers
        Fitted once per split, then scored on its test pairs. For folds with trained models: a function of the split. A
        scorer's ``kind`` is "control" for controls, else its attribute ``kind``, else "model"; a method
        ``probability(scores, pairs)`` adds calibration (NaN: a pair without a probability), and its ``notes`` (lines of
        text) after scoring are kept.
    cells
        Expression, or None: then scorers that need it are left out, and named.
    {options}
    cache
        Where scores of controls are kept.
    symbols
        Names of the G genes, for the scores of single TFs; default: those of ``cells``, else gene indices.
    progress
        Called with one line per scorer and split.

    Raises
    ------
    UserError
        A leak, a test without positives, scores that are not finite, or two scorers of one name.
    """
    message_2E, audit_options = options.message_2E, options.audit_options
    splits = [split] if isinstance(split, EdgeSplit) else list(split)
    if not splits:
        raise UserError("split: none given; make one with grn-prep splits")
    cells = None if cells is None else cells.genes()  # links are of genes: no control sees a peak
    cache = cache or ControlCache(None)
    messages = message_2E if isinstance(message_2E, Mapping) else {one.name: message_2E for one in splits}
    tests = [_Test.build(one, cache, cells, messages.get(one.name), dict(audit_options or {})) for one in splits]
    plan = _plan(tests, options.bootstrap, options.bootstrap_seed)
    if symbols is None:
        symbols = cells.vocab.symbols if cells is not None else [str(gene) for gene in range(splits[0].num_genes)]
    names_G = np.asarray(symbols, dtype=object)
    notes: list[str] = []
    measured: list[_Measured] = []
    for test in tests:
        chosen = list(scorers(test.split) if callable(scorers) else scorers)
        names = [scorer.name for scorer in chosen]
        if len(set(names)) < len(names):
            raise UserError(f"scorers: {', '.join(sorted({n for n in names if names.count(n) > 1}))} is given twice")
        for scorer in chosen:
            missing = scorer.missing(cells) if isinstance(scorer, Control) else None
            if missing is not None:
                notes.append(f"{scorer.name} {missing}: left out")
                continue
            if progress is not None:
                progress(f"{test.split.name}: {scorer.name}")
            measured.append(_measure_scorer(test, scorer, cells, cache, plan, options.min_positives, names_G))
            notes += getattr(scorer, "notes", ())
    if not measured:
        raise UserError("scorers: none can be scored; give controls or a model")
    notes += [note for test in tests for note in test.notes] + cache.messages
    cache.messages.clear()
    return _table(tests, measured, plan, list(dict.fromkeys(notes)), options)


@dataclass(frozen=True, eq=False)
class _Test:
    """The test pairs of one split, in three candidate sets."""

    split: EdgeSplit
    pairs_2M: np.ndarray
    hash_of_pairs: str
    universes: Mapping[str, tuple[np.ndarray | slice, Universe]]
    audit: str
    notes: tuple[str, ...]

    @classmethod
    def build(
        cls,
        split: EdgeSplit,
        cache: ControlCache,
        cells: CellStore | None,
        message_2E: np.ndarray | None,
        audit_options: dict[str, Any],
    ) -> _Test:
        report = assert_no_leak(split, message_2E, **audit_options)
        test = split.pairs("test")
        pairs_2M, labels_M = test.pairs_2M, test.labels_M
        if not labels_M.any() or labels_M.all():
            raise UserError(one_sided(split, "test"))
        hash_of_pairs = array_hash(pairs_2M)
        additive = CONTROLS.build("additive_logistic", seed=0)
        logits_M = cache.scores(additive, split, cells, pairs_2M, hash_of_pairs=hash_of_pairs).scores_M
        known_2E = split.all_positives()
        degree_M = leave_one_out_degree(pairs_2M, labels_M, known_2E, split.num_genes)
        every = Universe(pairs_2M[0], pairs_2M[1], labels_M, degree_M, logits_M)
        universes: dict[str, tuple[np.ndarray | slice, Universe]] = {"all": (slice(None), every)}
        notes = []

        matched = split.matched_pairs("test", _MATCHED_SEED)
        if matched.num_pairs:
            place_M = np.searchsorted(
                pair_keys(pairs_2M, split.num_genes), pair_keys(matched.pairs_2M, split.num_genes)
            )
            assert (pairs_2M[:, place_M] == matched.pairs_2M).all(), "matched pairs are candidates"
            universes["matched"] = (place_M, every.subset(place_M))
            lost = int(labels_M.sum()) - int(matched.labels_M.sum())
            if lost:
                notes.append(f"{split.name}: {lost:,} test positives have no degree-matched negative")
        else:
            notes.append(f"{split.name}: no test positive has a degree-matched negative")

        if not split.labelled:
            known_G = np.bincount(known_2E[1], minlength=split.num_genes) > 0
            known_M = known_G[pairs_2M[1]]
            if known_M.mean() < _KNOWN_REGULATOR_BELOW:
                place_M = np.flatnonzero(known_M)
                universes["known_regulator"] = (place_M, every.subset(place_M))
        return cls(split, pairs_2M, hash_of_pairs, universes, report.summary(), tuple(notes))


def _plan(tests: Sequence[_Test], replicates: int, seed: int) -> Bootstrap:
    """One bootstrap for all folds, so that a TF has the same weight in every fold that tests it."""
    sources = np.unique(np.concatenate([np.unique(test.pairs_2M[0]) for test in tests]))
    targets = None
    if any(test.split.kind in _TWO_WAY for test in tests):
        targets = np.unique(np.concatenate([np.unique(test.pairs_2M[1]) for test in tests]))
    return Bootstrap(sources, targets, replicates=replicates, seed=seed)


@dataclass(frozen=True, eq=False)
class _Measured:
    """One scorer on one split."""

    split: str
    scorer: str
    kind: str
    seconds: float
    samples: Mapping[tuple[str, str], Sample]  # by candidates and metric
    reliability: pd.DataFrame | None
    per_tf: pd.DataFrame
    curves: Curves


def _measure_scorer(
    test: _Test,
    scorer: LinkScorer,
    cells: CellStore | None,
    cache: ControlCache,
    plan: Bootstrap,
    min_positives: int,
    names_G: np.ndarray,
) -> _Measured:
    if isinstance(scorer, Control):
        found = cache.scores(scorer, test.split, cells, test.pairs_2M, hash_of_pairs=test.hash_of_pairs)
        scores_M, seconds, kind = found.scores_M, found.seconds, "control"
    else:
        start = time.perf_counter()
        scores_M = np.asarray(scorer.fit(test.split, cells).score(test.pairs_2M), dtype=np.float32)
        seconds, kind = time.perf_counter() - start, str(getattr(scorer, "kind", "model"))
    if scores_M.shape != (test.pairs_2M.shape[1],):
        raise UserError(f"scorer '{scorer.name}': {scores_M.shape} scores for {test.pairs_2M.shape[1]} pairs")
    bad = int((~np.isfinite(scores_M)).sum())
    if bad:
        raise UserError(f"scorer '{scorer.name}': {bad:,} of {scores_M.size:,} scores are not finite; mend the scorer")
    to_probability = getattr(scorer, "probability", None)
    probability_M = None
    if to_probability is not None:
        probability_M = np.asarray(to_probability(scores_M, test.pairs_2M), dtype=np.float64)
    given_M = None if probability_M is None else np.isfinite(probability_M)
    if given_M is not None and not given_M.any():
        probability_M = None

    ranking, every = rank_scores(scores_M), test.universes["all"][1]
    samples: dict[tuple[str, str], Sample] = {}
    for candidates, (place, universe) in test.universes.items():
        measured = measure(
            universe,
            scores_M[place],
            plan,
            # Probabilities are calibrated for all candidates: elsewhere the prevalence is another.
            probability_M=probability_M if candidates == "all" and given_M is not None and given_M.all() else None,
            min_positives=min_positives,
            ranking=ranking if candidates == "all" else None,
        )
        if candidates == "all":
            chosen = (universe.sources_M, universe.targets_M, universe.labels_M)
            measured |= specificity(*chosen, scores_M, plan, min_positives=min_positives)
        wanted = _MATCHED_METRICS if candidates == "matched" else tuple(measured)
        samples |= {(candidates, metric): measured[metric] for metric in wanted}
    bins = None
    if probability_M is not None:
        bins = reliability(probability_M[given_M], every.labels_M[given_M])
    per_tf = scores_of_tfs(ranking, every.labels_M, every.sources_M, min_positives=min_positives)
    per_tf["tf"] = names_G[per_tf.pop("source")]
    curves = scorer_curves(ranking, every.labels_M, probability_M)
    return _Measured(test.split.name, scorer.name, kind, seconds, samples, bins, per_tf, curves)


def _table(
    tests: Sequence[_Test],
    measured: Sequence[_Measured],
    plan: Bootstrap,
    notes: list[str],
    options: LinkSettings,
) -> LinkTable:
    by_name = {test.split.name: test.split for test in tests}
    hashes = {name: split.content_hash for name, split in by_name.items()}
    tracks = {name: split.track for name, split in by_name.items()}
    headline = tests[0].split.name
    everything = list(measured)
    if len(tests) > 1:
        headline = f"{re.sub(r'-fold[0-9]+$', '', headline)}-{len(tests)}folds"
        hashes[headline], tracks[headline] = (
            canonical_hash([hashes[test.split.name] for test in tests]),
            tests[0].split.track,
        )
        pooled, missing = _pool(measured, headline, len(tests))
        everything = pooled + everything
        notes += [f"{name} was not scored on every fold: it has no pooled row" for name in missing]

    rows: list[tuple[Any, ...]] = []
    replicates: list[np.ndarray] = []
    for one in everything:
        for (candidates, metric), sample in one.samples.items():
            value, low, high = sample.interval()
            rows.append(
                (
                    one.split,
                    one.scorer,
                    one.kind,
                    metric,
                    value,
                    low,
                    high,
                    sample.num_tfs,
                    sample.num_pairs,
                    sample.prevalence,
                    one.seconds,
                    options.seed,
                    tracks[one.split],
                    candidates,
                    hashes[one.split],
                    options.recipe_hash,
                    options.commit,
                )
            )
            replicates.append(sample.values_C[1:].astype(np.float32))
    curves = pd.concat(
        [one.curves.frame(split=one.split, scorer=one.scorer, kind=one.kind) for one in everything], ignore_index=True
    )
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({k: v for k, v in COLUMNS.items() if v != "str"})
    return LinkTable(
        frame=frame,
        replicates_LB=np.stack(replicates),
        # Pairing needs the same pairs too, not only the same draws.
        keys={name: f"{plan.key}-{value}" for name, value in hashes.items()},
        two_way=plan.two_way,
        headline_split=headline,
        audits={test.split.name: test.audit for test in tests},
        notes=notes,
        reliability={
            f"{one.split}/{one.scorer}": one.reliability.to_dict(orient="records")
            for one in measured
            if one.reliability is not None
        },
        per_tf=pd.concat(
            [one.per_tf.assign(split=one.split, scorer=one.scorer, kind=one.kind) for one in everything],
            ignore_index=True,
        )[list(PER_TF_COLUMNS)],
        curves=curves,
    )


def _pool(measured: Sequence[_Measured], name: str, num_folds: int) -> tuple[list[_Measured], list[str]]:
    """Put the folds of each scorer together; scorers that miss a fold are named instead."""
    pooled, missing = [], []
    for scorer in dict.fromkeys(one.scorer for one in measured):
        folds = [one for one in measured if one.scorer == scorer]
        if len(folds) < num_folds:
            missing.append(scorer)
            continue
        keys = [key for key in folds[0].samples if all(key in fold.samples for fold in folds)]
        samples = {key: Sample.combine([fold.samples[key] for fold in folds]) for key in keys}
        seconds = sum(fold.seconds for fold in folds)
        per_tf = pd.concat([fold.per_tf for fold in folds], ignore_index=True)
        curves = pool_curves([fold.curves for fold in folds])
        pooled.append(_Measured(name, scorer, folds[0].kind, seconds, samples, None, per_tf, curves))
    return pooled, missing
