"""Options of reading the attention of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grn_cotrain.errors import UserError
from grn_cotrain.options import Options, option, seed_option

__all__ = ["AttentionConfig", "AttentionOptions", "Direction"]

Direction = Literal["target_reads_tf", "tf_reads_target", "symmetric"]


def _layers(text: str) -> tuple[int, ...] | None:
    if text.strip().lower() == "all":
        return None
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UserError("give all, or numbers with commas (-1 is the last)") from None


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(Options):
    """How attention becomes a score of TF and target.

    If attention mirrors regulation, the state of a target is where its TF must show, since a token's state is made of
    what it reads; so ``target_reads_tf`` is the default direction. Ranks are made within each reader's row, then within
    each column, as analyses of scGPT do (there head by head, here on the mean over heads); that takes a sort of L x L
    numbers a cell. CLS is never kept: it is not a gene.
    """

    direction: Direction = option(
        "target_reads_tf",
        "Attention weight that is used as a pair's score: target_reads_tf (the target's token reads the TF's),"
        " tf_reads_target, or symmetric (the mean of both).",
    )
    layers: tuple[int, ...] | None = option(
        None, "Layers to average: all, or numbers with commas; -1 is the last.", metavar="all|N,N", parse=_layers
    )
    rank_normalised: bool = option(False, "Replace the weights of each cell by ranks, by row and by column.")
    zeros: bool = option(False, "Keep tokens of genes that are zero in a cell.")
    encoder: str | None = option(
        None, "Cell encoder to read, where a model has several; default: the only one that reads rna.", metavar="NAME"
    )
    max_cells: int | None = option(1000, "Maximum number of cells of a group, drawn at random.", low=1)
    seed: int = seed_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and not self.layers:
            raise UserError("--layers: none given; name at least one, or leave it out for all")


@dataclass(frozen=True, kw_only=True)
class AttentionOptions(AttentionConfig):
    """Options of reading a run's attention."""

    by: str | None = option(None, "Column of obs, such as cell_type; default: all cells together.", metavar="OBS")
    top: int = option(10_000, "Number of edges to keep of each group.", low=1)
    min_cells: int | None = option(
        None,
        "Minimum number of cells that show an edge; default: a twentieth of the cells, at least 5, or all cells of a"
        " smaller group.",
        low=1,
    )
    bootstrap: int | None = option(
        None, "Number of bootstrap replicates of the intervals; 0: none; default: the recipe's.", low=0
    )
    controls: str | None = option(
        None,
        "Controls to compare with: default, all, none, or names separated by commas; default: the recipe's."
        " Target degree and the product of degrees are always among them.",
        metavar="NAMES",
    )
    prep: str | Path | None = option(
        None, "New place of the run's prepared folder; default: search for it.", metavar="DIR"
    )
