"""Whether the model beats its best control, in plain words: the sentence that a report begins with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from grn_cotrain.evaluate.link_rows import HEADLINE
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.present import bounds, metric, number
from grn_cotrain.present.html import typographic

__all__ = ["Verdict", "split_in_words", "verdicts"]

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
        Reasons why the results are inconclusive.
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


def split_in_words(name: str) -> str:
    """Return what a split hides, read off its name."""
    kind = next((kind for kind in sorted(_SPLITS, key=len, reverse=True) if name.startswith(kind)), None)
    return _SPLITS[kind] if kind else "held-out links"


def verdicts(table: LinkTable, name: str = HEADLINE) -> list[Verdict]:
    """Return the verdict on each model and ablation of the headline split."""
    chosen = table.part()
    mine = chosen[chosen["kind"].isin(("model", "ablation")) & (chosen["metric"] == name)]
    return [_verdict(table, str(scorer), name) for scorer in mine["scorer"]]


def _verdict(table: LinkTable, scorer: str, name: str) -> Verdict:
    control = table.best_control(name)
    words, split = metric(name).words, table.headline_split
    where = Markup("On {} ({})").format(split_in_words(split), split)
    mine = float(table.frame["value"].iloc[table.row(scorer, name)])
    if control is None or not math.isfinite(mine):
        why = "no control was evaluated with it" if control is None else f"its {words} is not defined"
        sentence = Markup("{} <strong>no verdict</strong> on {}: {}.").format(where, scorer, why)
        return Verdict("open", sentence, ())
    theirs = float(table.frame["value"].iloc[table.row(control, name)])
    value, low, high = table.difference(scorer, control, name)
    units = "TFs and held-out genes" if table.two_way else "TFs"
    interval = bounds(low, high, sign=True)
    interval = f"{interval} (95\N{NO-BREAK SPACE}%, over {units})" if interval else "without an interval"
    few = tuple(table.warnings())
    outcome, found = _in_words(low, high, few=bool(few))
    sentence = Markup(
        "{where} the model ({scorer}) <strong>{found}</strong>: {words} {mine} against {theirs} of {control}, "
        "difference {value} {interval}."
    ).format(
        where=where,
        scorer=scorer,
        found=found,
        words=words,
        mine=number(mine),
        theirs=number(theirs),
        control=control,
        value=typographic(number(value, sign=True)),
        interval=typographic(interval),
    )
    caveats = [f"{warning[0].upper()}{warning[1:]}." for warning in few]
    if outcome == "better":
        caveats.append("One run supports no claim: that takes at least 3 seeds, each compared with its controls.")
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
    return "open" if few else "level", "does not beat its best control: the two cannot be distinguished"
