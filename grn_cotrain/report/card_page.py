"""The gene-embedding card as HTML: blocks for the report, and a page of its own next to ``card.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from grn_cotrain import __version__
from grn_cotrain.card import GeneCard
from grn_cotrain.card.pages import ANSWERS
from grn_cotrain.files import write_text
from grn_cotrain.present import Row
from grn_cotrain.present.sections import Section as CardSection
from grn_cotrain.report.blocks import Block, Details, Section, Text
from grn_cotrain.report.inputs import without_paths
from grn_cotrain.report.page import Page, render_page

__all__ = ["card_blocks", "write_card_page"]

_MANY_TABLES = 4
_SHORT = {
    "summary": "In short",
    "neighbours": "Neighbours",
    "degree-expression": "Degree",
    "probes": "Probes",
    "stability": "Stability",
    "health": "Spectrum",
    "identity": "Made from",
}


def write_card_page(card: GeneCard, path: str | Path) -> Path:
    """Write a card as one self-contained HTML file; equal cards give equal files."""
    sections = [
        Section(part.key, part.title, _SHORT.get(part.key, part.title), card_blocks(part, lambda name: name))
        for part in card.sections()
    ]
    identity = card.to_dict()["identity"]
    subtitle = f"{identity['num_genes']:,} genes in {identity['width']} dimensions; seed {identity['seed']}"
    page = Page(card.title, subtitle, sections, version=__version__)
    write_text(path, render_page(page))
    return Path(path)


def card_blocks(part: CardSection, slug: Callable[[str], str]) -> Sequence[Block]:
    """Blocks of one section of a card; ``slug`` keeps the ids of several cards on one page apart."""
    blocks: list[Block] = [Text(without_paths(paragraph)) for paragraph in part.paragraphs]
    for index, table in enumerate(part.tables):
        name, caption = slug(f"card-{part.key}-{index}"), table.caption or f"{part.title}."
        shown: list[Block] = [replace(table, name=name, caption=caption, rows=[_row(row) for row in table.rows])]
        if table.header == ANSWERS:  # sentences: a table would cut them on a narrow screen
            shown = [
                Text(Markup("<strong>{}</strong> {}").format(*(without_paths(cell.text) for cell in row.cells)))
                for row in table.rows
            ]
        if table.note:
            shown.append(Text(without_paths(table.note), tone="note"))
        # One table a gene, or a probe, would fill the page: all but the first are opened by who looks for it.
        folded = index and len(part.tables) > _MANY_TABLES
        blocks += [Details(table.caption or part.title, shown)] if folded else shown
    return blocks


def _row(row: Row) -> Row:
    return replace(row, cells=[replace(cell, text=without_paths(cell.text)) for cell in row.cells])
