"""Sections of the report in the order of reading."""

from __future__ import annotations

from collections.abc import Callable

from grn_cotrain.report.blocks import Section
from grn_cotrain.report.inputs import ReportInputs
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
    power,
    provenance,
    recipe,
    tf_scores,
    training,
)

__all__ = ["MakeSection", "sections"]

MakeSection = Callable[[ReportInputs], Section]


def sections(report: ReportInputs) -> list[tuple[str, MakeSection]]:
    """Return the sections in the order of reading, with the words of their progress lines."""
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
        ("power", power.section),
        ("recipe", recipe.section),
        ("provenance", provenance.section),
    ]
