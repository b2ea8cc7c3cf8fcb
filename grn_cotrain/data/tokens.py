"""Cells -> batches of tokens, assay by assay: the non-zero features, then sampled zeros of what was measured.

Dimension letters: B cells of a batch, C cells of a store, A assays, T packed tokens, N stored values of a batch, K
features of an assay that can be tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse

from grn_cotrain.data.assays import Assay
from grn_cotrain.data.batch import AssayBatch, CellBatch
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.covariates import Categories, categories_of, covariate_codes
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig

__all__ = ["JointTokenizer", "Tokenizer"]

_ZERO_SEED = 20  # stream of the sampled zeros where no generator is given


@dataclass(frozen=True)
class _Part:
    """What the tokenizer knows of one assay before it reads a cell."""

    assay: Assay
    column_K: np.ndarray
    """Columns of the assay's features that can be tokens; sampled zeros are addressed by their rank among them."""
    nonzero_C: np.ndarray
    kept_C: np.ndarray
    zeros_C: np.ndarray
    keep_weight_K: np.ndarray | None

    @property
    def every_column(self) -> bool:
        return len(self.column_K) == len(self.assay.space)


class Tokenizer:
    """Turns rows of a :class:`~grn_cotrain.data.store.CellStore` into :class:`~grn_cotrain.data.batch.CellBatch`.

    Cells are read, normalised and binned batch by batch; nothing is kept of them but their numbers of tokens.

    Only non-zero features that the vocabulary marks ``is_token`` become tokens (spike-ins never do). ``max_tokens``
    bounds a cell's tokens over all assays, CLS and sampled zeros included: a longer cell loses non-zero tokens **at
    random at each draw**; without a generator it keeps its highest values (lower feature first among equals), always
    the same. With ``keep_weight_G`` it keeps in both cases those of the highest value, on the linear scale, times the
    weight. ``zeros_per_cell`` features that are zero in the cell are appended with value 0 and bin 0, so that zeros can
    be masked too; ``all`` appends every one of them, and then no cell is down-sampled. A feature of an assay that the
    cell does not have is never a token. Where a cell has several assays, they share the cap and the zeros evenly; what
    one does not need, the others may use.

    Values are normalised by each assay's kind; bins are quantiles among *all* non-zero token features of the cell in
    that assay, down-sampled or not.

    Parameters
    ----------
    cells
        The store; it is asked for the rows of each batch.
    config
        The ``tokens`` block of a recipe.
    categories
        Categories of ``config.covariates``, as a model has learned them; default: those of ``cells.obs``.
    keep_weight_G
        Weights by which a cell over the cap is cut: see :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.keep_weights`.

    Raises
    ------
    UserError
        ``max_tokens`` leaves no room for a non-zero token; more zeros than features; no such column of ``obs``.
    """

    def __init__(
        self,
        cells: CellStore,
        config: TokenConfig,
        categories: Categories | None = None,
        *,
        keep_weight_G: np.ndarray | None = None,
        reads: Collection[str] | None = None,
    ) -> None:
        self.config = config
        self.cells = cells
        if categories is None:
            categories = categories_of(cells.obs, config.covariates)
        self.categories = categories
        assays = [assay for name, assay in cells.assays.items() if reads is None or name in reads]
        num_features = sum(sum(assay.space.is_token) for assay in assays)
        wanted_zeros = _zeros_wanted(config, num_features)
        nonzero_CA = np.stack([cells.num_values(assay.name, tokens=True) for assay in assays], axis=1)
        columns = [np.flatnonzero(assay.space.is_token_F) for assay in assays]
        lacking_CA = np.stack([assay.present_C * len(c) for assay, c in zip(assays, columns, strict=True)], axis=1)
        kept_CA = _shared_out(nonzero_CA, config.max_values)
        zeros_CA = _shared_out(lacking_CA - nonzero_CA, wanted_zeros)
        self._parts = [
            _Part(
                assay,
                column_K,
                nonzero_CA[:, a],
                kept_CA[:, a],
                zeros_CA[:, a],
                None if keep_weight_G is None else keep_weight_G[assay.space.columns][column_K],
            )
            for a, (assay, column_K) in enumerate(zip(assays, columns, strict=True))
        ]
        self.assays = tuple(assay.name for assay in assays)
        self._codes_CK = covariate_codes(cells.obs, categories) if categories else None
        self.lengths_C = 1 + kept_CA.sum(axis=1) + zeros_CA.sum(axis=1)
        """int64 tokens of every cell as drawn, over all assays: CLS, non-zeros up to the cap, zeros."""

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None = None) -> CellBatch:
        """Read the cells at ``rows``, in that order.

        ``generator`` drives down-sampling and the choice of zeros; with None both depend on the cell alone.
        """
        rows_B = np.asarray(rows, dtype=np.int64)
        stored = self.cells.rows(rows_B)
        assays = {
            part.assay.name: self._assay_batch(part, order, stored[part.assay.name], rows_B, generator)
            for order, part in enumerate(self._parts)
        }
        return CellBatch(
            cell_index_B=torch.from_numpy(rows_B.copy()),
            assays=assays,
            covariates_BK=None if self._codes_CK is None else torch.from_numpy(self._codes_CK[rows_B]),
        )

    def _assay_batch(
        self,
        part: _Part,
        order: int,
        stored_BF: sparse.csr_matrix,
        rows_B: np.ndarray,
        generator: np.random.Generator | None,
    ) -> AssayBatch:
        if not part.every_column:
            stored_BF = stored_BF[:, part.column_K]
        place_A = np.flatnonzero(part.assay.present_C[rows_B])  # other cells have no value in this assay
        rows_A, indptr = rows_B[place_A], stored_BF.indptr.astype(np.int64)
        start_A, nonzero_A = indptr[place_A], part.nonzero_C[rows_A]
        kept_A, zeros_A = part.kept_C[rows_A], part.zeros_C[rows_A]
        value_N = part.assay.normalised_values(stored_BF.data, indptr, part.assay.size_factor_C[rows_B])
        cell_N = np.repeat(np.arange(len(rows_B)), np.diff(indptr))
        bin_N = quantile_bins(torch.from_numpy(value_N), torch.from_numpy(cell_N), self.config.num_bins).numpy()

        cu_lens = np.zeros(len(place_A) + 1, dtype=np.int64)
        np.cumsum(kept_A + zeros_A, out=cu_lens[1:])
        column_T = np.zeros(int(cu_lens[-1]), dtype=np.int64)
        value_T = np.zeros(len(column_T), dtype=np.float32)
        bin_T = np.zeros(len(column_T), dtype=np.int64)
        source_M = _kept_positions(part, start_A, nonzero_A, kept_A, value_N, stored_BF.indices, generator)
        target_M = _ranges(cu_lens[:-1], kept_A)
        column_T[target_M] = stored_BF.indices[source_M]
        value_T[target_M] = value_N[source_M]
        bin_T[target_M] = bin_N[source_M]
        if zeros_A.any():
            for cell, row in enumerate(rows_A):
                draw = generator
                if draw is None:
                    draw = np.random.default_rng((_ZERO_SEED, int(row), *((order,) if order else ())))
                seen = stored_BF.indices[start_A[cell] : start_A[cell] + nonzero_A[cell]]
                end = cu_lens[cell + 1]
                column_T[end - zeros_A[cell] : end] = _zero_columns(seen, len(part.column_K), int(zeros_A[cell]), draw)
        feature_T = part.column_K[column_T] if len(part.column_K) else column_T
        return AssayBatch(
            feature_ids_T=torch.from_numpy(feature_T + (part.assay.space.start + NUM_SPECIAL)),
            values_T=torch.from_numpy(value_T),
            bins_T=torch.from_numpy(bin_T),
            cu_lens=torch.from_numpy(cu_lens.astype(np.int32)),
            cells_A=torch.from_numpy(place_A),
            modality=MODALITIES.index(part.assay.space.name),
            total_A=torch.from_numpy(part.assay.size_factor_C[rows_A].astype(np.float32))
            if part.assay.has_reads
            else None,
        )


