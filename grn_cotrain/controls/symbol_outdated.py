"""Whether the target's symbol is outdated: genes that no annotation knows any more are hardly ever targets.

Dimension letters: G genes, M pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["SymbolOutdated"]


@CONTROLS.register("symbol_outdated", paper="-")
class SymbolOutdated(Control):
    """1 for targets with a current symbol, 0 for those with an outdated one; networks are written in current symbols.

    All scores are alike where the prepared folder marks no symbol (``grn-prep counts --current-symbols``), or where the
    split leaves outdated genes out.
    """

    name = "symbol_outdated"
    needs_cells = True
    current_G: np.ndarray

    def missing(self, cells: CellStore | None) -> str | None:
        """See :class:`Control`."""
        if cells is not None and not cells.vocab.outdated:
            return "needs marked symbols and there are none (grn-prep counts --current-symbols)"
        return super().missing(cells)

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Nothing to learn."""
        del split
        self.current_G = ~self.require(cells).vocab.outdated_G
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        return self.current_G[pairs_2M[1]].astype(np.float64)
