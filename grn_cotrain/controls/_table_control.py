"""Controls that fill the whole (source, gene) table from training positives, so that they can be refitted out of fold.

Dimension letters: G genes, M pairs, S sources, R rows, N columns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._selection import macro_auroc, sample_entries
from grn_cotrain.controls.base import Control
from grn_cotrain.controls.out_of_fold import Fold, Folds, assemble, make_folds
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["EvidenceControl", "TableControl", "require_candidates"]

_FOLDS = 5


class EvidenceControl(Control):
    """A control that a decoder can start from: it can be fitted again without each fold.

    ``channels`` names what can be read apart from the score, as ``control.channel``.
    """

    channels: ClassVar[tuple[str, ...]] = ()
    log_odds: ClassVar[bool] = False
    """Whether the score is the log-odds of a classifier: its parts then keep their common scale."""
    table: EdgeTable

    @classmethod
    def holds_degrees(cls) -> bool:
        """Whether the score knows the target's degree already, as log-odds: a prior of it would count it twice."""
        return False

    @abstractmethod
    def evidence(self, folds: Folds, channel: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores of every training entry by a fit that never saw it, and of the full fit; after :meth:`fit`.

        Parameters
        ----------
        folds
            Folds of :attr:`table`.
        channel
            One of ``channels``; None: the score.

        Returns
        -------
        train_SG, full_SG
            float32.
        """

    def of_seen_pairs(self, split: EdgeSplit, cells: CellStore | None) -> np.ndarray | None:
        """Scores of training entries for use, float32 ``[S, G]``; None: those of the full fit serve.

        A classifier that holds out genes has never learned from another edge of the gene that it scores, and its full
        fit has seen the label of the entry. So training entries need a fit of their own, which saw the other edges of
        both genes and not the entry. Entries that training does not know are 0.
        """
        del split, cells
        return None


class TableControl(EvidenceControl):
    """A control whose scores are a function of an :class:`EdgeTable` and of features of genes.

    Its constants (a number of neighbours, a ridge) are chosen by out-of-fold macro AUROC inside training; neither
    validation nor test pairs are read.

    Attributes
    ----------
    option
        The choice, after :meth:`fit`.
    scores_SG
        float32 scores of every source of the split, after :meth:`fit`.
    """

    option: Any
    scores_SG: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Choose the constants out of fold, then fill the table from all training positives."""
        if self.needs_cells:
            self.require(cells)
        self.table = EdgeTable.of(split)
        self.read_features(split, cells)
        options = self.options()
        self.option = options[0]
        if len(options) > 1:
            self.option = self.choose(split, options)
        self.scores_SG = self.predict(self.table, self.option).astype(np.float32)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``; a source outside the split gets the target's mean over sources."""
        rows_M, inside_M = self.table.rows(pairs_2M[0])
        scores_M = self.scores_SG[rows_M, pairs_2M[1]].astype(np.float64)
        if not inside_M.all():
            scores_M[~inside_M] = self.scores_SG.mean(axis=0, dtype=np.float64)[pairs_2M[1][~inside_M]]
        return scores_M

    def out_of_fold(self, folds: Folds) -> np.ndarray:
        """float32 ``[S, G]`` scores of every training entry by a fit that never saw it; after :meth:`fit`."""
        return assemble(
            folds, lambda fold: self.predict(fold.table, self.option, fold.rows_R, fold.columns_N), self.scores_SG
        )

    def evidence(self, folds: Folds, channel: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`EvidenceControl`."""
        assert channel is None, channel
        return self.out_of_fold(folds), self.scores_SG

    def options(self) -> Sequence[Any]:
        """Candidate constants; the first is used where training cannot choose."""
        return (None,)

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Keep what :meth:`predict` needs in addition to labels."""
        del split, cells

    @abstractmethod
    def predict(
        self,
        table: EdgeTable,
        option: Any,
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """Scores ``[R, N]`` of some rows and columns (default: all), from the labels of ``table`` alone."""

    def predict_entries(self, fold: Fold, option: Any, rows_M: np.ndarray, columns_M: np.ndarray) -> np.ndarray:
        """Out-of-fold scores of some entries of a fold, ``[M]``."""
        block_RN = self.predict(fold.table, option, fold.rows_R, fold.columns_N)
        return block_RN[fold.position(rows_M, columns_M)]

    def choose(self, split: EdgeSplit, options: Sequence[Any]) -> Any:
        """The option with the best macro AUROC of out-of-fold scores."""
        folds = make_folds(split, self.table, folds=_FOLDS, seed=self.seed)
        rows_M, columns_M, labels_M = sample_entries(folds.table, seed=self.seed)
        number_M = folds.fold_SG[rows_M, columns_M]
        scores_OM = np.zeros((len(options), len(rows_M)))
        for number, fold in enumerate(folds):
            mine = np.flatnonzero(number_M == number)
            for o, option in enumerate(options):
                scores_OM[o, mine] = self.predict_entries(fold, option, rows_M[mine], columns_M[mine])
        # Within folds: a fit without many of a TF's positives scores the TF lower, so pooled folds rank upside down.
        scored = number_M >= 0
        group_M = rows_M * (number_M.max(initial=0) + 1) + number_M
        quality_O = [macro_auroc(scores_M[scored], labels_M[scored], group_M[scored]) for scores_M in scores_OM]
        return options[int(np.argmax(quality_O))]


def require_candidates(config: Any, *names: str) -> None:
    """Refuse lists of candidates that are empty, or hold a number that is not positive."""
    for name in names:
        values = getattr(config, name)
        require(bool(values) and min(values) > 0, f"{name}: got {list(values)}; give one or more positive numbers")
