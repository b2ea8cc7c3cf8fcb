"""The data: what became of every gene name and edge, what is hidden in the split, and the leak audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from markupsafe import Markup

from grn_cotrain.data.alignment import AlignmentReport
from grn_cotrain.data.assays import assay_rows, num_measured
from grn_cotrain.data.edge_split import Part
from grn_cotrain.data.grn import EdgeReport
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.prep_files import GRAPH_SIDECAR
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json
from grn_cotrain.present import figure, percent, table, whole
from grn_cotrain.report.blocks import Block, Checks, Details, Facts, Heading, Missing, Names, Points, Section, Text
from grn_cotrain.report.inputs import ReportInputs, RunInputs, without_paths
from grn_cotrain.report.sections.beside import beside
from grn_cotrain.report.verdict import split_in_words

__all__ = ["section"]


def section(report: ReportInputs) -> Section:
    """Data of each run; runs that share a prepared folder show it once."""
    hashes = {run.prep.value.content_hash for run in report.runs if run.prep.value is not None}
    shared = report.is_comparison and len(hashes) == 1 and all(run.prep.value is not None for run in report.runs)
    if not shared:
        blocks = beside(report, lambda run: [*_prepared(run), *_split(run)])
    else:
        text = "All runs read the same cells and the same network."
        blocks = [Text(text), *_prepared(report.runs[0]), *beside(report, _split)]
    return Section("data", "Data, split and leak audit", "Data", tuple(blocks))


def _prepared(run: RunInputs) -> list[Block]:
    prep = run.prep.value
    if prep is None:
        return [Missing(run.prep.problem, "grn-cotrain report from the folder where the recipe's paths hold")]
    return [*_cells(prep), *_network(prep)]


def _cells(prep: Prep) -> list[Block]:
    meta = prep.meta
    alignment = prep.alignment
    facts: list[tuple[str, str | Markup]] = [
        ("Cells", f"{meta['num_cells']:,}"),
        ("Features", prep.vocab.counted),
        ("Measured values that are not zero", percent(meta["num_values"] / max(1, num_measured(prep.cells.assays)))),
        ("Kind of values", "counts" if prep.kind == "counts" else "log scale"),
        ("Species", str(meta["species"])),
        ("TFs listed", f"{len(meta.get('tfs', [])):,}"),
    ]
    source = meta.get("source", {}).get("counts")
    if source:
        facts.insert(0, ("File", without_paths(str(source))))
    blocks: list[Block] = [Heading("Cells and genes"), Facts(facts)]
    if meta.get("notes"):
        blocks.append(Points([without_paths(str(note)) for note in meta["notes"]]))
    blocks += _assays(prep)
    blocks += _alignment(alignment, "gene names given")
    for label, one in alignment.files.items():
        blocks.append(Details(f"File {without_paths(label)}", _alignment(one, "gene names of this file")))
    return blocks


def _assays(prep: Prep) -> list[Block]:
    """Features, kind, cells and depth of each assay, where there are several or some cells lack theirs."""
    rows = assay_rows(prep.cells.assays)
    if not rows:
        return []
    shown = [[row.what, whole(row.features), row.kind, whole(row.cells), figure(row.depth, digits=1)] for row in rows]
    caption = "Assays. A zero of a cell that lacks the assay is not a measurement and is read nowhere."
    headings = ("assay", "features", "kind", "cells", "median depth")
    return [table(headings, shown, numeric=(1, 3, 4), name="assays", caption=caption, sortable=False)]


def _alignment(alignment: AlignmentReport, what: str) -> list[Block]:
    """Nothing is lost without its name."""
    reasons = [f" ({reason})" for reason in alignment.reasons] or [""] * len(alignment.renamed)
    renamed = [
        f"{given} → {feature}{reason}" for (given, feature), reason in zip(alignment.renamed, reasons, strict=True)
    ]
    share = percent(alignment.share_mapped)
    return [
        Text(f"{alignment.mapped:,} of {alignment.num_given:,} {what} received a gene ({share})."),
        Names("Renamed", renamed, "Name in the file, the gene it was taken for, and why."),
        Names("Duplicated", alignment.duplicated, "Names whose gene an earlier name had taken already."),
        Names("Lost", alignment.lost, "Names that no gene has."),
        *(
            [Names("Absent", alignment.absent, "Genes that no name has: zero in every cell.")]
            if alignment.absent
            else []
        ),
    ]


def _network(prep: Prep) -> list[Block]:
    heading = Heading("Network")
    if not prep.has_grn:
        return [heading, Missing("no network was added to the prepared folder", "grn-prep grn EDGES --prep PREP")]
    try:
        report = EdgeReport.from_dict(read_json(prep.folder / GRAPH_SIDECAR, what="network")["report"])
    except (UserError, KeyError, TypeError) as error:
        return [heading, Missing(without_paths(f"the network's report cannot be read ({error})"))]
    facts: list[tuple[str, str | Markup]] = [
        ("Edges", f"{report.num_edges:,} of {report.num_given:,} given"),
        ("TFs with targets", f"{report.num_sources:,}"),
        ("Targets", f"{report.num_targets:,}"),
        ("Edges with an end outside the data", f"{report.outside_edges:,}"),
        ("Repeated edges merged", f"{report.duplicates:,}"),
        ("Edges whose reverse is an edge too", f"{report.reciprocal:,}"),
    ]
    source = prep.meta.get("source", {}).get("grn")
    if source:
        facts.insert(0, ("File", without_paths(str(source))))
    lists: Sequence[tuple[str, Sequence[str], str]] = (
        ("TFs without a gene in the data", report.unknown_sources, "Their edges were dropped."),
        ("Targets without a gene in the data", report.unknown_targets, "Their edges were dropped."),
        ("Genes by another name", [f"{a} → {b}" for a, b in report.renamed], "Name in the file, name in the data."),
        ("Edges with both signs", report.conflicting_signs, "Their sign is unknown now."),
        ("Self-loops dropped", report.self_loops, "Genes with an edge to themselves."),
        ("Complexes", report.complexes, "Sources that are several genes."),
    )
    return [
        heading,
        Facts(facts),
        *([Points([without_paths(note) for note in report.notes])] if report.notes else []),
        *(Names(title, names, meaning) for title, names, meaning in lists if names),
    ]


def _split(run: RunInputs) -> list[Block]:
    name = run.recipe.data.split
    blocks: list[Block] = [Heading("Split"), Text(f"{name}: held out are {split_in_words(name)}.")]
    split = run.split.value
    if split is None:
        return [*blocks, Missing(run.split.problem, "grn-prep splits PREP --kind KIND"), *_stored_audit(run)]
    rows = []
    for part in get_args(Part):
        positives, pairs = split.counts(part)
        sources_S, targets_N = split.universe(part)
        rows.append(
            [
                *("training" if part == "train" else part, whole(positives), whole(pairs)),
                figure(positives / pairs if pairs else None, digits=4),
                *(whole(len(sources_S)), whole(len(targets_N))),
            ]
        )
    headings = ("part", "links", "candidate pairs", "share of links", "TFs", "candidate targets")
    caption = f"Parts of {name}. {split.withheld_2E.shape[1]:,} links belong to no part, as they reveal others."
    name = run.slug("split")
    blocks.append(table(headings, rows, numeric=range(1, 6), name=name, caption=caption, sortable=False))
    return [*blocks, *_audit(run)]


def _audit(run: RunInputs) -> list[Block]:
    report = run.audit.value
    heading = Heading("Leak audit")
    if report is None:
        return [heading, Missing(run.audit.problem, f"grn-cotrain evaluate links {run.place}")]
    found = {finding.name: finding for finding in report.findings}
    errors = sum(finding.severity == "error" for finding in report.findings)
    said = (
        "No leak was found"
        if report.ok
        else f"{errors} kinds of leak were found: scores on this split cannot be believed"
    )
    what = "split and message edges" if run.has_model else "split alone, as no model has been saved yet"
    rows = []
    for name in report.checked:
        finding = found.get(name)
        meaning = f"{finding.meaning} ({', '.join(finding.examples)})" if finding else ""
        rows.append(
            (name.replace("-", " "), finding.count if finding else 0, finding.severity if finding else "ok", meaning)
        )
    return [
        heading,
        Text(
            f"{said}: {len(report.checked)} checks of {what}, done again for this report.",
            tone="good" if report.ok else "bad",
        ),
        Checks(rows),
    ]


def _stored_audit(run: RunInputs) -> list[Block]:
    """The audit as the evaluation kept it, where the data are out of reach."""
    if run.links.value is None:
        return []
    return [Heading("Leak audit"), Points(list(run.links.value.audits.values()))]
