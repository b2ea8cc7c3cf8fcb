"""The attention of a run by cell type: edges, their score compared with co-expression, centrality of genes.

Dimension letters: G genes, S sources, M pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import Progress, shifted
from grn_cotrain.config import canonical_hash
from grn_cotrain.controls import CONTROLS, Control, LinkScorer
from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import (
    AttentionScores,
    CellGroup,
    cell_groups,
    excess,
    read_attention,
    rna_cells,
)
from grn_cotrain.evaluate.attention_scorer import READ_OUT, InitialModel, split_sources
from grn_cotrain.evaluate.centrality import centrality_genes, centrality_table
from grn_cotrain.evaluate.control_cache import ControlCache
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.files import staged_files
from grn_cotrain.jobs.attention import AttentionConfig, AttentionOptions
from grn_cotrain.options import keywords
from grn_cotrain.provenance import git_commit
from grn_cotrain.recipe import Recipe

__all__ = [
    "EDGE_COLUMNS",
    "REPORT_FILES",
    "AttentionReport",
    "attention_edges",
    "attention_of_tfs",
    "evaluate_attention",
]

EDGE_COLUMNS = ("group", "source", "target", "score", "weight", "expected", "num_cells", "known")
"""Columns of :func:`attention_edges`."""

REPORT_FILES = tuple(f"attention{part}.parquet" for part in ("", "_differences", "_edges", "_genes", "_centrality"))
"""Files that :meth:`AttentionReport.write` writes in addition to the link table."""

_DEGREE = ("target_degree", "degree_product")
_METRICS = ("macro_auroc", "macro_ap", "auroc", "auprc", "degree_matched_auroc", "residual_auroc")
_MIN_CELLS = 5
_PARTS = ("train", "validation", "test", "withheld")


@dataclass(frozen=True, eq=False)
class AttentionReport:
    """Result of :func:`evaluate_attention`.

    Attributes
    ----------
    table
        Link table whose scorers are called ``GROUP: SCORER``; the run's supervised model and controls have no group.
    rows
        One row a group and scorer: ``group, scorer, kind, num_cells`` (that were read), ``cells_in_group``,
        ``pairs_seen`` (share of test pairs that some cell shows), metrics with ``_low`` and ``_high``.
    differences
        Paired differences in macro AUROC of each group's attention (raw and corrected) to co-expression in the same
        cells and to the untrained encoder: ``group, scorer, minus, value, low, high``.
    edges
        Best pairs of each group, :data:`EDGE_COLUMNS`.
    genes, centrality
        Genes of each group, and what their centrality predicts (:mod:`~grn_cotrain.evaluate.centrality`); column
        ``encoder`` is ``trained`` or ``untrained``.
    notes
        Notes to read with the tables.
    """

    table: LinkTable
    rows: pd.DataFrame
    differences: pd.DataFrame
    edges: pd.DataFrame
    genes: pd.DataFrame
    centrality: pd.DataFrame
    notes: tuple[str, ...]

    def write(self, folder: str | Path) -> None:
        """Write the link table's files and five parquet files, all of them or none."""
        frames = (self.rows, self.differences, self.edges, self.genes, self.centrality)
        with staged_files(folder) as staged:
            for name, frame in zip(REPORT_FILES, frames, strict=True):
                frame.to_parquet(staged / name, index=False)
            self.table.write(staged)


