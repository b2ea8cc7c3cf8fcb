"""Features of (source, gene) pairs in named groups, out of fold for training: what the boosters read.

Whatever is computed from labels (rates, paths, kNN, kernel ridge) is computed for training pairs by a fit that never
saw their fold, in the manner of the split's regime, and for all other pairs from all training positives.

Dimension letters: G genes, S sources, M pairs, F features, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._graph_features import GRAPH_FEATURES, graph_features
from grn_cotrain.controls._neighbours import gene_summaries, loadings_of_sets, unit_loadings
from grn_cotrain.controls._table_control import TableControl
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.knn_target_stem import STEM_FEATURES, stem_features, stem_matrix
from grn_cotrain.controls.out_of_fold import Fold, Folds, make_folds
from grn_cotrain.controls.regulon_factor import RegulonFactor
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.gene_features import SUMMARY
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError

__all__ = ["EVIDENCE", "GROUPS", "Group", "PairFeatures"]

Group = Literal["graph", "gene", "symbol", "expression", "evidence", "regulon"]
GROUPS: tuple[Group, ...] = get_args(Group)
EVIDENCE = ("kernel_ridge", "target_knn", "double_knn", "knn_both", "knn_target_stem")
_GENE = ("source_mean", "source_deviation", "target_mean", "target_deviation", "target_is_tf")
_NUM_PRODUCTS, _NUM_TARGET, _NUM_SOURCE = 10, 20, 5
_NUM_OF_SET = 5


class PairFeatures:
    """Feature blocks of pairs, float32.

    Parameters
    ----------
    split, cells
        Training positives and expression; validation and test pairs are not read.
    groups
        ``graph``: the training graph alone; ``gene``: each gene's own mean, deviation and TF flag, and the target's
        mean, deviation and detection rate in every data set that is known; ``symbol``: in-rate and size of the
        target's stem and of its first letters; ``expression``: cosine and products of expression components, and the
        components; ``evidence``: scores of closed-form controls; ``regulon``: channels of
        :class:`~grn_cotrain.controls.regulon_factor.RegulonFactor`.
    folds, seed
        Number of folds and seed of the out-of-fold features.

    Attributes
    ----------
    names
        One name a feature.
    table, folds
        The training table and its folds.
    """

    def __init__(
        self,
        split: EdgeSplit,
        cells: CellStore | None,
        groups: Sequence[Group],
        *,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.groups = tuple(group for group in GROUPS if group in groups)
        if self.groups != ("graph",) and cells is None:
            raise UserError(f"features {', '.join(self.groups)}: no cells; give cells, or use the graph alone")
        self.table = EdgeTable.of(split)
        self.folds: Folds = make_folds(split, self.table, folds=folds, seed=seed)
        self.names: tuple[str, ...] = ()
        if "graph" in self.groups:
            self.names += GRAPH_FEATURES
        if cells is not None and "gene" in self.groups:
            self._read_genes(cells)
            self.names += _GENE + self._set_names
        if cells is not None and "symbol" in self.groups:
            symbols = cells.vocab.symbols[: self.table.num_genes]
            self._stems = [stem_matrix(symbols), stem_matrix(symbols, stem=0.0, prefix=1.0)]
            self.names += tuple(f"{of}_{name}" for of in ("stem", "prefix") for name in STEM_FEATURES)
        if cells is not None and "expression" in self.groups:
            self._unit_GR = unit_loadings(cells)
            self._of_sets_GF = loadings_of_sets(cells, _NUM_OF_SET)
            products, target, source = (
                min(n, self._unit_GR.shape[1]) for n in (_NUM_PRODUCTS, _NUM_TARGET, _NUM_SOURCE)
            )
            self.names += ("cosine", *(f"product_{i}" for i in range(products)))
            self.names += (*(f"target_{i}" for i in range(target)), *(f"source_{i}" for i in range(source)))
            self.names += tuple(f"target_of_sets_{i}" for i in range(self._of_sets_GF.shape[1]))
        self._controls: list[TableControl] = []
        if cells is not None and "evidence" in self.groups:
            for name in EVIDENCE:
                control = CONTROLS.build(name, seed=seed).fit(split, cells)
                assert isinstance(control, TableControl)
                self._controls.append(control)
            self.names += EVIDENCE
        self._regulon: RegulonFactor | None = None
        if cells is not None and "regulon" in self.groups:
            self._regulon = RegulonFactor(RegulonFactor.Config(), seed=seed).fit(split, cells)
            self.names += tuple(f"regulon_{name}" for name in RegulonFactor.channels)

    def full(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Features ``[M, F]`` from all training positives; sources outside the split's universe have row 0's."""
        rows_M, _ = self.table.rows(pairs_2M[0])
        return self.entries(rows_M, pairs_2M[1])

    def out_of_fold(self, rows_M: np.ndarray, columns_M: np.ndarray) -> np.ndarray:
        """Features ``[M, F]`` of training entries, each by a fit that never saw its fold."""
        result_MF = np.zeros((len(rows_M), len(self.names)), dtype=np.float32)
        number_M = self.folds.fold_SG[rows_M, columns_M]
        for number, fold in enumerate(self.folds):
            mine = np.flatnonzero(number_M == number)
            if len(mine):  # a fold costs fits of the closed-form controls, however few of its entries are asked for
                result_MF[mine] = self.entries(rows_M[mine], columns_M[mine], fold)
        if (number_M < 0).any():
            raise ValueError("out_of_fold: entries that no fold holds; ask for training entries only")
        return result_MF

    def entries(self, rows_M: np.ndarray, columns_M: np.ndarray, fold: Fold | None = None) -> np.ndarray:
        """Features ``[M, F]`` of entries, by the fit on all positives or by the one without a fold."""
        table, parts = self.table if fold is None else fold.table, []
        if "graph" in self.groups:
            parts.append(graph_features(table, rows_M, columns_M))
        sources_M = table.sources_S[rows_M]
        if "gene" in self.groups:
            genes_G2 = self._gene_G2
            parts += [genes_G2[sources_M], genes_G2[columns_M], self._is_tf_G[columns_M, None]]
            parts.append(self._set_GF[columns_M])
        if "symbol" in self.groups:
            parts += [stem_features(table, stem_GT)[columns_M] for stem_GT in self._stems]
        if "expression" in self.groups:
            source_MR, target_MR = self._unit_GR[sources_M], self._unit_GR[columns_M]
            products_MR = source_MR * target_MR
            parts += [products_MR.sum(axis=1, keepdims=True), products_MR[:, :_NUM_PRODUCTS]]
            parts += [target_MR[:, :_NUM_TARGET], source_MR[:, :_NUM_SOURCE], self._of_sets_GF[columns_M]]
        if self._controls:
            parts.append(self._evidence(rows_M, columns_M, fold))
        if self._regulon is not None:
            parts.append(self._regulon.channel_scores(table, self._regulon.option)[:, rows_M, columns_M].T)
        return np.concatenate([part.astype(np.float32, copy=False) for part in parts], axis=1)

    def _evidence(self, rows_M: np.ndarray, columns_M: np.ndarray, fold: Fold | None) -> np.ndarray:
        features = []
        for control in self._controls:
            if fold is None:
                features.append(control.scores_SG[rows_M, columns_M])
            else:
                features.append(control.predict_entries(fold, control.option, rows_M, columns_M))
        return np.stack(features, axis=1)

    def _read_genes(self, cells: CellStore) -> None:
        moments = Statistics(cells)[Moments()]
        self._gene_G2 = np.stack([moments.mean_of_cells_G, moments.std_of_cells_G], axis=1).astype(np.float32)
        self._is_tf_G = np.zeros(cells.num_features, dtype=np.float32)
        self._is_tf_G[self.table.sources_S] = 1
        summary_GF, names = gene_summaries(cells)
        known = [name not in SUMMARY for name in names]  # those of the cells themselves are there already
        self._set_GF = summary_GF[:, known]
        self._set_names = tuple(name for name, kept in zip(names, known, strict=True) if kept)
