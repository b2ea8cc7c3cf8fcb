"""Batches of cells with their assays, and packed sequences of tokens. No padding on any hot path.

Dimension letters: B cells of a batch, A those that have an assay, T packed tokens, V vocabulary (special tokens, then
features), K covariates, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["AssayBatch", "CellBatch", "PackedTokens"]

_CLS_ID = 2  # as in grn_cotrain.data.vocab, which this module does not need otherwise


class _Moved:
    """Copies its tensors to a device."""

    def to(self, device: torch.device | str) -> Self:
        """Copy to ``device``."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        moved = {name: value.to(device) for name, value in values.items() if isinstance(value, (Tensor, _Moved))}
        return replace(self, **(values | moved))  # type: ignore[type-var]


@dataclass(frozen=True)
class AssayBatch(_Moved):
    """The cells of a batch that have one assay, as packed tokens without CLS.

    The tokens of a cell are its non-zero features and then sampled zeros; a cell that has the assay may have no token.

    Attributes
    ----------
    feature_ids_T
        int64 vocabulary ids.
    values_T
        float32 values, normalised by the assay's own kind and depth.
    bins_T
        int64 value bins, by quantiles among the cell's non-zero values of this assay; 0 for a zero.
    cu_lens
        int32 ``[A + 1]`` cumulative token counts.
    cells_A
        int64 rows of the batch, ascending: the cells that have the assay.
    modality
        Code of the assay's features (0 gene, 1 peak, 2 protein).
    total_A
        float32 total counts of each cell in this assay, before features were selected; None if values are not reads.
    """

    feature_ids_T: Tensor
    values_T: Tensor
    bins_T: Tensor
    cu_lens: Tensor
    cells_A: Tensor
    modality: int
    total_A: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """T."""
        return int(self.feature_ids_T.numel())


@dataclass(frozen=True)
class CellBatch(_Moved):
    """Cells with what each assay measured in them.

    Attributes
    ----------
    cell_index_B
        int64 row of each cell in its :class:`~grn_cotrain.data.store.CellStore`.
    assays
        Assay name -> its tokens, for every assay of the store.
    covariates_BK
        int64 code of each cell in each of ``tokens.covariates``; -1 where the category is not known. Else None.
    """

    cell_index_B: Tensor
    assays: Mapping[str, AssayBatch]
    covariates_BK: Tensor | None = None

    @property
    def num_cells(self) -> int:
        """B."""
        return int(self.cell_index_B.numel())

    def to(self, device: torch.device | str) -> CellBatch:
        """Copy to ``device``."""
        moved = super().to(device)
        return replace(moved, assays={name: assay.to(device) for name, assay in self.assays.items()})

    def pack(self, reads: Sequence[str] | None = None) -> PackedTokens:
        """One sequence a cell: CLS, then the tokens of the assays, in the order of ``reads``.

        Parameters
        ----------
        reads
            Assays to read; by default all.

        Returns
        -------
        PackedTokens
            The cells that have at least one of the assays; ``cells_B`` holds their rows of the batch.

        Raises
        ------
        UserError
            An assay that the cells do not have.
        """
        names = list(self.assays) if reads is None else list(reads)
        for name in names:
            if name not in self.assays:
                known = ", ".join(self.assays)
                hint = did_you_mean(name, self.assays)
                raise UserError(f"reads '{name}': the cells have no such assay; choose from {known}{hint}")
        device = self.cell_index_B.device
        lens_B = torch.zeros(self.num_cells, dtype=torch.int64, device=device)
        has_B = torch.zeros(self.num_cells, dtype=torch.bool, device=device)
        for name in names:
            part = self.assays[name]
            lens_B[part.cells_A] += part.cu_lens.diff().long()
            has_B[part.cells_A] = True
        cells_B = torch.nonzero(has_B).squeeze(1)
        cu_lens = torch.zeros(len(cells_B) + 1, dtype=torch.int64, device=device)
        torch.cumsum(1 + lens_B[cells_B], dim=0, out=cu_lens[1:])
        num_tokens = int(cu_lens[-1])
        next_B = torch.zeros(self.num_cells, dtype=torch.int64, device=device)  # where a cell's next token goes
        next_B[cells_B] = cu_lens[:-1] + 1
        ids_T = torch.full((num_tokens,), _CLS_ID, dtype=torch.int64, device=device)
        values_T = torch.zeros(num_tokens, dtype=torch.float32, device=device)
        bins_T, modality_T = torch.zeros_like(ids_T), torch.zeros_like(ids_T)
        total_B: Tensor | None = None
        total_modality = 0
        for name in names:
            part = self.assays[name]
            lens_A = part.cu_lens.diff().long()
            shift_A = next_B[part.cells_A] - part.cu_lens[:-1]
            place_T = torch.arange(part.num_tokens, device=device) + torch.repeat_interleave(shift_A, lens_A)
            ids_T[place_T], values_T[place_T], bins_T[place_T] = part.feature_ids_T, part.values_T, part.bins_T
            modality_T[place_T] = part.modality
            next_B[part.cells_A] += lens_A
            if total_B is None and part.total_A is not None:
                total_modality = part.modality
                total_B = torch.zeros(self.num_cells, dtype=part.total_A.dtype, device=device)
                total_B[part.cells_A] = part.total_A
        return PackedTokens(
            feature_ids_T=ids_T,
            values_T=values_T,
            bins_T=bins_T,
            modality_T=modality_T,
            cu_lens=cu_lens.int(),
            max_len=int(cu_lens.diff().max()) if len(cells_B) else 0,
            cell_index_B=self.cell_index_B[cells_B],
            total_B=None if total_B is None else total_B[cells_B],
            covariates_BK=None if self.covariates_BK is None else self.covariates_BK[cells_B],
            total_modality=total_modality,
            cells_B=cells_B,
        )


