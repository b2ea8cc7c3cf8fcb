"""The difference of two runs as sections that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grn_cotrain.card.sections import Section, Table, number
from grn_cotrain.card.stability import MEASURES

__all__ = ["diff_sections"]

_METRICS = {
    "macro_auroc": "macro AUROC",
    "macro_ap": "macro AP",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "degree_matched_auroc": "matched",
    "residual_auroc": "residual",
    "r2": "R2, mean over genes",
    "r2_pooled": "R2, pooled",
}


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
    return Section("recipe", "Recipe", (names,), (Table(("key", "a", "b"), rows),))


def _facts(key: str, title: str, rows: Sequence[Mapping[str, Any]], *, only_unequal: bool = False) -> Section:
    if not rows:
        return Section(key, title, ("Neither run has a record (run.json).",))
    shown = [row for row in rows if not only_unequal or not row["equal"]]
    same = len(rows) - len(shown)
    paragraphs = (f"{same} of {len(rows)} entries are equal.",) if only_unequal else ()
    cells = tuple((row["what"], _text(row["a"]), _text(row["b"]), "yes" if row["equal"] else "NO") for row in shown)
    tables = (Table(("what", "a", "b", "equal"), cells),) if cells else ()
    return Section(key, title, paragraphs, tables)


def _metrics(key: str, title: str, part: Mapping[str, Any]) -> Section:
    if part["status"] == "not run":
        return Section(key, title, (f"Not compared: {part['reason']}.",))
    paragraphs = []
    if key == "links":
        paragraphs.append(
            "Paired differences with 95 % intervals over the same bootstrap draws. One run an arm: no claim that one "
            "recipe beats another rests on a single seed."
            if part["status"] == "paired"
            else f"Unpaired: {part['reason']}."
        )
    rows = []
    for row in part["rows"]:
        change = row["difference"]
        if isinstance(change, Mapping):
            text = number(change["value"], sign=True)
            if change["low"] is not None:
                text += f" [{number(change['low'], sign=True)}, {number(change['high'], sign=True)}]"
        else:
            text = number(change, sign=True)
        metric = _METRICS.get(row["metric"], row["metric"])
        rows.append((row["scorer"], metric, number(row["a"]), number(row["b"]), text))
    table = Table(("scorer", "metric", "a", "b", "b - a"), tuple(rows), right=(2, 3, 4))
    return Section(key, title, tuple(paragraphs), (table,) if rows else ())


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
        (MEASURES[key], number(agreement["values"][key]), number(agreement["chance"][key])) for key in MEASURES
    )
    table = Table(("agreement", "value", "permuted genes"), rows, right=(1, 2))
    return Section("embedding", title, tuple(paragraphs), (table,))


def _edges(part: Mapping[str, Any]) -> Section:
    title = "Edges whose rank changed most"
    if part["status"] == "not run":
        return Section("edges", title, (f"Not compared: {part['reason']}.",))
    paragraph = (
        f"{part['num_tfs']:,} TFs x {part['num_genes']:,} genes, {part['num_pairs']:,} pairs ranked by both; rank "
        f"correlation {number(part['spearman'])}; {part['shared_top']:.0%} of the {part['top']:,} best are the same. "
        f"Shown: pairs among the {part['top']:,} best of either run whose rank changed most in proportion. The score "
        "of an edge that a run trained on is a fit."
    )
    rows = tuple(
        (
            *(row["source"], row["target"], f"{row['rank_a']:,}", f"{row['rank_b']:,}"),
            *(row[key] or "new" for key in ("known_a", "known_b")),
        )
        for row in part["rows"]
    )
    table = Table(("TF", "target", "rank in a", "rank in b", "split of a", "split of b"), rows, right=(2, 3))
    return Section("edges", title, (paragraph,), (table,))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
