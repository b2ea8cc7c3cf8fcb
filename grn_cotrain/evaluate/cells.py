"""Held-out masked-value R2 compared with gene mean and factor analysis: a run that learned nothing cannot look trained.

15 % of the non-zero entries of held-out cells are hidden, drawn from ``(seed, cell)``. Values are standardised per gene
over the *non-zero* values of training cells. With ``MSE_g`` the mean squared error of gene g's hidden entries and
``MST_g`` the mean square of their deviations from the gene's *training* mean,

    r2 = 1 - mean_g MSE_g / mean_g MST_g        over genes detected in at least 5 % of training cells,

so every gene weighs the same, the gene mean scores exactly 0, and genes with few hidden entries cannot blow up a
ratio of their own. ``r2_pooled`` weighs every entry the same instead. Intervals: bootstrap over held-out cells.

Every assay has rows of its own, over its features and the held-out cells that have it. Factor analysis reads all assays
of a cell, as a model may; what a cell lacks is missing. An assay whose values are all alike (binary peaks) has no R2:
see :mod:`grn_cotrain.evaluate.open_features`.

Dimension letters: C cells, G genes, N hidden entries, B bootstrap replicates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import CellSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.cell_baselines import FactorAnalysis, GeneAndCell, GeneMean, ValueBaseline
from grn_cotrain.evaluate.hidden import HIDDEN_SHARE, HiddenCells, Tokenize, hidden_cells
from grn_cotrain.evaluate.open_features import OpenEntries, open_rows, quantile
from grn_cotrain.evaluate.value_errors import AssayPart, EntryErrors, Scale, assay_parts, weighted_r2

__all__ = [
    "CELLS_SHAPE",
    "HEAD_METRICS",
    "Predict",
    "ValuesAndZeros",
    "baseline_deviations",
    "fit_baseline",
    "masked_value_table",
    "predictions",
    "r2_replicates",
]

HEAD_METRICS = ("r2", "auroc")
"""The metric that stands for an assay: R2, or AUROC where its values are all alike."""
CELLS_SHAPE = [
    {
        "scorer": str,
        "metric": str,
        "assay?": str,
        **{f"{name}?": float for name in ("value", "low", "high", "seconds")},
        **{f"{name}?": int for name in ("num_genes", "num_entries", "num_cells", "seed")},
        "note?": str,
    }
]
"""Content of ``cells.json``, as it is checked when it is read."""
_MAX_FIT_CELLS = 4000  # factor analysis is fitted on a seeded sample of at most so many training cells
_RANKS = (2, 4, 8, 16, 32)

Predict = Callable[[PackedTokens], "Tensor | np.ndarray"]
"""Batch with ``masked_T`` -> values of its hidden tokens, on the scale of ``values_T``, in the order of
``nonzero(masked_T)``: :meth:`grn_cotrain.objectives.ValuePredictor.predict_values`, its model bound."""


@dataclass(frozen=True)
class ValuesAndZeros:
    """A :data:`Predict` that knows about zeros too: ``nonzero`` rises with the chance that a hidden entry is not 0."""

    values: Predict
    nonzero: Predict

    def __call__(self, batch: PackedTokens) -> Tensor | np.ndarray:
        """Values, given that they are not zero."""
        return self.values(batch)


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
        Scorer name -> function; see :data:`Predict`. May be empty: baselines alone. A :class:`ValuesAndZeros` is scored
        at assays whose values are all alike too.
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
        One row per assay x scorer x metric: ``assay, scorer, metric, value, low, high, num_genes, num_entries,
        num_cells, seconds, seed, note``. An assay none of whose features counts has no row. ``num_cells`` are the
        held-out cells that have the assay.

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

    parts = [part for part in assay_parts(cells, split, scale) if part.columns_G[test.gene_N].any()]
    found: list[tuple[str, np.ndarray, float, str]] = []  # scorer, deviations [N], seconds, note
    if any(not part.alike for part in parts):
        for name, predict in predictors.items():
            start = time.perf_counter()
            value_N = predictions(name, predict, test)
            found.append((name, scale.deviations(value_N, test.gene_N), time.perf_counter() - start, ""))
        if baselines:
            visible_CG = scale.matrix(test.visible_CG)
            for kind in (GeneMean, GeneAndCell, FactorAnalysis):
                start = time.perf_counter()
                baseline = fit_baseline(kind, cells, split, scale, seed=seed, num_bins=num_bins, ranks=ranks)
                note = f"rank {baseline.rank}" if isinstance(baseline, FactorAnalysis) else ""
                found_N = baseline_deviations(baseline, visible_CG, test, parts)
                found.append((baseline.name, found_N, time.perf_counter() - start, note))
    asked = {name: one.nonzero for name, one in predictors.items() if isinstance(one, ValuesAndZeros)}
    frames = []
    for part in parts:
        if part.alike:
            entries = OpenEntries.of(test, part.columns_G, part.rows_C, seed=seed, share=HIDDEN_SHARE)
            frequency_G = scale.statistics.detected_G if baselines else None
            rows = open_rows(entries, asked, frequency_G, bootstrap=bootstrap, seed=seed, num_bins=num_bins)
            frames.append(rows.assign(assay=part.assay))
            continue
        errors = {name: EntryErrors.of(found_N, test, scale, part) for name, found_N, _, _ in found}
        for name, _, seconds, note in found:
            rows = _rows(name, errors[name], bootstrap, seed)
            frames.append(rows.assign(seconds=seconds, note=note, assay=part.assay))
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=["scorer", "metric", "value", "low", "high", "assay", "note", "seed"])
    return pd.concat(frames, ignore_index=True).assign(seed=seed)


def baseline_deviations(
    baseline: ValueBaseline, visible_CG: sparse.csr_matrix, test: HiddenCells, parts: Sequence[AssayPart]
) -> np.ndarray:
    """Deviations ``[N]``. A cell's general level is that of one assay: depths of two have nothing to do with each
    other."""
    if not isinstance(baseline, GeneAndCell) or len(parts) == 1:
        return baseline.predict(visible_CG, test.cell_N, test.gene_N)
    found_N = np.zeros(len(test.gene_N))
    for part in parts:
        mine_N = part.columns_G[test.gene_N]
        own_CG = visible_CG[:, np.flatnonzero(part.columns_G)]
        found_N[mine_N] = baseline.predict(own_CG, test.cell_N[mine_N], test.gene_N[mine_N])
    return found_N


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
    """``r2`` on the test cells, then on bootstrap replicates of them: float64 ``[B + 1]``; of the first assay that has
    one.

    Replicates depend on ``seed`` and the number of test cells alone, so two predictors' are paired: the quantiles of
    their differences are an interval of the difference. Arguments as in :func:`masked_value_table`.
    """
    scale = Scale.of(cells, split)
    test = hidden_cells(cells, split.test_C, seed=seed, num_bins=num_bins, tokenize=tokenize)
    found_N = scale.deviations(predictions("model", predict, test), test.gene_N)
    part = next((part for part in assay_parts(cells, split, scale) if not part.alike), None)
    if part is None:
        raise UserError("cells: all values that are not zero are alike, so there is no R2; give counts")
    errors = EntryErrors.of(found_N, test, scale, part)
    num_cells = len(part.rows_C)
    weights_BC = np.concatenate([np.ones((1, num_cells)), cell_draws(num_cells, bootstrap, seed)])
    return weighted_r2(errors, weights_BC)[0]


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


def _rows(name: str, errors: EntryErrors, bootstrap: int, seed: int) -> pd.DataFrame:
    num_cells = errors.count_CG.shape[0]
    values = weighted_r2(errors, np.ones((1, num_cells)))
    replicates = weighted_r2(errors, cell_draws(num_cells, bootstrap, seed)) if bootstrap else (np.full(1, np.nan),) * 2
    return pd.DataFrame(
        [
            {
                "scorer": name,
                "metric": metric,
                "value": float(value[0]),
                "low": quantile(replicate_B, 0.025),
                "high": quantile(replicate_B, 0.975),
                "num_genes": int((np.asarray(errors.count_CG.sum(axis=0)) > 0).sum()),
                "num_entries": int(errors.count_CG.sum()),
                "num_cells": num_cells,
            }
            for metric, value, replicate_B in zip(("r2", "r2_pooled"), values, replicates, strict=True)
        ]
    )
