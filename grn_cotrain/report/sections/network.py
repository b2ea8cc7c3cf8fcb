"""The predicted network: its best edges drawn, one regulon, and the tables behind both."""

from __future__ import annotations

import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.evaluate.link_rows import records
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.predicted_edges import PredictedEdges
from grn_cotrain.present import Cell, Table, figure, table
from grn_cotrain.present.numbers import MISSING
from grn_cotrain.report.blocks import Block, Details, Missing, Section, Text
from grn_cotrain.report.figures import Figure, draw
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs, without_paths
from grn_cotrain.report.sections.beside import beside
from grn_cotrain.report.sections.embedding import largest_regulon

__all__ = ["section"]

_TOP = 40
_PER_TF = 4
_NEW = 100
_TARGETS = 20
_SIGNS = {1: "activates", -1: "represses", 0: "unknown"}
_KNOWN = {
    "train": "known, in training",
    "validation": "known, validation",
    "test": "known, held out",
    "withheld": "known, withheld",
    "": "new",
}
_HOW = (
    "The edges to which the model gives the highest scores, at most four of each TF, so that a few hubs do not fill "
    "the picture. The score of a training edge is a fit, not a prediction. A new edge is one that the network lacks. "
    "It is a suggestion, not a finding."
)


def section(report: ReportInputs) -> Section:
    """Predicted edges of each run."""
    return Section(
        "network", "Predicted network", "Network", (Text(_HOW), *beside(report, lambda run: _of(report, run)))
    )


def _of(report: ReportInputs, run: RunInputs) -> list[Block]:
    if not run.has_model:
        reason = "no network before a model is saved"
        return [Missing(reason, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume")]
    notes: list[str] = []
    best = Part.attempt(
        lambda: predict_edges(run.run.folder, top=_TOP, top_per_tf=_PER_TF, say=notes.append, progress=None)
    )
    if best.value is None:
        return [Missing(f"no edges: {best.problem}", "grn-cotrain export edges RUN --format parquet")]
    edges = best.value
    blocks: list[Block] = [Text(without_paths(note), tone="note") for note in dict.fromkeys(notes)]
    blocks.insert(0, _network(run, edges))
    blocks.append(_table(run.slug("drawn-edges"), edges.frame, "The edges of the drawn network, by decreasing score."))
    blocks += _regulon(run)
    new = Part.attempt(lambda: predict_edges(run.run.folder, top=_NEW, known="drop", say=lambda text: None))
    if new.value is not None:
        found = new.value
        caption = f"{len(found):,} new edges of any TF. Targets that other TFs share are further down."
        blocks.append(
            Details("New edges, those of single TFs first", (_table(run.slug("new-edges"), found.frame, caption),))
        )
    lists = edges.warnings() + ([] if new.value is None else new.value.warnings())
    blocks += [Text(line, tone="caution") for line in dict.fromkeys(lists)]
    return blocks


def _network(run: RunInputs, edges: PredictedEdges) -> Figure:
    from grn_cotrain import pl

    frame = edges.frame
    known = int((frame["known"] != "").sum())
    return draw(
        lambda ax: pl.network(edges, top=_TOP, ax=ax),
        size=(7.4, 6.0),
        wide=True,
        name=run.slug("network"),
        title="The edges with the highest scores, drawn as a network",
        description=f"{len(frame)} edges of {frame['source'].nunique()} TFs to {frame['target'].nunique()} genes; "
        f"{known} of them are known and {len(frame) - known} are new. The table below lists them.",
        caption="Boxes are TFs, dots other genes. Arrow heads and colour show activation or repression; dashed edges "
        "are new, solid ones known.",
    )


def _regulon(run: RunInputs) -> list[Block]:
    from grn_cotrain import pl

    tf = largest_regulon(run)
    if tf is None:
        return []
    best = Part.attempt(lambda: predict_edges(run.run.folder, tfs=[tf], top=_TARGETS, say=lambda text: None))
    if best.value is None:
        return [Missing(f"no regulon of {tf}: {best.problem}")]
    found = best.value
    names = ", ".join(found.frame["target"])
    drawn = draw(
        lambda ax: pl.regulon(found, tf, ax=ax),
        size=(4.6, 5.0),
        name=run.slug(f"regulon-{tf}"),
        title=f"{tf} and its best targets",
        description=f"By decreasing probability: {names}.",
        caption=f"{tf}, the TF with most edges, and the {len(found.frame)} genes with its highest scores, clockwise "
        "from the top.",
        data=_table(run.slug(f"regulon-{tf}"), found.frame, f"Targets of {tf} by decreasing score."),
    )
    return [drawn]


def _table(name: str, frame: pd.DataFrame, caption: str) -> Table:
    has_evidence = bool((frame["evidence"].astype(str) != "").any())
    header = ["TF", "target", "probability", "score", "sign", "source of the sign", "in the network"]
    rows = []
    for edge in records(frame):
        known = str(edge.known)
        cells: list[str | Cell] = [
            *(str(edge.source), str(edge.target)),
            *(_probability(float(edge.probability)), figure(edge.score, digits=2)),
            *(_SIGNS[int(edge.sign)], str(edge.sign_source) or MISSING, _KNOWN.get(known, known)),
        ]
        if has_evidence:
            cells.append(_evidence(str(edge.evidence)))
        rows.append(cells)
    return table(
        [*header, "evidence"] if has_evidence else header,
        rows,
        numeric=(2, 3),
        name=name,
        caption=caption,
        sorted_by=(3, "descending"),
        filter="Show edges that contain",
    )


def _evidence(text: str) -> str:
    """Resources of an edge; a prior names a dozen."""
    return name_some([part.strip() for part in text.split(";") if part.strip()], 3) or MISSING


def _probability(value: float) -> Cell:
    return figure(value, digits=5 if value < 0.01 else 3)
