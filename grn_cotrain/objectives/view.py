"""A view is the record of one corruption of cells; encodings hold what an encoder makes of each view, computed once.

Dimension letters: T packed tokens, M asked tokens, B cells, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.nn.cell_encoders.base import CellStates
from grn_cotrain.nn.link_decoders.base import LinkDecoder

__all__ = ["CLEAN", "Encodings", "GeneStates", "ModelView", "View"]

CLEAN = "clean"
"""Name of the view in which nothing is hidden."""


@dataclass(frozen=True)
class GeneStates:
    """States of the nodes, genes first.

    Attributes
    ----------
    table_GD
        Rows of the shared table.
    graph_GD
        The graph encoder's output on this step's message edges.
    num_genes
        Leading nodes that take part in links; None: all.
    """

    table_GD: Tensor
    graph_GD: Tensor
    num_genes: int | None = None

    @property
    def linked_GD(self) -> Tensor:
        """Encoded genes, without other nodes: what link decoders read."""
        return self.graph_GD[: self.num_genes]


class ModelView(Protocol):
    """The part of a model that objectives may use."""

    @property
    def link_decoder(self) -> LinkDecoder: ...

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates: ...

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        """Rows of the shared table for vocabulary ids (for tied output heads)."""
        ...

    def every_row(self, genes: GeneStates) -> Tensor:
        """Rows of all features, in the order of the vocabulary."""
        ...

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """Compute what must be known before anything is hidden; call it before names are."""
        ...


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
