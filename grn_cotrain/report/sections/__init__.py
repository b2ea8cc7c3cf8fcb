"""Sections of the report, one a file; each is a function ``section(report) -> Section``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grn_cotrain.report.blocks import Block, Columns, Section
from grn_cotrain.report.inputs import ReportInputs, RunInputs

__all__ = ["MakeSection", "beside", "sections"]

MakeSection = Callable[[ReportInputs], Section]


def sections(report: ReportInputs) -> list[tuple[str, MakeSection]]:
    """Return the sections in the order of reading, with the words of their progress lines."""
    from grn_cotrain.report.sections import (
        card,
        cell_card,
        cells,
        comparison,
        curves,
        data,
        embedding,
        links,
        network,
        overview,
        provenance,
        recipe,
        tf_scores,
        training,
    )

    chosen: list[tuple[str, MakeSection]] = [("overview", overview.section)]
    if report.is_comparison:
        chosen.append(("differences of the runs", comparison.section))
    chosen += [
        ("links", links.section),
        ("scores of single TFs", tf_scores.section),
        ("curves", curves.section),
        ("cells", cells.section),
        ("network", network.section),
        ("gene embedding", embedding.section),
    ]
    if report.with_card:
        chosen += [("gene-embedding card", card.section), ("cell-embedding card", cell_card.section)]
    return [
        *chosen,
        ("training", training.section),
        ("data", data.section),
        ("recipe", recipe.section),
        ("provenance", provenance.section),
    ]


def beside(report: ReportInputs, make: Callable[[RunInputs], Sequence[Block]]) -> list[Block]:
    """Blocks of each run: as they are for one run, in columns for several."""
    if not report.is_comparison:
        return list(make(report.runs[0]))
    return [Columns([(run.title, tuple(make(run))) for run in report.runs])]
