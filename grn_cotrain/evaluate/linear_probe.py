"""Linear probe: how much of a label can be read off frozen cell embeddings by a straight boundary.

A multinomial logistic regression on standardised features, its penalty chosen by cross-validation inside the training
cells, is scored on held-out cells. The same classifier reads principal components and log-normalised highly variable
genes of the very same cells, and a row without features always predicts the commonest training label, so an embedding
never stands alone.

Dimension letters: C cells, D embedding width, G genes, K classes, B bootstrap replicates.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.obs import as_labels, canonical_text
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.bootstrap import cell_draws

if TYPE_CHECKING:
    from scipy import sparse
    from sklearn.pipeline import Pipeline

__all__ = [
    "MAJORITY",
    "LabelSplit",
    "expression_features",
    "held_out_group",
    "label_scores",
    "linear_probe",
    "stratified",
]

MAJORITY = "majority"
"""Name of the row that knows the labels' frequencies alone."""

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of scikit-learn: the inverse of the penalty
_INNER_FOLDS = 3
_MAX_ITER = 500
_LEVEL = 0.95
_MOST_VALUES = 1 << 26  # dense float64 values that components are fitted on, 512 MB
_METRICS = ("accuracy", "macro_f1", "macro_f1_sklearn")


@dataclass(frozen=True)
class LabelSplit:
    """Rows that fit the probe and rows that judge it, disjoint and sorted; ``name`` describes how they were chosen."""

    train_C: np.ndarray
    test_C: np.ndarray
    name: str


def held_out_group(groups_C: Sequence[object], group: object, *, given: str | None = None) -> LabelSplit:
    """Judge on the cells of one group (a batch, a donor), fit on all others.

    ``given`` is what the user wrote, for the error: ``--test-by 'batch=2'``.

    Raises
    ------
    UserError
        No cell, or every cell, is of that group.
    """
    names_C = as_labels(pd.Series(list(groups_C), dtype=object)).fillna("").to_numpy(dtype=str)
    of_group_C = names_C == (canonical_text(group) or str(group))
    given = given or f"held-out group '{group}'"
    if not of_group_C.any():
        choices = sorted(set(names_C))
        raise UserError(
            f"{given}: none of {len(names_C):,} cells is of this group; choose from {name_some(choices, 8)}"
            f"{did_you_mean(str(group), choices)}"
        )
    if of_group_C.all():
        raise UserError(
            f"{given}: all {len(names_C):,} cells are of this group, so none is left to train on; choose a column that"
            " has several"
        )
    return LabelSplit(np.flatnonzero(~of_group_C), np.flatnonzero(of_group_C), f"held-out group {group}")


def stratified(labels_C: Sequence[object], *, test: float = 0.2, seed: int = 0) -> LabelSplit:
    """Judge on the share ``test`` of every class, drawn at random; a class of one cell stays in training.

    Raises
    ------
    UserError
        ``test`` is not a share, or leaves no test cell.
    """
    if not 0 < test < 1:
        raise UserError(f"test: got {test}; give a share between 0 and 1")
    generator = np.random.default_rng(seed)
    codes_C = np.unique(np.asarray(labels_C, dtype=object).astype(str), return_inverse=True)[1]
    chosen = []
    for code in range(int(codes_C.max(initial=-1)) + 1):
        members = generator.permutation(np.flatnonzero(codes_C == code))
        chosen.append(members[: min(len(members) - 1, max(1, round(test * len(members))))])
    test_C = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)
    if not len(test_C):
        raise UserError("test: no class has two cells, so none can be held out; give more cells")
    return LabelSplit(np.setdiff1d(np.arange(len(codes_C)), test_C), test_C, f"stratified, {test:.0%} held out")