@dataclass(frozen=True)
class PackedTokens(_Moved):
    """Cells as packed tokens; cell ``b`` owns tokens ``cu_lens[b]:cu_lens[b + 1]`` and its first token is CLS.

    Objectives hide tokens in one of two ways. *Values and modalities* stay in place as targets, and a flag
    marks that no encoder may read them. *Names* are taken out of the batch, MASK standing in their place, since a name
    is used in too many ways (rows, statistics, ranks) to be watched; the objective keeps the names itself. See
    :mod:`grn_cotrain.objectives.masking`.

    Attributes
    ----------
    feature_ids_T
        int64 vocabulary ids: 0 PAD, 1 MASK, 2 CLS, then feature ``i`` at ``i + NUM_SPECIAL``. MASK: a token whose name
        is hidden.
    values_T
        float32 continuous values (log1p of counts per ten thousand, or the log-scale value as stored); CLS has 0.
    bins_T
        int64 value bins: 0 a zero (or CLS), 1..K quantile bins of the cell's non-zero values.
    modality_T
        int64 modality index (0 gene, 1 peak, 2 protein; CLS has 0).
    cu_lens
        int32 ``[B + 1]`` cumulative token counts; ``max_len`` is the longest cell.
    cell_index_B
        int64 row of each cell in its :class:`~grn_cotrain.data.store.CellStore`.
    masked_T
        bool, True where the value is hidden from the encoder; None if nothing is hidden. Targets are
        ``values_T`` / ``bins_T`` themselves: an encoder must never read them where ``masked_T`` is True.
    modality_hidden_T
        bool, True where the modality is hidden too; an encoder must never read ``modality_T`` there, nor guess it from
        ``feature_ids_T`` by anything but the feature's own row.
    ranks_T
        int64 rank of each token within its cell (0: CLS; 1: the highest), for encoders that read ranks; set by their
        :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.prepare_batch` before names are hidden. Else None.
    total_B
        float32 total counts of each cell in the first assay that has reads, before features were selected; 0 for a cell
        that lacks this assay. None if no assay has reads.
    total_modality
        Code of the modality whose reads ``total_B`` counts.
    depth_B2
        float32 log1p total counts of the target and of the source (what the encoder is shown), where an objective
        makes them differ; None: both are ``total_B``.
    covariates_BK
        int64 code of each cell in each of ``tokens.covariates``; -1 where the category is not known. Else None.
    prompt_BD
        State of each cell that stands in the place of its CLS at the input (cell-prompted generation), for encoders
        that read it (:attr:`~grn_cotrain.nn.cell_encoders.CellEncoder.reads_prompt`). Else None.
    gain_T
        float32 factor of the value channel of each token: 1 shows the value, 0 shows the token as one whose value is
        not known. It is what read-outs take derivatives by. None: 1 everywhere.
    cells_B
        int64 rows of the :class:`CellBatch` that these cells are; None if the sequence was not packed from one.
    """

    feature_ids_T: Tensor
    values_T: Tensor
    bins_T: Tensor
    modality_T: Tensor
    cu_lens: Tensor
    max_len: int
    cell_index_B: Tensor
    masked_T: Tensor | None = None
    modality_hidden_T: Tensor | None = None
    ranks_T: Tensor | None = None
    total_B: Tensor | None = None
    depth_B2: Tensor | None = None
    covariates_BK: Tensor | None = None
    prompt_BD: Tensor | None = None
    total_modality: int = 0
    cells_B: Tensor | None = None
    gain_T: Tensor | None = None

    @property
    def num_cells(self) -> int:
        """B."""
        return int(self.cu_lens.numel() - 1)

    @property
    def num_tokens(self) -> int:
        """T, CLS tokens included."""
        return int(self.feature_ids_T.numel())

    @property
    def cls_positions_B(self) -> Tensor:
        """Index of each cell's CLS token."""
        return self.cu_lens[:-1].long()

    @property
    def cell_of_token_T(self) -> Tensor:
        """int64 batch row (0..B-1) of every token."""
        lens_B = (self.cu_lens[1:] - self.cu_lens[:-1]).long()
        return torch.repeat_interleave(torch.arange(self.num_cells, device=lens_B.device), lens_B)

    @property
    def hidden_T(self) -> Tensor:
        """bool, True where the value is hidden; all False where ``masked_T`` is None."""
        return torch.zeros_like(self.feature_ids_T, dtype=torch.bool) if self.masked_T is None else self.masked_T

    def with_mask(self, masked_T: Tensor) -> PackedTokens:
        """The same cells with other hidden positions."""
        return replace(self, masked_T=masked_T)
