"""Contract of cell encoders: packed tokens in, token and cell states out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import CellBatch, PackedTokens
from grn_cotrain.data.statistics import NOTHING, Need, Statistics
from grn_cotrain.registry import Registry

__all__ = ["CELL_ENCODERS", "NO_COVARIATES", "AttentionBias", "CellEncoder", "CellStates", "token_bias"]

CELL_ENCODERS: Registry[CellEncoder] = Registry("cell_encoder", __package__)

NO_COVARIATES: Mapping[str, int] = MappingProxyType({})
"""Value of ``covariates`` where the recipe names none."""


@dataclass(frozen=True)
class AttentionBias:
    """Low-rank additive attention logits per pair of features: ``bias[i, j] = query_VR[i] . key_VR[j]``.

    The encoder adds it to the scaled attention logits of every head; R is small, so no V x V matrix is ever built.
    """

    query_VR: Tensor
    key_VR: Tensor


def token_bias(batch: PackedTokens, bias: AttentionBias | None) -> tuple[Tensor, Tensor] | None:
    """Query and key factors ``[T, R]`` of each token; None if there is no bias."""
    if bias is None:
        return None
    return F.embedding(batch.feature_ids_T, bias.query_VR), F.embedding(batch.feature_ids_T, bias.key_VR)


@dataclass(frozen=True)
class CellStates:
    """Output of an encoder.

    Attributes
    ----------
    tokens_TD
        Final state of every packed token.
    cells_BD
        One state per cell.
    repool
        The cells' states again, ``[B, D]``, from the same states of tokens but without some of them: a function of a
        bool ``[T]`` that is True where a token is left out. None if no single token's state is pooled.
    encoded
        The encoder's own states, where values were added to those of the cells (``model.cell_state: skip``).
    """

    tokens_TD: Tensor
    cells_BD: Tensor
    repool: Callable[[Tensor], Tensor] | None = None
    encoded: CellStates | None = None

    def of_encoder(self) -> CellStates:
        """The encoder's own states: what a cell's other genes make of a change, which added values cannot show."""
        return self if self.encoded is None else self.encoded

    def cells_without(self, left_out_T: Tensor) -> Tensor:
        """States of the cells ``[B, D]`` pooled over all tokens but these (bool ``[T]``, CLS never among them).

        Nothing is encoded again: what the other tokens have read of these stays in their states.
        """
        return self.cells_BD if self.repool is None else self.repool(left_out_T)


class CellEncoder(nn.Module, ABC):
    """Encoder of packed cells over shared gene features.

    ``__init__(config, *, width, num_bins, num_modalities, num_genes, covariates)``; ``covariates`` maps each of
    ``tokens.covariates`` to its number of categories. Sizes that an encoder does not read go into ``**_``. Each
    subclass is one file with a ``Config`` dataclass.

    Contract (tests/cases/cell_encoders.py): the output of a cell depends neither on the other cells of the batch nor
    on the order of its tokens; hidden values (``batch.masked_T``), hidden modalities (``batch.modality_hidden_T``) and
    hidden names (MASK in ``feature_ids_T``) are never read; two evaluation passes are equal; states are differentiable
    in ``batch.gain_T``, and gains of 1 change nothing. There is a state for
    *every* token of the batch: which of them its own layers read, and which it only decodes, is an encoder's affair.
    """

    Config: ClassVar[type[Any]]
    reads_prompt: ClassVar[bool] = False
    """Whether ``batch.prompt_BD`` stands in the place of CLS; a batch that has one is refused elsewhere."""

    def tokenise(self, batch: CellBatch) -> Any:
        """Make what :meth:`forward` reads of the assays that the recipe lets this encoder read.

        By default the packed tokens: CLS, then a token a feature. An encoder whose tokens are something else (patches
        of the genome) overrides this and returns an object of its own with ``cells_B``, the rows of ``batch`` that it
        holds. Its ``forward`` receives this object, and gives states of cells; features have no state then.

        Parameters
        ----------
        batch
            Cells with these assays alone; each :class:`~grn_cotrain.data.batch.AssayBatch` holds the cells that have
            the assay, without the values that an objective has hidden.
        """
        return batch.pack()

    @classmethod
    def owns_tokens(cls) -> bool:
        """Whether the encoder makes tokens of its own (overrides :meth:`tokenise`)."""
        return cls.tokenise is not CellEncoder.tokenise

    def pinned_options(self) -> dict[str, Any]:
        """Options to write out when the vocabulary is extended, since their default depends on its size.

        Default: none. See :func:`~grn_cotrain.model_extend.extend_model`.
        """
        return {}

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """Statistics that :meth:`prepare` reads, so that one pass over the cells serves all parts. Default: none."""
        del config
        return NOTHING

    def prepare(self, statistics: Statistics) -> None:
        """Receive statistics of the training cells once, before training, to keep as buffers. Default: nothing."""
        del statistics

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """Compute what must be known before anything is hidden (ranks). Objectives that hide names call it first.

        Default: the batch as it is. Calling it twice changes nothing.
        """
        return batch

    def keep_weights(self) -> Tensor | None:
        """Which tokens of a cell over the cap are kept: those of highest normalised value times these weights ``[G]``.

        Default: None, as in :class:`~grn_cotrain.data.tokens.Tokenizer`: at random in training, the highest values at
        evaluation. A system that is published with a cut of its own defines it here, and has it in both.
        """
        return None

    @abstractmethod
    def attention(
        self,
        batch: PackedTokens,
        features_VD: Tensor,
        bias: AttentionBias | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """Yield for each cell who reads whom: float32 ``[L, L]`` over its tokens, rows read columns.

        The mean over heads and over ``layers`` (default: all; negative numbers count from the last). Weights are not
        negative; a row sums to 1, or to 0 where the token reads nothing by attention. Where attention goes by way of
        latents the weights are the product of both ways. One matrix at a time is held; no gradient is kept.
        """

    @abstractmethod
    def forward(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """Encode ``batch``; ``features_VD`` holds the rows of the special tokens first, then one row a feature."""
