"""Cards as HTML: blocks for the report, and a page of its own next to the JSON file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup

from grn_cotrain import __version__
from grn_cotrain.card import Card
from grn_cotrain.card.pages import ANSWERS
from grn_cotrain.files import read_json, write_text
from grn_cotrain.present import Row
from grn_cotrain.present.sections import Section as CardSection
from grn_cotrain.report.blocks import Block, Details, Heading, Missing, Section, Text
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs, without_paths
from grn_cotrain.report.page import Page, render_page

__all__ = ["card_blocks", "run_card_blocks", "stored_card", "write_card_page"]

C = TypeVar("C", bound=Card)

_MANY_TABLES = 4
_SHORT = {
    "summary": "In short",
    "labels": "Labels",
    "factors": "Explained by",
    "agreement": "Neighbourhoods",
    "neighbours": "Neighbours",
    "degree-expression": "Degree",
    "probes": "Probes",
    "stability": "Stability",
    "health": "Spectrum",
    "identity": "Made from",
}


def write_card_page(card: Card, path: str | Path, *, figures: Sequence[Block] = ()) -> Path:
    """Write a card as one self-contained HTML file; equal cards give equal files.

    ``figures`` are shown below its first section.
    """
    sections = [
        Section(
            part.key,
            part.title,
            _SHORT.get(part.key, part.title),
            [*card_blocks(part, lambda name: name), *([] if index else figures)],
        )
        for index, part in enumerate(card.sections())
    ]
    page = Page(card.title, card.subtitle, sections, version=__version__)
    write_text(path, render_page(page))
    return Path(path)


def stored_card(kind: type[C], report: ReportInputs, run: RunInputs, model: Path) -> C | None:
    """The card in the run's folder if it is of the weights in ``model``: another one would describe another model."""
    file = f"{kind.stem}.json"
    if not (run.run.folder / file).is_file():
        return None
    found = kind.read(run.run.folder)
    # The hash is that of the best model: run.json holds the hash of the last step's weights.
    weights = read_json(model / "config.json", what="model configuration")["sha256"]["model.safetensors"]
    if found.weights_sha256 == weights:
        return found
    report.say(f"  {file} in {run.place} is of other weights; made again")
    return None


def run_card_blocks(
    run: RunInputs,
    read: Callable[[], C],
    *,
    command: str,
    slug: Callable[[str], str],
    num_open: int,
    figures: Callable[[C], Sequence[Block]] = lambda card: (),
) -> Sequence[Block]:
    """A card in the report: ``figures`` below its first section, and all sections after ``num_open`` folded.

    ``read`` makes the card, and ``command`` is what the reader can run where it fails.
    """
    if not run.has_model:
        reason = "no card before a model is saved"
        return [Missing(reason, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume")]
    card = Part.attempt(read)
    if card.value is None:
        return [Missing(f"no card: {card.problem}", command)]
    blocks: list[Block] = []
    for index, part in enumerate(card.value.sections()):
        inside = card_blocks(part, slug)
        blocks += [Heading(part.title), *inside] if index < num_open else [Details(part.title, inside)]
        if index == 0:
            blocks += figures(card.value)
    return blocks


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
