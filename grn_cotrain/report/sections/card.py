"""The gene-embedding card: what the embedding encodes, how stable it is, what can be read from it."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.card import GeneCard, build_card
from grn_cotrain.files import read_json
from grn_cotrain.report.blocks import Block, Details, Heading, Missing, Section
from grn_cotrain.report.card_page import card_blocks
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs, without_paths
from grn_cotrain.report.sections.beside import beside

__all__ = ["section"]

_CARD_FILE = "card.json"
_OPEN = 3  # sections shown at once; what they rest on is folded away


def section(report: ReportInputs) -> Section:
    """Card of each run: the one in the folder, or a new one."""
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
        inside = card_blocks(part, run.slug)
        blocks += [Heading(part.title), *inside] if index < _OPEN else [Details(part.title, inside)]
    return blocks


def _card(report: ReportInputs, run: RunInputs) -> GeneCard:
    """The card in the run's folder if it is of these weights: another one would describe another model."""
    if (run.run.folder / _CARD_FILE).is_file():
        found = GeneCard.read(run.run.folder)
        # The hash is that of the best model: run.json holds the hash of the last step's weights.
        weights = read_json(run.run.model / "config.json", what="model configuration")["sha256"]["model.safetensors"]
        if found.to_dict()["identity"]["hashes"]["weights_sha256"] == weights:
            return found
        report.say(f"  {_CARD_FILE} in {run.place} is of other weights; made again")
    return build_card(run.run.folder, say=lambda text: report.say(f"  {without_paths(text)}"))