class JointTokenizer(Tokenizer):
    """Tokens of several encoders in one batch, each assay by the settings of the encoder that reads it.

    Parameters
    ----------
    parts
        One tokenizer for the assays of each encoder; they share cells and covariates.

    Raises
    ------
    UserError
        Two of them read one assay, with different settings.
    """

    def __init__(self, parts: Mapping[str, Tokenizer]) -> None:
        self.parts = dict(parts)
        first, *others = self.parts.values()
        self.cells, self.categories, self.config = first.cells, first.categories, first.config
        owner: dict[str, str] = {}
        for name, part in self.parts.items():
            for assay in part.assays:
                if part.config != self.parts[owner.setdefault(assay, name)].config:
                    raise UserError(
                        f"model.encoders: {owner[assay]} and {name} both read {assay}, with different tokens; give them"
                        " the same"
                    )
        self.owner = owner
        self.assays = tuple(owner)
        self.lengths_C = first.lengths_C + sum(part.lengths_C - 1 for part in others)
        """int64 tokens of every cell, at most: CLS, then what each encoder reads."""

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None = None) -> CellBatch:
        """See :meth:`Tokenizer.batch`."""
        batches = {name: part.batch(rows, generator) for name, part in self.parts.items()}
        assays = {assay: batches[name].assays[assay] for assay, name in self.owner.items()}
        return replace(next(iter(batches.values())), assays=assays)


