"""Does the embedding hold more than a gene's degree and mean expression? An embedding that does not must be seen to.

Three questions, each with numbers and stated thresholds. How much of the embedding's variance is a *function* of degree
or mean expression (curves, not lines; out of fold)? Can these be *read* from the embedding by a linear map? Do nearest
neighbours have degrees alike? The first decides whether there is anything else; the second alone does not, since a good
embedding may hold degree in one direction of 64.

Dimension letters: G genes, D width, F features, B bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from grn_cotrain.card.basis import curve, curves
from grn_cotrain.card.ridge import fold_numbers, out_of_fold
from grn_cotrain.card.vectors import unit_rows
from grn_cotrain.evaluate.bootstrap import Bootstrap, Interval, interval
from grn_cotrain.present import number

__all__ = ["READABLE_R2", "SHARE_LIMIT", "Encoding", "Norms", "encoding_of", "norms_of"]

SHARE_LIMIT = 0.5
"""From this share of variance on, the embedding is called a function of degree or expression."""
READABLE_R2 = 0.5
"""From this R2 on, degree or expression is called readable."""


@dataclass(frozen=True)
class Norms:
    """Lengths of the rows: five quantiles, and Spearman correlation with degree and with mean expression."""

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    spearman_degree: float
    spearman_expression: float


@dataclass(frozen=True)
class Encoding:
    """How much degree and mean expression there is in an embedding.

    Attributes
    ----------
    share
        ``degree | expression | both`` -> share of the variance of the rows that curves of these explain, out of fold;
        ``network`` -> share that the mere flag explains whether a gene is in any training message.
    share_of_directions
        The same for rows of length 1, which is what cosines see.
    readable
        ``degree | expression`` -> features -> R2 of predicting it, out of fold, by ridge regression; features are the
        embedding, PCA loadings of equal width and random vectors of equal width.
    neighbour_degree
        Features -> Spearman correlation of a gene's degree with the mean degree of its 10 nearest neighbours.
    verdict
        ``degree``, ``expression``, ``degree and expression``, ``readable`` or ``neither``.
    words
        The verdict as a sentence.
    """

    share: Mapping[str, Interval]
    share_of_directions: Mapping[str, Interval]
    readable: Mapping[str, Mapping[str, Interval]]
    neighbour_degree: Mapping[str, float]
    verdict: str
    words: str


def norms_of(values_GD: np.ndarray, degree_G: np.ndarray, expression_G: np.ndarray | None) -> Norms:
    """Distribution of row lengths and what they follow."""
    norm_G = np.linalg.norm(np.asarray(values_GD, dtype=np.float64), axis=1)
    low, lower, median, upper, high = (float(q) for q in np.quantile(norm_G, [0, 0.25, 0.5, 0.75, 1]))
    expression = float("nan") if expression_G is None else _spearman(norm_G, expression_G)
    return Norms(low, lower, median, upper, high, _spearman(norm_G, degree_G), expression)


def encoding_of(
    features: Mapping[str, np.ndarray],
    neighbours: Mapping[str, np.ndarray],
    in_degree_G: np.ndarray,
    out_degree_G: np.ndarray,
    expression_G: np.ndarray | None,
    *,
    seed: int = 0,
    replicates: int = 200,
) -> Encoding:
    """Measure degree and mean expression in ``features["embedding"]``, compared with the other features.

    Parameters
    ----------
    features
        Name -> rows ``[G, D]``; ``embedding`` and any baselines.
    neighbours
        Name -> nearest neighbours of every gene by these features, ``[G, K]``.
    in_degree_G, out_degree_G
        Message edges at each gene.
    expression_G
        Mean log expression, or None.
    """
    values_GD = np.asarray(features["embedding"], dtype=np.float64)
    folds_G = fold_numbers(np.zeros(len(values_GD)), seed=seed)
    draws = Bootstrap(np.zeros(1, dtype=np.int64), np.arange(len(values_GD)), replicates=replicates, seed=seed)
    weights_GB = draws.target_weight_NC
    assert weights_GB is not None
    numbers = {}
    degree_G = np.asarray(in_degree_G) + np.asarray(out_degree_G)
    if np.ptp(degree_G) > 0:
        numbers["degree"] = [np.log1p(in_degree_G), np.log1p(out_degree_G)]
    if expression_G is not None and np.ptp(expression_G) > 0:
        numbers["expression"] = [np.asarray(expression_G, dtype=np.float64)]
    share, directions = {}, {}
    if len(numbers) == 2:
        numbers["both"] = numbers["degree"] + numbers["expression"]
    for name, parts in numbers.items():
        basis_GF = curves(*parts) if len(parts) > 1 else curve(parts[0])
        share[name] = _r2(values_GD, basis_GF, folds_G, weights_GB)
        directions[name] = _r2(unit_rows(values_GD).astype(np.float64), basis_GF, folds_G, weights_GB)
    if "degree" in numbers and not degree_G.all():
        flag_GF = curve(degree_G > 0)
        share["network"] = _r2(values_GD, flag_GF, folds_G, weights_GB)
        directions["network"] = _r2(unit_rows(values_GD).astype(np.float64), flag_GF, folds_G, weights_GB)
    targets = {"degree": np.log1p(degree_G)} if "degree" in numbers else {}
    targets |= {"expression": numbers["expression"][0]} if "expression" in numbers else {}
    readable = {
        name: {key: _r2(target_G[:, None], rows_GD, folds_G, weights_GB) for key, rows_GD in features.items()}
        for name, target_G in targets.items()
    }
    neighbour_degree = {key: _neighbour_degree(index_GK, degree_G) for key, index_GK in neighbours.items()}
    verdict = _verdict(share, directions, readable)
    return Encoding(
        share, directions, readable, neighbour_degree, verdict, _words(verdict, share, directions, readable)
    )


def _verdict(
    share: Mapping[str, Interval],
    directions: Mapping[str, Interval],
    readable: Mapping[str, Mapping[str, Interval]],
) -> str:
    largest = {name: max(share[name].value, directions[name].value) for name in share}
    for name in ("degree", "expression"):  # one of them alone is the simpler explanation
        others = [value for other, value in largest.items() if other not in (name, "both", "network")]
        if largest.get(name, 0) >= SHARE_LIMIT and all(largest[name] >= value for value in others):
            return name
    if largest.get("both", 0) >= SHARE_LIMIT:
        return "degree and expression"
    if any(values["embedding"].value >= READABLE_R2 for values in readable.values()):
        return "readable"
    return "neither"


def _words(
    verdict: str,
    share: Mapping[str, Interval],
    directions: Mapping[str, Interval],
    readable: Mapping[str, Mapping[str, Interval]],
) -> str:
    if not share:
        return "Not judged: neither degree nor expression of the genes is known or varies."
    key = {"degree and expression": "both", "readable": "both", "neither": "both"}.get(verdict, verdict)
    key = key if key in share else next(iter(share))
    known = " and ".join(name for name in ("degree", "expression") if name in share).replace(
        "expression", "mean expression"
    )
    of_rows, of_directions = (max(values[key].value, 0) for values in (share, directions))
    percent = f"{of_rows:.0%} of the variance of its rows ({of_directions:.0%} of their directions)"
    if verdict in ("degree", "expression", "degree and expression"):
        what = verdict.replace("expression", "mean expression")
        flag = ""
        if "network" in share and "degree" in verdict:
            mere = max(share["network"].value, directions["network"].value, 0)
            flag = f"Whether a gene is in the training network at all explains {mere:.0%}. "
        return (
            f"MOSTLY {what.upper()}: {percent} is a function of {what} alone; limit {SHARE_LIMIT:.0%}. {flag}Read its "
            f"neighbours and probes as {what} until they beat the controls."
        )
    if verdict == "readable":
        named = ", ".join(
            f"{name.replace('expression', 'mean expression')} (R2 {number(values['embedding'].value, 2)})"
            for name, values in readable.items()
            if values["embedding"].value >= READABLE_R2
        )
        return (
            f"More than {known}, which explain {percent}; but it holds them: one can read from it {named}. "
            "Compare probes with the rows of these controls."
        )
    lead = (
        f"Neither {known.replace(' and ', ' nor ')} explains it"
        if " and " in known
        else f"{known.capitalize()} does not explain it"
    )
    return f"{lead}: {percent}, limit {SHARE_LIMIT:.0%}; nor can a linear map read it well."


def _r2(targets_GK: np.ndarray, features_GF: np.ndarray, folds_G: np.ndarray, weights_GB: np.ndarray) -> Interval:
    """Out-of-fold R2, pooled over targets, with an interval over genes."""
    targets_GK = np.asarray(targets_GK, dtype=np.float64)
    predicted_GK = out_of_fold(features_GF, targets_GK, folds_G, intercept=True)
    error_G = ((targets_GK - predicted_GK) ** 2).sum(axis=1)
    spread_G = ((targets_GK - targets_GK.mean(axis=0)) ** 2).sum(axis=1)
    if spread_G.sum() <= 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    values_B = 1 - (error_G @ weights_GB) / np.maximum(spread_G @ weights_GB, np.finfo(float).tiny)
    return interval(float(values_B[0]), values_B[1:])


def _neighbour_degree(index_GK: np.ndarray, degree_G: np.ndarray) -> float:
    return _spearman(degree_G, np.log1p(degree_G)[index_GK].mean(axis=1)) if index_GK.shape[1] else float("nan")


def _spearman(a_G: np.ndarray, b_G: np.ndarray) -> float:
    if np.ptp(a_G) == 0 or np.ptp(b_G) == 0:
        return float("nan")
    return float(spearmanr(a_G, b_G).statistic)
