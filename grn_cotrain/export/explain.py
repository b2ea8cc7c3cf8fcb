r"""Which training targets speak for an edge: the votes of the kNN baselines, by name.

The score of a kNN baseline is a rate, :math:`\sum_g w_{tg} y_{sg} / (\sum_g w_{tg} + \lambda)` before the prior. The
vote of a training target :math:`g` of the TF is its share :math:`w_{tg} / (\sum_g w_{tg} + \lambda)`, so the votes of
an edge add up to what its neighbours add to that rate. Neighbours are alike by expression (``target_knn``) or by the
stem of their symbols (``knn_target_stem``). Both are fitted on the run's training edges and all of its cells.

Votes are exact for a decoder with these channels. Boosted trees read the same loadings and stems as features, so votes
show which known targets are alike there, not what a tree did with them.

Dimension letters: G genes, M pairs, N targets.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from grn_cotrain.apply import OpenRun
from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls.knn_target_stem import KnnTargetStem
from grn_cotrain.controls.target_knn import TargetKnn
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.errors import UserError

__all__ = ["EXPLAIN_COLUMNS", "explain"]

EXPLAIN_COLUMNS = ("neighbours", "data_sets")
_SHOWN = 5


def explain(opened: OpenRun, pairs_2M: np.ndarray) -> dict[str, np.ndarray]:
    """Columns ``neighbours`` and ``data_sets`` of pairs, in their order.

    Returns
    -------
    dict
        ``neighbours``: for each baseline, the five largest votes, such as ``target_knn: IFIT1 0.021, IFIT3 0.018``;
        empty where no training target of the TF is a neighbour. ``data_sets``: shares of the summed cosines of the
        neighbours of ``target_knn``, weighted by their votes, that come from the run's own cells (``cells``) and from
        each data set whose features the run reads; empty where the cells are the only set, or without such neighbours.

    Raises
    ------
    UserError
        The prepared folder of the run is not available.
    """
    try:
        data = load_run_data(opened.recipe, opened.folder.require_prep(opened.prep))
    except UserError as error:
        raise UserError(f"--explain: the votes need the run's prepared folder: {error}") from None
    cells, symbols = data.cells.genes(), data.vocab.symbols
    texts: list[list[str]] = [[] for _ in range(pairs_2M.shape[1])]
    sets_M = np.full(pairs_2M.shape[1], "", dtype=object)
    targets_N, column_M = np.unique(pairs_2M[1], return_inverse=True)
    for name in ("target_knn", "knn_target_stem"):
        control = CONTROLS.build(name, {}, seed=opened.recipe.seed).fit(data.split, cells)
        assert isinstance(control, TargetKnn | KnnTargetStem)
        votes_NG = control.voters(targets_N)
        rows_M, inside_M = control.table.rows(pairs_2M[0])
        for at in np.flatnonzero(inside_M):
            span = slice(*votes_NG.indptr[column_M[at] : column_M[at] + 2])
            genes_K, vote_K = votes_NG.indices[span], votes_NG.data[span]
            mine_K = (control.table.labels_SG[rows_M[at], genes_K] > 0) & (vote_K > 0)
            if not mine_K.any():
                continue
            genes_K, vote_K = genes_K[mine_K], vote_K[mine_K]
            shown = np.lexsort((genes_K, -vote_K))[:_SHOWN]
            named = ", ".join(f"{symbols[genes_K[k]]} {vote_K[k]:.3g}" for k in shown)
            texts[at].append(f"{name}: {named}")
            if isinstance(control, TargetKnn) and control.set_widths:
                sets_M[at] = _by_set(control, int(pairs_2M[1, at]), genes_K, vote_K)
    neighbours_M = np.full(pairs_2M.shape[1], "", dtype=object)
    neighbours_M[:] = ["; ".join(one) for one in texts]
    return dict(zip(EXPLAIN_COLUMNS, (neighbours_M, sets_M), strict=True))


def _by_set(control: TargetKnn, target: int, genes_K: np.ndarray, vote_K: np.ndarray) -> str:
    """Shares of the data sets in the votes, the largest first; a set in which genes are unlike has a negative part."""
    cosines = control.cosines_by_set(np.stack([np.full_like(genes_K, target), genes_K]))
    parts = Counter({name: float((cosine_K * vote_K).sum()) for name, cosine_K in cosines.items()})
    total = sum(parts.values())
    return ", ".join(f"{name} {part / total:.0%}" for name, part in parts.most_common()) if total > 0 else ""