def _zeros_wanted(config: TokenConfig, num_features: int) -> int:
    """Zeros that a cell shows, after a look at whether the numbers fit together."""
    if config.zeros_per_cell == "all":
        if config.max_tokens < 1 + num_features:
            raise UserError(
                f"max_tokens: {config.max_tokens} for CLS and all of {num_features} features"
                f" (zeros_per_cell: all); give at least {1 + num_features}"
            )
        return num_features
    if config.max_values < 1:
        raise UserError(
            f"max_tokens: {config.max_tokens} leaves no room beside CLS and {config.zeros_per_cell} zeros; raise it"
        )
    if config.zeros_per_cell > num_features:
        raise UserError(f"zeros_per_cell: {config.zeros_per_cell} for {num_features} token features; lower it")
    return config.zeros_per_cell


def _shared_out(wanted_CA: np.ndarray, most: int) -> np.ndarray:
    """Share ``most`` places of each cell among its assays, evenly; what one does not need, the others may use."""
    given_CA = np.zeros_like(wanted_CA)
    over_M = np.flatnonzero(wanted_CA.sum(axis=1) > most)
    fits_C = np.ones(len(wanted_CA), dtype=bool)
    fits_C[over_M] = False
    given_CA[fits_C] = wanted_CA[fits_C]
    wanted_MA, given_MA = wanted_CA[over_M], given_CA[over_M]
    left_M = np.full(len(over_M), most)
    while left_M.any():
        open_MA = wanted_MA > given_MA
        share_M = left_M // open_MA.sum(axis=1)
        last_MA = open_MA & (np.cumsum(open_MA, axis=1) <= left_M[:, None])  # less than one each: the first get it
        add_MA = np.where(share_M[:, None] > 0, np.minimum(wanted_MA - given_MA, share_M[:, None]), last_MA)
        given_MA += add_MA
        left_M = left_M - add_MA.sum(axis=1)
    given_CA[over_M] = given_MA
    return given_CA


def _kept_positions(
    part: _Part,
    start_A: np.ndarray,
    nonzero_A: np.ndarray,
    kept_A: np.ndarray,
    value_N: np.ndarray,
    column_N: np.ndarray,
    generator: np.random.Generator | None,
) -> np.ndarray:
    """Positions among the values of a batch of the tokens to keep, cell by cell, in column order."""
    position_M = _ranges(start_A, nonzero_A)
    long_A = np.flatnonzero(nonzero_A > kept_A)
    if len(long_A) == 0:
        return position_M
    end_A = np.cumsum(nonzero_A)
    keep_M = np.ones(len(position_M), dtype=bool)
    for place in long_A:
        low, high = end_A[place] - nonzero_A[place], end_A[place]
        mine = position_M[low:high]
        if part.keep_weight_K is not None:
            # In float64, as the ratios are by which Geneformer ranks: the cut is at a rank.
            worth = np.expm1(value_N[mine].astype(np.float64)) * part.keep_weight_K[column_N[mine]]
            order = np.argsort(-worth, kind="stable")
        elif generator is None:
            order = np.argsort(-value_N[mine], kind="stable")
        else:
            order = generator.permutation(high - low)
        keep_M[low + order[kept_A[place] :]] = False
    return position_M[keep_M]


def _zero_columns(seen: np.ndarray, num_columns: int, number: int, generator: np.random.Generator) -> np.ndarray:
    """Distinct columns that are zero in the cell, ascending: ranks among its zeros are drawn, then mapped."""
    num_zeros = num_columns - len(seen)
    if number == num_zeros:
        rank = np.arange(num_zeros)
    else:
        rank = np.sort(generator.choice(num_zeros, size=number, replace=False, shuffle=False))
    zeros_before = seen - np.arange(len(seen))
    return rank + np.searchsorted(zeros_before, rank, side="right")


def _ranges(start_B: np.ndarray, size_B: np.ndarray) -> np.ndarray:
    """Concatenated ``arange(start, start + size)``, without a loop."""
    offset_B = np.cumsum(size_B) - size_B
    return np.arange(int(size_B.sum())) + np.repeat(start_B - offset_B, size_B)