def expression_features(
    cells: CellStore, train_C: np.ndarray, *, num_components: int = 50, num_genes: int = 500, seed: int = 0
) -> dict[str, np.ndarray]:
    """Baselines that a probe must beat: features that need no network, chosen and fitted on the training cells alone.

    A missing assay is not a zero. Features of an assay that a cell does not have are given the mean of those training
    cells that have it.

    Parameters
    ----------
    cells
        All cells, of training and test; values are normalised (log1p of counts per ten thousand).
    train_C
        Rows that may be learned from.
    num_components, num_genes
        Principal components, which are those of a random part of ``train_C`` where all would take more than 512 MB, and
        genes of the largest dispersion (variance over mean of the normalised values).
    seed
        Seed of the randomised decomposition.

    Returns
    -------
    dict
        ``pca`` float64 ``[C, D]`` and ``hvg`` float64 ``[C, G]``.
    """
    from sklearn.decomposition import PCA

    moments = Statistics(cells, train_C)[Moments()]
    mean_G, variance_G = moments.mean_of_cells_G, moments.std_of_cells_G**2
    dispersion_G = np.divide(variance_G, mean_G, out=np.zeros_like(mean_G), where=mean_G > 0)
    chosen = np.sort(np.argsort(-dispersion_G, kind="stable")[:num_genes])
    components = min(num_components, len(train_C) - 1, cells.num_features)
    pca = PCA(components, svd_solver="randomized", random_state=seed)
    most = max(100, _MOST_VALUES // max(1, cells.num_features))
    fit_C = train_C
    if len(train_C) > most:
        fit_C = np.sort(np.random.default_rng(seed).choice(train_C, most, replace=False))

    def filled(rows_B: np.ndarray, values_BG: sparse.csr_matrix) -> np.ndarray:
        dense_BG = values_BG.toarray().astype(np.float64)
        for place, assay in enumerate(cells.assays.values()):
            lacking_B = np.flatnonzero(~assay.present_C[rows_B])
            columns_F = np.flatnonzero(moments.layout.assay_G == place)
            dense_BG[np.ix_(lacking_B, columns_F)] = mean_G[columns_F]
        return dense_BG

    pca.fit(filled(fit_C, cells.normalised(fit_C)))
    features = {"pca": np.empty((cells.num_cells, components)), "hvg": np.empty((cells.num_cells, len(chosen)))}
    for rows_B, values_BG in cells.blocks():
        dense_BG = filled(rows_B, values_BG)
        features["pca"][rows_B], features["hvg"][rows_B] = pca.transform(dense_BG), dense_BG[:, chosen]
    return features


def linear_probe(
    features: Mapping[str, np.ndarray],
    labels_C: Sequence[object],
    split: LabelSplit,
    *,
    strengths: Sequence[float] = _STRENGTHS,
    penalties: Sequence[Literal["l2", "l1"]] = ("l2",),
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Fit and judge one probe for each kind of features, all on the same cells, and the majority row.

    The probe minimises :math:`-C \sum_c \log p(y_c \mid x_c) + \|W\|^2 / 2` over standardised ``x`` (means and
    deviations of training cells). ``C`` is the best of ``strengths`` by macro-F1 over three stratified folds of the
    training cells, the strongest penalty among equals; test cells choose nothing. A label that training cells lack
    cannot be found: its test cells count as errors, and ``unseen`` counts them.

    Parameters
    ----------
    features
        Name -> finite float array ``[C, D]``, one row a cell.
    labels_C
        Label of each cell.
    split
        Which cells fit and which judge.
    strengths
        Candidates for C.
    penalties
        ``l2`` as above; ``l1``: :math:`|W|_1` instead, one class against the rest, the classifier that Boiarsky et al.
        2023 set against fine-tuned transformers. Its rows are named after the features and ``l1``.
    bootstrap
        Replicates over test cells for the 95 % intervals; 0: none (NaN).
    seed
        Seed of folds and bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row for each kind of features and metric (see :func:`label_scores`): ``scorer, metric, value, low, high,
        strength, num_classes, num_train, num_test, unseen, seconds``.

    Raises
    ------
    UserError
        Features that are not finite or not one row a cell; fewer than two classes among the training cells.
    """
    names_K, codes_C = np.unique(np.asarray(labels_C, dtype=object).astype(str), return_inverse=True)
    train_y, test_y = codes_C[split.train_C], codes_C[split.test_C]
    if len(np.unique(train_y)) < 2:
        raise UserError(f"labels: {len(np.unique(train_y))} class among the training cells; a probe needs two")
    draws_BC = cell_draws(len(test_y), bootstrap, seed)
    frames = [label_scores(MAJORITY, np.full(len(test_y), np.bincount(train_y).argmax()), test_y, draws_BC)]
    for name, values_CD in features.items():
        x_CD = np.asarray(values_CD, dtype=np.float64)
        if x_CD.shape[:1] != (len(codes_C),) or x_CD.ndim != 2:
            raise UserError(f"features '{name}': shape {x_CD.shape} for {len(codes_C)} cells; give one row a cell")
        if not np.isfinite(x_CD).all():
            raise UserError(f"features '{name}': {int((~np.isfinite(x_CD)).any(1).sum())} rows are not finite")
        for penalty in penalties:
            start = time.perf_counter()
            strength, model = _fit(x_CD[split.train_C], train_y, strengths, penalty, seed)
            scorer = name if penalty == "l2" else f"{name} {penalty}"
            frame = label_scores(scorer, model.predict(x_CD[split.test_C]), test_y, draws_BC)
            frames.append(frame.assign(strength=strength, seconds=time.perf_counter() - start))
    unseen = int((~np.isin(test_y, train_y)).sum())
    return pd.concat(frames, ignore_index=True).assign(
        num_classes=len(names_K), num_train=len(train_y), num_test=len(test_y), unseen=unseen
    )


def _fit(
    x_CD: np.ndarray, y_C: np.ndarray, strengths: Sequence[float], penalty: str, seed: int
) -> tuple[float, Pipeline]:
    """The chosen strength and the classifier fitted on all training cells with it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def probe(strength: float) -> Pipeline:
        classifier: Any = LogisticRegression(C=strength, max_iter=_MAX_ITER)
        if penalty == "l1":
            lasso = LogisticRegression(C=strength, max_iter=_MAX_ITER, solver="liblinear", **_lasso(), random_state=0)
            classifier = OneVsRestClassifier(lasso)
        return make_pipeline(StandardScaler(), classifier)

    folds = min(_INNER_FOLDS, int(np.bincount(y_C)[np.unique(y_C)].max()))
    if len(strengths) == 1 or folds < 2:
        return strengths[0], probe(strengths[0]).fit(x_CD, y_C)
    # A class of fewer cells than folds is absent from some of them; scikit-learn warns, and that is as it should be.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x_CD, y_C))
        scores = []
        for strength in sorted(strengths):
            found = [
                f1_score(y_C[held], probe(strength).fit(x_CD[kept], y_C[kept]).predict(x_CD[held]), average="macro")
                for kept, held in parts
                if len(np.unique(y_C[kept])) > 1
            ]
            scores.append(float(np.mean(found)) if found else 0.0)
        best = sorted(strengths)[int(np.argmax(scores))]
        return best, probe(best).fit(x_CD, y_C)


def _lasso() -> dict[str, Any]:
    """How this scikit-learn is asked for the L1 penalty; each spelling fails in the time of the other."""
    import sklearn

    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    return {"l1_ratio": 1.0} if version >= (1, 8) else {"penalty": "l1"}


def label_scores(name: str, found_C: np.ndarray, truth_C: np.ndarray, draws_BC: np.ndarray) -> pd.DataFrame:
    """Accuracy and macro-F1 of predicted labels with 95 % intervals over ``draws_BC`` (no rows: NaN).

    ``macro_f1`` is the mean of F1 over the classes that the cells have. ``macro_f1_sklearn`` is what scikit-learn's
    ``f1_score(average="macro")`` returns: the mean over classes that the cells have *or* that are predicted. A class
    that is predicted and that no cell has counts as 0 there, so it is the lower of the two; papers mostly report it.

    Returns
    -------
    pandas.DataFrame
        Three rows: ``scorer, metric, value, low, high, strength, seconds`` (no strength, no time).
    """
    values = _scores(found_C, truth_C, np.ones((1, len(truth_C))))
    replicates = _scores(found_C, truth_C, draws_BC) if len(draws_BC) else (np.full(1, np.nan),) * len(_METRICS)
    tail = (1 - _LEVEL) / 2
    return pd.DataFrame(
        [
            {
                "scorer": name,
                "metric": metric,
                "value": float(value[0]),
                "low": float(np.quantile(replicate_B, tail)),
                "high": float(np.quantile(replicate_B, 1 - tail)),
                "strength": np.nan,
                "seconds": 0.0,
            }
            for metric, value, replicate_B in zip(_METRICS, values, replicates, strict=True)
        ]
    )


def _scores(found_C: np.ndarray, truth_C: np.ndarray, weights_BC: np.ndarray) -> tuple[np.ndarray, ...]:
    """``_METRICS``, ``[B]`` each, with every cell counted as often as its weight.

    F1 is averaged over the classes that a replicate holds; one that it never drew does not count.
    """
    weights_BC = weights_BC.astype(np.float64)
    right_C = (found_C == truth_C).astype(np.float64)
    accuracy_B = weights_BC @ right_C / weights_BC.sum(axis=1)
    classes_K = np.union1d(truth_C, found_C)
    truth_CK = (truth_C[:, None] == classes_K).astype(np.float64)
    found_CK = (found_C[:, None] == classes_K).astype(np.float64)
    hits_BK = weights_BC @ (truth_CK * found_CK)
    support_BK, claimed_BK = weights_BC @ truth_CK, weights_BC @ found_CK
    f1_BK = np.divide(2 * hits_BK, support_BK + claimed_BK, out=np.zeros_like(hits_BK), where=support_BK > 0)
    total_B = f1_BK.sum(axis=1)
    named_BK = (support_BK > 0) | (claimed_BK > 0)
    return accuracy_B, total_B / (support_BK > 0).sum(axis=1), total_B / named_BK.sum(axis=1)
