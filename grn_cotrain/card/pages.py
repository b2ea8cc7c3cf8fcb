"""A card's content as sections that people read: Markdown, terminal and report show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grn_cotrain.card.encoding import READABLE_R2, SHARE_LIMIT
from grn_cotrain.card.probes.base import MIN_POSITIVES, MIN_TASKS
from grn_cotrain.card.probes.features import DESCRIPTIONS, TITLES
from grn_cotrain.card.stability import MEASURES
from grn_cotrain.present import Cell, Table, figure, number, percent, table, whole
from grn_cotrain.present.sections import Section

__all__ = ["ANSWERS", "sections_of"]

ANSWERS = ("question", "answer")
"""Header of the table of the card in short."""


_SHOWN_TASKS = 5
_SHOWN_NAMES = 20
_TITLES = {
    **TITLES,
    "chance": "chance",
    "both": "degree + mean expression",
    "network": "in the training network or not",
}


def sections_of(content: Mapping[str, Any]) -> list[Section]:
    """Sections in reading order: the answers first, then what they rest on."""
    return [
        _summary(content),
        _neighbours(content),
        _encoding(content),
        _probes(content["probes"]),
        _stability(content["stability"]),
        _health(content),
        _identity(content),
    ]


def _summary(content: Mapping[str, Any]) -> Section:
    rows = tuple((line["question"], line["answer"]) for line in content["summary"])
    identity = content["identity"]
    paragraphs = [_KINDS[identity["kind"]]]
    if content["missing"]:
        paragraphs.append(
            f"Parts are missing: {content['missing']}; expression, held-out edges and the TF list are unknown here."
        )
    return Section("summary", "In short", tuple(paragraphs), (table(ANSWERS, rows, numeric=()),))


_KINDS = {
    "static": "Rows of the shared table of gene embeddings, which cells and network both trained.",
    "graph": "Output of the graph encoder over all training edges: what the link decoder reads.",
    "contextual": "Mean final state of each gene over the cells in which it is a token.",
    "regulation": "Principal directions of the known and predicted regulators of each gene.",
}


def _neighbours(content: Mapping[str, Any]) -> Section:
    tables = []
    for gene in content["neighbours"]["genes"]:
        header = ["no.", "neighbour", "cosine", "in the network"]
        listed = [gene["embedding"]]
        if gene["pca"]:
            header += ["by PCA loadings", "cosine", "in the network"]
            listed.append(gene["pca"])
        rows = []
        for rank in range(max(len(column) for column in listed)):
            cells: list[str | Cell] = [str(rank + 1)]
            for column in listed:
                one = column[rank] if rank < len(column) else None
                cells += ["", "", ""] if one is None else [one["gene"], figure(one["cosine"], digits=2), one["edge"]]
            rows.append(cells)
        role = f"TF; training targets: {gene['training_targets']}" if gene["is_tf"] else "no TF"
        caption = f"{gene['gene']} ({role}; training regulators: {gene['training_regulators']})"
        tables.append(table(header, rows, numeric=(0, 2, 5), caption=caption))
    paragraphs = [
        "Nearest by cosine. A neighbour that shares a training edge was brought near by training; one that shares a "
        "test edge was not. PCA loadings of the same cells show the neighbours by expression alone."
    ]
    summary = content["neighbours"]["summary"]
    keys = [key for key in ("embedding", "pca", "chance") if key in summary["training_edge"]]
    rows_all = [
        (_TITLES[key], percent(summary["training_edge"][key], 2), percent(summary["shared_regulator"].get(key)))
        for key in keys
    ]
    header_all = ("neighbours by", "share a training edge", "share a regulator")
    caption_all = "All genes, 10 nearest neighbours: share of pairs (a regulator in common: pairs of regulated genes)"
    tables.insert(0, table(header_all, rows_all, numeric=(1, 2), caption=caption_all))
    return Section("neighbours", "Nearest neighbours", tuple(paragraphs), tuple(tables))


def _encoding(content: Mapping[str, Any]) -> Section:
    encoding, norms = content["encoding"], content["norms"]
    shares = tuple(
        (_TITLES[key], _interval(encoding["share"][key]), _interval(encoding["share_of_directions"][key]))
        for key in encoding["share"]
    )
    features = ("embedding", "pca", "random")
    readable = tuple(
        (f"log {key}" if key == "degree" else "mean log expression", *(_interval(values.get(f)) for f in features))
        for key, values in encoding["readable"].items()
    )
    degrees = encoding["neighbour_degree"]
    readable += (
        (
            "degree of neighbours (Spearman)",
            *(figure(degrees.get(feature)) for feature in features),
        ),
    )
    measured = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")
    lengths = tuple(figure(norms[key]) for key in (*measured, "spearman_degree", "spearman_expression"))
    paragraphs = (
        encoding["words"],
        "First table: share of the embedding's variance that is a function (curves, not lines) of a gene's degree in "
        f"the training network or of its mean log expression. From {percent(SHARE_LIMIT, 0)} on, of rows or of "
        "directions, the embedding is called by that name. Second table: the other way round, R2 of a linear map from "
        f"vectors; from {READABLE_R2} on it is called readable; last row: whether neighbours have degrees alike. All "
        "out of fold, intervals over genes.",
    )
    return Section(
        "degree-expression",
        "Degree, expression, lengths",
        paragraphs,
        (
            table(
                ("explained by", "share of variance", "share of directions"),
                shares,
                numeric=(1, 2),
                caption="Variance of the embedding explained by degree and expression",
            ),
            table(
                ("read from the vectors", *(_TITLES[f] for f in features)),
                readable,
                numeric=(1, 2, 3),
                caption="Features that can be read from the embedding",
            ),
            table(
                (*("min", "25 %", "median", "75 %", "max"), "Spearman with degree", "with expression"),
                (lengths,),
                caption="Lengths of the rows",
            ),
        ),
    )


def _probes(probes: Sequence[Mapping[str, Any]]) -> Section:
    run = [probe for probe in probes if probe["status"] == "run"]
    idle = tuple((probe["title"], probe["reason"]) for probe in probes if probe["status"] == "not run")
    tables = []
    if run:
        rows = tuple((probe["title"], "yes" if probe["beats_controls"] else "no", probe["words"]) for probe in run)
        header = ("probe", "beats its controls", "verdict: mean AUROC [95 %], difference to the best control")
        tables.append(table(header, rows, caption="All probes"))
    for probe in run:
        several = not probe["is_single"]
        tables.append(_scores(probe, several))
        if several:
            tables.append(_tasks(probe))
    if idle:
        tables.append(table(("probe", "why not"), idle, caption="Not run"))
    used = {score["features"] for probe in run for score in probe["scores"]}
    legend = "; ".join(f"{_TITLES[key]}: {words}" for key, words in DESCRIPTIONS.items() if key in used)
    paragraphs = [
        "A linear map (ridge, penalty chosen on training folds) is fitted on some genes and ranks others. The same is "
        "done with controls that know less. We claim only what beats the best control: the interval of the paired "
        f"difference is above zero, over at least {MIN_TASKS} tasks (or {MIN_POSITIVES} positives of a single "
        "question), on answers that training did not give. Intervals are over genes and tasks, the fitted maps held "
        "fixed.",
    ]
    if legend:
        paragraphs.append(f"Features: {legend}.")
    return Section("probes", "Probes compared with controls", tuple(paragraphs), tuple(tables))


def _scores(probe: Mapping[str, Any], several: bool) -> Table:
    rows = [
        (
            Cell(
                _TITLES[score["features"]],
                star="best control" if score["features"] == probe["best_control"] else "",
            ),
            _interval(score["auroc"]),
            _interval(score["average_precision"]),
        )
        for score in probe["scores"]
    ]
    size = f"{probe['num_genes']:,} genes, {probe['num_positives']:,} positives"
    size += f" in {probe['num_tasks']} tasks" if several else ""
    size += f", {probe['num_folds']} folds; average precision of chance {number(probe['prevalence'])}"
    remarks = [size, "* best control", *(text[0].upper() + text[1:] for text in probe["notes"])]
    note = f"{probe['question']} {'. '.join(remarks)}."
    header = ("features", "mean AUROC" if several else "AUROC", "average precision")
    return table(header, rows, numeric=(1, 2), caption=probe["title"], note=note)


def _tasks(probe: Mapping[str, Any]) -> Table:
    tasks = probe["per_task"]
    shown = tasks if len(tasks) <= 2 * _SHOWN_TASKS else [*tasks[:_SHOWN_TASKS], *tasks[-_SHOWN_TASKS:]]
    rows = tuple(
        (task["task"], whole(task["num_positives"]), figure(task["auroc"]), figure(task["control_auroc"]))
        for task in shown
    )
    caption = f"{probe['title']}: " + (
        "every task" if len(shown) == len(tasks) else f"best and worst {_SHOWN_TASKS} of {len(tasks)} tasks"
    )
    header = ("task", "positives tested", "embedding", _TITLES[probe["best_control"]])
    return table(header, rows, numeric=(1, 2, 3), caption=caption)


def _stability(stability: Sequence[Mapping[str, Any]]) -> Section:
    if not stability:
        words = "Not run: give --others RUN2,RUN3 (the same recipe under other seeds)."
        return Section("stability", "Stability across seeds", (words,))
    rows = []
    for one in stability:
        cells = [
            Cell(f"{number(one['values'][key])} ({number(one['chance'][key])})", one["values"][key])
            for key in ("procrustes_r2", "cka", "neighbours_10", "neighbours_50")
        ]
        seed = "-" if one["seed"] is None else str(one["seed"])
        rows.append((one["run"], seed, whole(one["num_shared"]), whole(one["num_dropped"]), *cells))
    paragraphs = [
        "In brackets: chance, the same with permuted genes. "
        + "; ".join(f"{_SHORT[k]}: {w}" for k, w in MEASURES.items()),
        "Runs of one recipe start from the same loadings of expression where the table starts from PCA, so part of the "
        "agreement is the start's: compare the overlap with neighbours by PCA loadings above.",
    ]
    for one in stability:
        if one["same_weights"]:
            paragraphs.append(f"{one['run']} holds the same weights as this run: its row carries no information.")
        elif one["differs_in"]:
            keys = ", ".join(one["differs_in"][:_SHOWN_NAMES])
            paragraphs.append(f"{one['run']} differs in more than the seed: {keys}.")
    header = ("run", "seed", "genes", "dropped", *_SHORT.values())
    agreement = table(header, rows, numeric=range(1, len(header)), caption="Agreement with each other run")
    return Section("stability", "Stability across seeds", tuple(paragraphs), (agreement,))


_SHORT = {
    "procrustes_r2": "Procrustes R2",
    "cka": "CKA",
    "neighbours_10": "10 neighbours",
    "neighbours_50": "50 neighbours",
}


def _health(content: Mapping[str, Any]) -> Section:
    health, alone = content["health"], content["features_alone"]
    rows = (
        ("effective rank (exp of the entropy of variances)", figure(health["effective_rank"], digits=1)),
        ("participation ratio", figure(health["participation_ratio"], digits=1)),
        ("directions that hold 90 % of the variance", str(health["dimensions_for_90_percent"])),
        ("shares of the leading directions", ", ".join(number(share, 2) for share in health["variance_shares"][:5])),
        ("mean cosine of random pairs", figure(health["mean_cosine"], digits=2)),
        ("genes with numbers that are not finite (left out of the card)", whole(health["num_not_finite"])),
        ("rows of zeros", whole(health["num_zero_rows"])),
        ("rows equal to an earlier one", whole(health["num_duplicate_rows"])),
        ("dimensions equal for all genes", whole(health["num_constant_dimensions"])),
    )
    paragraphs = [health["note"]] if health["note"] else []
    for key, words in (
        (
            "without_message",
            "in no training message: their rows hold only what other genes taught about the network",
        ),
        ("without_id_row", "without a row of their own: read through their inductive features alone"),
    ):
        count, genes = alone[key]["count"], alone[key]["genes"]
        share = f"{count:,} of {content['identity']['num_genes']:,} genes are"
        named = f": {', '.join(genes[:_SHOWN_NAMES])}{', ...' if count > _SHOWN_NAMES else ''}" if count else ""
        paragraphs.append(f"{share} {words}{named}.")
    measures = table(("measure", "value"), rows, numeric=(1,))
    return Section("health", "Spectrum and health", tuple(paragraphs), (measures,))


_HASHES = {
    "vocabulary": "hash of vocabulary",
    "graph": "hash of message edges",
    "network": "hash of network",
    "split": "hash of split",
    "cells": "hash of cells",
    "recipe": "hash of recipe",
    "weights_sha256": "SHA-256 of weights",
}


def _identity(content: Mapping[str, Any]) -> Section:
    identity = content["identity"]
    trained, made = identity["trained_with"], identity["card_made_with"]
    modalities = ", ".join(f"{count:,} {name}s" for name, count in identity["modalities"].items())
    packages = ", ".join(f"{name} {version}" for name, version in trained["packages"].items())
    rows = [
        ("run", f"{identity['run']}, seed {identity['seed']}, {identity['schedule']}"),
        (
            "embedding",
            f"{identity['kind']}, {modalities}, {identity['width']} dimensions, model of step {identity['step']}",
        ),
        ("split", str(identity["split"])),
        ("message edges", f"{identity['num_message_edges']:,}"),
        *((_HASHES[name], str(value or "-")) for name, value in identity["hashes"].items()),
        (
            "trained with",
            f"version {trained['version']}, commit {trained['commit'] or '-'}, python {trained['python']}",
        ),
        ("packages", packages or "-"),
        (
            "card made with",
            f"version {made['version']}, commit {made['commit'] or '-'}, seed {made['seed']}, "
            f"{made['replicates']} bootstrap replicates",
        ),
    ]
    return Section("identity", "Origin of the embedding", (), (table(("what", "value"), rows, numeric=()),))


def _interval(value: Mapping[str, Any] | None) -> Cell:
    return figure(None) if value is None else figure(value["value"], value["low"], value["high"])
