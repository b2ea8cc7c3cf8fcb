"""The ``model`` block of a recipe: table, tokens and the interchangeable parts. No torch here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from grn_cotrain.config import ComponentSpec, parse, require, require_number, to_dict
from grn_cotrain.strict import shown

__all__ = ["ONE_ENCODER", "EncoderSpec", "ModelConfig", "TableConfig", "TokenConfig"]

ONE_ENCODER = "cells"
"""Name of the encoder that the short form ``cell_encoder`` describes: it reads every assay."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NOT_GIVEN = ComponentSpec("")
_SHARED_TOKENS = ("num_bins", "covariates")  # heads and objectives have one size for all encoders


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """The shared table of nodes: learned id rows + inductive features.

    Attributes
    ----------
    nodes
        Spaces (``gene``, ``peak``, ``protein``) whose features may have a row. Every gene has one; of the other spaces,
        the features that an edge of the graph names. All other features have rows in the encoder that reads them.
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
    nodes: tuple[str, ...] = field(default=("gene",), metadata={"omit_default": True})

    def __post_init__(self) -> None:
        require(
            "gene" in self.nodes and len(set(self.nodes)) == len(self.nodes),
            f"nodes: got {', '.join(self.nodes) or 'none'}; name gene, and each other space once",
        )
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


@dataclass(frozen=True)
class EncoderSpec:
    """One cell encoder of a recipe.

    Attributes
    ----------
    component
        Name and options of the encoder.
    reads
        Assays that it reads (``rna``, ``atac``, ``protein``); None: all.
    tokens
        How it shows a cell.
    path
        Where the recipe describes it, for messages.
    """

    component: ComponentSpec
    reads: tuple[str, ...] | None
    tokens: TokenConfig
    path: str


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
        Encoder of packed cells, with its options: the short form of one encoder that reads every assay.
    encoders
        Several encoders by name, each with the assays that it ``reads``, its ``tokens`` and its options; then
        ``cell_encoder`` is left out. The state of a cell is the mean over the encoders that can read it.
    cell_state
        State of a cell. ``skip``: the sum of its visible values times the rows of their features, and the encoder's
        state through a gate that starts closed. ``skip_without_depth``: the same, and the direction that goes with read
        depth is taken out of the sum. ``encoder``: the encoder's state alone, as systems are published.
    link_decoder
        Scorer of (TF, target) pairs, with its options.
    tokens
        How a cell becomes tokens; ``encoders.NAME.tokens`` changes some of it for one encoder.
    """

    width: int = 64
    table: TableConfig = field(default_factory=TableConfig)
    graph_encoder: ComponentSpec = field(default_factory=lambda: ComponentSpec("sage"))
    coupling: ComponentSpec = field(default_factory=lambda: ComponentSpec("residual"))
    cell_encoder: ComponentSpec = field(default=_NOT_GIVEN, metadata={"omit_default": True})
    encoders: dict[str, ComponentSpec] | None = field(default=None, metadata={"omit_default": True})
    cell_state: Literal["skip", "skip_without_depth", "encoder"] = "skip"
    link_decoder: ComponentSpec = field(default_factory=lambda: ComponentSpec("residual"))
    tokens: TokenConfig = field(default_factory=TokenConfig)

    def __post_init__(self) -> None:
        require(self.width >= 4, f"width: got {self.width}; give at least 4")
        if self.encoders is None:
            if self.cell_encoder == _NOT_GIVEN:
                object.__setattr__(self, "cell_encoder", ComponentSpec("transformer"))
            return
        require(
            self.cell_encoder == _NOT_GIVEN,
            f"cell_encoder: '{self.cell_encoder.name}' and encoders ({', '.join(self.encoders) or 'none'}) are both"
            " given; keep one of the two",
        )
        require(bool(self.encoders), "encoders: names no encoder; describe one, or use cell_encoder")
        for name in self.encoders:
            require(
                _NAME.fullmatch(name) is not None,
                f"encoders: '{name}' is not a name; use lower-case letters, digits and _",
            )
        _ = self.encoder_specs  # what they read, and their tokens

    @cached_property
    def encoder_specs(self) -> dict[str, EncoderSpec]:
        """Every encoder by name: the one of the short form is called :data:`ONE_ENCODER`."""
        if self.encoders is None:
            return {ONE_ENCODER: EncoderSpec(self.cell_encoder, None, self.tokens, "model.cell_encoder")}
        return {name: _encoder_spec(name, spec, self.tokens) for name, spec in self.encoders.items()}

    def with_options(self, options: Mapping[str, Mapping[str, Any]], tokens: TokenConfig | None = None) -> ModelConfig:
        """The same parts, with some options of some encoders changed, and other tokens."""
        changed = {
            name: ComponentSpec(spec.name, {**spec.options, **options.get(name, {})})
            for name, spec in (self.encoders or {ONE_ENCODER: self.cell_encoder}).items()
        }
        tokens = tokens or self.tokens
        if self.encoders is None:
            return replace(self, cell_encoder=changed[ONE_ENCODER], tokens=tokens)
        return replace(self, encoders=changed, tokens=tokens)


def _encoder_spec(name: str, spec: ComponentSpec, shared: TokenConfig) -> EncoderSpec:
    """Separate what an encoder reads, and its tokens, from its own options."""
    options = dict(spec.options)
    path = f"encoders.{name}"
    if "reads" not in options:  # an option of the encoder may look like it, a misspelt key looks very much like it
        for key in difflib.get_close_matches("reads", options, n=1, cutoff=0.75):
            require(False, f"{path}.{key}: unknown key (did you mean 'reads'?)")
    reads = options.pop("reads", None)
    named = isinstance(reads, (list, tuple)) and bool(reads) and all(isinstance(assay, str) for assay in reads)
    require(
        named, f"{path}.reads: got {'nothing' if reads is None else shown(reads)}; list the assays, for example [rna]"
    )
    require(len(set(reads)) == len(reads), f"{path}.reads: got {', '.join(reads)}; name each assay once")
    given = options.pop("tokens", {})
    require(isinstance(given, Mapping), f"{path}.tokens: got {shown(given)}; it takes a mapping of keys")
    for key in _SHARED_TOKENS:
        require(key not in given, f"{path}.tokens.{key}: all encoders share it; set model.tokens.{key} instead")
    tokens = parse(TokenConfig, {**to_dict(shared), **given}, path=f"{path}.tokens")
    return EncoderSpec(ComponentSpec(spec.name, options), tuple(reads), tokens, f"model.{path}")
