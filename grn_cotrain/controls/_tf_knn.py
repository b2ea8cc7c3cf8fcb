"""kNN over training TFs: by expression, by family, by motif, and by several of these.

Dimension letters: G genes, S sources, R rows, N columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import RANK, NeighbourFinder, unit_loadings
from grn_cotrain.controls._smoothing import LastSums, relative_rate, same_family, shrink, smooth_sources
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.out_of_fold import Fold
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.families import tf_family
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["TFNeighbours", "TFOption"]


@dataclass(frozen=True)
class TFOption:
    """Constants of a kNN over TFs: neighbours by expression, weight of a family member, weight of the prior."""

    num: int
    family_weight: float
    prior_weight: float


_LEAST_SIMILAR, _STEEPNESS = 0.5, 8.0


def motif_weights(similarity_SS: np.ndarray) -> np.ndarray:
    """Votes of TFs with a similar motif: ``exp(8 (similarity - 1))`` above 0.5, diagonal 0; float32 ``[S, S]``."""
    weights_SS = np.where(similarity_SS > _LEAST_SIMILAR, np.exp(_STEEPNESS * (similarity_SS - 1.0)), 0.0)
    np.fill_diagonal(weights_SS, 0.0)
    return weights_SS.astype(np.float32)


class TFNeighbours(TableControl):
    r"""A target's rate among the TFs nearest to this one, shrunk to its rate among all TFs.

    .. math:: z_{st} = \rho_s \frac{\sum_{u} w_{su}\, y_{ut} + \lambda\, p_t}{\sum_{u} w_{su} + \lambda}

    with :math:`y` the training labels, :math:`w` the weights of the neighbours, :math:`p_t` the target's rate among all
    TFs, and :math:`\rho_s` the TF's own rate over the mean (1 where TFs are held out). Number of neighbours, weights
    and :math:`\lambda` are chosen out of fold inside training.

    Subclasses define which neighbours count; a TF whose motif has similarity :math:`m > 0.5` to this TF's counts
    :math:`e^{8 (m - 1)}` members of the family. A TF is never its own neighbour. Where sources are not held out, scores
    are multiplied by the TF's own rate over the mean.
    """

    uses_expression: ClassVar[bool]
    uses_family: ClassVar[bool]
    uses_motif: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Candidates that training chooses from, and the number of expression components.

        Attributes
        ----------
        num_neighbours
            Candidates for the number of nearest TFs by expression.
        prior_weights
            Candidates for the weight of the rate among all TFs, in neighbours.
        family_weights
            Candidates for the weight of a family member, where neighbours by expression weigh 1 at most.
        rank
            Number of expression components.
        """

        num_neighbours: tuple[int, ...] = (5, 15, 50)
        prior_weights: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
        family_weights: tuple[float, ...] = (1.0, 4.0)
        rank: int = RANK

        def __post_init__(self) -> None:
            require_candidates(self, "num_neighbours", "prior_weights", "family_weights")

    family_S: np.ndarray
    motif_SS: np.ndarray
    finder: NeighbourFinder
    last_sums: LastSums

    def missing(self, cells: CellStore | None) -> str | None:
        """See :class:`~grn_cotrain.controls.base.Control`."""
        if self.uses_motif and cells is not None and not (cells.vocab.features and cells.vocab.features.motif_tfs):
            return "needs motifs and there are none (grn-prep features --motifs)"
        return super().missing(cells)

    def options(self) -> Sequence[TFOption]:
        """All combinations that matter for this kind of neighbours."""
        if self.table.held_out in ("target", "both"):
            # Neighbours know as little of a held-out target as this TF does: whatever is chosen, TFs are alike.
            return [TFOption(self.config.num_neighbours[0] * self.uses_expression, float(self.uses_family), 1.0)]
        return [
            TFOption(*values)
            for values in product(
                self.config.num_neighbours if self.uses_expression else (0,),
                self.config.family_weights if self.uses_expression and self.uses_family else (float(self.uses_family),),
                self.config.prior_weights,
            )
        ]

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Loadings of expression, families of symbols."""
        assert cells is not None
        self.last_sums = LastSums()
        self.family_S = np.array([tf_family(cells.vocab.symbols[s]) for s in self.table.sources_S])
        if self.uses_motif:
            lacking = self.missing(cells)
            if lacking is not None or cells.vocab.features is None:
                raise UserError(f"control '{self.name}': {lacking}; leave it out of --controls")
            symbols = [cells.vocab.symbols[s] for s in self.table.sources_S]
            self.motif_SS = motif_weights(cells.vocab.features.motif_similarity(symbols))
        if self.uses_expression:
            self.finder = NeighbourFinder(unit_loadings(cells, rank=self.config.rank), max(self.config.num_neighbours))

    def predict(
        self,
        table: EdgeTable,
        option: TFOption,
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        rows = slice(None) if rows_R is None else rows_R
        columns = slice(None) if columns_N is None else columns_N
        positive_RN, weight_RN = self._sums(table, option, rows_R, columns_N)
        rate_RN = shrink(positive_RN, weight_RN, table.target_rate_G[columns], option.prior_weight)
        return rate_RN * relative_rate(table, of="source")[rows][:, None]

    def predict_entries(self, fold: Fold, option: TFOption, rows_M: np.ndarray, columns_M: np.ndarray) -> np.ndarray:
        """See :class:`TableControl`; shrinks the sums of the entries alone."""
        positive_RN, weight_RN = self._sums(fold.table, option, fold.rows_R, fold.columns_N)
        at = fold.position(rows_M, columns_M)
        prior_M = fold.table.target_rate_G[columns_M]
        rate_M = shrink(positive_RN[at], weight_RN[at], prior_M, option.prior_weight)
        return rate_M * relative_rate(fold.table, of="source")[rows_M]

    def _sums(
        self, table: EdgeTable, option: TFOption, rows_R: np.ndarray | None, columns_N: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(None) if rows_R is None else rows_R
        columns = slice(None) if columns_N is None else columns_N
        return self.last_sums.get(
            (option.num, option.family_weight),
            (table, rows_R, columns_N),
            lambda: smooth_sources(table, self.weights(table, option)[rows], columns),
        )

    def weights(self, table: EdgeTable, option: TFOption) -> np.ndarray:
        """How much each seen TF counts for each TF, ``[S, S]``, diagonal 0."""
        num_sources = len(table.sources_S)
        weights_SS = np.zeros((num_sources, num_sources), dtype=np.float32)
        if self.uses_expression:
            nearest = self.finder.find(table.sources_S, table.sources_S[table.seen_S])
            weights_SS += nearest.weights(option.num, table.num_genes)[:, table.sources_S].toarray()
        if self.uses_family:
            weights_SS += option.family_weight * same_family(self.family_S)
        if self.uses_motif:
            weights_SS += max(option.family_weight, 1.0) * self.motif_SS
        return weights_SS * table.seen_S
