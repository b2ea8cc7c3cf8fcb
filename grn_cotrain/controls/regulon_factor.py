"""Regulon factors: TFs' activities that are read from their known targets, as a control and as evidence.

Dimension letters: G genes, S sources, F channels, R rows, N columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._factor_model import CHANNELS, CoVariation, Support, evidence, fit_factors
from grn_cotrain.controls._selection import macro_auroc
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.out_of_fold import Fold, Folds, assemble
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["RegulonFactor", "co_variation"]

_FIRST = 0.3
# The same correlations serve every control that reads factors; they live as long as the cells do.
_CELLS: WeakKeyDictionary[CellStore, CoVariation] = WeakKeyDictionary()


def co_variation(cells: CellStore) -> CoVariation:
    """Correlations of the genes of ``cells``, computed once."""
    if cells not in _CELLS:
        _CELLS[cells] = CoVariation(cells)
    return _CELLS[cells]


@CONTROLS.register("regulon_factor", paper="-")
class RegulonFactor(TableControl):
    r"""Regulon factors in closed form: how well a TF's activity, read from its known targets, explains a gene.

    Gene-standardised values are explained by activities of TFs, whose loadings may differ from 0 on known edges and on
    the TF's own transcript, and by free factors, which start at the leading components. Four rounds of EM alternate
    between activities and loadings. A pair has three channels: the correlation of the activity with the gene, the
    same after the free factors are regressed out, and the coefficient of a joint ridge regression on all activities;
    an activity that was read from a gene is taken without that gene. The score is their standardised sum. See
    :mod:`grn_cotrain.controls._factor_model` for the equations.

    Config
    ------
    num_free
        Candidate numbers of free factors.
    variance
        Candidate prior variances of a loading on a known edge. Both are chosen by macro AUROC on validation pairs.
    """

    name = "regulon_factor"
    cost = "costly"
    needs_cells = True
    channels: ClassVar[tuple[str, ...]] = (*CHANNELS, *(f"{name}_squared" for name in CHANNELS))

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`RegulonFactor`."""

        num_free: tuple[int, ...] = (0, 5, 10)
        variance: tuple[float, ...] = (0.03, 0.3)

        def __post_init__(self) -> None:
            require_candidates(self, "variance")
            require(
                bool(self.num_free) and min(self.num_free) >= 0 and max(self.num_free) <= 10,
                f"num_free: got {list(self.num_free)}; give one or more numbers from 0 to 10",
            )

    cells: CoVariation
    _known: WeakKeyDictionary[EdgeTable, tuple[tuple[int, float], np.ndarray]]

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Correlations of the genes."""
        assert cells is not None
        self.cells = co_variation(cells)
        self._known = WeakKeyDictionary()

    def options(self) -> list[tuple[int, float]]:
        """Numbers of free factors with prior variances; those next to the usual variance first."""
        pairs = [(free, variance) for free in self.config.num_free for variance in self.config.variance]
        return sorted(pairs, key=lambda pair: abs(np.log(pair[1] / _FIRST)))

    def choose(self, split: EdgeSplit, options: Sequence[tuple[int, float]]) -> tuple[int, float]:
        """Best macro AUROC on validation pairs: the number of free factors first, then the variance."""
        pairs = split.pairs("validation")
        rows_M, _ = self.table.rows(pairs.pairs_2M[0])

        def best(candidates: Sequence[tuple[int, float]]) -> tuple[int, float]:
            quality = [
                macro_auroc(self.predict(self.table, option)[rows_M, pairs.pairs_2M[1]], pairs.labels_M, rows_M)
                for option in candidates
            ]
            return candidates[int(np.argmax(np.round(quality, 4)))]

        first = best([option for option in options if option[1] == options[0][1]])
        return best([option for option in options if option[0] == first[0]])

    def evidence(self, folds: Folds, channel: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`TableControl`."""
        if channel is None:
            return super().evidence(folds)
        at = self.channels.index(channel)
        full_SG = self.channel_scores(self.table, self.option)[at]

        def predict(fold: Fold) -> np.ndarray:
            return np.asarray(self.channel_scores(fold.table, self.option)[at][np.ix_(fold.rows_R, fold.columns_N)])

        return assemble(folds, predict, full_SG), full_SG

    def predict(
        self,
        table: EdgeTable,
        option: tuple[int, float],
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        scores_3SG = self.channel_scores(table, option)[: len(CHANNELS)]
        mean_3, std_3 = scores_3SG.mean(axis=(1, 2)), scores_3SG.std(axis=(1, 2))
        rows = slice(None) if rows_R is None else rows_R
        columns = slice(None) if columns_N is None else columns_N
        standardised = [
            (scores_SG[rows][:, columns] - mean) / max(float(std), 1e-12)
            for scores_SG, mean, std in zip(scores_3SG, mean_3, std_3, strict=True)
        ]
        return np.asarray(np.sum(standardised, axis=0))

    def channel_scores(self, table: EdgeTable, option: tuple[int, float], support: Support | None = None) -> np.ndarray:
        """Channels of every pair, float32 ``[F, S, G]``.

        Parameters
        ----------
        table, option
            Known edges; number of free factors and prior variance.
        support
            Another support than the known edges.
        """
        if support is None and table in self._known and self._known[table][0] == option:
            return self._known[table][1]
        num_free, variance = option
        chosen = support or Support(table.sources_S, table.labels_SG, table.seen_G)
        found_3SG = evidence(self.cells, fit_factors(self.cells, chosen, num_free=num_free, variance=variance))
        found_FSG = np.concatenate([found_3SG, found_3SG**2])
        if support is None:
            self._known[table] = option, found_FSG
        return found_FSG
