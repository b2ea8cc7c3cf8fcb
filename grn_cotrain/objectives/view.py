"""A view is the record of one corruption of cells; encodings hold what an encoder makes of each view, computed once.

Dimension letters: T packed tokens, M asked tokens, B cells, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.nn.cell_encoders.base import CellStates

if TYPE_CHECKING:
    from grn_cotrain.objectives.base import GeneStates, ModelView

__all__ = ["CLEAN", "Encodings", "View"]

CLEAN = "clean"
"""Name of the view in which nothing is hidden."""


@dataclass(frozen=True, eq=False)
class View:
    """Some cells as an encoder may read them, and as they were before.

    A view has an identity: two views are never equal, and each is encoded once a step, however many objectives read it.

    Attributes
    ----------
    tokens
        Input of the encoder. Target depth (``depth_B2``) and prompt (``prompt_BD``) are in it.
    truth
        The same tokens before anything was hidden or thinned: values, bins and names are the targets.
    where_M
        int64 positions of the tokens that are asked for.
    masked_M
        bool, True where an asked token shows MASK in the place of its name; None if no name is hidden.
    """

    tokens: PackedTokens
    truth: PackedTokens
    where_M: Tensor
    masked_M: Tensor | None = None

    @classmethod
    def of(cls, tokens: PackedTokens, truth: PackedTokens | None = None) -> View:
        """The view whose asked tokens are those with hidden values; ``truth`` defaults to ``tokens`` themselves."""
        where_M = torch.nonzero(tokens.hidden_T).squeeze(1)
        return cls(tokens, tokens if truth is None else truth, where_M)

    @property
    def values_M(self) -> Tensor:
        """True values of the asked tokens, on the scale of ``PackedTokens.values_T``."""
        return self.truth.values_T[self.where_M]

    @property
    def bins_M(self) -> Tensor:
        """True bins of the asked tokens, among all values of their cells."""
        return self.truth.bins_T[self.where_M]

    @property
    def genes_M(self) -> Tensor:
        """True features of the asked tokens, as indices of the vocabulary without its special tokens."""
        return self.truth.feature_ids_T[self.where_M] - NUM_SPECIAL

    @property
    def cells_M(self) -> Tensor:
        """Row of the batch to which each asked token belongs."""
        return self.tokens.cell_of_token_T[self.where_M]

    @property
    def num_asked(self) -> int:
        """M."""
        return len(self.where_M)

    @property
    def num_values(self) -> int:
        """Asked tokens whose true value is not zero."""
        return int((self.values_M != 0).sum())


class Encodings:
    """States of views over one set of gene states. A view is encoded when it is first read, and kept.

    Parameters
    ----------
    model, genes
        Who encodes, over which gene rows.
    before
        Called with a view just before it is encoded.
    """

    def __init__(self, model: ModelView, genes: GeneStates, before: Callable[[View], None] | None = None) -> None:
        self._model, self._genes, self._before = model, genes, before
        self._states: dict[View, CellStates] = {}

    def of(self, view: View) -> CellStates:
        """States of the view's tokens and cells."""
        if view not in self._states:
            if self._before is not None:
                self._before(view)
            self._states[view] = self._model.encode_cells(view.tokens, self._genes)
        return self._states[view]
