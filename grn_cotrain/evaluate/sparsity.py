"""Masked values by sparsity: how predictions hold where more of a cell is zero (xTrimoGene, section 5.3 and figure 3).

Every assay has rows of its own, over the cells that have it. Sparsity is the share of zeros among the features of the
assay that can be tokens. An assay whose values are all alike (binary peaks) has no row. Three ways to vary sparsity,
named in ``by``:

``dropout``
    The same cells and the same hidden entries at every level; of each cell's *visible* non-zeros, in all of its assays,
    a share (0, 25, 50, 75 %) becomes zero. One seeded number an entry decides, so higher levels remove supersets.
``own``
    Ten groups of cells by their own sparsity. Sparse cells are shallow cells, and of other types: groups differ in more
    than sparsity.
a column of obs
    Groups of cells by its categories, sparsest last: the paper's figure, where each dot is a cell type.

Model, gene mean, gene and cell, and factor analysis are scored on the same entries. The paper's metric, Pearson's
correlation of values, is high for anyone who knows each gene's mean; ``r2`` and ``mse`` are of values standardised by
gene, where the gene mean scores 0 and about 1.

Dimension letters: C cells, G genes, T packed tokens, N hidden entries, B bootstrap replicates (column 0: the sample).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import CellSplit
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.cell_baselines import FactorAnalysis, GeneAndCell, GeneMean
from grn_cotrain.evaluate.cells import Predict, baseline_deviations, fit_baseline, predictions
from grn_cotrain.evaluate.hidden import HiddenCells, Tokenize, hidden_cells
from grn_cotrain.evaluate.value_errors import AssayPart, EntryErrors, Scale, assay_parts, weighted_r2
from grn_cotrain.objectives.masking import hide

__all__ = ["LEVELS", "METRICS", "column_groups", "drop_values", "masked_value_by_sparsity"]

LEVELS = (0.0, 0.25, 0.5, 0.75)
"""Shares of the visible non-zeros that become zero."""
METRICS = ("r2", "mse", "pearson", "pearson_cell")
"""Metrics of the table, explained in :data:`grn_cotrain.present.CELL_METRICS`."""
_OWN_WAYS = ("own", "dropout")  # in the column ``by`` of the table
_GROUPS = 10
_MIN_CELLS = 5  # a group of fewer cells has no interval to speak of


def masked_value_by_sparsity(
    predictors: Mapping[str, Predict],
    cells: CellStore,
    split: CellSplit,
    *,
    seed: int = 0,
    levels: Sequence[float] = LEVELS,
    by: str | None = None,
    num_bins: int = 16,
    bootstrap: int = 1000,
    tokenize: Tokenize | None = None,
) -> pd.DataFrame:
    """Score predictors and baselines on the same hidden entries, at each level of sparsity.

    Parameters
    ----------
    predictors
        Scorer name -> function, as for :func:`~grn_cotrain.evaluate.cells.masked_value_table`; may be empty.
    levels
        Shares of the visible non-zeros to drop, each in [0, 1).
    by
        Column of obs: groups of at least five held-out cells each.
    bootstrap
        Replicates over cells, the same for every scorer of a level; 0 gives no intervals (NaN).

    Returns
    -------
    pandas.DataFrame
        One row per assay x level x scorer x metric: ``assay, by, group, level, sparsity, scorer, metric, value, low,
        high, num_entries, num_cells``. ``level`` is the share dropped (0 for groups of cells), ``sparsity`` the mean
        share of zeros of the cells as they are shown, hidden entries counted as values; metrics are those of
        :data:`METRICS`.
        ``attrs["left_out"]`` lists assays, groups and cells without a row, with the reason; parquet keeps it.

    Raises
    ------
    UserError
        A level outside [0, 1), no such column or no group in it, values that are all alike in every assay, or as
        :func:`~grn_cotrain.evaluate.cells.masked_value_table`.
    """
    for level in levels:
        if not 0 <= level < 1:
            raise UserError(f"levels '{level}': give shares from 0 to below 1")
    by_column, left_out = ([], []) if by is None else column_groups(cells, split, by)
    scale = Scale.of(cells, split)
    whole = hidden_cells(cells, split.test_C, seed=seed, num_bins=num_bins, tokenize=tokenize)
    if not scale.counted_G[whole.gene_N].any():
        raise UserError("cells: the held-out cells have no hidden entry of a detected gene; give more test cells")
    several = len(cells.assays) > 1
    every, parts = assay_parts(cells, split, scale), []
    for one in every:
        if one.alike:
            left_out.append(f"{one.assay}: all values that are not zero are alike, so there is no R2 by sparsity")
        else:
            parts.append(_Part.of(one, cells, whole, by, by_column, left_out if several else []))
    if not parts:
        raise UserError("--by-sparsity: all values that are not zero are alike, so there is no R2; give counts")
    num_features = _measured(cells, split.test_C)
    baselines = [
        fit_baseline(kind, cells, split, scale, seed=seed, num_bins=num_bins)
        for kind in (GeneMean, GeneAndCell, FactorAnalysis)
    ]
    rows: list[dict[str, object]] = []
    for level in [*levels, *([] if 0.0 in levels else [0.0])]:
        test = drop_values(whole, level, num_features=num_features, seed=seed, num_bins=num_bins)
        found = {name: _deviations(name, predict, test, scale) for name, predict in predictors.items()}
        visible_CG = scale.matrix(test.visible_CG)
        found |= {base.name: baseline_deviations(base, visible_CG, test, every) for base in baselines}
        for part in parts:
            here = [("dropout", f"{level:.0%}", part.scored.rows_C)] if level in levels else []
            sparsity_C = part.sparsity(test)
            for kind, group, rows_C in here + (part.groups if level == 0 else []):
                about: dict[str, object] = {"assay": part.scored.assay, "by": kind, "group": group}
                about |= {"level": float(level), "sparsity": float(sparsity_C[rows_C].mean())}
                scored = [about | row for row in _score(found, test, scale, part.scored, rows_C, bootstrap, seed)]
                if not scored:
                    which = f"{part.scored.assay}: " if several else ""
                    left_out.append(f"{which}{kind}: {group} has no hidden value of a detected gene")
                rows += scored
    frame = pd.DataFrame(rows)
    frame.attrs["left_out"] = left_out
    return frame


def drop_values(
    test: HiddenCells, level: float, *, num_features: int | np.ndarray, seed: int = 0, num_bins: int = 16
) -> HiddenCells:
    """Make a share of the visible non-zeros zero; hidden entries stay.

    The token of a dropped value goes; in a cell whose zeros are all tokens it stays, as one of them. What is left is
    binned again. Values do not change: totals of cells stay as measured. ``num_features``: token features that were
    measured, of all cells or of each (``[C]``).
    """
    if level == 0:
        return test
    num_genes = test.visible_CG.shape[1]
    measured_C = np.broadcast_to(num_features, test.visible_CG.shape[:1])
    batches, parts = [], []
    for batch in test.batches:
        cell_T = batch.cell_index_B.numpy()[batch.cell_of_token_T.numpy()]
        gene_T, value_T = batch.feature_ids_T.numpy() - NUM_SPECIAL, batch.values_T.numpy()
        ends_B = batch.cu_lens.tolist()
        draw_T = np.concatenate(
            [
                np.random.default_rng((seed, 3, cell)).random(num_genes)[np.maximum(gene_T[start:stop], 0)]
                for cell, start, stop in zip(batch.cell_index_B.tolist(), ends_B[:-1], ends_B[1:], strict=True)
            ]
        )
        seen_T = ~batch.hidden_T.numpy() & (value_T != 0) & (gene_T >= 0)
        gone_T = seen_T & (draw_T < level)
        kept_T = seen_T & ~gone_T
        parts.append((cell_T[kept_T], gene_T[kept_T], value_T[kept_T]))
        batches.append(_without(batch, torch.from_numpy(gone_T), measured_C, num_bins))
    cell_T, gene_T, value_T = (np.concatenate(column) for column in zip(*parts, strict=True))
    visible_CG = sparse.csr_matrix((value_T.astype(np.float64), (cell_T, gene_T)), shape=test.visible_CG.shape)
    return replace(test, batches=batches, visible_CG=visible_CG)


def _without(batch: PackedTokens, gone_T: Tensor, measured_C: np.ndarray, num_bins: int) -> PackedTokens:
    """The batch with these values zero: their tokens leave cells that do not show all of their zeros."""
    values_T = batch.values_T.masked_fill(gone_T, 0.0)
    batch = replace(batch, values_T=values_T, bins_T=batch.bins_T.masked_fill(gone_T, 0))
    measured_B = torch.from_numpy(measured_C[batch.cell_index_B.numpy()].copy())
    shows_all_B = batch.cu_lens.diff() == 1 + measured_B
    kept_T = ~gone_T | shows_all_B[batch.cell_of_token_T]
    left_B = torch.bincount(batch.cell_of_token_T[kept_T], minlength=batch.num_cells)
    columns = {
        field.name: getattr(batch, field.name)[kept_T]
        for field in fields(batch)
        if field.name.endswith("_T") and getattr(batch, field.name) is not None
    }
    cu_lens = torch.cat([left_B.new_zeros(1), left_B.cumsum(0)]).to(batch.cu_lens.dtype)
    shorter = replace(batch, cu_lens=cu_lens, max_len=int(left_B.max()), **columns)
    return hide(shorter, shorter.hidden_T, num_bins=num_bins)


def _measured(cells: CellStore, rows_C: np.ndarray) -> np.ndarray:
    """Token features that were measured in each cell, int64 ``[C]``; at least 1."""
    parts = [assay.present_C[rows_C] * sum(assay.space.is_token) for assay in cells.assays.values()]
    return np.maximum(np.sum(parts, axis=0), 1)


def _deviations(name: str, predict: Predict, test: HiddenCells, scale: Scale) -> np.ndarray:
    return scale.deviations(predictions(name, predict, test), test.gene_N)


@dataclass(frozen=True)
class _Part:
    """One assay: what is scored of it, and the groups of its cells."""

    scored: AssayPart
    columns: slice
    num_features: int
    groups: list[tuple[str, str, np.ndarray]]

    @classmethod
    def of(
        cls,
        scored: AssayPart,
        cells: CellStore,
        whole: HiddenCells,
        by: str | None,
        by_column: Sequence[tuple[str, np.ndarray]],
        left_out: list[str],
    ) -> _Part:
        """Group the cells that have the assay; groups that are too small for it are added to ``left_out``."""
        space = cells.assays[scored.assay].space
        part = cls(scored, space.columns, max(1, sum(space.is_token)), [])
        own_C = part.sparsity(whole)
        for name, rows_C in _by_sparsity(own_C[scored.rows_C]):
            part.groups.append(("own", name, scored.rows_C[rows_C]))
        if by is None:
            return part
        mine = [(name, np.intersect1d(rows_C, scored.rows_C)) for name, rows_C in by_column]
        small = [f"{name} ({len(rows_C)})" for name, rows_C in mine if len(rows_C) < _MIN_CELLS]
        if small:
            left_out.append(f"{scored.assay}: {_too_small(by, small)}")
        kept = [(name, rows_C) for name, rows_C in mine if len(rows_C) >= _MIN_CELLS]
        kept.sort(key=lambda group: (own_C[group[1]].mean(), group[0]))  # the least sparse first
        part.groups.extend((by, name, rows_C) for name, rows_C in kept)
        return part

    def sparsity(self, test: HiddenCells) -> np.ndarray:
        """Share of zeros of each cell in the assay ``[C]``; a hidden entry is known not to be zero."""
        mine_N = (test.gene_N >= self.columns.start) & (test.gene_N < self.columns.stop)
        hidden_C = np.bincount(test.cell_N[mine_N], minlength=test.visible_CG.shape[0])
        return 1 - (np.diff(test.visible_CG[:, self.columns].indptr) + hidden_C) / self.num_features


def _too_small(column: str, small: Sequence[str]) -> str:
    return f"{column}: {len(small):,} groups of fewer than {_MIN_CELLS} held-out cells have no row: {name_some(small)}"


def _by_sparsity(own_C: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Groups of cells of like size, the least sparse first."""
    num_groups = max(1, min(_GROUPS, len(own_C) // _MIN_CELLS))
    for number, rows_C in enumerate(np.array_split(np.argsort(own_C, kind="stable"), num_groups), 1):
        yield f"{number} of {num_groups}", np.sort(rows_C)


def column_groups(cells: CellStore, split: CellSplit, column: str) -> tuple[list[tuple[str, np.ndarray]], list[str]]:
    """Groups of held-out cells by a column of obs.

    Returns
    -------
    list of (str, ndarray), list of str
        Name of each group of at least five cells, and the places of these among ``split.test_C``; and what was left
        out, counted and named.

    Raises
    ------
    UserError
        No such column, one whose name has another meaning in the table, or no group that is large enough.
    """
    labels = as_labels(obs_column(cells.obs, column, "--by").iloc[split.test_C])
    if column in _OWN_WAYS:
        raise UserError(f"--by '{column}': the table calls something else so; give the column of obs another name")
    every = [(str(name), np.flatnonzero((labels == name).to_numpy())) for name in labels.dropna().unique()]
    groups = [(name, rows_C) for name, rows_C in every if len(rows_C) >= _MIN_CELLS]
    if not groups:
        raise UserError(f"--by '{column}': no group of {_MIN_CELLS} held-out cells; choose a coarser column")
    left_out = []
    small = [f"{name} ({len(rows_C)})" for name, rows_C in every if len(rows_C) < _MIN_CELLS]
    if small:
        left_out.append(_too_small(column, small))
    if num_without := int(labels.isna().sum()):
        left_out.append(f"{column}: {num_without:,} held-out cells have no label and are in no group")
    return groups, left_out


def _score(
    found: Mapping[str, np.ndarray],
    test: HiddenCells,
    scale: Scale,
    scored: AssayPart,
    rows_C: np.ndarray,
    bootstrap: int,
    seed: int,
) -> Iterator[dict[str, object]]:
    """Rows of every scorer on the hidden entries of an assay in some cells; none if they have no counted entry."""
    place_C = np.full(test.visible_CG.shape[0], -1)
    place_C[rows_C] = np.arange(len(rows_C))
    kept_N = (place_C[test.cell_N] >= 0) & scored.columns_G[test.gene_N]
    if not kept_N.any():
        return
    gene_N, value_N, cell_N = test.gene_N[kept_N], test.value_N[kept_N], place_C[test.cell_N[kept_N]]
    part = HiddenCells([], test.visible_CG[rows_C], cell_N, gene_N, value_N)
    weights_BC = np.concatenate([np.ones((1, len(rows_C))), cell_draws(len(rows_C), bootstrap, seed)])
    mean_N, std_N = scale.statistics.mean_G[gene_N], scale.statistics.std_G[gene_N]
    for name, deviation_N in found.items():
        errors = EntryErrors.of(deviation_N[kept_N], part, scale)
        residual_C, count_C = (np.asarray(one.sum(axis=1)).ravel() for one in (errors.residual_CG, errors.count_CG))
        with np.errstate(divide="ignore", invalid="ignore"):  # a replicate may have no entry
            pooled_B, by_cell_B = _pearson(mean_N + std_N * deviation_N[kept_N], value_N, cell_N, weights_BC)
            values = {
                "r2": weighted_r2(errors, weights_BC)[0],
                "mse": (weights_BC @ residual_C) / (weights_BC @ count_C),
                "pearson": pooled_B,
                "pearson_cell": by_cell_B,
            }
        for metric, value_B in values.items():
            known_B = value_B[1:][np.isfinite(value_B[1:])]
            low, high = np.quantile(known_B, (0.025, 0.975)) if len(known_B) else (np.nan, np.nan)
            yield {
                "scorer": name,
                "metric": metric,
                "value": float(value_B[0]),
                "low": float(low),
                "high": float(high),
                "num_entries": len(gene_N),
                "num_cells": len(rows_C),
            }


def _pearson(
    x_N: np.ndarray, y_N: np.ndarray, cell_N: np.ndarray, weights_BC: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Over all entries, and the mean over cells that have a correlation of their own: ``[B]`` each."""
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    columns = (np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N)
    moments_6C = np.stack([np.bincount(cell_N, column, minlength=weights_BC.shape[1]) for column in columns])
    by_cell_C = _correlation(moments_6C)
    known_C = np.isfinite(by_cell_C)
    by_cell_B = (weights_BC @ np.where(known_C, by_cell_C, 0.0)) / (weights_BC @ known_C)
    return _correlation(moments_6C @ weights_BC.T), by_cell_B


def _correlation(moments: np.ndarray) -> np.ndarray:
    """From count, sums, sums of squares and sum of products; NaN for fewer than three entries or without variance."""
    n, x, y, xx, yy, xy = moments
    variance = np.stack([xx - x * x / n, yy - y * y / n])
    found = (xy - x * y / n) / np.sqrt(variance[0] * variance[1])
    return np.where((variance > 1e-10).all(axis=0) & (n > 2), found, np.nan)
