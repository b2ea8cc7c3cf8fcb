"""Score any pairs by name: what ``grn-cotrain score`` and ``tl.score_edges`` share.

Dimension letters: N rows of the file, M pairs with both genes known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.data.diagnosis import respell
from grn_cotrain.data.io.columns import find_ends
from grn_cotrain.data.io.edges import load_pairs
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

    Every row that was given is there, in order. Pairs with an unknown gene have an empty score and probability.
    ``respelled``: names that were found with dots for dashes, and the gene they were taken for. ``withheld``: sentences
    on kinds of pairs whose calibration failed.
    """

    frame: pd.DataFrame
    unknown: list[str]
    has_probability: bool
    respelled: list[tuple[str, str]] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Lines for the user, one fact a line."""
        lines = [f"{int(self.frame['score'].notna().sum()):,} of {len(self.frame):,} pairs scored"]
        if self.unknown:
            named = name_some(self.unknown, 20)
            lines.append(f"{len(self.unknown):,} genes are unknown to the model, their pairs have no score: {named}")
        if self.respelled:
            pairs = [f"{given} -> {gene}" for given, gene in self.respelled]
            lines.append(f"{len(pairs):,} genes were found with dots for dashes: {name_some(pairs, 3)}")
        if not self.has_probability and not self.withheld:
            lines.append("no probabilities: the run's split has no validation pairs to calibrate on")
        lines += self.withheld
        return lines


def score_named(run: str | Path, pairs: pd.DataFrame, *, what: str = "pairs") -> ScoredPairs:
    """Score every row of a table of names; rows stay where they are, repeated ones too.

    Parameters
    ----------
    run
        Run folder.
    pairs
        Columns of TF and target under any known names (``source``, ``TF``; ``target``, ``gene``): symbols or Ensembl
        ids, in any case.
    what
        Name of the table in errors.

    Returns
    -------
    ScoredPairs
        One row a row of ``pairs``, in order.

    Raises
    ------
    UserError
        No pair has both genes in the model's vocabulary; no model; no column is known as the TF or the target.
    """
    given = _ends(pairs, what)
    scorer = ModelScorer(run)
    vocab = scorer.model.vocab
    names = pd.unique(pd.concat([given[side] for side in _SIDES]))
    index_of = {name: vocab.get(name) for name in names}
    lost = [name for name, found in index_of.items() if found is None and name]
    dotted = respell(lost, vocab.symbols)
    index_of |= {name: vocab.get(feature) for name, feature in dotted.items()}
    index_2N = np.array(
        [[-1 if (found := index_of[name]) is None else found for name in given[side]] for side in _SIDES],
        dtype=np.int64,
    ).reshape(2, -1)
    known_N = (index_2N >= 0).all(axis=0)
    unknown = sorted(name for name, found in index_of.items() if found is None and name)
    if not known_N.any():
        named = name_some(unknown, 5) or "none"
        why = f"; {vocab.diagnose(unknown, 'the table', aliases=False)}" if unknown else ""
        raise UserError(f"{what}: no pair has both genes in the model's vocabulary (unknown: {named}){why}")
    scores_M = scorer.score(index_2N[:, known_N])
    frame = given.assign(score=np.nan)
    frame.loc[known_N, "score"] = scores_M
    withheld = {} if scorer.calibration is None else scorer.calibration.failed
    calibration = None if scorer.calibration is None else scorer.calibration.trusted
    if calibration is not None:
        frame["probability"] = np.nan
        frame.loc[known_N, "probability"] = calibration.probability(scores_M, index_2N[:, known_N])
    return ScoredPairs(frame, unknown, calibration is not None, list(dotted.items()), list(withheld.values()))


def _ends(pairs: pd.DataFrame, what: str) -> pd.DataFrame:
    if set(_SIDES) <= set(pairs.columns):
        given = pairs[list(_SIDES)]
    else:
        try:
            ends = find_ends(pairs)
        except UserError:
            missing = next(side for side in _SIDES if side not in pairs.columns)
            named = name_some([str(name) for name in pairs.columns], 8) or "none"
            raise UserError(f"{what}: no column '{missing}' (columns: {named}); give source and target") from None
        given = pairs[[ends.source, ends.target]].set_axis(list(_SIDES), axis=1)
    return given.astype(object).where(given.notna(), "").astype(str).reset_index(drop=True)


def score_pairs(
    run: str | Path,
    pairs: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    say: Callable[[str], None] = print,
) -> ScoredPairs:
    """Score every row of a file and write a TSV with as many rows, in the same order.

    Parameters
    ----------
    run
        Run folder.
    pairs
        TSV or CSV of TF, target; any edge list that ``grn-prep grn`` reads.
    format
        As :func:`~grn_cotrain.data.io.edges.load_edges` takes it: ``tsv:source=COLUMN,target=COLUMN``.
    out
        TSV to write; ``probability`` is calibrated on validation pairs, for their prevalence.

    Raises
    ------
    UserError
        No pair has both genes in the model's vocabulary; no model; unreadable file.
    """
    read = load_pairs(pairs, format)
    scored = score_named(run, read.frame, what=f"--pairs '{pairs}'")
    with atomic_file(out) as temporary:
        write_delimited(scored.frame, temporary, float_format="%.6g")
    for line in (*(f"pairs: {note}" for note in read.notes), *scored.lines()):
        say(line)
    return scored
