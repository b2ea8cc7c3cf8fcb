"""The one glossary of metrics: how a column, a sentence and a figure name each of them, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["CELL_METRICS", "CLASS_METRICS", "LINK_METRICS", "Metric", "metric"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name
        Its name in tables of data and in options.
    heading
        Short name, for a column.
    sentence
        Its meaning, in one sentence.
    title
        Full name, for running text and axes; the heading where empty.
    digits
        Decimals that are shown.
    direction
        Whether higher or lower values are better.
    chance
        Value of a random order; ``prevalence``: the share of positives; None if there is no such value.
    """

    name: str
    heading: str
    sentence: str
    title: str = ""
    digits: int = 3
    direction: Literal["higher", "lower"] = "higher"
    chance: float | Literal["prevalence"] | None = None

    @property
    def words(self) -> str:
        """Full name, for running text."""
        return self.title or self.heading


def _named(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


#: Metrics of the link table, in the order in which they are measured.
LINK_METRICS: Mapping[str, Metric] = _named(
    Metric("auroc", "AUROC", "Area under the ROC curve of all pairs in one list.", chance=0.5),
    Metric("auprc", "AUPRC", "Average precision of all pairs in one list.", chance="prevalence"),
    Metric(
        "auprc_ratio",
        "AUPRC/prev",
        "AUPRC divided by the share of positives; 1 is chance.",
        title="AUPRC / prevalence",
        digits=1,
        chance=1.0,
    ),
    Metric("macro_auroc", "macro AUROC", "Mean over TFs of the AUROC among a TF's candidate targets.", chance=0.5),
    Metric("macro_ap", "macro AP", "Mean over TFs of average precision.", chance="prevalence"),
    Metric(
        "early_precision",
        "early precision",
        "Precision among as many pairs as there are positives.",
        chance="prevalence",
    ),
    Metric(
        "epr",
        "EPR",
        "Early precision divided by the share of positives; 1 is chance.",
        title="early precision ratio",
        digits=1,
        chance=1.0,
    ),
    Metric("precision_at_100", "precision at 100", "Precision among the 100 best pairs.", chance="prevalence"),
    Metric("mrr", "MRR", "Mean reciprocal rank of positives within their TF, ties at their expectation."),
    Metric(
        "mrr_adjusted",
        "adj. MRR",
        "Mean reciprocal rank adjusted for chance: 0 is chance, 1 is best.",
        title="adjusted MRR",
        chance=0.0,
    ),
    Metric("hits_at_10", "hits at 10", "Share of positives ranked 10th or better within their TF."),
    Metric(
        "hits_at_10_adjusted",
        "adj. hits at 10",
        "Hits at 10 adjusted for chance: 0 is chance, 1 is best.",
        title="adjusted hits at 10",
        chance=0.0,
    ),
    Metric(
        "mean_rank_adjusted",
        "adj. mean rank",
        "Mean rank adjusted for chance: 0 is chance, 1 is best.",
        title="adjusted mean rank",
        chance=0.0,
    ),
    Metric(
        "residual_auroc",
        "residual",
        "AUROC within strata of the additive degree model's score; 0.5 means that nothing beyond degree is known.",
        title="residual AUROC",
        chance=0.5,
    ),
    Metric(
        "degree_matched_auroc",
        "matched",
        "Mean over TFs of the AUROC among targets of equal in-degree; 0.5 means that nothing but degree is known.",
        title="degree-matched AUROC",
        chance=0.5,
    ),
    Metric(
        "pair_share",
        "pair share",
        "Share of the variance of the scores that neither the TF's mean nor the target's mean explains.",
    ),
    Metric(
        "own_minus_other",
        "own - other",
        "Precision of a TF's 50 best targets on its own positives minus that on other TFs' positives; 0 means that the"
        " lists are not specific.",
        title="own minus other",
        chance=0.0,
    ),
    Metric(
        "brier", "Brier", "Mean squared error of the probabilities; lower is better.",
        title="Brier score", direction="lower",
    ),
)  # fmt: skip

#: Metrics of masked values of held-out cells.
CELL_METRICS: Mapping[str, Metric] = _named(
    Metric(
        "r2",
        "R2",
        "R2 of hidden values, standardised by gene; every gene weighs the same.",
        title="R2, standardised by gene",
    ),
    Metric("r2_pooled", "R2, pooled", "R2 of hidden values, standardised by gene; every entry weighs the same."),
    Metric(
        "mse",
        "MSE",
        "Mean squared error of hidden values, standardised by gene.",
        title="squared error, standardised by gene",
        direction="lower",
    ),
    Metric(
        "pearson",
        "Pearson",
        "Correlation over all hidden entries, which mostly shows the genes' means.",
        title="Pearson over entries (mostly gene means)",
    ),
    Metric(
        "pearson_cell",
        "Pearson in cells",
        "Correlation within a cell, mean over cells, which mostly shows the genes' means.",
        title="Pearson within cells (mostly gene means)",
    ),
)

#: Metrics of cell types.
CLASS_METRICS: Mapping[str, Metric] = _named(
    Metric("accuracy", "accuracy", "Share of cells with the right label."),
    Metric("macro_f1", "macro F1", "Mean of F1 over the labels that the cells have."),
    Metric("macro_f1_sklearn", "macro F1, named", "Mean of F1 over all labels that were given or predicted."),
)

_ALL = {**LINK_METRICS, **CELL_METRICS, **CLASS_METRICS}


def metric(name: str) -> Metric:
    """Return the entry of a metric; a name that the glossary lacks is shown as it is."""
    return _ALL.get(name) or Metric(name, name.replace("_", " "), "")
