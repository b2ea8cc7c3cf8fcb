"""Additive logistic regression: one bias a TF, one a target, no expression. The bar that published scores barely clear.

Dimension letters: G genes, M pairs, S sources, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["AdditiveLogistic", "Biases", "fit_table"]

GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Values of C that validation chooses from."""

_MAX_STEPS = 50
_TOLERANCE = 1e-5  # Newton squares the error: the last step is far smaller than it asks


@dataclass(frozen=True)
class Biases:
    """``logit(i, j) = intercept + source_S[i] + target_N[j]``."""

    intercept: float
    source_S: np.ndarray
    target_N: np.ndarray


@CONTROLS.register("additive_logistic", paper="-")
class AdditiveLogistic(Control):
    r"""L2-penalised logistic regression on one-hot TF and one-hot target, with intercept.

    .. math:: z_{st} = \alpha + a_s + b_t

    The model has two vectors of biases and reads no expression: it shows what degree alone can predict. It minimises
    ``|w|^2 / 2 + C * sum of log losses`` (scikit-learn's objective). Published splits: scikit-learn's
    ``LogisticRegression`` on exactly the labelled training pairs. Other splits: the same objective over *all* pairs
    that may be training negatives (training sources x training targets without self-pairs; held-out positives are among
    them, since leaving them out would reveal which they are), solved exactly by Newton steps on the table, so that
    nothing is sampled. A gene that was hidden has bias 0: the prior mean.

    Config
    ------
    C
        Inverse strength of the penalty; None: the value of :data:`GRID` with the best pooled AUROC on validation.
    """

    name = "additive_logistic"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`AdditiveLogistic`."""

        C: float | None = None

        def __post_init__(self) -> None:
            if self.C is not None and not self.C > 0:
                raise UserError(f"C: got {self.C}; give a positive number, or null to tune it on validation")

    C: float
    intercept: float
    source_G: np.ndarray
    target_G: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Fit at the configured C, or at each C of the grid and keep the best on validation pairs."""
        validation = split.pairs("validation") if self.config.C is None else None
        if validation is None or validation.labels_M.all() or not validation.labels_M.any():
            # Without validation pairs of both classes there is nothing to tune on.
            candidates: tuple[float, ...] = (self.config.C or 1.0,)
            validation = None
        else:
            candidates = GRID
        best = -np.inf
        for C, biases_G in self._path(split, candidates):
            quality = 0.0 if validation is None else _auroc(biases_G, validation.pairs_2M, validation.labels_M)
            if quality > best:
                best, self.C = quality, C
                self.intercept, self.source_G, self.target_G = biases_G.intercept, biases_G.source_S, biases_G.target_N
        return self

    def _path(self, split: EdgeSplit, candidates: tuple[float, ...]) -> list[tuple[float, Biases]]:
        return _fit_labelled(split, candidates) if split.labelled else _fit_universe(split, candidates)

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Logits ``[M]``."""
        return self.intercept + self.source_G[pairs_2M[0]] + self.target_G[pairs_2M[1]]


def _auroc(biases_G: Biases, pairs_2M: np.ndarray, labels_M: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels_M, biases_G.source_S[pairs_2M[0]] + biases_G.target_N[pairs_2M[1]]))


def _fit_labelled(split: EdgeSplit, candidates: tuple[float, ...]) -> list[tuple[float, Biases]]:
    from sklearn.linear_model import LogisticRegression

    train, num_genes = split.pairs("train"), split.num_genes
    num_pairs = train.num_pairs
    columns_M2 = np.stack([train.pairs_2M[0], train.pairs_2M[1] + num_genes], axis=1)
    one_hot = sparse.csr_matrix(
        (np.ones(2 * num_pairs), columns_M2.ravel(), np.arange(0, 2 * num_pairs + 1, 2)), (num_pairs, 2 * num_genes)
    )
    fits = []
    for C in candidates:
        model = LogisticRegression(C=C, max_iter=1000).fit(one_hot, train.labels_M)
        source_G, target_G = np.split(model.coef_[0], 2)
        fits.append((C, Biases(float(model.intercept_[0]), source_G, target_G)))
    return fits


def _fit_universe(split: EdgeSplit, candidates: tuple[float, ...]) -> list[tuple[float, Biases]]:
    sources_S, targets_N = split.train_sources_S, split.train_targets_N
    allowed_SN = sources_S[:, None] != targets_N[None, :]
    row_G, column_G = (np.full(split.num_genes, -1) for _ in range(2))
    row_G[sources_S], column_G[targets_N] = np.arange(len(sources_S)), np.arange(len(targets_N))
    row_E, column_E = row_G[split.train_2E[0]], column_G[split.train_2E[1]]
    inside_E = (row_E >= 0) & (column_E >= 0)
    labels_SN = np.zeros(allowed_SN.shape, dtype=bool)
    labels_SN[row_E[inside_E], column_E[inside_E]] = True
    labels_SN &= allowed_SN
    # Targets that no TF regulates and that every TF may be paired with have one bias: one column stands for them all.
    alike_N = allowed_SN.all(axis=0) & ~labels_SN.any(axis=0)
    kept_N = ~alike_N
    repeats_N = np.ones(len(targets_N))
    if alike_N.any():
        one = int(alike_N.argmax())
        kept_N[one], repeats_N[one] = True, alike_N.sum()
    fits = []
    biases: Biases | None = None
    for C in candidates:
        biases = fit_table(labels_SN[:, kept_N], allowed_SN[:, kept_N], C, repeats_N=repeats_N[kept_N], start=biases)
        bias_N = np.empty(len(targets_N))
        bias_N[kept_N] = biases.target_N
        if alike_N.any():
            bias_N[alike_N] = bias_N[one]
        source_G, target_G = np.zeros(split.num_genes), np.zeros(split.num_genes)
        source_G[sources_S], target_G[targets_N] = biases.source_S, bias_N
        fits.append((C, Biases(biases.intercept, source_G, target_G)))
    return fits


def fit_table(
    labels_SN: np.ndarray,
    allowed_SN: np.ndarray,
    C: float,
    *,
    repeats_N: np.ndarray | None = None,
    start: Biases | None = None,
) -> Biases:
    """Additive logistic regression over every allowed cell of a table, to convergence.

    Newton's method. Target biases do not interact, so their block of the Hessian is diagonal and is eliminated: a step
    costs one product ``[S, N] x [N, S]`` and one solve of size S + 1.

    Parameters
    ----------
    labels_SN, allowed_SN
        bool; a positive cell must be allowed.
    C
        Inverse strength of the penalty on the biases; the intercept is free.
    repeats_N
        How many equal targets each column stands for; default one.
    start
        Where to begin (the solution of a neighbouring C).
    """
    num_sources, num_targets = labels_SN.shape
    repeats_N = np.ones(num_targets) if repeats_N is None else repeats_N
    weight_SN = allowed_SN * repeats_N
    positive_S, positive_N = labels_SN @ repeats_N, labels_SN.sum(axis=0) * repeats_N
    total = positive_N.sum()
    if start is None:
        share = np.clip(total / max(weight_SN.sum(), 1), 1e-9, 1 - 1e-9)
        start = Biases(float(logit(share)), np.zeros(num_sources), np.zeros(num_targets))
    head_S1, target_N = np.append(start.source_S, start.intercept), start.target_N.copy()
    penalty_S1, penalty_N = np.append(np.full(num_sources, 1 / C), 0.0), repeats_N / C

    def objective(head_S1: np.ndarray, target_N: np.ndarray) -> tuple[float, np.ndarray]:
        probability_SN = expit(head_S1[:-1, None] + (target_N + head_S1[-1])[None, :])
        other_SN = np.minimum(probability_SN, 1 - 1e-15)
        np.log1p(np.negative(other_SN, out=other_SN), out=other_SN)
        loss = -np.vdot(weight_SN, other_SN)
        loss -= positive_S @ head_S1[:-1] + positive_N @ target_N + total * head_S1[-1]
        return loss + (penalty_S1 @ head_S1**2 + penalty_N @ target_N**2) / 2, probability_SN

    value, probability_SN = objective(head_S1, target_N)
    for _ in range(_MAX_STEPS):
        other_SN = 1 - probability_SN
        probability_SN *= weight_SN
        residual_S, residual_N = probability_SN.sum(axis=1) - positive_S, probability_SN.sum(axis=0) - positive_N
        gradient_S1 = np.append(residual_S, residual_S.sum()) + penalty_S1 * head_S1
        gradient_N = residual_N + penalty_N * target_N
        probability_SN *= other_SN  # from here on the curvature of the cells
        row_S, column_N = probability_SN.sum(axis=1), probability_SN.sum(axis=0)
        diagonal_N = column_N + penalty_N
        hessian_S1S1 = np.diag(np.append(row_S, row_S.sum()) + penalty_S1)
        hessian_S1S1[:-1, -1] = hessian_S1S1[-1, :-1] = row_S
        cross_S1N = np.concatenate([probability_SN, column_N[None, :]])
        scaled_S1N = cross_S1N / diagonal_N
        hessian_S1S1 -= scaled_S1N @ cross_S1N.T
        # The intercept is free: without any positive it runs away, and the smallest ridge stops it.
        hessian_S1S1[-1, -1] += 1e-9
        step_S1 = np.linalg.solve(hessian_S1S1, gradient_S1 - scaled_S1N @ gradient_N)
        step_N = (gradient_N - cross_S1N.T @ step_S1) / diagonal_N
        scale = 1.0
        while True:
            tried = objective(head_S1 - scale * step_S1, target_N - scale * step_N)
            if tried[0] <= value + 1e-9 * abs(value) or scale < 1e-4:
                break
            scale /= 2
        head_S1, target_N = head_S1 - scale * step_S1, target_N - scale * step_N
        value, probability_SN = tried
        if scale * max(np.abs(step_S1).max(), np.abs(step_N).max(initial=0.0)) < _TOLERANCE:
            break
    return Biases(float(head_S1[-1]), head_S1[:-1], target_N)
