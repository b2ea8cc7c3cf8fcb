"""Open or closed: held-out entries of an assay whose values are all alike, judged by ranking.

Where a value can only be there or not (binary peaks), the value of an open feature has no R2. What can be asked is
which features are open. 15 % of the entries of every held-out cell that has the assay are hidden, open and closed ones
with the same chance, and ranked in one list:

    auroc   area under the ROC curve; 0.5 is chance
    auprc   average precision; the share of open entries is chance

Two baselines need no network. ``feature_frequency`` ranks by the share of training cells in which the feature is open;
most of an AUROC is this. ``frequency_and_depth`` multiplies it by the number of open features that the cell shows: deep
cells have more. A model that knows nothing about the cell but its depth scores the second. Intervals: bootstrap over
cells.

Dimension letters: C held-out cells, G features, N hidden entries, T packed tokens, M closed entries, B replicates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.hidden import HiddenCells
from grn_cotrain.metrics.links import auroc, average_precision
from grn_cotrain.objectives.masking import hide

__all__ = ["OpenEntries", "open_rows", "quantile"]

_CLOSED_SEED = 4  # stream of the hidden closed entries
_REPLICATES = 200  # each sorts all entries


def quantile(value_B: np.ndarray, share: float) -> float:
    """Quantile of the replicates that have a value; NaN where none has."""
    known_B = value_B[np.isfinite(value_B)]
    return float(np.quantile(known_B, share)) if len(known_B) else float("nan")


@dataclass(frozen=True)
class OpenEntries:
    """Hidden entries of one assay, open and closed.

    Attributes
    ----------
    test
        The held-out cells, with their hidden open entries.
    columns_G, rows_C
        Features that count; places of the cells that have the assay.
    closed
        Batch by batch, cell and feature of the hidden closed entries, ``(cell_M, gene_M)``.
    cell_N, gene_N, open_N
        All hidden entries: the open ones of each batch, then its closed ones.
    depth_C
        Open features of the assay that each cell shows.
    """

    test: HiddenCells
    columns_G: np.ndarray
    rows_C: np.ndarray
    closed: list[tuple[np.ndarray, np.ndarray]]
    cell_N: np.ndarray
    gene_N: np.ndarray
    open_N: np.ndarray
    depth_C: np.ndarray

    @classmethod
    def of(
        cls, test: HiddenCells, columns_G: np.ndarray, rows_C: np.ndarray, *, seed: int, share: float
    ) -> OpenEntries:
        """Draw closed entries; they depend on seed and cell alone."""
        column_K = np.flatnonzero(columns_G)
        has_C = np.zeros(test.visible_CG.shape[0], dtype=bool)
        has_C[rows_C] = True
        mine_N = columns_G[test.gene_N]
        cell_N, gene_N = test.cell_N[mine_N], test.gene_N[mine_N]
        hidden = {int(cell): gene_N[cell_N == cell] for cell in rows_C}
        closed, cells, genes, is_open = [], [], [], []
        for batch in test.batches:
            here = [int(cell) for cell in batch.cell_index_B.tolist() if has_C[int(cell)]]
            parts = [_closed(test, cell, hidden[cell], column_K, seed, share) for cell in here]
            sizes = [len(part) for part in parts]
            closed_M = np.repeat(np.asarray(here, dtype=np.int64), sizes)
            gene_M = np.concatenate([*parts, np.empty(0, dtype=np.int64)])
            closed.append((closed_M, gene_M))
            opened = [(np.full(len(hidden[cell]), cell), hidden[cell]) for cell in here]
            cells += [*(cell for cell, _ in opened), closed_M]
            genes += [*(gene for _, gene in opened), gene_M]
            is_open += [np.ones(sum(len(gene) for _, gene in opened), dtype=bool), np.zeros(len(gene_M), dtype=bool)]
        depth_C = np.asarray((test.visible_CG[:, column_K] != 0).sum(axis=1)).ravel()
        return cls(
            test,
            columns_G,
            rows_C,
            closed,
            np.concatenate(cells).astype(np.int64),
            np.concatenate(genes).astype(np.int64),
            np.concatenate(is_open),
            depth_C,
        )

    def scores(self, name: str, predict: Callable[[PackedTokens], Any], num_bins: int) -> np.ndarray:
        """A predictor's numbers of all entries, float64 ``[N]``, in their order; its batches show them hidden."""
        parts = []
        for batch, (cell_M, gene_M) in zip(self.test.batches, self.closed, strict=True):
            asked = _with_closed(batch, cell_M, gene_M, self._modality(), num_bins)
            found = predict(asked)
            array = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
            where_M = np.flatnonzero(asked.hidden_T.numpy())
            if array.shape != where_M.shape or not np.isfinite(array).all():
                raise UserError(
                    f"predictor '{name}': got shape {array.shape}; return one finite value per hidden token"
                )
            gene_W = asked.feature_ids_T.numpy()[where_M] - NUM_SPECIAL
            cell_W = asked.cell_index_B.numpy()[asked.cell_of_token_T.numpy()[where_M]]
            open_W, mine_W = asked.values_T.numpy()[where_M] != 0, self.columns_G[gene_W]
            # Entries are in the order of cells, the open ones by feature as in the batch, then the closed ones.
            for state in (True, False):
                kept_W = np.flatnonzero(mine_W & (open_W == state))
                parts.append(array[kept_W[np.argsort(cell_W[kept_W], kind="stable")]].astype(np.float64))
        return np.concatenate(parts)

    def _modality(self) -> int:
        """Code of the assay's features, from a token of one."""
        for batch in self.test.batches:
            ids_T = batch.feature_ids_T.numpy()
            mine_T = (ids_T >= NUM_SPECIAL) & self.columns_G[np.maximum(ids_T - NUM_SPECIAL, 0)]
            if mine_T.any():
                return int(batch.modality_T[int(np.flatnonzero(mine_T)[0])])
        return 0


