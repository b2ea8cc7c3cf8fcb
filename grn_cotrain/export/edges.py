"""Every TF x gene pair scored, the best kept: the network that a run predicts.

Dimension letters: G genes, M pairs, N targets, S sources of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import Progress
from grn_cotrain.data.io.name_lists import read_names
from grn_cotrain.data.vocab import FeatureVocab, name_some
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.export.best_pairs import BestPairs
from grn_cotrain.export.edge_ranking import (
    PairScores,
    RankBy,
    ScoreTable,
    list_overlap,
    own_columns,
)
from grn_cotrain.export.explain import explain
from grn_cotrain.export.known_edges import PARTS, KnownEdges, known_edges, pair_correlations
from grn_cotrain.export.predicted_edges import COLUMNS, PredictedEdges
from grn_cotrain.jobs.edges import MOST_EDGES, EdgeOptions
from grn_cotrain.metrics.platt import Calibration
from grn_cotrain.options import keywords

__all__ = ["edge_rows", "predict_edges"]

_SIGNIFICANT = 1.96  # standard errors of a correlation: p < 0.05, two-sided


@torch.no_grad()
@keywords(EdgeOptions)
def predict_edges(
    run: str | Path | OpenRun,
    options: EdgeOptions,
    *,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> PredictedEdges:
    """Score all TF x gene pairs of a run and keep the best, in memory that depends on what is kept alone.

    Parameters
    ----------
    run
        Run folder.
    {options}
    say, progress
        Receive notes; the number of TFs done and in all.

    Returns
    -------
    PredictedEdges

    Raises
    ------
    UserError
        No model; no name known; numbers out of range; a probability asked for where there is none; known edges left
        out where they are unknown; more rows than :data:`MOST_EDGES`.
    """
    opened = OpenRun.of(run, prep=options.prep, side="links")
    scorer = ModelScorer(opened)
    run, top, min_probability = opened.folder.folder, options.top, options.min_probability
    withheld = {} if scorer.calibration is None else scorer.calibration.failed
    calibration = None if scorer.calibration is None else scorer.calibration.trusted
    if min_probability is not None and calibration is None:
        why = "; ".join(withheld.values()) or "its split has no validation pairs to calibrate on"
        raise UserError(
            f"--min-probability '{min_probability:g}': run '{run}' has no probabilities, as {why}; give --top instead"
        )
    known, notes = known_edges(opened)
    for note in notes:
        say(note)
    if options.known != "keep" and known.origin == "none":
        raise UserError(f"--known '{options.known}': the known edges of run '{run}' cannot be determined; give --prep")
    vocab = scorer.model.vocab
    rank_by: RankBy = options.rank_by or ("specific" if options.known == "drop" else "score")
    sources_S = known.sources_S if options.tfs is None else _named(vocab, options.tfs, "--tfs", say)
    targets_N = _all_targets(vocab) if options.targets is None else _named(vocab, options.targets, "--targets", say)
    if options.tfs is not None and known.origin != "none":
        _tell_untrained(vocab, known, sources_S, say)
    num_candidates = sources_S.size * targets_N.size - int(np.isin(sources_S, targets_N).sum())
    most_S = _most_per_tf(known, sources_S, options.top_per_tf, targets_N.size)
    _check_rows(num_candidates, most_S, top, min_probability)

    unscaled: dict[str, int] = {}
    best = BestPairs(known.num_genes, top=top, limit=MOST_EDGES)
    scores = PairScores(scorer.model, opened.encoder.genes.linked_GD)
    table = ScoreTable.of(scores, known.sources_S, _all_targets(vocab), known.new)
    for first, tile_S in scores.tiles(sources_S):
        scores_SN = scores.block(tile_S)[:, targets_N]
        allowed_SN = tile_S[:, None] != targets_N[None, :]
        if options.known != "keep":
            at_SN = known.at(tile_S[:, None] * np.int64(known.num_genes) + targets_N[None, :])
            allowed_SN &= (at_SN >= 0) == (options.known == "only")
        if min_probability is not None:
            assert calibration is not None
            pairs_2M = np.stack(np.broadcast_arrays(tile_S[:, None], targets_N[None, :])).reshape(2, -1)
            probability_M = calibration.probability(scores_SN.ravel(), pairs_2M)
            for kind, number in calibration.missing(pairs_2M[:, allowed_SN.ravel()]).items():
                unscaled[kind] = unscaled.get(kind, 0) + number
            allowed_SN &= (probability_M >= min_probability).reshape(allowed_SN.shape)
        most = None if most_S is None else most_S[first : first + len(tile_S)]
        keys_SN = scores_SN
        if rank_by == "specific":
            evidence_SN = scores.evidence(tile_S, targets_N) if table.uses_sum and scores.has_evidence else None
            keys_SN = table.keys(scores_SN, allowed_SN, evidence_SN, targets_N)
        best.add(tile_S, targets_N, keys_SN, allowed_SN, most_S=most)
        if progress is not None:
            progress(first + len(tile_S), sources_S.size)
    pairs_2M, scores_M = best.sorted()
    if rank_by == "specific" and scores_M.size:
        scores_M = scorer.score(pairs_2M)
    for kind, number in unscaled.items():
        why = "their probabilities are withheld" if kind in withheld else "no validation pairs are of their kind"
        say(f"{number:,} pairs have no probability and are left out: {why} ({kind})")
    if not scores_M.size:
        raise UserError(
            f"run '{run}': no pair is left of {num_candidates:,}"
            f" (--min-probability '{min_probability}', --known '{options.known}'); ask for less"
        )
    return PredictedEdges(
        frame=edge_rows(vocab, pairs_2M, scores_M, known, calibration).assign(
            **own_columns(scores, table, pairs_2M, targets_N), **(explain(opened, pairs_2M) if options.explain else {})
        ),
        vocab=vocab,
        identity=opened.identity,
        scorer=scorer.name,
        num_candidates=num_candidates,
        labels=known.origin,
        num_train=int(known.train_sources.size),
        prevalence=None if calibration is None else calibration.main.prevalence,
        num_calibration=None if calibration is None else calibration.main.num_pairs,
        uncalibrated={} if calibration is None else calibration.missing(pairs_2M),
        withheld=withheld,
        rank_by=rank_by,
        pair_share=table.pair_share,
        overlap=list_overlap(pairs_2M, known.num_genes),
    )


def _most_per_tf(
    known: KnownEdges, sources_S: np.ndarray, top_per_tf: int | str | None, num_targets: int
) -> np.ndarray | None:
    """Edges to keep of each source."""
    if top_per_tf is None:
        return None
    if isinstance(top_per_tf, int):
        return np.full(sources_S.size, min(top_per_tf, num_targets))
    if known.origin == "none":
        raise UserError("--top-per-tf 'training': the training edges cannot be determined; give --prep, or a number")
    return np.bincount(known.train_sources, minlength=known.num_genes)[sources_S]


def _check_rows(num_candidates: int, most_S: np.ndarray | None, top: int | None, min_probability: float | None) -> None:
    most = num_candidates if most_S is None else min(num_candidates, int(most_S.sum()))
    if top is None and min_probability is None and most > MOST_EDGES:
        raise UserError(
            f"--top: {most:,} pairs would be kept, more than one table holds ({MOST_EDGES:,}); give --top, --top-per-tf"
            " or --min-probability"
        )


def _all_targets(vocab: FeatureVocab) -> np.ndarray:
    return np.flatnonzero(np.asarray(vocab.is_token) & (np.asarray(vocab.modality) == "gene"))


def _listed(text: str, what: str, say: Callable[[str], None]) -> list[str]:
    """Names of a file, one a line, or listed with commas."""
    if Path(text).is_file():
        notes: list[str] = []
        names = read_names(text, what=what, notes=notes)
        for note in notes:
            say(f"{what}: {note}")
        return names
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or "/" in text:
        raise UserError(f"{what} '{text}': no such file, and no names; give a file of names, or names with commas")
    return names


def _named(vocab: FeatureVocab, names: str | Sequence[str], what: str, say: Callable[[str], None]) -> np.ndarray:
    """Gene indices of names, sorted and distinct; unknown ones are reported."""
    if isinstance(names, str):
        names = _listed(names, what, say)
    found = {name: vocab.get(name, "gene") for name in dict.fromkeys(names)}
    unknown = [name for name, index in found.items() if index is None]
    if len(unknown) == len(found):
        near = ""
        if unknown:
            try:
                vocab.index(unknown[0])
            except UserError as error:
                near = f"; {error}"
        raise UserError(f"{what}: none of {len(found):,} names is a gene of the model{near}")
    if unknown:
        say(
            f"{len(unknown):,} of {len(found):,} {what[2:]} are unknown to the model and left out: {name_some(unknown)}"
        )
    return np.unique([index for index in found.values() if index is not None]).astype(np.int64)


def _tell_untrained(vocab: FeatureVocab, known: KnownEdges, sources_S: np.ndarray, say: Callable[[str], None]) -> None:
    untrained = [vocab.symbols[i] for i in np.setdiff1d(sources_S, known.train_sources)]
    if untrained:
        named = name_some(untrained)
        say(f"{len(untrained):,} TFs have no training edge, so their scores are the least certain: {named}")


def edge_rows(
    vocab: FeatureVocab, pairs_2M: np.ndarray, scores_M: np.ndarray, known: KnownEdges, calibration: Calibration | None
) -> pd.DataFrame:
    """Columns of :class:`PredictedEdges` for scored pairs, in the order given; ``calibration`` None: no probability."""
    symbols = np.asarray(vocab.symbols, dtype=object)
    at_M = known.at(pairs_2M[0] * np.int64(known.num_genes) + pairs_2M[1])
    is_known_M = at_M >= 0
    part_M = np.where(is_known_M, known.part_E[at_M] if known.part_E.size else 0, 0)
    sign_M = np.where(is_known_M, known.sign_E[at_M] if known.sign_E.size else 0, 0).astype(np.int8)
    origin_M = np.where(sign_M != 0, "network", "").astype(object)
    correlation_M = np.full(scores_M.size, np.nan, dtype=np.float32)
    if known.cells is not None:
        found_M, num_cells = pair_correlations(known.cells, pairs_2M)
        correlation_M = found_M.astype(np.float32)
        told_M = (sign_M == 0) & (np.abs(found_M) >= _SIGNIFICANT / np.sqrt(num_cells))
        sign_M = np.where(told_M, np.sign(found_M), sign_M).astype(np.int8)
        origin_M[told_M] = "correlation"
    evidence_M = np.full(scores_M.size, "", dtype=object)
    evidence_M[is_known_M] = known.evidence_E[at_M[is_known_M]]
    columns = {
        "source": symbols[pairs_2M[0]],
        "target": symbols[pairs_2M[1]],
        "score": scores_M,
        "probability": (
            np.full(scores_M.size, np.nan) if calibration is None else calibration.probability(scores_M, pairs_2M)
        ),
        "sign": sign_M,
        "sign_source": origin_M,
        "correlation": correlation_M,
        "known": np.asarray(PARTS, dtype=object)[part_M],
        "evidence": evidence_M,
        "shared_by": np.bincount(pairs_2M[1], minlength=len(symbols))[pairs_2M[1]],
        "target_mean": np.full(scores_M.size, np.nan),
        "evidence_rank": np.zeros(scores_M.size, dtype=np.int64),
        "channels": np.full(scores_M.size, "", dtype=object),
    }
    # Object columns share one copy of each name; text columns would hold millions.
    return pd.DataFrame({name: pd.Series(columns[name], dtype=columns[name].dtype) for name in COLUMNS})
