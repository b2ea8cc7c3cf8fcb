"""The gene embedding as a map, coloured by what it might merely encode: degree and expression; and by a regulon."""

from __future__ import annotations

import numpy as np

from grn_cotrain.report.blocks import Block, Columns, Missing, Section, Text
from grn_cotrain.report.figures import Figure, draw
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs
from grn_cotrain.report.sections.beside import beside

__all__ = ["largest_regulon", "section"]

_HOW = (
    "Genes whose embeddings point the same way are close together. A map that only shows degree has learned how "
    "well-studied a gene is; one that only shows expression has learned its mean. Distances between far groups and the "
    "shapes of groups mean nothing."
)


def section(report: ReportInputs) -> Section:
    """Three maps of each run."""
    return Section(
        "embedding", "Gene embedding", "Embedding", (Text(_HOW), *beside(report, lambda run: _of(run, report.basis)))
    )


def largest_regulon(run: RunInputs) -> str | None:
    """The TF with most edges in the run's split; None if the split is out of reach."""
    if run.split.value is None or run.prep.value is None:
        return None
    sources_E = run.split.value.all_positives()[0]
    if not sources_E.size:
        return None
    return str(run.prep.value.vocab.symbols[int(np.bincount(sources_E).argmax())])


def _of(run: RunInputs, basis: str) -> list[Block]:
    if not run.has_model:
        reason = "no embedding before a model is saved"
        return [Missing(reason, f"grn-cotrain train RECIPE.yaml --out {run.place} --resume")]
    tf = largest_regulon(run)
    colours = [
        ("degree", "number of training edges of the gene", "Coloured by degree: training edges of each gene."),
        ("expression", "mean expression of the gene", "Coloured by mean log-normalised expression."),
    ]
    if tf is not None:
        colours.append((f"regulon:{tf}", f"targets of {tf}", f"Targets of {tf}, the TF with most edges, by shape."))
    figures: list[Figure] = []
    blocks: list[Block] = []
    for colour, what, caption in colours:
        found = Part.attempt(lambda colour=colour, what=what, caption=caption: _map(run, basis, colour, what, caption))  # type: ignore[misc]
        if found.value is not None:
            figures.append(found.value)
        else:
            blocks.append(Missing(f"no map coloured by {colour}: {found.problem}"))
    return [Columns([("", (figure,)) for figure in figures], narrow=True), *blocks] if figures else blocks


def _map(run: RunInputs, basis: str, colour: str, what: str, caption: str) -> Figure:
    from grn_cotrain import pl

    return draw(
        lambda ax: pl.gene_embedding(run.run.folder, color=colour, basis=basis, labels=8, ax=ax),
        size=(3.9, 4.2),
        name=run.slug(f"embedding-{colour}"),
        title=f"Map of the gene embedding, coloured by the {what}",
        description=f"{basis.upper()} of the graph embedding, one point a gene. The card below "
        "shows in numbers how much of the embedding degree and expression explain, and lists nearest neighbours.",
        caption=f"{basis.upper()} of the embedding. {caption}",
    )
