"""How well cells are annotated: a fine-tuned model compared with classifiers that need no network, on the same cells.

Dimension letters: C cells, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from grn_cotrain.data.store import CellStore
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.linear_probe import (
    LabelSplit,
    expression_features,
    label_scores,
    linear_probe,
)
from grn_cotrain.evaluate.link_rows import records
from grn_cotrain.present import Table, figure, metric, table, whole

__all__ = ["FINE_TUNED", "PROBE", "AnnotationTable", "annotation_table"]

FINE_TUNED, PROBE = "fine-tuned", "probe of the frozen embedding"
_EXPRESSION = {"hvg": "logistic regression on variable genes", "pca": "logistic regression on PCA"}
_PENALTIES: tuple[Literal["l2", "l1"], ...] = ("l2", "l1")


@dataclass(frozen=True, eq=False)
class AnnotationTable:
    """Results on held-out cells.

    Attributes
    ----------
    scores
        One row a scorer and metric (``accuracy``, ``macro_f1``, ``macro_f1_sklearn``), as
        :func:`~grn_cotrain.evaluate.linear_probe.linear_probe` gives them.
    per_class
        One row a class of the held-out cells for the fine-tuned model: ``class, precision, recall, f1, num_test,
        num_train``.
    confusion
        Held-out cells by true class (rows) and prediction (columns).
    """

    scores: pd.DataFrame
    per_class: pd.DataFrame
    confusion: pd.DataFrame

    def tables(self) -> list[Table]:
        """Tables that are printed: each scorer with the intervals of its metrics, best macro-F1 first; each class."""
        found = {(row.scorer, row.metric): row for row in records(self.scores)}
        macro = self.scores[self.scores["metric"] == "macro_f1"].sort_values("value", ascending=False, kind="stable")
        names = list(self.scores["metric"].unique())
        rows = [
            [str(scorer), *(figure(one.value, one.low, one.high) for one in (found[scorer, name] for name in names))]
            for scorer in macro["scorer"]
        ]
        classes = [
            [str(row[0]), *(figure(value) for value in row[1:4]), *map(whole, row[4:])]
            for row in self.per_class.itertuples(index=False, name=None)
        ]
        header = ["scorer", *(metric(name).heading for name in names)]
        return [
            table(header, rows, caption="held-out cells, 95 % intervals over cells"),
            table(list(self.per_class.columns), classes, caption="fine-tuned, by class"),
        ]


def annotation_table(
    predicted_C: Sequence[str],
    labels_C: Sequence[str],
    split: LabelSplit,
    cells: CellStore,
    *,
    embeddings: Mapping[str, np.ndarray] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> AnnotationTable:
    """Compare predictions on ``split.test_C`` with the controls.

    Controls, all fitted on ``split.train_C`` (which holds the validation cells too: they choose their penalty by
    cross-validation) and judged on the same cells with the same bootstrap draws: the commonest class; logistic
    regressions on log-normalised variable genes and on principal components, with L2 and with L1 penalty; and linear
    probes of ``embeddings``.

    Parameters
    ----------
    predicted_C
        Prediction for each cell of ``split.test_C``.
    labels_C
        Label of each cell of ``cells``.
    split
        Which cells fit the controls, and which judge.
    cells
        Expression, for the controls.
    embeddings
        Name -> finite float ``[C, D]``: frozen embeddings of all cells.
    bootstrap
        Replicates over held-out cells; 0: no intervals.
    seed
        Seed of folds, decomposition and bootstrap.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    named_C = np.asarray(labels_C, dtype=object).astype(str)
    found_C, truth_C = np.asarray(predicted_C, dtype=object).astype(str), named_C[split.test_C]
    draws_BC = cell_draws(len(truth_C), bootstrap, seed)
    expression = expression_features(cells, split.train_C, seed=seed)
    controls = {name: expression[key] for key, name in _EXPRESSION.items()}
    common = {"bootstrap": bootstrap, "seed": seed}
    frames = [
        label_scores(FINE_TUNED, found_C, truth_C, draws_BC),
        linear_probe(controls, labels_C, split, penalties=_PENALTIES, **common),  # type: ignore[arg-type]
    ]
    if embeddings:
        probes = linear_probe(embeddings, labels_C, split, **common)  # type: ignore[arg-type]
        frames.append(probes[probes["scorer"].isin(list(embeddings))])
    scores = pd.concat(frames, ignore_index=True)
    shared = ["num_classes", "num_train", "num_test", "unseen"]
    scores[shared] = frames[1][shared].iloc[0].to_numpy()
    classes = sorted(set(truth_C))
    precision_K, recall_K, f1_K, support_K = precision_recall_fscore_support(
        truth_C, found_C, labels=classes, zero_division=0
    )
    train_C = named_C[split.train_C]
    per_class = pd.DataFrame(
        {
            "class": classes,
            "precision": precision_K,
            "recall": recall_K,
            "f1": f1_K,
            "num_test": support_K,
            "num_train": [int((train_C == name).sum()) for name in classes],
        }
    )
    every = sorted(set(truth_C) | set(found_C))
    confusion = pd.DataFrame(
        confusion_matrix(truth_C, found_C, labels=every), index=pd.Index(every, name="true"), columns=every
    )
    return AnnotationTable(scores, per_class, confusion)
