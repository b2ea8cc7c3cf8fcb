"""Held-out masked-value R2 beside gene mean and factor analysis: a run that learned nothing cannot look trained.

15 % of the non-zero entries of held-out cells are hidden, drawn from ``(seed, cell)``. Values are standardised per gene
over the *non-zero* values of training cells. With ``MSE_g`` the mean squared error of gene g's hidden entries and
``MST_g`` the mean square of their deviations from the gene's *training* mean,

    r2 = 1 - mean_g MSE_g / mean_g MST_g        over genes detected in at least 5 % of training cells,

so every gene weighs the same, the gene mean scores exactly 0, and genes with few hidden entries cannot blow up a
ratio of their own. ``r2_pooled`` weighs every entry the same instead. Intervals: bootstrap over held-out cells.

Dimension letters: C cells, G genes, N hidden entries, B bootstrap replicates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from grn_cotrain.data.batch import CellBatch, PackedTokens
from grn_cotrain.data.cells import CellSplit
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.streams import TOKENS_PER_BATCH, one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.value_statistics import Moments, ValueStatistics
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.cell_baselines import FactorAnalysis, GeneAndCell, GeneMean, ValueBaseline
from grn_cotrain.objectives.masking import hide
from grn_cotrain.recipe import TokenConfig

__all__ = [
    "CELLS_SHAPE",
    "HIDDEN_SHARE",
    "MIN_DETECTED",
    "EntryErrors",
    "HiddenCells",
    "Predict",
    "Scale",
    "Tokenize",
    "fit_baseline",
    "hidden_cells",
    "masked_value_table",
    "predictions",
    "r2_replicates",
    "weighted_r2",
]

HIDDEN_SHARE = 0.15
MIN_DETECTED = 0.05
CELLS_SHAPE = [
    {
        "scorer": str,
        "metric": str,
        **{f"{name}?": float for name in ("value", "low", "high", "seconds")},
        **{f"{name}?": int for name in ("num_genes", "num_entries", "num_cells", "seed")},
        "note?": str,
    }
]
"""What ``cells.json`` holds, as it is checked when it is read."""
_MAX_FIT_CELLS = 4000  # factor analysis is fitted on a seeded sample of at most so many training cells
_RANKS = (2, 4, 8, 16, 32)

Predict = Callable[[PackedTokens], "Tensor | np.ndarray"]
"""Batch with ``masked_T`` -> values of its hidden tokens, on the scale of ``values_T``, in the order of
``nonzero(masked_T)``: :meth:`grn_cotrain.objectives.ValuePredictor.predict_values`, its model bound."""

Tokenize = Callable[[CellStore], Tokenizer]
"""Cells -> their tokens as a model was trained to read them, no non-zero value left out."""


@dataclass(frozen=True)
class HiddenCells:
    """Held-out cells with the same entries hidden for every predictor.

    Attributes
    ----------
    batches
        What networks read; visible values are binned among themselves.
    visible_CG
        CSR of visible normalised values, one row a held-out cell.
    cell_N, gene_N, value_N
        Hidden entries, in the order of the batches: row of ``visible_CG``, gene index, normalised value.
    """

    batches: list[PackedTokens]
    visible_CG: sparse.csr_matrix
    cell_N: np.ndarray
    gene_N: np.ndarray
    value_N: np.ndarray


def hidden_cells(
    cells: CellStore,
    rows_C: np.ndarray,
    *,
    seed: int,
    num_bins: int = 16,
    tokenize: Tokenize | None = None,
) -> HiddenCells:
    """Hide entries of the cells at ``rows_C``; no cell is down-sampled.

    The entries and their order do not depend on ``tokenize``, which may show zeros too; default: non-zeros alone.
    """
    rows_C = np.asarray(rows_C, dtype=np.int64)
    if tokenize is None:
        tokenizer = Tokenizer(cells.take(rows_C), TokenConfig(max_tokens=cells.num_features + 1, num_bins=num_bins))
    else:
        tokenizer = tokenize(cells.take(rows_C))
    batches, parts = [], []
    for batch in map(CellBatch.pack, one_pass(tokenizer, np.arange(len(rows_C)), tokens_per_batch=TOKENS_PER_BATCH)):
        draws = [
            np.random.default_rng((seed, int(rows_C[cell]))).random(length)
            for cell, length in zip(batch.cell_index_B.tolist(), batch.cu_lens.diff().tolist(), strict=True)
        ]
        gene_T = batch.feature_ids_T.numpy() - NUM_SPECIAL
        # Zeros come after a cell's values, so they leave the draws of the values as they are.
        hidden_T = (np.concatenate(draws) < HIDDEN_SHARE) & (gene_T >= 0) & (batch.values_T.numpy() != 0)
        cell_T = batch.cell_index_B.numpy()[batch.cell_of_token_T.numpy()]
        parts.append((cell_T, gene_T, batch.values_T.numpy(), hidden_T))
        batches.append(hide(batch, torch.from_numpy(hidden_T), num_bins=num_bins))
    cell_T, gene_T, value_T, hidden_T = (np.concatenate(column) for column in zip(*parts, strict=True))
    seen_T = ~hidden_T & (value_T != 0)
    visible_CG = sparse.csr_matrix(
        (value_T[seen_T].astype(np.float64), (cell_T[seen_T], gene_T[seen_T])), shape=(len(rows_C), cells.num_features)
    )
    return HiddenCells(batches, visible_CG, cell_T[hidden_T], gene_T[hidden_T], value_T[hidden_T].astype(np.float64))


def masked_value_table(
    predictors: Mapping[str, Predict],
    cells: CellStore,
    split: CellSplit,
    *,
    seed: int = 0,
    num_bins: int = 16,
    bootstrap: int = 1000,
    ranks: Sequence[int] = _RANKS,
    baselines: bool = True,
    tokenize: Tokenize | None = None,
) -> pd.DataFrame:
    """Score predictors and baselines on the same hidden entries of the test cells.

    Parameters
    ----------
    predictors
        Scorer name -> function; see :data:`Predict`. May be empty: baselines alone.
    seed
        Chooses the hidden entries.
    bootstrap
        Replicates over held-out cells; 0 gives no intervals (NaN).
    ranks
        Ascending candidates for factor analysis; the search stops at the first that is worse on validation cells.
    baselines
        False leaves them out, where they are known already.
    tokenize
        How the predictors read cells; default: non-zero values alone.

    Returns
    -------
    pandas.DataFrame
        One row per scorer x metric: ``scorer, metric, value, low, high, num_genes, num_entries, num_cells, seconds,
        seed, note``.

    Raises
    ------
    UserError
        No gene is detected in 5 % of the training cells, or a predictor returns the wrong number of values or one that
        is not finite.
    """
    scale = Scale.of(cells, split)
    test = hidden_cells(cells, split.test_C, seed=seed, num_bins=num_bins, tokenize=tokenize)
    if not scale.counted_G[test.gene_N].any():
        raise UserError("cells: the held-out cells have no hidden entry of a detected gene; give more test cells")

    frames = []
    for name, predict in predictors.items():
        start = time.perf_counter()
        value_N = predictions(name, predict, test)
        frames.append(
            _rows(name, scale.deviations(value_N, test.gene_N), test, scale, bootstrap, seed).assign(
                seconds=time.perf_counter() - start, note=""
            )
        )
    if not baselines:
        return pd.concat(frames, ignore_index=True).assign(seed=seed)
    visible_CG = scale.matrix(test.visible_CG)
    for kind in (GeneMean, GeneAndCell, FactorAnalysis):
        start = time.perf_counter()
        baseline = fit_baseline(kind, cells, split, scale, seed=seed, num_bins=num_bins, ranks=ranks)
        note = f"rank {baseline.rank}" if isinstance(baseline, FactorAnalysis) else ""
        found_N = baseline.predict(visible_CG, test.cell_N, test.gene_N)
        frames.append(
            _rows(baseline.name, found_N, test, scale, bootstrap, seed).assign(
                seconds=time.perf_counter() - start, note=note
            )
        )
    return pd.concat(frames, ignore_index=True).assign(seed=seed)


def fit_baseline(
    kind: type[ValueBaseline],
    cells: CellStore,
    split: CellSplit,
    scale: Scale,
    *,
    seed: int,
    num_bins: int = 16,
    ranks: Sequence[int] = _RANKS,
) -> ValueBaseline:
    """Baseline fitted on training cells; the rank of factor analysis is chosen on validation cells."""
    if kind is not FactorAnalysis:
        return kind().fit(sparse.csr_matrix((0, cells.num_features)))
    fit_C = split.train_C
    if len(fit_C) > _MAX_FIT_CELLS:
        fit_C = np.sort(np.random.default_rng((seed, 1)).choice(fit_C, _MAX_FIT_CELLS, replace=False))
    validation = hidden_cells(cells, split.validation_C, seed=seed, num_bins=num_bins)
    return _choose_rank(scale.matrix(cells.normalised(fit_C)), validation, scale, ranks)


def r2_replicates(
    predict: Predict,
    cells: CellStore,
    split: CellSplit,
    *,
    seed: int = 0,
    num_bins: int = 16,
    bootstrap: int = 1000,
    tokenize: Tokenize | None = None,
) -> np.ndarray:
    """``r2`` on the test cells, then on bootstrap replicates of them: float64 ``[B + 1]``.

    Replicates depend on ``seed`` and the number of test cells alone, so two predictors' are paired: the quantiles of
    their differences are an interval of the difference. Arguments as in :func:`masked_value_table`.
    """
    scale = Scale.of(cells, split)
    test = hidden_cells(cells, split.test_C, seed=seed, num_bins=num_bins, tokenize=tokenize)
    found_N = scale.deviations(predictions("model", predict, test), test.gene_N)
    errors = EntryErrors.of(found_N, test, scale)
    num_cells = test.visible_CG.shape[0]
    weights_BC = np.concatenate([np.ones((1, num_cells)), cell_draws(num_cells, bootstrap, seed)])
    return weighted_r2(errors, weights_BC)[0]


@dataclass(frozen=True)
class Scale:
    """Per-gene standardisation over non-zero values of training cells, and which genes count."""

    statistics: ValueStatistics
    counted_G: np.ndarray

    @classmethod
    def of(cls, cells: CellStore, split: CellSplit) -> Scale:
        """Of the training cells; raises UserError where no gene is detected in 5 % of them."""
        statistics = Statistics(cells, split.train_C)[Moments()].nonzero(prior=0.0)
        counted_G = (statistics.detected_G >= MIN_DETECTED) & np.asarray(cells.vocab.is_token)
        if not counted_G.any():
            raise UserError(
                "cells: no gene is detected in 5 % of the training cells, so there is no R2; give more cells"
            )
        return cls(statistics, counted_G)

    def deviations(self, value_N: np.ndarray, gene_N: np.ndarray) -> np.ndarray:
        """``(value - mean) / std`` in float64."""
        return (value_N - self.statistics.mean_G[gene_N].astype(np.float64)) / self.statistics.std_G[gene_N]

    def matrix(self, values_CG: sparse.csr_matrix) -> sparse.csr_matrix:
        """Deviations of the stored entries of counted genes; the other genes become missing."""
        rows_C = np.repeat(np.arange(values_CG.shape[0]), np.diff(values_CG.indptr))
        kept_N = self.counted_G[values_CG.indices]
        gene_N = values_CG.indices[kept_N]
        deviation_N = self.deviations(values_CG.data[kept_N], gene_N)
        # Built by row pointers: a constructor from triples would be free to drop deviations that are exactly 0.
        indptr = np.zeros(values_CG.shape[0] + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows_C[kept_N], minlength=values_CG.shape[0]), out=indptr[1:])
        return sparse.csr_matrix((deviation_N, gene_N, indptr), shape=values_CG.shape)


def predictions(name: str, predict: Predict, test: HiddenCells) -> np.ndarray:
    """Predicted values of the hidden entries, float64 ``[N]``, checked."""
    parts = []
    for batch in test.batches:
        assert batch.masked_T is not None
        found = predict(batch)
        array = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
        if array.shape != (int(batch.masked_T.sum()),) or not np.isfinite(array).all():
            raise UserError(f"predictor '{name}': got shape {array.shape}; return one finite value per hidden token")
        parts.append(array.astype(np.float64))
    return np.concatenate(parts)


def _choose_rank(
    train_CG: sparse.csr_matrix, validation: HiddenCells, scale: Scale, ranks: Sequence[int]
) -> FactorAnalysis:
    best: FactorAnalysis | None = None
    best_r2 = -np.inf
    visible_CG = scale.matrix(validation.visible_CG)
    for rank in ranks:
        model = FactorAnalysis(rank)
        model.fit(train_CG)
        found_N = model.predict(visible_CG, validation.cell_N, validation.gene_N)
        r2 = float(weighted_r2(EntryErrors.of(found_N, validation, scale), np.ones((1, visible_CG.shape[0])))[0][0])
        if best is not None and r2 <= best_r2:
            break
        best, best_r2 = model, r2
    assert best is not None
    return best


@dataclass(frozen=True)
class EntryErrors:
    """Squared errors, squared deviations and counts of hidden entries, per held-out cell and counted gene."""

    residual_CG: sparse.csr_matrix
    total_CG: sparse.csr_matrix
    count_CG: sparse.csr_matrix

    @classmethod
    def of(cls, found_N: np.ndarray, hidden: HiddenCells, scale: Scale) -> EntryErrors:
        kept_N = scale.counted_G[hidden.gene_N]
        gene_N = (np.cumsum(scale.counted_G) - 1)[hidden.gene_N[kept_N]]
        truth_N = scale.deviations(hidden.value_N, hidden.gene_N)[kept_N]
        shape = (hidden.visible_CG.shape[0], int(scale.counted_G.sum()))
        where = (hidden.cell_N[kept_N], gene_N)
        return cls(
            sparse.csr_matrix(((found_N[kept_N] - truth_N) ** 2, where), shape=shape),
            sparse.csr_matrix((truth_N**2, where), shape=shape),
            sparse.csr_matrix((np.ones(len(gene_N)), where), shape=shape),
        )


def weighted_r2(errors: EntryErrors, weights_BC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``r2`` and ``r2_pooled`` ``[B]`` with each cell counted as often as its weight says."""
    residual_BG = np.asarray((errors.residual_CG.T @ weights_BC.T).T)
    total_BG = np.asarray((errors.total_CG.T @ weights_BC.T).T)
    count_BG = np.asarray((errors.count_CG.T @ weights_BC.T).T)
    share_BG = np.divide(1.0, count_BG, out=np.zeros_like(count_BG), where=count_BG > 0)
    macro_B = 1 - (residual_BG * share_BG).sum(axis=1) / (total_BG * share_BG).sum(axis=1)
    return macro_B, 1 - residual_BG.sum(axis=1) / total_BG.sum(axis=1)


def _rows(name: str, found_N: np.ndarray, test: HiddenCells, scale: Scale, bootstrap: int, seed: int) -> pd.DataFrame:
    errors = EntryErrors.of(found_N, test, scale)
    num_cells = test.visible_CG.shape[0]
    values = weighted_r2(errors, np.ones((1, num_cells)))
    replicates = weighted_r2(errors, cell_draws(num_cells, bootstrap, seed)) if bootstrap else (np.full(1, np.nan),) * 2
    return pd.DataFrame(
        [
            {
                "scorer": name,
                "metric": metric,
                "value": float(value[0]),
                "low": float(np.quantile(replicate_B, 0.025)),
                "high": float(np.quantile(replicate_B, 0.975)),
                "num_genes": int((np.asarray(errors.count_CG.sum(axis=0)) > 0).sum()),
                "num_entries": int(errors.count_CG.sum()),
                "num_cells": num_cells,
            }
            for metric, value, replicate_B in zip(("r2", "r2_pooled"), values, replicates, strict=True)
        ]
    )
