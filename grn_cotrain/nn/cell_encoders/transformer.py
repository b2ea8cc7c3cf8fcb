"""Cell encoder ``transformer``: full attention among the non-zero genes of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.trunk import TrunkConfig, TrunkEncoder
from grn_cotrain.nn.token_embedding import TokenEmbedding

__all__ = ["TransformerEncoder"]


@CELL_ENCODERS.register("transformer", paper="Vaswani et al. 2017; tokens as in scMBERT and scGPT (Cui et al. 2024)")
class TransformerEncoder(TrunkEncoder):
    """Pre-norm transformer over packed tokens; the cell's state is the final state of its CLS token.

    Tokens are a set: there are no positions, and a gene's row is its only name. See
    :class:`~grn_cotrain.nn.token_embedding.TokenEmbedding` for what enters.

    Parameters
    ----------
    num_layers
        Default 2.
    num_heads
        Default None: one head per 64 columns.
    ffn_multiplier
        Hidden width of the feed-forward part over ``width``. Default 4.
    dropout
        Default 0.
    values
        ``"continuous"`` (default) or ``"bins"``.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkConfig):
        """Settings of :class:`TransformerEncoder`."""

        values: Literal["bins", "continuous"] = "continuous"

    def __init__(
        self, config: Config, *, width: int, num_bins: int, num_modalities: int, num_genes: int, **_: Any
    ) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            width=width, num_bins=num_bins, num_modalities=num_modalities, num_genes=num_genes, values=config.values
        )
        self.trunk = config.build(width)

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        del config
        return frozenset({Moments()})

    def prepare(self, statistics: Statistics) -> None:
        """Standardise values by the moments of these cells from now on."""
        self.embedding.prepare(statistics[Moments()].nonzero())

    def inputs(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """See :class:`~grn_cotrain.nn.token_embedding.TokenEmbedding`."""
        return self.embedding(batch, features_VD)
