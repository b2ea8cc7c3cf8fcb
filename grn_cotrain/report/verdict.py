"""Whether the model beats its best control, in plain words: the sentence that a report begins with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.report.tables import interval, signed

__all__ = ["METRIC_NAMES", "Verdict", "metric_name", "split_in_words", "verdicts"]

#: Metrics as headings say them.
METRIC_NAMES = {
    "macro_auroc": "macro AUROC",
    "macro_ap": "macro AP",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "auprc_ratio": "AUPRC / prevalence",
    "epr": "early precision ratio",
    "early_precision": "early precision",
    "precision_at_100": "precision at 100",
    "mrr": "MRR",
    "mrr_adjusted": "adjusted MRR",
    "hits_at_10": "hits at 10",
    "hits_at_10_adjusted": "adjusted hits at 10",
    "mean_rank_adjusted": "adjusted mean rank",
    "degree_matched_auroc": "degree-matched AUROC",
    "residual_auroc": "residual AUROC",
    "brier": "Brier score",
}
_SPLITS = {
    "random": "links hidden at random from TFs that training knows",
    "unseen-tf": "TFs none of whose links were trained on",
    "unseen-target": "genes none of whose regulators were trained on",
    "unseen-both": "TFs and genes none of whose links were trained on",
    "published": "the published split",
    "transfer": "links of another network or data set",
}


@dataclass(frozen=True)
class Verdict:
    """One model or ablation against the best control of its split.

    Attributes
    ----------
    outcome
        ``better``, ``level`` or ``worse`` by the paired interval; ``open`` where there is none, or too few TFs.
    sentence
        The verdict, with numbers and interval.
    caveats
        What forbids reading more into it.
    """

    outcome: Literal["better", "level", "worse", "open"]
    sentence: Markup
    caveats: tuple[str, ...]

    @property
    def tone(self) -> Literal["good", "caution", "bad"]:
        """How it is coloured."""
        if self.outcome == "better":
            return "good"
        return "bad" if self.outcome == "worse" else "caution"


def metric_name(metric: str) -> str:
    """Return the metric as headings say it."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def split_in_words(name: str) -> str:
    """Return what a split hides, read off its name."""
    kind = next((kind for kind in sorted(_SPLITS, key=len, reverse=True) if name.startswith(kind)), None)
    return _SPLITS[kind] if kind else "held-out links"


def verdicts(table: LinkTable, metric: str = "macro_auroc") -> list[Verdict]:
    """Return the verdict on each model and ablation of the headline split."""
    frame = table.frame
    chosen = frame[(frame["split"] == table.headline_split) & (frame["candidates"] == "all")]
    mine = chosen[chosen["kind"].isin(("model", "ablation")) & (chosen["metric"] == metric)]
    return [_verdict(table, str(scorer), metric) for scorer in mine["scorer"]]


def _verdict(table: LinkTable, scorer: str, metric: str) -> Verdict:
    control = table.best_control(metric)
    name, split = metric_name(metric), table.headline_split
    where = Markup("On {} ({})").format(split_in_words(split), split)
    mine = float(table.frame["value"].iloc[table.row(scorer, metric)])
    if control is None or not math.isfinite(mine):
        why = "no control was evaluated beside it" if control is None else f"its {name} is not defined"
        sentence = Markup("{} <strong>nothing can be said</strong> of {}: {}.").format(where, scorer, why)
        return Verdict("open", sentence, ())
    theirs = float(table.frame["value"].iloc[table.row(control, metric)])
    value, low, high = table.difference(scorer, control, metric)
    units = "TFs and held-out genes" if table.two_way else "TFs"
    bounds = f"{interval(low, high, plus=True)} (95 %, over {units})" if math.isfinite(low) else "without an interval"
    few = tuple(table.warnings())
    outcome, words = _in_words(low, high, few=bool(few))
    sentence = Markup(
        "{where} the model ({scorer}) <strong>{words}</strong>: {name} {mine} against {theirs} of {control}, "
        "difference {value} {bounds}."
    ).format(
        where=where,
        scorer=scorer,
        words=words,
        name=name,
        mine=f"{mine:.3f}",
        theirs=f"{theirs:.3f}",
        control=control,
        value=signed(value),
        bounds=bounds,
    )
    caveats = [f"{warning[0].upper()}{warning[1:]}." for warning in few]
    if outcome == "better":
        caveats.append("One run supports no claim: that takes at least 3 seeds, each beside its controls.")
    return Verdict(outcome, sentence, tuple(caveats))


def _in_words(low: float, high: float, *, few: bool) -> tuple[Literal["better", "level", "worse", "open"], str]:
    """The outcome and its words; on too few TFs it stays open, whatever the interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "open", "cannot be compared with its best control"
    if low > 0:
        if few:
            return "open", "scores above its best control, but on too few TFs for a claim"
        return "better", "beats its best control"
    if high < 0:
        if few:
            return "open", "does not beat its best control: it scores below it, on too few TFs for a claim"
        return "worse", "does not beat its best control: it is worse"
    return "open" if few else "level", "does not beat its best control: the two cannot be told apart"
