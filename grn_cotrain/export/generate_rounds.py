"""Generation in rounds: what is predicted most confidently becomes known, and is read by the next round.

Dimension letters: T packed tokens, M unknown tokens, B cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.ranks import ranks_within_cells
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.objectives import GeneStates, ValuePredictor
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.value_target import ConfidentPredictor, Guess

__all__ = ["CellDraws", "Drawn", "GuessValues", "generate_values", "guesser"]

GuessValues = Callable[[PackedTokens], Guess]
"""Batch with hidden values -> what is believed of them."""

_HALVINGS = 2  # second predictions by which a predictor without a confidence of its own is judged
_NORMAL, _ZERO, _HALVED = range(3)  # streams of draws


@dataclass(frozen=True)
class CellDraws:
    """Random numbers for tokens that depend on the seed and on the cell's row, and on no other cell of the batch.

    Attributes
    ----------
    seed
        0 or more.
    streams
        Numbers that identify the draw and its round.
    """

    seed: int
    streams: tuple[int, ...] = ()

    def of(self, *streams: int) -> CellDraws:
        """Draws of another purpose."""
        return replace(self, streams=(*self.streams, *streams))

    def uniform(self, batch: PackedTokens) -> Tensor:
        """Float64 ``[T]`` in [0, 1)."""
        return self._tokens(batch, lambda generator, length: generator.random(length))

    def normal(self, batch: PackedTokens) -> Tensor:
        """Float64 ``[T]``, standard normal."""
        return self._tokens(batch, lambda generator, length: generator.standard_normal(length))

    def _tokens(self, batch: PackedTokens, draw: Callable[[np.random.Generator, int], np.ndarray]) -> Tensor:
        rows = zip(batch.cell_index_B.tolist(), batch.cu_lens.diff().tolist(), strict=True)
        draws = [draw(np.random.default_rng((self.seed, *self.streams, row)), length) for row, length in rows]
        return torch.from_numpy(np.concatenate(draws)).to(batch.values_T.device)


@dataclass(frozen=True)
class Drawn:
    """Generated values, for every token of a batch.

    Attributes
    ----------
    values_T
        float32: given values of known tokens, generated ones of the others.
    round_T
        int64: the round in which the token was generated, from 1; 0 where it was known.
    chance_T
        float32: chance, when it was generated, that the value is not zero; None if the model has none.
    """

    values_T: Tensor
    round_T: Tensor
    chance_T: Tensor | None


@torch.no_grad()
def generate_values(
    guess: GuessValues,
    batch: PackedTokens,
    unknown_T: Tensor,
    *,
    rounds: int,
    num_bins: int,
    draws: CellDraws | None = None,
) -> Drawn:
    r"""Fill in the unknown values of each cell in ``rounds`` rounds (Cui et al. 2024, methods: generation).

    In round k of R all values that are still unknown are predicted from those that are known by now. The most confident
    ones (smallest ``Guess.spread_M``; the lower feature id among equals) become known with the value predicted, until
    :math:`\lceil n k / R \rceil` of the cell's n unknown genes are. Values of unknown genes are taken out of the batch
    before anything is predicted.

    Parameters
    ----------
    guess
        See :func:`guesser`.
    batch
        Cells; ``prompt_BD`` may stand in the place of CLS.
    unknown_T
        bool, tokens to be generated; all others are shown with their values.
    rounds
        R, at least 1; more rounds than unknown genes generate one at a time.
    num_bins
        Bins of visible values, made again in each round.
    draws
        Draw each value from a normal distribution around its prediction (cut at 0), and whether it is zero where the
        model gives a chance. None: the prediction itself; zero where the chance of another value is below one half.

    Returns
    -------
    Drawn
    """
    given = replace(
        batch,
        values_T=batch.values_T.masked_fill(unknown_T, 0.0),
        bins_T=batch.bins_T.masked_fill(unknown_T, 0),
        masked_T=None,
    )
    values_T = given.values_T.clone()
    round_T = torch.zeros_like(batch.feature_ids_T)
    chance_T: Tensor | None = None
    left_T = unknown_T
    cell_T = batch.cell_of_token_T
    asked_B = torch.bincount(cell_T[unknown_T], minlength=batch.num_cells)
    for number in range(1, rounds + 1):
        if not bool(left_T.any()):
            break
        found = guess(hide(replace(given, values_T=values_T.clone()), left_T, num_bins=num_bins))
        where_M = torch.nonzero(left_T).squeeze(1)
        target_B = (asked_B * number + rounds - 1) // rounds
        quota_B = target_B - (asked_B - torch.bincount(cell_T[where_M], minlength=batch.num_cells))
        rank_M = ranks_within_cells(-found.spread_M, cell_T[where_M], batch.feature_ids_T[where_M])
        taken_M = rank_M <= quota_B[cell_T[where_M]]
        now = where_M[taken_M]
        drawn_M = _values(found, None if draws is None else draws.of(number), given, where_M)
        values_T[now] = drawn_M[taken_M]
        round_T[now] = number
        left_T = left_T.index_fill(0, now, False)
        if found.nonzero_M is not None:
            chance_T = values_T.new_ones(batch.num_tokens) if chance_T is None else chance_T
            chance_T[now] = found.nonzero_M[taken_M]
    return Drawn(values_T, round_T, chance_T)


def _values(found: Guess, draws: CellDraws | None, batch: PackedTokens, where_M: Tensor) -> Tensor:
    """Values never below 0: no value on a log1p scale is, and the next round reads them."""
    if draws is None:
        values_M = found.values_M.clamp_min(0.0)
        return values_M if found.nonzero_M is None else values_M.masked_fill(found.nonzero_M < 0.5, 0.0)
    normal_M = draws.of(_NORMAL).normal(batch)[where_M].to(found.values_M.dtype)
    values_M = (found.values_M + found.deviation_M * normal_M).clamp_min(0.0)
    if found.nonzero_M is None:
        return values_M
    return values_M.masked_fill(draws.of(_ZERO).uniform(batch)[where_M] >= found.nonzero_M, 0.0)


def guesser(
    predictor: ValuePredictor, model: CoTrainNetwork, genes: GeneStates, *, num_bins: int, seed: int = 0
) -> GuessValues:
    """The predictor bound to its model; one that returns no confidence is judged by its stability.

    Then the spread of a value is the root mean square by which its prediction changes when half of the known values
    (drawn again, twice) are hidden too: a value that depends on few of them is uncertain. Where nothing is known all
    are equal.
    """
    if isinstance(predictor, ConfidentPredictor):
        return lambda batch: predictor.guess_values(model, batch, genes)

    def stable(batch: PackedTokens) -> Guess:
        values_M = predictor.predict_values(model, batch, genes)
        squares_M = torch.zeros_like(values_M)
        for number in range(_HALVINGS):
            half_T = CellDraws(seed, (_HALVED, number)).uniform(batch) < 0.5
            more_T = batch.hidden_T | (half_T & (batch.feature_ids_T >= NUM_SPECIAL) & (batch.values_T != 0))
            again_N = predictor.predict_values(model, hide(batch, more_T, num_bins=num_bins), genes)
            squares_M += (again_N[batch.hidden_T[more_T]] - values_M).square()
        spread_M = (squares_M / _HALVINGS).sqrt()
        return Guess(values_M, spread_M, spread_M, None)

    return stable
