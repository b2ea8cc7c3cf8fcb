"""A card in a few lines: the questions a reader has, each with its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grn_cotrain.card.probes.features import TITLES
from grn_cotrain.present import bounds, number, percent

__all__ = ["summary_of"]


def summary_of(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Questions and answers from the content of a card (see :mod:`grn_cotrain.card.card`)."""
    answers = {
        "Is it sound?": _health(content),
        "Is there more than degree and expression?": content["encoding"]["words"],
        "What do neighbourhoods show?": _neighbours(content["neighbours"]["summary"]),
        "What can be read from it beyond its controls?": _claims(content["probes"]),
        "Does the negative control hold?": _negative(content["probes"]),
        "Would another seed give the same?": _stability(
            content["stability"], content["neighbours"]["summary"]["overlap_with_pca"]
        ),
    }
    return [{"question": question, "answer": answer} for question, answer in answers.items()]


def _health(content: Mapping[str, Any]) -> str:
    health, identity = content["health"], content["identity"]
    troubles = [
        f"{health[key]:,} {words}"
        for key, words in (
            ("num_not_finite", "genes with numbers that are not finite"),
            ("num_zero_rows", "genes with a row of zeros"),
            ("num_duplicate_rows", "genes with the same row as another"),
            ("num_constant_dimensions", "dimensions equal for all genes"),
        )
        if health[key]
    ]
    size = f"{identity['num_genes']:,} genes in {identity['width']} dimensions, effective rank "
    size += f"{number(health['effective_rank'], 1)}"
    parts = [f"{size}; no empty, repeated or undefined rows" if not troubles else f"{size}; BUT {', '.join(troubles)}"]
    return ". ".join([*parts, *([health["note"]] if health["note"] else [])])


def _neighbours(summary: Mapping[str, Any]) -> str:
    edge, shared = summary["training_edge"], summary["shared_regulator"]
    words = f"{percent(edge.get('embedding'))} of the 10 nearest neighbours share a training edge"
    words += f" ({_beside(edge)})"
    if shared.get("embedding") is not None:
        words += f"; {percent(shared['embedding'])} of regulated neighbours share a regulator ({_beside(shared)})"
    if summary["overlap_with_pca"] is not None:
        words += (
            f". Overlap with neighbours by expression alone: {number(summary['overlap_with_pca'], 2)} (1: training "
            "moved no neighbourhood)"
        )
    return words


def _beside(values: Mapping[str, Any]) -> str:
    names = {"pca": "by PCA loadings", "chance": "by chance"}
    return ", ".join(f"{percent(values[key])} {words}" for key, words in names.items() if key in values)


def _claims(probes: list[Mapping[str, Any]]) -> str:
    run = [probe for probe in probes if probe["status"] == "run" and probe["kind"] == "claim"]
    if not run:
        return "not known: no probe could be run"
    won = [f"{probe['title']} ({_change(probe)})" for probe in run if probe["beats_controls"]]
    lost = [f"{probe['title']} ({_change(probe)})" for probe in run if not probe["beats_controls"]]
    parts = [f"Claimed: {', '.join(won)}" if won else "Nothing is claimed"]
    return ". ".join(parts + ([f"Not claimed: {', '.join(lost)}"] if lost else []))


def _change(probe: Mapping[str, Any]) -> str:
    difference = probe["difference"]
    interval = bounds(difference["low"], difference["high"], sign=True)
    control = TITLES.get(probe["best_control"], probe["best_control"])
    return f"AUROC {number(difference['value'], sign=True)} {interval} against {control}"


def _negative(probes: list[Mapping[str, Any]]) -> str:
    probe = next(probe for probe in probes if probe["name"] == "chromosome")
    return f"not run: {probe['reason']}" if probe["status"] == "not run" else f"chromosome: {probe['words']}"


def _stability(stability: list[Mapping[str, Any]], start: float | None) -> str:
    if not stability:
        return "not run: give --others RUN2,RUN3 (runs of other seeds)"
    usable = [one for one in stability if not one["same_weights"]]
    if not usable:
        return "not known: the other runs hold the same weights as this one"
    means = {key: _mean(usable, "values", key) for key in ("procrustes_r2", "neighbours_10")}
    chance = {key: _mean(usable, "chance", key) for key in ("procrustes_r2", "neighbours_10")}
    words = (
        f"over {len(usable)} other run{'s' if len(usable) > 1 else ''}: Procrustes R2 {number(means['procrustes_r2'])} "
        f"(chance {number(chance['procrustes_r2'])}), overlap of 10 nearest neighbours "
        f"{number(means['neighbours_10'])} (chance {number(chance['neighbours_10'])})"
    )
    found = means["neighbours_10"]
    if start is not None and found is not None and found <= start:
        words += (
            f". This is not more than with neighbours by expression alone ({number(start)}): another seed does not "
            "find the neighbourhoods that training added"
        )
    if any(one["differs_in"] for one in usable):
        words += ". BUT some differ in more than the seed, see the table"
    return words


def _mean(stability: list[Mapping[str, Any]], kind: str, key: str) -> float | None:
    values = [one[kind][key] for one in stability if one[kind][key] is not None]
    return sum(values) / len(values) if values else None
