"""Score any pairs by name: the function behind ``grn-cotrain score``.

Dimension letters: N rows of the file, M pairs with both genes known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.data.io.edges import read_edges
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.files import atomic_file

__all__ = ["ScoredPairs", "score_pairs"]


@dataclass(frozen=True)
class ScoredPairs:
    """``frame``: ``source, target, score`` and, where there was validation, ``probability``; ``unknown``: gene names.

    Pairs with an unknown gene keep their row, with empty score and probability.
    """

    frame: pd.DataFrame
    unknown: list[str]
    has_probability: bool


def score_pairs(
    run: str | Path, pairs: str | Path, out: str | Path, *, say: Callable[[str], None] = print
) -> ScoredPairs:
    """Score every pair of a file and write a TSV.

    Parameters
    ----------
    run
        Run folder.
    pairs
        TSV or CSV of TF, target; any edge list that ``grn-prep grn`` reads.
    out
        TSV to write; ``probability`` is Platt-scaled on validation pairs, for their prevalence.

    Raises
    ------
    UserError
        No pair has both genes in the model's vocabulary; no model; unreadable file.
    """
    scorer = ModelScorer(run)
    vocab = scorer.model.vocab
    given = read_edges(pairs)[["source", "target"]].astype(str)
    index_2N = np.array(
        [
            [-1 if (found := vocab.get(name)) is None else found for name in given[side]]
            for side in ("source", "target")
        ],
        dtype=np.int64,
    ).reshape(2, -1)
    known_N = (index_2N >= 0).all(axis=0)
    unknown = sorted({name for row, side in enumerate(("source", "target")) for name in given[side][index_2N[row] < 0]})
    if not known_N.any():
        named = ", ".join(unknown[:5])
        raise UserError(f"--pairs '{pairs}': no pair has both genes in the model's vocabulary (unknown: {named}, ...)")
    scores_M = scorer.score(index_2N[:, known_N])
    frame = given.reset_index(drop=True).assign(score=np.nan)
    frame.loc[known_N, "score"] = scores_M
    if scorer.probability is not None:
        frame["probability"] = np.nan
        frame.loc[known_N, "probability"] = scorer.probability(scores_M)
    with atomic_file(out) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    say(f"{int(known_N.sum()):,} of {len(frame):,} pairs scored")
    if unknown:
        named = ", ".join(unknown[:20]) + (f" and {len(unknown) - 20:,} more" if len(unknown) > 20 else "")
        say(f"{len(unknown):,} genes are unknown to the model, their pairs have no score: {named}")
    if scorer.probability is None:
        say("no probabilities: the run's split has no validation pairs to calibrate on")
    return ScoredPairs(frame, unknown, scorer.probability is not None)
