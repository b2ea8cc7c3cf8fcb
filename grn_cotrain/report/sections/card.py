"""The gene-embedding card: what the embedding encodes, how stable it is, what can be read from it."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.card import GeneCard, build_card
from grn_cotrain.card import Section as CardSection
from grn_cotrain.card import Table as CardTable
from grn_cotrain.report.blocks import Block, Details, Heading, Missing, Section, Text
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs, without_paths
from grn_cotrain.report.sections import beside
from grn_cotrain.report.tables import Cell, Column, Row, Table

__all__ = ["section"]

_CARD_FILE = "card.json"
_OPEN = 3  # sections shown at once; what they rest on is folded away
_MANY_TABLES = 4


def section(report: ReportInputs) -> Section:
    """Card of each run: the one that lies there, or a new one."""
    return Section("card", "Gene-embedding card", "Card", tuple(beside(report, lambda run: _of(report, run))))


def _of(report: ReportInputs, run: RunInputs) -> Sequence[Block]:
    if not run.has_model:
        reason = "no card before a model is saved"
        return [Missing(reason, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume")]
    card = Part.attempt(lambda: _card(report, run))
    if card.value is None:
        return [Missing(f"no card: {card.problem}", f"grn-cotrain card {run.place}")]
    blocks: list[Block] = []
    for index, part in enumerate(card.value.sections()):
        inside = _blocks(run, part)
        blocks += [Heading(part.title), *inside] if index < _OPEN else [Details(part.title, inside)]
    return blocks


def _card(report: ReportInputs, run: RunInputs) -> GeneCard:
    """The card beside the run if it is of these very weights: another one would tell of another model."""
    if (run.run.folder / _CARD_FILE).is_file():
        found = GeneCard.read(run.run.folder)
        weights = run.record.get("weights_sha256")
        if weights is None or found.to_dict()["identity"]["hashes"]["weights_sha256"] == weights:
            return found
        report.say(f"  {_CARD_FILE} in {run.place} is of other weights; made anew")
    return build_card(run.run.folder, say=lambda text: report.say(f"  {without_paths(text)}"))


def _blocks(run: RunInputs, part: CardSection) -> list[Block]:
    blocks: list[Block] = [Text(without_paths(paragraph)) for paragraph in part.paragraphs]
    for index, table in enumerate(part.tables):
        shown = _table(run.slug(f"card-{part.key}-{index}"), table, part.title)
        # One table a gene would fill the page: all but the first are opened by who looks for that gene.
        folded = index and len(part.tables) > _MANY_TABLES
        blocks.append(Details(shown.caption, (shown,)) if folded else shown)
    return blocks


def _table(name: str, table: CardTable, title: str) -> Table:
    columns = [
        Column(heading or ("no." if index in table.right else "what"), numeric=index in table.right)
        for index, heading in enumerate(table.header)
    ]
    rows = [Row([_cell(text, numeric=index in table.right) for index, text in enumerate(row)]) for row in table.rows]
    return Table(name, table.caption or f"{title}.", columns, rows)


def _cell(text: str, *, numeric: bool) -> Cell:
    shown = without_paths(text)
    if not numeric:
        return Cell(shown)
    first = text.split(" ", 1)[0].replace(",", "").rstrip("%")
    try:
        return Cell(shown.replace("-", "\N{MINUS SIGN}") if first != "-" else "–", float(first))  # noqa: RUF001
    except ValueError:
        return Cell(shown)
