"""Contract of an edge format: which edges it takes by default, which names it can hold, how it writes them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError
from grn_cotrain.registry import Registry

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["CONTROL_CHARACTERS", "EDGE_FORMATS", "READ_AS_MISSING", "EdgeFormat", "Selection"]

EDGE_FORMATS: Registry[EdgeFormat] = Registry("edge_format", __package__)

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
"""Tabs and line breaks of every kind: in a name, they end a field or a line of a text file."""

READ_AS_MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
"""Texts that ``pandas.read_csv`` takes for a missing value."""


@dataclass(frozen=True)
class Selection:
    """Edges that are kept where the user names no number: see :func:`~grn_cotrain.export.edges.predict_edges`."""

    top: int | None = None
    top_per_tf: int | Literal["training"] | None = None

    def unless(
        self, top: int | None, top_per_tf: int | Literal["training"] | None, min_probability: float | None
    ) -> Selection:
        """This selection where the user names none of the three, else what the user names and nothing more."""
        if top is None and top_per_tf is None and min_probability is None:
            return self
        return Selection(top, top_per_tf)

    def __str__(self) -> str:
        if self.top is not None:
            return f"the best {self.top:,} edges"
        if self.top_per_tf == "training":
            return "as many targets of each TF as it has training edges"
        return "all pairs"


class EdgeFormat(ABC):
    """``__init__(config)``; ``write`` puts edges into one file.

    Class attributes: ``suffix`` of the default file name; ``selection``, the edges that the format takes by default;
    ``refused_characters`` and ``refused_names``, names of genes that the format cannot hold; ``grouped``, whether it
    holds a network for each group of cells.
    """

    Config: ClassVar[type[Any]]
    suffix: str
    grouped: ClassVar[bool] = False
    selection: ClassVar[Selection] = Selection(top_per_tf="training")
    refused_characters: ClassVar[re.Pattern[str] | None] = CONTROL_CHARACTERS
    refused_names: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """Write ``edges`` to ``path``, over what is there; returns notes on what did not fit.

        Raises
        ------
        UserError
            A name that the format cannot hold, or nothing left to write.
        """

    @staticmethod
    def lost(edges: PredictedEdges, what: str) -> list[str]:
        """A note on what the format cannot hold, such as ``signs``; none if no edge has a sign."""
        if what == "signs" and not (edges.frame["sign"] != 0).any():
            return []
        return [f"the format holds no {what}: they do not come back when the file is read"]

    @staticmethod
    def unsigned_as_positive(edges: PredictedEdges) -> list[str]:
        """A note on edges of unknown sign, where a format has to call them activating."""
        unsigned = int((edges.frame["sign"] == 0).sum())
        return [f"{unsigned:,} edges of unknown sign were written as activating"] if unsigned else []

    def check_names(self, edges: PredictedEdges) -> None:
        """Refuse names that another program would read as something else."""
        self.refuse_names(set(edges.frame["source"]) | set(edges.frame["target"]))

    def refuse_names(self, names: Iterable[str]) -> None:
        """Refuse any of ``names`` that another program would read as something else, before there are edges."""
        pattern = self.refused_characters
        bad = [name for name in sorted(names) if name in self.refused_names or (pattern and pattern.search(name))]
        if bad:
            shown = name_some([repr(name) for name in bad], 3)
            raise UserError(
                f"format: {len(bad):,} names of genes cannot be written in it ({shown}); rename them, or take parquet"
            )
