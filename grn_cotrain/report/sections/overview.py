"""The first screen: the project, and whether the model beats its best control."""

from __future__ import annotations

from markupsafe import Markup

from grn_cotrain.data.spaces import counted_features
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.report.blocks import Block, Facts, Missing, Section, Text
from grn_cotrain.report.inputs import ReportInputs, RunInputs
from grn_cotrain.report.sections.beside import beside
from grn_cotrain.report.verdict import verdicts

__all__ = ["section", "verdict_blocks"]

_ABOUT = (
    "A transformer on single cells and a graph neural network on a gene regulatory network were trained over one "
    "shared table of gene embeddings. The transformer predicts masked values of expression, and the graph network "
    "predicts regulatory links. Results are compared with controls that need no deep model. A gain counts only if the "
    "interval of the paired difference is above zero."
)


def section(report: ReportInputs) -> Section:
    """Overview of one or several runs."""
    blocks: list[Block] = [_unfinished(run) for run in report.runs if run.unfinished]
    blocks.append(Text(_ABOUT, tone="lead"))
    for _, table in report.tables:
        blocks += verdict_blocks(table)
    blocks += beside(report, _of_run)
    return Section("overview", "Overview", "Overview", tuple(blocks))


def _unfinished(run: RunInputs) -> Text:
    """Warning that a reader must see first."""
    if run.kept is not None and run.has_model:
        shown = f"Results are those of the model kept so far, of step {run.kept.step:,}; they may change."
    else:
        shown = "It has kept no model yet, so there are no results."
    command = Markup("Continue with <code>grn-cotrain train RECIPE.yaml --out {} --resume</code>.").format(run.place)
    return Text(Markup("<strong>{}</strong> {} {}").format(run.unfinished, shown, command), tone="caution")


def verdict_blocks(table: LinkTable) -> list[Block]:
    """Verdicts of a link table with their caveats."""
    blocks: list[Block] = []
    for verdict in verdicts(table):
        caveats = Markup("").join(Markup("<br>{}").format(caveat) for caveat in verdict.caveats)
        blocks.append(Text(verdict.sentence + caveats, tone=verdict.tone))
    return blocks


def _of_run(run: RunInputs) -> list[Block]:
    record = run.record
    steps, total = record.get("steps"), run.recipe.train.max_steps
    facts: list[tuple[str, str | Markup]] = [("Run", run.place), ("Status", _status(run))]
    if record.get("num_cells") and record.get("features"):
        features = counted_features(record["features"])
        facts.append(("Cells and features", f"{record['num_cells']:,} cells x {features}"))
    if record.get("message_edges") is not None:
        facts.append(("Message edges", f"{record['message_edges']:,}"))
    facts.append(("Schedule", run.recipe.train.schedule.name))
    if steps is not None:
        facts.append(("Steps", f"{steps:,} of at most {total:,}"))
    if run.kept is not None:
        facts.append(("Model kept", str(run.kept)))
    if run.split.value is not None:
        positives, pairs = run.split.value.counts("test")
        facts.append(("Tested", f"{positives:,} links among {pairs:,} candidate pairs"))
    return [*_verdict(run), Facts(facts)]


def _verdict(run: RunInputs) -> list[Block]:
    if run.links.value is not None:
        return verdict_blocks(run.links.value)
    if not run.has_model:
        reason = "no verdict: training has not saved a model yet"
        return [Missing(reason, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume")]
    return [Missing(f"no verdict: {run.links.problem}", f"grn-cotrain evaluate links {run.place}")]


def _status(run: RunInputs) -> str:
    if run.is_finished:
        return "finished"
    return "training" if run.record.get("status") == "running" else str(run.record.get("status") or "not finished")