def attention_edges(
    scores: AttentionScores, vocab: FeatureVocab, split: EdgeSplit | None = None, *, top: int, min_cells: int = 1
) -> pd.DataFrame:
    """Return the best pairs of one group by corrected weight, ties by source and target.

    Parameters
    ----------
    scores
        Scores of the group.
    vocab
        Names of genes.
    split
        Split that defines ``known``: the part of the split that holds the edge, or empty. None: empty everywhere.
    top
        Most pairs.
    min_cells
        Fewest cells that show a pair: the mean over two cells is mostly noise, and noise fills a list of extremes.

    Returns
    -------
    DataFrame
        ``score``: corrected weight; ``weight``, ``expected``: its parts; ``num_cells`` that show the pair.
    """
    excess_SG = excess(scores.weight_SG, scores.expected_SG)
    excess_SG[scores.count_SG < max(1, min_cells)] = -np.inf
    flat_M = excess_SG.ravel()
    kept = min(top, int(np.isfinite(flat_M).sum()))
    best_M = np.argpartition(-flat_M, kept - 1)[:kept] if kept else np.zeros(0, dtype=np.int64)
    best_M = best_M[np.lexsort((best_M, -flat_M[best_M]))]
    row_M, target_M = np.divmod(best_M, scores.weight_SG.shape[1])
    pairs_2M = np.stack([scores.sources_S[row_M], target_M])
    names_G = np.asarray(vocab.symbols, dtype=object)
    known_M = np.full(len(best_M), "", dtype=object)
    if split is not None:
        keys_M = pair_keys(pairs_2M, split.num_genes)
        for part in _PARTS:
            known_M[np.isin(keys_M, pair_keys(getattr(split, f"{part}_2E"), split.num_genes))] = part
    return pd.DataFrame(
        {
            "group": pd.Series([scores.group.name] * len(best_M), dtype=object),
            "source": names_G[pairs_2M[0]],
            "target": names_G[pairs_2M[1]],
            "score": flat_M[best_M].astype(np.float64),
            "weight": scores.weight_SG[row_M, target_M].astype(np.float64),
            "expected": scores.expected_SG[row_M, target_M].astype(np.float64),
            "num_cells": scores.count_SG[row_M, target_M].astype(np.int64),
            "known": known_M,
        }
    )


