"""Options of generating values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grn_cotrain.errors import UserError
from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.options import option, seed_option

__all__ = ["Asked", "GenerateOptions", "Prompt"]

Asked = Literal["expressed", "all"]
Prompt = Literal["genes", "cell"]


def _known(text: str) -> float | list[str]:
    """A share, names in a file (the first word of each line), or names with commas."""
    try:
        return float(text)
    except ValueError:
        pass
    path = Path(text)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot be read ({error}); give a text file, one gene a line") from None
        return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(ReadOptions):
    """Options of generating values."""

    known: float | str | Sequence[str] = option(
        0.5,
        "Share of each cell's expressed genes that is shown, drawn at random; or the names of the known"
        " genes (on the command line: separated by commas, or a file of names).",
        metavar="SHARE|GENES|FILE",
        parse=_known,
    )
    genes: Asked = option(
        "expressed", "Genes to generate: expressed (those of the cell that are not shown) or all (of the model)."
    )
    prompt: Prompt = option(
        "genes",
        "Input of the model: genes (the known genes directly), or cell (the cell's state alone, made from them); with"
        " all genes known, the cell is reconstructed from its state.",
    )
    rounds: int = option(4, "Number of rounds; the most confident values come first.", low=1)
    sample: bool = option(False, "Draw values instead of predicting them.")
    seed: int = seed_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.known, (int, float)) and not 0 <= self.known <= 1:
            raise UserError(f"--known '{self.known}': give a share from 0 to 1, or names of genes")
