"""Options of extending a model"s vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.data.io.names import AliasTable, OrthologTable
from grn_cotrain.data.vocab import MODALITIES
from grn_cotrain.errors import UserError
from grn_cotrain.options import Options, option, seed_option

__all__ = ["ExtendOptions"]


@dataclass(frozen=True, kw_only=True)
class ExtendOptions(Options):
    """Which features are appended."""

    features: str | Path | None = option(
        None, "List of features, one per line: name, id and modality, separated by tabs.", metavar="FILE"
    )
    modality: str | None = option(
        None, "Modality (gene, peak or protein) of the features in the list, or to take from the cells; default: all."
    )
    layer: str | None = option(None, "Layer of the cells that holds the counts; default: X; raw for adata.raw.")
    aliases: AliasTable | str | Path | None = option(None, "Table of old gene symbols.", metavar="FILE")
    orthologs: OrthologTable | str | Path | None = option(None, "Table of human and mouse orthologs.", metavar="FILE")
    seed: int = seed_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.modality is not None and self.modality not in MODALITIES:
            raise UserError(f"--modality '{self.modality}': choose from {', '.join(MODALITIES)}")
