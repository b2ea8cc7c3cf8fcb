"""Held-out cells with some of their entries hidden, alike for every predictor.

Dimension letters: C cells, G genes, N hidden entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from grn_cotrain.data.batch import CellBatch, PackedTokens
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.streams import TOKENS_PER_BATCH, one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.objectives.masking import hide
from grn_cotrain.recipe import TokenConfig

__all__ = ["HIDDEN_SHARE", "HiddenCells", "Tokenize", "hidden_cells"]

HIDDEN_SHARE = 0.15
Tokenize = Callable[[CellStore], Tokenizer]
"""Cells -> their tokens as a model was trained to read them, no non-zero value left out."""


@dataclass(frozen=True)
class HiddenCells:
    """Held-out cells with the same entries hidden for every predictor.

    Attributes
    ----------
    batches
        Batches that networks read; visible values are binned among themselves.
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
        tokenizer = Tokenizer(cells.part(rows_C), TokenConfig(max_tokens=cells.num_features + 1, num_bins=num_bins))
    else:
        tokenizer = tokenize(cells.part(rows_C))
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