def attention_of_tfs(
    run: str | Path,
    tfs: Sequence[str],
    *,
    by: str | None = None,
    config: AttentionConfig | None = None,
    min_cells: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Every pair of these TFs that enough cells show, by group of cells: :func:`attention_edges` of each.

    ``progress`` receives the number of cells read and in all.

    Raises
    ------
    UserError
        No model, unknown TF or column.
    """
    config = config or AttentionConfig()
    opened = OpenRun.of(run)
    data = opened.data(messages=True)
    sources_S = np.array([_gene(data.vocab, name) for name in tfs], dtype=np.int64)
    groups, _ = cell_groups(data.cells, by, max_cells=config.max_cells, seed=config.seed)
    most = len(tfs) * data.vocab.num_genes
    frames = [
        attention_edges(scores, data.vocab, data.split, top=most, min_cells=min_cells)
        for scores in read_attention(opened.model, data.cells, sources_S, groups, config, progress=progress)
    ]
    return pd.concat(frames, ignore_index=True)


def _gene(vocab: FeatureVocab, name: str) -> int:
    """Index of a gene; a UserError for other features."""
    index = vocab.index(name)
    if index >= vocab.num_genes:
        raise UserError(f"tf '{name}': is a {vocab.modality[index]}, and attention is scored for genes; name a gene")
    return index


@keywords(AttentionOptions)
def evaluate_attention(
    run: str | Path | OpenRun,
    options: AttentionOptions,
    *,
    initial: InitialModel | None = None,
    check: Callable[[FeatureVocab, Sequence[str]], None] = lambda vocab, groups: None,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> AttentionReport:
    """Read a run's attention by cell type and score it on the test pairs of the run's split.

    Parameters
    ----------
    run
        Run folder.
    {options}
    initial
        Builds the model before training, for the untrained encoder's rows; None: there are none.
    check
        Called before anything is read, with the genes and the names of the groups; raises if it has no use for them.
    say, progress
        Receive what is being done; the number of cells read and in all.

    Raises
    ------
    UserError
        No model, other data than it was trained on, no such column, numbers out of range.
    """
    opened = OpenRun.of(run, prep=options.prep)
    recipe = opened.recipe
    data = opened.data(messages=True)
    supervised, trained = ModelScorer(opened), opened.model
    trained.gene_encoder(options.encoder)  # a wrong name is reported before any work
    groups, unlabelled = cell_groups(data.cells, options.by, max_cells=options.max_cells, seed=options.seed)
    check(data.vocab, [group.name for group in groups])
    fewest, notes = _fewest(groups, options.min_cells)
    if unlabelled:
        notes.insert(0, f"{unlabelled:,} cells have no label in '{options.by}' and were left out")
    if lacking := int((~rna_cells(data.cells)).sum()):
        notes.insert(0, f"{lacking:,} of {data.cells.num_cells:,} cells have no RNA and were left out")
    replicates = recipe.evaluate.bootstrap if options.bootstrap is None else options.bootstrap
    beside: list[LinkScorer] = [supervised, *_controls(options.controls or recipe.evaluate.controls)]
    models = {"trained": trained}
    if initial is not None:
        models["untrained"] = initial(recipe, data).eval()

    pairs_2M = data.split.pairs("test").pairs_2M
    scorers: list[LinkScorer] = []
    edges, genes, centralities, seen = [], [], [], {}
    done, total = 0, sum(len(group.rows_C) for group in groups) * len(models)
    for group in groups:
        say(f"reading {len(group.rows_C):,} cells of {group.name}")
        for encoder, model in models.items():
            (scores,) = read_attention(
                model,
                data.cells,
                split_sources(data.split),
                [group],
                options,
                centrality=True,
                progress=shifted(progress, done, total),
            )
            done += len(group.rows_C)
            scorers += _scorers(scores, pairs_2M, encoder)
            found = centrality_genes(scores, data.cells, data.prep.grn, data.prep.tf_index)
            genes.append(found.assign(encoder=encoder))
            central = centrality_table(found, bootstrap=replicates, seed=options.seed)
            centralities.append(central.assign(group=group.name, encoder=encoder))
            if encoder == "trained":
                edges.append(
                    attention_edges(scores, data.vocab, data.split, top=options.top, min_cells=fewest[group.name])
                )
                seen[group.name] = float((scores.count(pairs_2M) > 0).mean())
                if scores.num_cut:
                    notes.append(
                        f"{group.name}: {scores.num_cut:,} of {scores.num_cells:,} cells hold more values than"
                        " model.tokens.max_tokens, and lost their lowest"
                    )
        scorers.append(_Coexpression(group, data.cells))
    bare = [
        f"{group.name} ({fewest[group.name]} of {len(group.rows_C)} needed)"
        for group, best in zip(groups, edges, strict=True)
        if best.empty
    ]
    if bare:
        notes.append(f"no edge, as no pair is seen in enough cells: {name_some(bare)}")
    table = evaluate_links(
        data.split,
        [*scorers, *beside],
        data.prep.cells,
        message_2E=trained.inputs.message_2E,
        audit_options={"control_graph": recipe.graph.messages != "true", "symbols": data.vocab.symbols},
        bootstrap=replicates,
        seed=recipe.seed,
        recipe_hash=canonical_hash(recipe),
        commit=git_commit(),
        cache=ControlCache(data.prep.folder / "controls"),
        symbols=data.vocab.symbols,
        progress=say,
    )
    return AttentionReport(
        table=table,
        rows=_rows(table, groups, seen),
        differences=_differences(table, groups, list(models)),
        edges=pd.concat(edges, ignore_index=True),
        genes=pd.concat(genes, ignore_index=True),
        centrality=pd.concat(centralities, ignore_index=True),
        notes=(*notes, *_seen_edges(recipe, data)),
    )


def _controls(wanted: str) -> list[Control]:
    """The controls asked for; those of degree alone come with all of them."""
    found = parse_controls(wanted)
    there = {control.name for control in found}
    return [*found, *(CONTROLS.build(name, seed=0) for name in _DEGREE if name not in there)]


def _fewest(groups: list[CellGroup], min_cells: int | None) -> tuple[dict[str, int], list[str]]:
    """Fewest cells of each group that must show an edge, and where that is less than the default's five."""
    sizes = {group.name: len(group.rows_C) for group in groups}
    if min_cells is not None:
        if min_cells > max(sizes.values()):
            raise UserError(
                f"--min-cells '{min_cells}': more than are read of any group ({max(sizes.values())}), so no edge would"
                " be left; give fewer, or raise max_cells"
            )
        return dict.fromkeys(sizes, min_cells), []
    small = [f"{name} ({size})" for name, size in sizes.items() if size < _MIN_CELLS]
    told = f"groups of fewer than {_MIN_CELLS} cells, where all cells must show an edge: {name_some(small)}"
    return {name: min(size, max(_MIN_CELLS, size // 20)) for name, size in sizes.items()}, [told] if small else []


def _seen_edges(recipe: Recipe, data: RunData) -> list[str]:
    """Ways in which training has shown the network to the encoder's gene rows."""
    ways = ["messages"] if data.messages.pairs_2E.shape[1] and recipe.graph.messages == "true" else []
    if recipe.train.schedule.plan.trains_links:
        ways.append("a link loss")
    if not ways:
        return []
    return [
        f"the rows that the encoder reads were trained on the training edges too (by {' and '.join(ways)}): only test"
        " pairs judge its attention, and centrality that follows out-degree may be the network's own degree; a run"
        " with graph.messages: none and train.schedule: mlm_only separates the two"
    ]


class _Scored:
    """Scores that are there already: the arrays they come from are not kept."""

    def __init__(self, name: str, kind: str, scores_M: np.ndarray) -> None:
        self.name, self.kind, self.scores_M = name, kind, scores_M

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        del split, cells
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        assert pairs_2M.shape[1] == len(self.scores_M), "scored on the test pairs of this split"
        return self.scores_M


class _Coexpression:
    """The control ``pearson`` over the cells of a group: what their values show without any encoder."""

    kind = "control"

    def __init__(self, group: CellGroup, cells: CellStore) -> None:
        self.name = f"{group.name}: co-expression"
        self.cells, self.rows_C = cells, group.rows_C

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        del cells
        self.split = split
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        return CONTROLS.build("pearson", seed=0).fit(self.split, self.cells.part(self.rows_C).genes()).score(pairs_2M)


def _scorers(scores: AttentionScores, pairs_2M: np.ndarray, encoder: str) -> list[LinkScorer]:
    name, kind = ("attention", READ_OUT) if encoder == "trained" else ("untrained attention", "control")
    return [
        _Scored(
            f"{scores.group.name}: {name}{' corrected' if corrected else ''}",
            kind,
            scores.score(pairs_2M, corrected=corrected).astype(np.float32),
        )
        for corrected in (False, True)
    ]


def _rows(table: LinkTable, groups: list[CellGroup], seen: dict[str, float]) -> pd.DataFrame:
    frame = table.frame[(table.frame["split"] == table.headline_split) & (table.frame["candidates"] == "all")]
    records = []
    sizes = {group.name: group for group in groups}
    for name, part in frame.groupby("scorer", sort=False):
        of_group, _, scorer = str(name).rpartition(": ")
        record: dict[str, object] = {"group": of_group, "scorer": scorer, "kind": part["kind"].iloc[0]}
        group = sizes.get(of_group)
        record |= {
            "num_cells": 0 if group is None else len(group.rows_C),
            "cells_in_group": 0 if group is None else group.num_cells,
            "pairs_seen": seen.get(of_group, float("nan")),
        }
        values = part.set_index("metric")
        for metric in _METRICS:
            for column, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                found = values[column].get(metric, float("nan"))
                record[f"{metric}{suffix}"] = float(found)
        record["num_tfs"] = int(values["num_tfs"].get("macro_auroc", 0))
        record["num_pairs"] = int(part["num_pairs"].max())
        records.append(record)
    return pd.DataFrame(records)


def _differences(table: LinkTable, groups: list[CellGroup], models: list[str]) -> pd.DataFrame:
    columns = ["group", "scorer", "minus", "value", "low", "high"]
    present = table.frame[(table.frame["metric"] == "macro_auroc") & (table.frame["candidates"] == "all")]["scorer"]
    records = []
    for group in groups:
        for scorer in ("attention", "attention corrected"):
            others = ["co-expression", *([f"untrained {scorer}"] if "untrained" in models else [])]
            for other in others:
                mine, theirs = f"{group.name}: {scorer}", f"{group.name}: {other}"
                if {mine, theirs} <= set(present):
                    records.append((group.name, scorer, other, *table.difference(mine, theirs)))
    return pd.DataFrame(records, columns=columns)
