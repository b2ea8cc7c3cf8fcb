"""Rows of a cell's covariates: batch, donor, stimulation.

Dimension letters: B cells, K covariates, D width, N rows of all covariates.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.covariates import UNKNOWN

__all__ = ["ConditionEmbedding"]

_STD = 0.02  # as other embeddings of what a token is: small compared with the gene's row


class ConditionEmbedding(nn.Module):
    """Sum over covariates of the row of the cell's category; each covariate has one row more, "unknown".

    Categories that training has not seen, and those that a file does not give, read the row "unknown". In training a
    known category is taken for unknown with chance ``dropout`` (drawn for each cell and covariate from torch's own
    random state, as dropout is), so that this row has a meaning: the average over categories.

    Parameters
    ----------
    covariates
        Covariate -> number of its categories, in the order of ``PackedTokens.covariates_BK``.
    width
        D.
    dropout
        Chance, in training.
    """

    first_K: Tensor
    unknown_K: Tensor

    def __init__(self, covariates: Mapping[str, int], width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        sizes_K = torch.tensor(list(covariates.values()), dtype=torch.long)
        first_K = (sizes_K + 1).cumsum(0) - sizes_K - 1
        # Decided by the number of categories alone, so not saved.
        self.register_buffer("first_K", first_K, persistent=False)
        self.register_buffer("unknown_K", first_K + sizes_K, persistent=False)
        self.rows = nn.Embedding(int((sizes_K + 1).sum()), width)
        nn.init.normal_(self.rows.weight, std=_STD)

    def forward(self, batch: PackedTokens) -> Tensor:
        """Sum of the rows of each cell: ``[B, D]``; zeros where the model has no covariates."""
        num_covariates = len(self.first_K)
        code_BK = batch.covariates_BK
        if code_BK is None:
            code_BK = self.first_K.new_full((batch.num_cells, num_covariates), UNKNOWN)
        code_BK = code_BK[:, :num_covariates]
        unknown_BK = code_BK == UNKNOWN
        if self.training and self.dropout > 0:
            unknown_BK = unknown_BK | (torch.rand(code_BK.shape, device=code_BK.device) < self.dropout)
        row_BK = torch.where(unknown_BK, self.unknown_K, self.first_K + code_BK)
        return self.rows(row_BK).sum(dim=1)
