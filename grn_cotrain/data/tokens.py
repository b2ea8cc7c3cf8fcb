"""Cells -> packed tokens of variable length: CLS, then the non-zero features, then sampled zeros.

Dimension letters: B cells of a batch, C cells of a matrix, T packed tokens, N stored values of a matrix.
"""

from __future__ import annotations

import numpy as np
import torch

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.covariates import Categories, categories_of, covariate_codes
from grn_cotrain.data.vocab import CLS_ID, MODALITIES, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig

__all__ = ["Tokenizer"]

_ZERO_SEED = 20  # stream of the sampled zeros where no generator is given


class Tokenizer:
    """Turns rows of a :class:`CellMatrix` into :class:`PackedTokens`.

    Only non-zero features that the vocabulary marks ``is_token`` become tokens (spike-ins never do). ``max_tokens``
    bounds a cell's tokens, CLS and sampled zeros included: a longer cell loses non-zero tokens **at random at each
    draw**; without a generator it keeps its highest values (lower feature first among equals), always the same. With
    ``keep_weight_G`` it keeps in both cases those of the highest value, on the linear scale, times the weight.
    ``zeros_per_cell`` features that are zero in the cell are appended with value 0 and bin 0, so that zeros can be
    masked too; ``all`` appends every one of them, and then no cell is down-sampled.

    Values are normalised (log1p of counts per ten thousand, or the log values as given); bins are quantiles among *all*
    non-zero token features of the cell, down-sampled or not.

    Parameters
    ----------
    cells
        The matrix; its values are binned and normalised once, here.
    config
        The ``tokens`` block of a recipe.
    categories
        Categories of ``config.covariates``, as a model has learned them; default: those of ``cells.obs``.
    keep_weight_G
        What a cell over the cap is cut by: see :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.keep_weights`.

    Raises
    ------
    UserError
        ``max_tokens`` leaves no room for a non-zero token; more zeros than features; no such column of ``obs``.
    """

    def __init__(
        self,
        cells: CellMatrix,
        config: TokenConfig,
        categories: Categories | None = None,
        *,
        keep_weight_G: np.ndarray | None = None,
    ) -> None:
        self.config = config
        self.cells = cells
        if categories is None:
            categories = categories_of(cells.obs, config.covariates)
        self.categories = categories
        is_token_G = np.asarray(cells.vocab.is_token, dtype=bool)
        num_features = int(is_token_G.sum())
        self._max_nonzero = config.max_values
        if config.zeros_per_cell == "all":
            if config.max_tokens < 1 + num_features:
                raise UserError(
                    f"max_tokens: {config.max_tokens} for CLS and all of {num_features} features"
                    f" (zeros_per_cell: all); give at least {1 + num_features}"
                )
            wanted_zeros = num_features
        else:
            wanted_zeros = config.zeros_per_cell
            if self._max_nonzero < 1:
                raise UserError(
                    f"max_tokens: {config.max_tokens} leaves no room beside CLS and {wanted_zeros} zeros; raise it"
                )
            if wanted_zeros > num_features:
                raise UserError(f"zeros_per_cell: {wanted_zeros} for {num_features} token features; lower it")
        # Columns are numbered among token features, so that sampled zeros can be addressed by rank.
        self._feature_id_K = np.flatnonzero(is_token_G) + NUM_SPECIAL
        modality_G = np.asarray([MODALITIES.index(name) for name in cells.vocab.modality], dtype=np.int64)
        self._modality_K = modality_G[is_token_G]
        values = cells.normalised()
        if not is_token_G.all():
            values = values[:, np.flatnonzero(is_token_G)]
        self._keep_weight_K = None if keep_weight_G is None else keep_weight_G[is_token_G]
        self._indptr = values.indptr.astype(np.int64)
        self._column_N = values.indices
        self._value_N = values.data
        cell_N = np.repeat(np.arange(cells.num_cells), np.diff(self._indptr))
        bins_N = quantile_bins(torch.from_numpy(self._value_N), torch.from_numpy(cell_N), config.num_bins)
        self._bin_N = bins_N.numpy().astype(np.int16)
        nonzero_C = np.diff(self._indptr)
        self._zeros_C = np.minimum(wanted_zeros, len(self._feature_id_K) - nonzero_C)
        self._total_C = None
        if cells.kind == "counts":
            self._total_C = cells.size_factor_C.astype(np.float32)
        self._codes_CK = covariate_codes(cells.obs, categories) if categories else None
        self.lengths_C = 1 + np.minimum(nonzero_C, self._max_nonzero) + self._zeros_C
        """int64 tokens of every cell as drawn: CLS, non-zeros up to the cap, zeros."""

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None = None) -> PackedTokens:
        """Pack the cells at ``rows``, in that order.

        ``generator`` drives down-sampling and the choice of zeros; with None both depend on the cell alone.
        """
        rows_B = np.asarray(rows, dtype=np.int64)
        lens_B = self.lengths_C[rows_B]
        cu_lens = np.zeros(len(rows_B) + 1, dtype=np.int64)
        np.cumsum(lens_B, out=cu_lens[1:])
        num_tokens = int(cu_lens[-1])
        column_T = np.zeros(num_tokens, dtype=np.int64)
        value_T = np.zeros(num_tokens, dtype=np.float32)
        bin_T = np.zeros(num_tokens, dtype=np.int64)

        source_M = self._stored_positions(rows_B, generator)
        nonzero_B = lens_B - 1 - self._zeros_C[rows_B]
        target_M = _ranges(cu_lens[:-1] + 1, nonzero_B)
        column_T[target_M] = self._column_N[source_M]
        value_T[target_M] = self._value_N[source_M]
        bin_T[target_M] = self._bin_N[source_M]
        if self.config.zeros_per_cell != 0:
            for place, row in enumerate(rows_B):
                end = cu_lens[place + 1]
                column_T[end - self._zeros_C[row] : end] = self._zero_columns(int(row), generator)

        feature_ids_T = self._feature_id_K[column_T] if len(self._feature_id_K) else column_T
        modality_T = self._modality_K[column_T] if len(self._modality_K) else column_T.copy()
        feature_ids_T[cu_lens[:-1]] = CLS_ID
        modality_T[cu_lens[:-1]] = 0
        return PackedTokens(
            feature_ids_T=torch.from_numpy(feature_ids_T),
            values_T=torch.from_numpy(value_T),
            bins_T=torch.from_numpy(bin_T),
            modality_T=torch.from_numpy(modality_T),
            cu_lens=torch.from_numpy(cu_lens.astype(np.int32)),
            max_len=int(lens_B.max(initial=0)),
            cell_index_B=torch.from_numpy(rows_B.copy()),
            total_B=None if self._total_C is None else torch.from_numpy(self._total_C[rows_B]),
            covariates_BK=None if self._codes_CK is None else torch.from_numpy(self._codes_CK[rows_B]),
        )

    def _stored_positions(self, rows_B: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        """Positions among the stored values of the tokens to keep, cell by cell, in column order."""
        start_B = self._indptr[rows_B]
        nonzero_B = self._indptr[rows_B + 1] - start_B
        position_M = _ranges(start_B, nonzero_B)
        long_B = np.flatnonzero(nonzero_B > self._max_nonzero)
        if len(long_B) == 0:
            return position_M
        end_B = np.cumsum(nonzero_B)
        keep_M = np.ones(len(position_M), dtype=bool)
        for place in long_B:
            low, high = end_B[place] - nonzero_B[place], end_B[place]
            mine = position_M[low:high]
            if self._keep_weight_K is not None:
                # In float64, as the ratios are by which Geneformer ranks: the cut is at a rank.
                worth = np.expm1(self._value_N[mine].astype(np.float64)) * self._keep_weight_K[self._column_N[mine]]
                order = np.argsort(-worth, kind="stable")
            elif generator is None:
                order = np.argsort(-self._value_N[mine], kind="stable")
            else:
                order = generator.permutation(high - low)
            keep_M[low + order[self._max_nonzero :]] = False
        return position_M[keep_M]

    def _zero_columns(self, row: int, generator: np.random.Generator | None) -> np.ndarray:
        """Distinct columns that are zero in the cell, ascending: ranks among its zeros are drawn, then mapped."""
        stored = self._column_N[self._indptr[row] : self._indptr[row + 1]]
        num_zeros = len(self._feature_id_K) - len(stored)
        if self._zeros_C[row] == num_zeros:
            rank = np.arange(num_zeros)
        else:
            if generator is None:
                generator = np.random.default_rng((_ZERO_SEED, row))
            rank = np.sort(generator.choice(num_zeros, size=self._zeros_C[row], replace=False, shuffle=False))
        zeros_before = stored - np.arange(len(stored))
        return rank + np.searchsorted(zeros_before, rank, side="right")


def _ranges(start_B: np.ndarray, size_B: np.ndarray) -> np.ndarray:
    """Concatenated ``arange(start, start + size)``, without a loop."""
    offset_B = np.cumsum(size_B) - size_B
    return np.arange(int(size_B.sum())) + np.repeat(start_B - offset_B, size_B)
