"""Score any pairs by name: what ``grn-cotrain score`` and ``tl.score_edges`` share.

Dimension letters: N rows of the file, M pairs with both genes known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.data.io.edges import read_edges
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.files import atomic_file
from grn_cotrain.text_tables import write_delimited

__all__ = ["ScoredPairs", "score_named", "score_pairs"]

_SIDES = ("source", "target")


@dataclass(frozen=True)
class ScoredPairs:
    """``frame``: ``source, target, score`` and, where there was validation, ``probability``; ``unknown``: gene names.

    Pairs with an unknown gene keep their row, with empty score and probability.
    """

    frame: pd.DataFrame
    unknown: list[str]
    has_probability: bool

    def lines(self) -> list[str]:
        """What a user should read, one fact a line."""
        lines = [f"{int(self.frame['score'].notna().sum()):,} of {len(self.frame):,} pairs scored"]
        if self.unknown:
            named = name_some(self.unknown, 20)
            lines.append(f"{len(self.unknown):,} genes are unknown to the model, their pairs have no score: {named}")
        if not self.has_probability:
            lines.append("no probabilities: the run's split has no validation pairs to calibrate on")
        return lines


def score_named(run: str | Path, pairs: pd.DataFrame, *, what: str = "pairs") -> ScoredPairs:
    """Score every row of a table of names.

    Parameters
    ----------
    run
        Run folder.
    pairs
        Columns ``source`` and ``target``: symbols or Ensembl ids.
    what
        What the error calls the table.

    Raises
    ------
    UserError
        No pair has both genes in the model's vocabulary; no model; a column is missing.
    """
    missing = [side for side in _SIDES if side not in pairs.columns]
    if missing:
        raise UserError(f"{what}: no column '{missing[0]}'; give source and target")
    scorer = ModelScorer(run)
    vocab = scorer.model.vocab
    given = pairs[list(_SIDES)].astype(str)
    index_2N = np.array(
        [[-1 if (found := vocab.get(name)) is None else found for name in given[side]] for side in _SIDES],
        dtype=np.int64,
    ).reshape(2, -1)
    known_N = (index_2N >= 0).all(axis=0)
    unknown = sorted({name for row, side in enumerate(_SIDES) for name in given[side][index_2N[row] < 0]})
    if not known_N.any():
        named = ", ".join(unknown[:5])
        raise UserError(f"{what}: no pair has both genes in the model's vocabulary (unknown: {named}, ...)")
    scores_M = scorer.score(index_2N[:, known_N])
    frame = given.reset_index(drop=True).assign(score=np.nan)
    frame.loc[known_N, "score"] = scores_M
    if scorer.probability is not None:
        frame["probability"] = np.nan
        frame.loc[known_N, "probability"] = scorer.probability(scores_M)
    return ScoredPairs(frame, unknown, scorer.probability is not None)


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
    scored = score_named(run, read_edges(pairs), what=f"--pairs '{pairs}'")
    with atomic_file(out) as temporary:
        write_delimited(scored.frame, temporary, float_format="%.6g")
    for line in scored.lines():
        say(line)
    return scored
