"""Two runs against each other: inputs, results, embeddings and edges; of more runs, each against the first."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.card import diff_runs
from grn_cotrain.config import to_dict
from grn_cotrain.present import table
from grn_cotrain.recipe_diff import differing_keys
from grn_cotrain.report.blocks import Block, Details, Heading, Missing, Section, Text
from grn_cotrain.report.card_page import card_blocks
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs, without_paths

__all__ = ["section"]

_SHOWN = {"embedding"}  # shown in no other section; readers who look for the rest open it


def section(report: ReportInputs) -> Section:
    """Differences of the other runs to the first."""
    first, *others = report.runs
    blocks: list[Block] = list(_varied(report))
    for other in others:
        if len(others) > 1:
            blocks.append(Heading(f"{other.label} against {first.label}"))
        blocks += _pair(report, first, other)
    return Section("differences", "Differences of the runs", "Differences", tuple(blocks))


def _varied(report: ReportInputs) -> Sequence[Block]:
    """The keys of the recipe that vary, with the value of every run."""
    varied = differing_keys([to_dict(run.recipe) for run in report.runs])
    if not varied:
        return [Text("The recipes of the runs are the same in every key.")]
    header = ["key", *(run.label for run in report.runs)]
    rows = [
        [key, *("-" if value is None else without_paths(str(value)) for value in values)]
        for key, values in varied.items()
    ]
    named = ", ".join(varied)
    caption = "Keys of the recipe that vary between the runs, with their values."
    return [Text(f"The runs differ in: {named}."), table(header, rows, numeric=(), name="varied-keys", caption=caption)]


def _pair(report: ReportInputs, a: RunInputs, b: RunInputs) -> Sequence[Block]:
    found = Part.attempt(
        lambda: diff_runs(a.run.folder, b.run.folder, say=lambda text: report.say(f"  {without_paths(text)}"))
    )
    if found.value is None:
        return [Missing(f"the runs cannot be compared: {found.problem}", f"grn-cotrain diff {a.place} {b.place}")]
    blocks: list[Block] = [
        Text(f"In the tables a is run {a.label}, b is run {b.label}; differences are b minus a.", tone="note")
    ]
    shown, folded = [], []
    for part in found.value.sections():
        inside = card_blocks(part, lambda name: f"difference-{a.label}{b.label}-{name}")
        if part.key in _SHOWN:
            shown += [Heading(part.title), *inside]
        else:
            folded.append(Details(part.title, inside))
    return [*blocks, *shown, *folded]