def _closed(
    test: HiddenCells, cell: int, hidden: np.ndarray, column_K: np.ndarray, seed: int, share: float
) -> np.ndarray:
    """Features of a cell that are zero and hidden."""
    visible = test.visible_CG.indices[test.visible_CG.indptr[cell] : test.visible_CG.indptr[cell + 1]]
    draw_K = np.random.default_rng((seed, _CLOSED_SEED, cell)).random(len(column_K))
    zero_K = ~np.isin(column_K, visible) & ~np.isin(column_K, hidden)
    return column_K[zero_K & (draw_K < share)].astype(np.int64)


def _with_closed(
    batch: PackedTokens, cell_M: np.ndarray, gene_M: np.ndarray, modality: int, num_bins: int
) -> PackedTokens:
    """The batch with tokens of the closed entries, hidden, at the ends of their cells."""
    place = {int(cell): row for row, cell in enumerate(batch.cell_index_B.tolist())}
    row_M = np.asarray([place[int(cell)] for cell in cell_M], dtype=np.int64)
    ids_M = torch.from_numpy(gene_M + NUM_SPECIAL)
    row_T, ids_T = batch.cell_of_token_T, batch.feature_ids_T
    most = int(max(ids_T.max(), ids_M.max() if len(ids_M) else 0)) + 1
    asked_M = torch.from_numpy(row_M) * most + ids_M
    kept_T = ~torch.isin(row_T * most + ids_T, asked_M)  # zeros that the model's own tokens show already
    new = {"feature_ids_T": ids_M, "modality_T": torch.full_like(ids_M, modality)}
    columns: dict[str, Tensor] = {}
    order_T = torch.argsort(torch.cat([row_T[kept_T], torch.from_numpy(row_M)]), stable=True)
    for field in fields(batch):
        old_T = getattr(batch, field.name)
        if field.name.endswith("_T") and old_T is not None:
            fill = True if field.name == "masked_T" else 0
            added_M = new.get(field.name, torch.full((len(ids_M),), fill, dtype=old_T.dtype))
            columns[field.name] = torch.cat([old_T[kept_T], added_M])[order_T]
    left_B = torch.bincount(row_T[kept_T], minlength=batch.num_cells)
    left_B = left_B + torch.bincount(torch.from_numpy(row_M), minlength=batch.num_cells)
    cu_lens = torch.cat([left_B.new_zeros(1), left_B.cumsum(0)]).to(batch.cu_lens.dtype)
    longer = replace(batch, cu_lens=cu_lens, max_len=int(left_B.max()), **columns)  # type: ignore[arg-type]
    return hide(longer, longer.hidden_T, num_bins=num_bins)


def open_rows(
    entries: OpenEntries,
    predictors: Mapping[str, Callable[[PackedTokens], Any]],
    frequency_G: np.ndarray | None,
    *,
    bootstrap: int,
    seed: int,
    num_bins: int,
) -> pd.DataFrame:
    """Rows of the predictors and, with the frequencies of features, of the baselines.

    Returns
    -------
    pandas.DataFrame
        ``scorer, metric, value, low, high, num_genes, num_entries, num_cells, seconds, note``; empty where one of open
        and closed is missing.
    """
    if entries.open_N.all() or not entries.open_N.any():
        return pd.DataFrame()
    found: list[tuple[str, np.ndarray, float]] = []
    for name, predict in predictors.items():
        start = time.perf_counter()
        score_N = entries.scores(name, predict, num_bins)
        found.append((name, score_N, time.perf_counter() - start))
    if frequency_G is not None:
        frequency_N = frequency_G[entries.gene_N].astype(np.float64)
        found.append(("feature_frequency", frequency_N, 0.0))
        found.append(("frequency_and_depth", frequency_N * (1.0 + entries.depth_C[entries.cell_N]), 0.0))
    rows_of = [np.flatnonzero(entries.cell_N == cell) for cell in entries.rows_C]
    weights_BC = cell_draws(len(rows_of), min(bootstrap, _REPLICATES), seed) if bootstrap else np.empty((0, 0))
    picked = [
        np.concatenate([np.tile(rows, int(times)) for rows, times in zip(rows_of, weight_C, strict=True)])
        for weight_C in weights_BC
    ]
    table = []
    for name, score_N, seconds in found:
        for metric, measure in (("auroc", auroc), ("auprc", average_precision)):
            replicate_B = np.array([measure(score_N[index], entries.open_N[index]) for index in picked])
            table.append(
                {
                    "scorer": name,
                    "metric": metric,
                    "value": float(measure(score_N, entries.open_N)),
                    "low": quantile(replicate_B, 0.025),
                    "high": quantile(replicate_B, 0.975),
                    "num_genes": len(np.unique(entries.gene_N)),
                    "num_entries": len(entries.gene_N),
                    "num_cells": len(entries.rows_C),
                    "seconds": seconds,
                    "note": f"{entries.open_N.mean():.3f} of the entries are open",
                }
            )
    return pd.DataFrame(table)
