"""Do central genes get more attention? Attention centrality against TF status and out-degree, given expression.

Theodoris et al. 2023 (10.1038/s41586-023-06139-9) report that Geneformer attends most to central regulators. Genes that
are detected in many cells and at high values get attention for that alone, and are studied more, so their edges are
known: every figure is compared with expression alone.

Dimension letters: G genes, F columns, B bootstrap replicates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import AttentionScores
from grn_cotrain.evaluate.bootstrap import interval
from grn_cotrain.metrics.links import auroc

__all__ = ["CENTRALITIES", "centrality_genes", "centrality_table", "partial_spearman"]

CENTRALITIES = ("received", "pagerank")
"""Columns of :func:`centrality_genes` that are measures of centrality."""

_EXPRESSION = ("detection", "mean")
_FOLDS = 5
_FEWEST = 10  # genes: fewer support no correlation
_FEWEST_OF_CLASS = 25  # TFs, and other genes: out-of-fold scores of fewer lean below .5 by themselves


def centrality_genes(scores: AttentionScores, cells: CellStore, grn: GRN, tf_index: np.ndarray) -> pd.DataFrame:
    """One row a gene that is read in some cell of the group.

    Parameters
    ----------
    scores
        Read with ``centrality=True``.
    cells
        That were read.
    grn
        The whole network: its out-degrees are compared. A model with a graph has seen part of its edges.
    tf_index
        Gene indices of the TFs.

    Returns
    -------
    DataFrame
        ``group, gene, received`` (mean column sum of attention, 1 being about an average token), ``pagerank`` (1: an
        average token), ``num_cells`` (in which it is read), ``detection`` (share of the group's cells that detect it),
        ``mean`` (of normalised expression, zeros included), ``is_tf``, ``out_degree``.
    """
    moments = Statistics(cells, scores.group.rows_C)[Moments()]
    num_genes = cells.vocab.num_genes
    is_tf_G = np.zeros(num_genes, dtype=bool)
    is_tf_G[tf_index] = True
    pairs_2E = grn.pairs_2E[:, grn.pairs_2E[0] != grn.pairs_2E[1]]
    frame = pd.DataFrame(
        {
            "group": scores.group.name,
            "gene": np.asarray(cells.vocab.symbols[:num_genes], dtype=object),
            "received": scores.received_G,
            "pagerank": scores.pagerank_G,
            "num_cells": scores.num_read_G,
            "detection": moments.detected_G[:num_genes],
            "mean": moments.mean_of_cells_G[:num_genes],
            "is_tf": is_tf_G,
            "out_degree": np.bincount(pairs_2E[0], minlength=num_genes),
        }
    )
    return frame[frame["num_cells"] > 0].reset_index(drop=True)


def partial_spearman(x_G: np.ndarray, y_G: np.ndarray, given_GF: np.ndarray) -> float:
    r"""Spearman correlation of x and y once the ranks of the given columns are regressed out of both.

    .. math:: \rho_{xy \cdot z} = \operatorname{corr}(r_x - \hat r_x(r_z),\ r_y - \hat r_y(r_z))

    with ranks r (ties share their mean) and least-squares fits on all of ``r_z``; with one column this is
    ``(rho_xy - rho_xz rho_yz) / sqrt((1 - rho_xz^2)(1 - rho_yz^2))``. Without a column: Spearman's own. NaN where x or
    y is constant given the rest.
    """
    return _partial(_ranks(np.column_stack([x_G, y_G, given_GF])), 0, 1, slice(2, None))


def _ranks(columns_GF: np.ndarray) -> np.ndarray:
    """Centred mean ranks of every column."""
    from scipy.stats import rankdata

    ranks_GF = rankdata(columns_GF, axis=0).astype(np.float64)
    return ranks_GF - ranks_GF.mean(axis=0)


def _partial(ranks_GF: np.ndarray, x: int, y: int, given: slice) -> float:
    """Correlation of two columns of centred ranks, given others."""
    both_G2, given_GF = ranks_GF[:, [x, y]], ranks_GF[:, given]
    rest_G2 = both_G2
    if given_GF.shape[1]:
        rest_G2 = both_G2 - given_GF @ np.linalg.lstsq(given_GF, both_G2, rcond=None)[0]
    length_2, before_2 = np.linalg.norm(rest_G2, axis=0), np.linalg.norm(both_G2, axis=0)
    if (length_2 <= 1e-9 * np.maximum(before_2, 1e-300)).any():
        return float("nan")
    return float(rest_G2[:, 0] @ rest_G2[:, 1] / length_2.prod())


def centrality_table(
    genes: pd.DataFrame, *, bootstrap: int = 200, seed: int = 0, measures: tuple[str, ...] = CENTRALITIES
) -> pd.DataFrame:
    """Prediction of TF status and out-degree by centrality, and what it adds to expression.

    Parameters
    ----------
    genes
        Genes of one group, from :func:`centrality_genes`.
    bootstrap
        Replicates over genes. Classifiers are not fitted again: their out-of-fold scores are resampled.
    seed
        Seed of the draws and the folds.

    Returns
    -------
    DataFrame
        ``measure, against, statistic, value, low, high, num_genes``. ``against`` is ``TF or not``, or ``out-degree``
        among TFs. ``measure`` is a centrality, or ``expression``: the correlation of detection alone, the AUROC of
        detection and mean expression alone. ``statistic``: ``Spearman``; ``partial Spearman`` (given detection and
        mean expression); ``AUROC`` (five-fold cross-validated logistic regression on ranks of expression, their
        squares, and the same of the centrality); ``AUROC gained`` over expression alone, on the same folds.

    Raises
    ------
    UserError
        Columns are missing.
    """
    missing = [name for name in (*measures, *_EXPRESSION, "is_tf", "out_degree") if name not in genes]
    if missing:
        raise UserError(f"genes: no column {', '.join(missing)}; give the frame of centrality_genes")
    genes = genes.dropna(subset=[*measures, *_EXPRESSION])
    is_tf_G = genes["is_tf"].to_numpy(bool)
    rows: list[tuple[str, str, str, float, float, float, int]] = []
    draws = np.random.default_rng(seed)
    for against, part in (("TF or not", genes), ("out-degree", genes[is_tf_G])):
        wanted = [(measure, kind) for measure in measures for kind in ("Spearman", "partial Spearman")]
        wanted.append(("expression", "Spearman"))
        known = part["is_tf" if against == "TF or not" else "out_degree"]
        columns_GF = np.column_stack([known, part[list(_EXPRESSION)], part[list(measures)]]).astype(np.float64)
        found = np.full((1 + bootstrap, len(wanted)), np.nan)
        if len(part) >= _FEWEST:
            takes = [np.arange(len(part)), *(draws.integers(0, len(part), len(part)) for _ in range(bootstrap))]
            for row, take in enumerate(takes):
                ranks_GF = _ranks(columns_GF[take])
                for column, (measure, kind) in enumerate(wanted):
                    at = 1 if measure == "expression" else 3 + measures.index(measure)
                    given = slice(1, 3) if kind == "partial Spearman" else slice(0, 0)
                    found[row, column] = _partial(ranks_GF, at, 0, given)
        for (measure, kind), values in zip(wanted, found.T, strict=True):
            rows.append((measure, against, kind, *interval(float(values[0]), values[1:]), len(part)))
    rows += _classified(genes, is_tf_G, measures, bootstrap, seed)
    columns = ["measure", "against", "statistic", "value", "low", "high", "num_genes"]
    return pd.DataFrame(rows, columns=columns)


def _classified(
    genes: pd.DataFrame, is_tf_G: np.ndarray, measures: tuple[str, ...], bootstrap: int, seed: int
) -> list[tuple[str, str, str, float, float, float, int]]:
    """AUROC of TF status from expression, from expression and centrality, and the difference."""
    num_genes = len(genes)
    names = [("expression", "AUROC")] + [(name, kind) for name in measures for kind in ("AUROC", "AUROC gained")]
    nothing = (float("nan"),) * 3
    if min(int(is_tf_G.sum()), int((~is_tf_G).sum())) < _FEWEST_OF_CLASS:
        return [(measure, "TF or not", statistic, *nothing, num_genes) for measure, statistic in names]
    base_GF = _features(genes, list(_EXPRESSION))
    base_G = _out_of_fold(base_GF, is_tf_G, seed)
    scores = {name: _out_of_fold(np.hstack([base_GF, _features(genes, [name])]), is_tf_G, seed) for name in measures}
    draws = np.random.default_rng((seed, 1))
    takes = [np.arange(num_genes), *(draws.integers(0, num_genes, num_genes) for _ in range(bootstrap))]
    base = np.array([auroc(base_G[take], is_tf_G[take]) for take in takes])
    rows = [("expression", "TF or not", "AUROC", *interval(float(base[0]), base[1:]), num_genes)]
    for name, score_G in scores.items():
        mine = np.array([auroc(score_G[take], is_tf_G[take]) for take in takes])
        for statistic, values in (("AUROC", mine), ("AUROC gained", mine - base)):
            rows.append((name, "TF or not", statistic, *interval(float(values[0]), values[1:]), num_genes))
    return rows


def _features(genes: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Ranks in [-1, 1] and their squares: a curved effect of expression must not pass for one of centrality."""
    ranks_GF = genes[names].rank(pct=True).to_numpy(np.float64) * 2 - 1
    return np.hstack([ranks_GF, ranks_GF**2])


def _out_of_fold(features_GF: np.ndarray, labels_G: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=1000)
    found_G2 = cross_val_predict(model, features_GF, labels_G, cv=folds, method="decision_function")
    return np.asarray(found_G2, dtype=np.float64)
