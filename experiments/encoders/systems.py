"""The systems that the study compares: an encoder, what it reads, its own objective, its published sizes.

Size rule: all systems have one width, so that the shared table, the graph encoder and the link decoder are the same for
all; the depth of each is the one whose *own* parameters (everything in the cell encoder; the table is counted apart)
come nearest to the wanted number, one million in the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import torch

from grn_cotrain.data.vocab import MODALITIES
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS

__all__ = [
    "COMMON",
    "SYSTEMS",
    "ZEROS_WITHOUT_ROOM",
    "Published",
    "System",
    "available",
    "chosen",
    "encoder_parameters",
    "sized",
    "zeros_shown",
]

COMMON: Mapping[str, Mapping[str, Any]] = MappingProxyType({"masked_value": {"loss": "mse", "mask_share": 0.3}})
"""The objective that all systems share, so that architectures are compared."""

_MAX_DEPTH = 16


@dataclass(frozen=True)
class Published:
    """A published size: ``options`` of the encoder at ``width``, ``tokens`` as published; gets one timed step."""

    name: str
    width: int
    options: Mapping[str, Any]
    tokens: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """One row of the table.

    Attributes
    ----------
    name
        Name of the row.
    encoder
        Name in the registry of cell encoders.
    options
        Options of the encoder; the depth is set by the size rule.
    depth
        Option that the size rule sets; empty: the sizes stand as they are.
    tokens
        ``tokens`` of the recipe in addition to the common cap: zeros that it reads (``room``: all of them where the cap
        has room for every gene, else :data:`ZEROS_WITHOUT_ROOM`), number of bins.
    own
        Its published objectives with their options; empty: the common one is its own.
    own_tokens
        ``tokens`` that these ask for; laid over ``tokens``.
    published
        Sizes of the paper.
    """

    name: str
    encoder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    depth: str = "num_layers"
    tokens: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own_tokens: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()

    @property
    def reads_zeros(self) -> bool:
        """Whether zeros are among its tokens."""
        return self.tokens.get("zeros_per_cell", 0) != 0


ZEROS_WITHOUT_ROOM = 256
"""Zeros of each cell that a system shows in addition to its values where ``room`` leaves none for all."""

_ALL: Mapping[str, Any] = {"zeros_per_cell": "all", "max_tokens": 20_000}
_100M: Mapping[str, Any] = {"num_layers": 12, "num_heads": 12, "decoder_width": 512}
_RATIO10: Mapping[str, Any] = {"mask_share": 0.3, "mask_zeros": True, "mask_balance": "ratio10"}
_XTRIMO = {"masked_value": {**_RATIO10, "loss": "mse", "target": "value", "loss_norm": "published", "head": "linear"}}


def _xtrimogene(decoder: str, published: tuple[Published, ...] = ()) -> System:
    name = "xtrimogene" if decoder == "published" else f"xtrimogene_{decoder.lower()}"
    return System(
        name,
        "xtrimogene",
        {"decoder": decoder, "pooling": "max"},
        depth="latent_layers" if decoder in ("D1", "D2", "C") else "num_layers",
        # Queries of the cross-attention forms do not see each other: zeros that nobody asks for would be idle tokens.
        tokens={"zeros_per_cell": "room"} if decoder == "published" else {},
        own=_XTRIMO if decoder == "published" else {},
        published=published,
    )


_SYSTEMS = (
    System("transformer", "transformer"),
    System(
        "scmbert",
        "scmbert",
        own={"modality": {}},
    ),
    System(
        "scbert",
        "scbert",
        tokens={"zeros_per_cell": "room", "num_bins": 5},
        own={"masked_value": {"loss": "cross_entropy", "classes": "rounded", "mask_share": 0.15}},
        published=(
            Published(
                "scbert 6x200",
                200,
                {"num_layers": 6, "num_heads": 10, "head_width": 64, "num_features": 266},
                {**_ALL, "num_bins": 5},
            ),
        ),
    ),
    _xtrimogene(
        "published",
        (
            Published("xtrimogene 3M", 96, {"num_layers": 8, "num_heads": 6, "decoder_width": 64}, _ALL),
            Published("xtrimogene 10M", 192, {"num_layers": 12, "num_heads": 6, "decoder_width": 128}, _ALL),
            Published("xtrimogene 100M", 768, _100M, _ALL),
        ),
    ),
    _xtrimogene("A"),
    _xtrimogene("C"),
    System(
        "scfoundation",
        "scfoundation",
        {"pooling": "max"},
        tokens={"zeros_per_cell": "room"},
        own={"read_depth": {"mask_share": 0.3, "mask_zeros": True, "target": "value", "head": "mlp"}},
        published=(Published("scfoundation 100M", 768, _100M, _ALL),),
    ),
    System(
        "geneformer",
        "geneformer",
        own={"masked_gene": {}},
        published=(Published("geneformer 6x256", 256, {"num_layers": 6}, {"max_tokens": 2048}),),
    ),
    System(
        "scgpt",
        "scgpt",
        own={"generative": {"target": "bin"}},
        own_tokens={"num_bins": 51},
        published=(Published("scgpt 12x512", 512, {"num_layers": 12}, {"max_tokens": 1200}),),
    ),
)
SYSTEMS: Mapping[str, System] = MappingProxyType({system.name: system for system in _SYSTEMS})
"""By name, in the order of the table."""


def zeros_shown(zeros: int | str, *, num_genes: int, max_tokens: int) -> int | str:
    """``tokens.zeros_per_cell`` of a system in a world: what ``room`` means there; anything else as it is."""
    if zeros != "room":
        return zeros
    return "all" if num_genes < max_tokens else ZEROS_WITHOUT_ROOM  # CLS is a token too


def available() -> tuple[str, ...]:
    """Systems whose encoder is registered."""
    known = set(CELL_ENCODERS.names())
    return tuple(name for name, system in SYSTEMS.items() if system.encoder in known)


def chosen(text: str) -> list[System]:
    """``all``, or names separated by commas.

    Raises
    ------
    UserError
        An unknown name.
    """
    names = list(SYSTEMS) if text == "all" else [word.strip() for word in text.split(",")]
    for name in names:
        if name not in SYSTEMS:
            raise UserError(
                f"--systems '{name}': unknown{did_you_mean(name, SYSTEMS)}; choose from {', '.join(SYSTEMS)}"
            )
    return [SYSTEMS[name] for name in names]


def encoder_parameters(name: str, options: Mapping[str, Any], *, width: int, num_bins: int, num_genes: int) -> int:
    """Parameters that the encoder itself owns; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        encoder = CELL_ENCODERS.build(
            name,
            dict(options),
            path="model.cell_encoder",
            width=width,
            num_bins=num_bins,
            num_modalities=len(MODALITIES),
            num_genes=num_genes,
        )
    return sum(parameter.numel() for parameter in encoder.parameters())


def sized(system: System, *, width: int, wanted: int, num_genes: int, num_bins: int = 16) -> tuple[dict[str, Any], int]:
    """Options of the system at the depth nearest to ``wanted`` parameters, and the exact number.

    Depths that the encoder refuses (some need two layers) are passed over.
    """
    options_key = tuple(sorted(system.options.items()))
    depth, count = _depth(system.encoder, options_key, system.depth, width, wanted, num_genes, num_bins)
    return {**system.options, system.depth: depth}, count


@cache
def _depth(
    encoder: str, given: tuple[tuple[str, Any], ...], key: str, width: int, wanted: int, num_genes: int, num_bins: int
) -> tuple[int, int]:
    found = []
    for depth in range(1, _MAX_DEPTH + 1):
        try:
            options = {**dict(given), key: depth}
            count = encoder_parameters(encoder, options, width=width, num_bins=num_bins, num_genes=num_genes)
        except UserError:
            continue
        found.append((abs(count - wanted), depth, count))
        if count > 2 * wanted:
            break
    if not found:
        raise UserError(f"cell_encoder '{encoder}': refuses every {key} from 1 to {_MAX_DEPTH}")
    return min(found)[1:]
