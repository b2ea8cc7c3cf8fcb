"""The difference of two runs as sections that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grn_cotrain.card.stability import MEASURES
from grn_cotrain.present import figure, metric, number, percent, table, whole
from grn_cotrain.present.sections import Section

__all__ = ["diff_sections"]


def diff_sections(content: Mapping[str, Any]) -> list[Section]:
    """Sections in reading order: what went in, what came out, how far embeddings and edges agree."""
    return [
        _recipe(content),
        _facts("inputs", "Inputs", content["inputs"]),
        _facts("environment", "Environment", content["environment"], only_unequal=True),
        _facts("training", "Training", content["training"]),
        _metrics("links", "Links", content["links"]),
        _metrics("cells", "Masked values of held-out cells", content["cells"]),
        _embedding(content["embedding"]),
        _edges(content["edges"]),
    ]


def _recipe(content: Mapping[str, Any]) -> Section:
    runs = content["runs"]
    names = f"a: {runs['a']}; b: {runs['b']}. Differences are b minus a."
    rows = tuple((row["key"], _text(row["a"]), _text(row["b"])) for row in content["recipe"])
    if not rows:
        return Section("recipe", "Recipe", (names, "The recipes are equal."))
    return Section("recipe", "Recipe", (names,), (table(("key", "a", "b"), rows, numeric=()),))


def _facts(key: str, title: str, rows: Sequence[Mapping[str, Any]], *, only_unequal: bool = False) -> Section:
    if not rows:
        return Section(key, title, ("Neither run has a record (run.json).",))
    shown = [row for row in rows if not only_unequal or not row["equal"]]
    same = len(rows) - len(shown)
    paragraphs = (f"{same} of {len(rows)} entries are equal.",) if only_unequal else ()
    cells = tuple((row["what"], _text(row["a"]), _text(row["b"]), "yes" if row["equal"] else "NO") for row in shown)
    tables = (table(("what", "a", "b", "equal"), cells, numeric=()),) if cells else ()
    return Section(key, title, paragraphs, tables)


def _metrics(key: str, title: str, part: Mapping[str, Any]) -> Section:
    if part["status"] == "not run":
        return Section(key, title, (f"Not compared: {part['reason']}.",))
    paragraphs = []
    if key == "links":
        paragraphs.append(
            "Paired differences with 95 % intervals over the same bootstrap draws. Each arm has one run, and a claim "
            "that one recipe is better than another needs several seeds."
            if part["status"] == "paired"
            else f"Unpaired: {part['reason']}."
        )
    rows = []
    for row in part["rows"]:
        found = row["difference"]
        low, high = (found["low"], found["high"]) if isinstance(found, Mapping) else (None, None)
        change = figure(found["value"] if isinstance(found, Mapping) else found, low, high, sign=True)
        name = metric(row["metric"]).heading
        rows.append((row["scorer"], name, figure(row["a"]), figure(row["b"]), change))
    metrics = table(("scorer", "metric", "a", "b", "b - a"), rows, numeric=(2, 3, 4))
    return Section(key, title, tuple(paragraphs), (metrics,) if rows else ())


def _embedding(part: Mapping[str, Any]) -> Section:
    title = "Gene embeddings"
    if part["status"] == "not run":
        return Section("embedding", title, (f"Not compared: {part['reason']}.",))
    agreement = part["agreement"]
    paragraphs = [
        f"Kind {part['kind']}; {agreement['num_shared']:,} shared genes, {agreement['num_dropped']:,} that one run has."
    ]
    if agreement["same_weights"]:
        paragraphs.append("Both runs hold the same weights.")
    rows = tuple(
        (MEASURES[key], figure(agreement["values"][key]), figure(agreement["chance"][key])) for key in MEASURES
    )
    shown = table(("agreement", "value", "permuted genes"), rows, numeric=(1, 2))
    return Section("embedding", title, tuple(paragraphs), (shown,))


def _edges(part: Mapping[str, Any]) -> Section:
    title = "Edges whose rank changed most"
    if part["status"] == "not run":
        return Section("edges", title, (f"Not compared: {part['reason']}.",))
    paragraph = (
        f"{part['num_tfs']:,} TFs x {part['num_genes']:,} genes, {part['num_pairs']:,} pairs ranked by both; rank "
        f"correlation {number(part['spearman'])}; {percent(part['shared_top'], 0)} of the {part['top']:,} best are the "
        f"same. Shown: pairs among the {part['top']:,} best of either run whose rank changed most in proportion. The "
        "score of an edge that a run trained on is a fit."
    )
    rows = tuple(
        (
            *(row["source"], row["target"], whole(row["rank_a"]), whole(row["rank_b"])),
            *(row[key] or "new" for key in ("known_a", "known_b")),
        )
        for row in part["rows"]
    )
    header = ("TF", "target", "rank in a", "rank in b", "split of a", "split of b")
    return Section("edges", title, (paragraph,), (table(header, rows, numeric=(2, 3)),))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
