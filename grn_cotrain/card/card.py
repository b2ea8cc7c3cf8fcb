"""The card of a run's gene embedding: everything needed to trust it, or not, as one JSON file.

``card.json`` is plain JSON (numbers that do not exist are null), schema ``grn_cotrain.gene_card``, version 1:

``schema``, ``schema_version``
    As above; a reader refuses other schemas and newer versions.
``identity``
    ``run`` (name of the recipe), ``kind`` (static, graph, contextual, regulation), ``num_genes``, ``width``,
    ``modalities`` (name -> count), ``num_message_edges``, ``seed``, ``schedule``, ``split``, ``step`` (of the saved
    model), ``hashes`` (``vocabulary``, ``graph``: the model's message edges with signs, ``network``, ``split``,
    ``cells``, ``recipe``, ``weights_sha256``), ``trained_with`` (``version``, ``commit``, ``python``, ``packages``,
    ``device``), ``card_made_with`` (``version``, ``commit``, ``seed``, ``replicates``).
``missing``
    Reason why expression, held-out edges and TF list were missing; empty where they were read.
``health``
    See :class:`~grn_cotrain.card.spectrum.Spectrum`.
``features_alone``
    ``without_id_row`` and ``without_message``: ``count`` and ``genes`` (the first 1,000) that are known through their
    inductive features alone, and that no training message reaches or leaves.
``norms``, ``encoding``
    See :mod:`grn_cotrain.card.encoding`. An interval is ``{"value", "low", "high"}``.
``neighbours``
    ``genes``: :class:`~grn_cotrain.card.neighbours.GeneNeighbours` each; ``summary``:
    :class:`~grn_cotrain.card.neighbours.NeighbourSummary`.
``probes``
    List; ``status`` is ``run`` (:class:`~grn_cotrain.card.probes.base.ProbeResult`) or ``not run`` (with ``reason``).
``stability``
    List of :class:`~grn_cotrain.card.stability.Agreement`, one a run of another seed; empty where none was given.
``summary``
    List of ``question``, ``answer``: the card in a few lines.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import grn_cotrain
from grn_cotrain.card.document import Card
from grn_cotrain.card.encoding import encoding_of, norms_of
from grn_cotrain.card.gene_sets import chromosomes_of, pathways_of
from grn_cotrain.card.inputs import CardInputs, graph_hash, read_inputs, read_rows
from grn_cotrain.card.neighbours import NUM_NEIGHBOURS, default_genes, neighbour_summary, neighbours_of
from grn_cotrain.card.pages import sections_of
from grn_cotrain.card.plain import plain
from grn_cotrain.card.probes import NotRun, probe_features, run_probe
from grn_cotrain.card.probes.chromosome import chromosome_probe
from grn_cotrain.card.probes.features import embedding_features
from grn_cotrain.card.probes.pathways import pathway_probe
from grn_cotrain.card.probes.regulons import regulon_probes
from grn_cotrain.card.probes.tf import tf_probes
from grn_cotrain.card.spectrum import spectrum_of
from grn_cotrain.card.stability import Agreement, agreement_of, shared_rows
from grn_cotrain.card.summary import summary_of
from grn_cotrain.card.vectors import nearest
from grn_cotrain.jobs.genes import Kind
from grn_cotrain.options import Options, keywords, option, seed_option
from grn_cotrain.present.sections import Section
from grn_cotrain.provenance import git_commit
from grn_cotrain.recipe_diff import recipe_differences

__all__ = ["SCHEMA", "SCHEMA_VERSION", "GeneCard", "build_card"]

SCHEMA = "grn_cotrain.gene_card"
SCHEMA_VERSION = 1
_NAMED = 1000

Say = Callable[[str], None]


class GeneCard(Card):
    """A card; ``content`` is what ``card.json`` holds, documented in :mod:`grn_cotrain.card.card`."""

    schema = SCHEMA
    schema_version = SCHEMA_VERSION
    stem = "card"
    what = "a gene-embedding card"
    command = "grn-cotrain card RUN"

    @property
    def title(self) -> str:
        """Heading of its page."""
        identity = self.content["identity"]
        return f"Gene-embedding card: {identity['run']} ({identity['kind']})"

    @property
    def subtitle(self) -> str:
        """Line below the heading."""
        identity = self.content["identity"]
        return f"{identity['num_genes']:,} genes in {identity['width']} dimensions; seed {identity['seed']}"

    def sections(self) -> list[Section]:
        """The readable page as neutral sections: titles, paragraphs, tables."""
        return sections_of(self.content)


@dataclass(frozen=True, kw_only=True)
class CardOptions(Options):
    """Contents of a card."""

    kind: Kind = option("graph", "Kind of embedding: static, graph, contextual or regulation.")
    others: Sequence[str | Path] = option((), "Run folders of other seeds, for stability.")
    genes: Sequence[str] = option(
        (), "Genes whose neighbours are listed; default: TFs of largest degree and some well-known genes."
    )
    pathways: str | Path | Mapping[str, Sequence[str]] | None = option(None, "GMT file, or name -> gene names.")
    chromosomes: str | Path | Mapping[str, str] | None = option(
        None, "TSV or CSV file with the columns gene and chrom, or gene name -> chromosome."
    )
    prep: str | Path | None = option(None, "New place of the run's prepared folder; default: search for it.")
    seed: int = seed_option()
    replicates: int = option(200, "Number of bootstrap replicates.", low=2)


@keywords(CardOptions)
def build_card(run: str | Path, options: CardOptions, *, say: Say = print) -> GeneCard:
    """Build the card of a run's gene embedding; nothing is written.

    Parameters
    ----------
    run
        Run folder. Without its prepared folder the card holds what follows from the model alone, and reports this.
    {options}
    say
        Function that receives lines on progress and on what did not match.

    Raises
    ------
    UserError
        No run or model; an unknown gene; a file that is none of its kind; a run on other genes among ``others``.
    """
    seed, replicates = options.seed, options.replicates
    inputs = read_inputs(run, kind=options.kind, prep=options.prep, say=say)
    # Everything a user gave is looked at before the long computations.
    rows = list(dict.fromkeys(inputs.row(name) for name in options.genes)) or default_genes(inputs)
    sets = pathways_of(options.pathways, inputs.vocab, say=say)
    places = chromosomes_of(options.chromosomes, inputs.vocab, say=say)
    stability = [_agreement(inputs, other, options.kind, seed, say) for other in options.others]
    plain_features = embedding_features(inputs, seed=seed)
    say("neighbours, degree and expression ...")
    nearby = {name: nearest(rows_GD, NUM_NEIGHBOURS)[0] for name, rows_GD in plain_features.items()}
    encoding = encoding_of(
        plain_features,
        nearby,
        inputs.in_degree_G,
        inputs.out_degree_G,
        inputs.mean_expression_G,
        seed=seed,
        replicates=replicates,
    )
    probes = [
        *tf_probes(inputs, seed=seed),
        *regulon_probes(inputs, seed=seed),
        pathway_probe(inputs, sets, seed=seed),
        chromosome_probe(inputs, places, seed=seed),
    ]
    features = probe_features(inputs, seed=seed)
    results = []
    for probe in probes:
        if not isinstance(probe, NotRun):
            say(f"probe: {probe.title} ...")
        results.append(
            probe if isinstance(probe, NotRun) else run_probe(probe, features, replicates=replicates, seed=seed)
        )
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "identity": _identity(inputs, run, seed, replicates),
        "missing": inputs.missing,
        "health": plain(_health(inputs, seed)),
        "features_alone": _features_alone(inputs),
        "norms": plain(norms_of(inputs.values_GD, inputs.degree_G, inputs.mean_expression_G)),
        "encoding": plain(encoding),
        "neighbours": {
            "genes": plain(neighbours_of(inputs, rows)),
            "summary": plain(neighbour_summary(inputs, nearby)),
        },
        "probes": [
            {"status": "not run" if isinstance(result, NotRun) else "run", **plain(result)} for result in results
        ],
        "stability": plain(stability),
    }
    content["summary"] = summary_of(content)
    return GeneCard(content)


def _health(inputs: CardInputs, seed: int) -> Any:
    health = spectrum_of(inputs.values_GD, seed=seed)
    # Rows that are not finite were left out on reading, and are counted here.
    return {**plain(health), "num_not_finite": inputs.num_not_finite}


def _identity(inputs: CardInputs, run: str | Path, seed: int, replicates: int) -> dict[str, Any]:
    record, meta = inputs.record, inputs.config["meta"]
    environment = record.get("environment", {})
    modalities = Counter(inputs.vocab.modality[i] for i in inputs.feature_G)
    return {
        "run": str(record.get("name") or inputs.recipe.get("name") or Path(run).resolve().name),
        "kind": inputs.kind,
        "num_genes": inputs.num_genes,
        "width": int(inputs.values_GD.shape[1]),
        "modalities": dict(sorted(modalities.items())),
        "seed": inputs.recipe["seed"],
        "schedule": meta.get("schedule"),
        "split": meta.get("split"),
        "step": meta.get("step"),
        "hashes": {
            "vocabulary": inputs.vocab.content_hash,
            "graph": graph_hash(inputs.vocab.content_hash, inputs.message_2E, inputs.sign_E, inputs.weight_E),
            "network": inputs.grn_hash or None,
            "split": meta.get("split_hash"),
            "cells": record.get("cells_hash"),
            "recipe": meta.get("recipe_hash"),
            "weights_sha256": inputs.config["sha256"]["model.safetensors"],
        },
        "num_message_edges": int(inputs.message_2E.shape[1]),
        "trained_with": {
            "version": record.get("version"),
            "commit": record.get("commit"),
            "python": environment.get("python"),
            "packages": environment.get("packages", {}),
            "device": environment.get("device"),
        },
        "card_made_with": {
            "version": grn_cotrain.__version__,
            "commit": git_commit(),
            "seed": seed,
            "replicates": replicates,
        },
    }


def _features_alone(inputs: CardInputs) -> dict[str, Any]:
    def named(chosen_G: np.ndarray) -> dict[str, Any]:
        genes = [str(symbol) for symbol in inputs.symbols[chosen_G]]
        return {"count": len(genes), "genes": genes[:_NAMED]}

    return {"without_id_row": named(~inputs.has_id_row_G), "without_message": named(inputs.degree_G == 0)}


def _agreement(inputs: CardInputs, other: str | Path, kind: str, seed: int, say: Say) -> Agreement:
    say(f"stability: {other} ...")
    names, rows_GD, recipe, weights = read_rows(other, kind)
    mine_N, other_N = shared_rows(inputs.names, names, what=f"--others '{other}'")
    values, chance = agreement_of(inputs.values_GD[mine_N], rows_GD[other_N], seed=seed)
    differing = [key for key, _, _ in recipe_differences(inputs.recipe, recipe) if key not in ("seed", "name")]
    return Agreement(
        run=Path(other).resolve().name,
        seed=recipe.get("seed"),
        num_shared=len(mine_N),
        num_dropped=len(inputs.names) + len(names) - 2 * len(mine_N),
        values=values,
        chance=chance,
        same_weights=weights == inputs.config["sha256"]["model.safetensors"],
        differs_in=tuple(differing),
    )
