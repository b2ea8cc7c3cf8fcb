"""The ``model`` block of a recipe: table, tokens and the interchangeable parts. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from grn_cotrain.config import ComponentSpec, require, require_number

__all__ = ["ModelConfig", "TableConfig", "TokenConfig"]


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """The shared table of gene embeddings: learned id rows + inductive features.

    Attributes
    ----------
    init
        Initial values of id rows: loadings of the training cells (``pca``, ``factor_analysis``), skip-gram vectors of
        their co-expressed genes (``gene2vec``), or ``random`` rows.
    mode
        ``trainable``; or a fixed table as an ablation: ``frozen_pca`` (PCA rows, never updated), ``random`` (random
        rows, never updated).
    id_dropout
        Chance that a gene's id row is left out in a step, so that features alone must serve.
    inductive
        Feature sources that give genes without an id row a meaning (``grn-cotrain list inductive``).
    feature_matrix
        File of your own gene features, read by the source ``matrix``: parquet, tsv, csv or npy.
    """

    init: Literal["random", "pca", "factor_analysis", "gene2vec"] = "pca"
    mode: Literal["trainable", "frozen_pca", "random"] = "trainable"
    id_dropout: float = 0.1
    inductive: tuple[str, ...] = ("expression", "tf_family")
    feature_matrix: str | None = None

    def __post_init__(self) -> None:
        require(0 <= self.id_dropout < 1, f"id_dropout: got {self.id_dropout}; give a share in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class TokenConfig:
    """How a cell becomes packed tokens.

    Attributes
    ----------
    max_tokens
        Cap on a cell's tokens, CLS included; longer cells are down-sampled at random at each draw.
    num_bins
        Number of value bins K of a cell's non-zero values, by quantiles within the cell.
    zeros_per_cell
        Zero values that each cell shows as tokens, drawn at random; 0 shows none; ``all`` shows every feature.
    covariates
        Columns of ``obs`` that condition the model (batch, donor, stimulation), for parts that read them.
    """

    max_tokens: int = 2048
    num_bins: int = 16
    zeros_per_cell: int | Literal["all"] = 0
    covariates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(self.max_tokens >= 2, f"max_tokens: got {self.max_tokens}; give at least 2 (CLS and one gene)")
        require(self.num_bins >= 2, f"num_bins: got {self.num_bins}; give at least 2")
        if self.zeros_per_cell != "all":
            require_number(self, "zeros_per_cell", "0 or more, or all", lambda value: value >= 0)
        require(
            len(set(self.covariates)) == len(self.covariates),
            f"covariates: got {', '.join(self.covariates)}; name each column once",
        )

    @property
    def max_values(self) -> int:
        """Non-zero values that a cell may show: ``max_tokens`` less CLS and sampled zeros."""
        return self.max_tokens - 1 - (0 if self.zeros_per_cell == "all" else self.zeros_per_cell)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Width of the shared table and the interchangeable parts around it.

    Attributes
    ----------
    width
        D, the width of every gene and token vector.
    table
        The shared table of gene embeddings.
    graph_encoder
        Encoder of genes over message edges, with its options.
    coupling
        How encoded genes enter the cell tokens, with its options.
    cell_encoder
        Encoder of packed cells, with its options.
    link_decoder
        Scorer of (TF, target) pairs, with its options.
    tokens
        How a cell becomes tokens.
    """

    width: int = 64
    table: TableConfig = field(default_factory=TableConfig)
    graph_encoder: ComponentSpec = field(default_factory=lambda: ComponentSpec("sage"))
    coupling: ComponentSpec = field(default_factory=lambda: ComponentSpec("residual"))
    cell_encoder: ComponentSpec = field(default_factory=lambda: ComponentSpec("transformer"))
    link_decoder: ComponentSpec = field(default_factory=lambda: ComponentSpec("residual"))
    tokens: TokenConfig = field(default_factory=TokenConfig)

    def __post_init__(self) -> None:
        require(self.width >= 4, f"width: got {self.width}; give at least 4")
