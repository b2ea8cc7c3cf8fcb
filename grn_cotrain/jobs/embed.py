"""Options of embedding cells."""

from __future__ import annotations

from dataclasses import dataclass

from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.options import option

__all__ = ["OBSM_KEY", "EmbedOptions"]

OBSM_KEY = "X_grn_cotrain"


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(ReadOptions):
    """Options of embedding cells."""

    key_added: str = option(OBSM_KEY, "Key in obsm.", metavar="KEY")
    zero_shot: bool = option(False, "Report the training data of the model, and whether these cells are new to it.")
    keep_depth: bool = option(
        False, "Keep the linear trace of read depth, which the run found on its training cells and takes out."
    )
    overwrite: bool = option(False, "Replace a key of that name in the result.")
