"""The parts of a batch that several encoders read, and one state a cell from their states.

Dimension letters: B cells of a batch, P cells of a part, T tokens, M tokens of a part, D width, A cells with an assay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from grn_cotrain.data.batch import AssayBatch, CellBatch, PackedTokens
from grn_cotrain.nn.cell_encoders.base import CellStates
from grn_cotrain.nn.token_subset import only_tokens

__all__ = ["TokenPart", "joined_states", "mean_of_present", "token_part", "unpacked"]


@dataclass(frozen=True)
class TokenPart:
    """The tokens of some assays.

    Attributes
    ----------
    tokens
        The cells that have such a token, each with its CLS.
    where_M
        int64 positions of these tokens in the batch.
    cells_P
        int64 rows of these cells in the batch.
    """

    tokens: PackedTokens
    where_M: Tensor
    cells_P: Tensor


def token_part(batch: PackedTokens, modality_codes: Sequence[int]) -> TokenPart:
    """The part of a batch that an encoder of these modalities reads; a cell without such a token is not in it."""
    is_cls_T = torch.zeros(batch.num_tokens, dtype=torch.bool, device=batch.modality_T.device)
    is_cls_T[batch.cls_positions_B] = True
    read_T = torch.isin(batch.modality_T, torch.tensor(modality_codes, device=batch.modality_T.device)) & ~is_cls_T
    cell_T = batch.cell_of_token_T
    has_B = torch.zeros(batch.num_cells, dtype=torch.bool, device=read_T.device)
    has_B[cell_T[read_T]] = True
    has_B |= batch.cu_lens.diff() == 1  # nothing but CLS: an empty cell is not one that lacks the assay
    kept_T = (read_T | is_cls_T) & has_B[cell_T]
    cells_P = torch.nonzero(has_B).squeeze(1)
    part = only_tokens(batch, kept_T)
    lens_P = part.cu_lens.diff()[cells_P]
    per_cell = {
        field.name: value[cells_P]
        for field in fields(batch)
        if field.name.rstrip("KD2").endswith("_B") and (value := getattr(batch, field.name)) is not None
    }
    cu_lens = torch.cat([lens_P.new_zeros(1), lens_P.cumsum(0)]).int()
    tokens = replace(part, cu_lens=cu_lens, max_len=int(lens_P.max()) if len(cells_P) else 0, **per_cell)
    return TokenPart(tokens, torch.nonzero(kept_T).squeeze(1), cells_P)


def unpacked(tokens: PackedTokens, codes: Mapping[str, int]) -> CellBatch:
    """The assays of packed tokens, for an encoder that makes tokens of its own; hidden values are left out.

    Parameters
    ----------
    tokens
        Packed tokens of these assays.
    codes
        Modality code of each assay, by its name.
    """
    is_cls_T = torch.zeros_like(tokens.hidden_T)
    is_cls_T[tokens.cls_positions_B] = True
    shown_T = ~(is_cls_T | tokens.hidden_T)
    cell_T = tokens.cell_of_token_T
    assays: dict[str, AssayBatch] = {}
    for name, code in codes.items():
        own_T = shown_T & (tokens.modality_T == code)
        has_B = torch.zeros(tokens.num_cells, dtype=torch.bool, device=own_T.device)
        has_B[cell_T[(tokens.modality_T == code) & ~is_cls_T]] = True
        cells_A = torch.nonzero(has_B).squeeze(1)
        lens_A = torch.bincount(cell_T[own_T], minlength=tokens.num_cells)[cells_A]
        assays[name] = AssayBatch(
            feature_ids_T=tokens.feature_ids_T[own_T],
            values_T=tokens.values_T[own_T],
            bins_T=tokens.bins_T[own_T],
            cu_lens=torch.cat([lens_A.new_zeros(1), lens_A.cumsum(0)]).int(),
            cells_A=cells_A,
            modality=code,
        )
    return CellBatch(tokens.cell_index_B, assays, tokens.covariates_BK)


def mean_of_present(states: Sequence[tuple[Tensor, Tensor]], num_cells: int) -> Tensor:
    """Mean over the encoders that read a cell: ``[B, D]``; 0 for a cell that none of them can read.

    Parameters
    ----------
    states
        For each encoder, states ``[P, D]`` and the rows of these cells in the batch.
    num_cells
        B.
    """
    first_PD = states[0][0]
    sum_BD = first_PD.new_zeros(num_cells, first_PD.shape[1])
    count_B = first_PD.new_zeros(num_cells)
    for state_PD, cells_P in states:
        sum_BD = sum_BD.index_add(0, cells_P, state_PD.to(sum_BD.dtype))
        count_B = count_B.index_add(0, cells_P, count_B.new_ones(len(cells_P)))
    return sum_BD / count_B.clamp_min(1)[:, None]


def joined_states(batch: PackedTokens, parts: Sequence[tuple[TokenPart, CellStates]]) -> CellStates:
    """States of a batch from those of its parts.

    The state of a cell is the mean over the encoders that read it, so an assay that a cell does not have never enters.
    A token has the state that its encoder gave it (the mean, where several read it), CLS the mean; a token that no
    encoder reads has 0, and so has one whose encoder makes tokens of its own.
    """
    token_states = [
        (states.tokens_TD, part.where_M) for part, states in parts if len(states.tokens_TD) == len(part.where_M)
    ]
    cell_states = [(states.cells_BD, part.cells_P) for part, states in parts]

    def repool(left_out_T: Tensor) -> Tensor:
        # Without ``repool`` of its own, a part answers with its states as they are.
        pooled = [(states.cells_without(left_out_T[part.where_M]), part.cells_P) for part, states in parts]
        return mean_of_present(pooled, batch.num_cells)

    cells_BD = parts[0][1].cells_BD
    tokens_TD = (
        mean_of_present(token_states, batch.num_tokens)
        if token_states
        else cells_BD.new_zeros(batch.num_tokens, cells_BD.shape[1])
    )
    encoded = None
    if any(states.encoded is not None for _, states in parts):
        encoded = joined_states(batch, [(part, states.of_encoder()) for part, states in parts])
    return CellStates(tokens_TD, mean_of_present(cell_states, batch.num_cells), repool, encoded)
