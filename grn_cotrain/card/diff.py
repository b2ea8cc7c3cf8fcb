"""Two runs side by side: what went in, what came out, how far their embeddings and their edges agree.

``to_dict()`` is plain JSON, schema ``grn_cotrain.run_diff``, version 1:

``schema``, ``schema_version``, ``runs``
    ``runs``: name of each run folder, ``a`` and ``b``.
``recipe``
    List of ``key, a, b``: leaves of the recipe that differ (a key that one lacks is null there).
``inputs``, ``environment``, ``training``
    Lists of ``what, a, b, equal``: hashes of vocabulary, cells, split, message edges and weights; version, commit,
    packages, machine; steps, best step and value, seconds, memory, parameters.
``links``
    ``status`` (``paired``, ``unpaired`` or ``not run``), ``reason``, and ``rows`` of ``scorer, metric, a, b,
    difference {value, low, high}``. Paired: both tables rest on the same split, TFs, genes and bootstrap draws; only
    then is there an interval.
``cells``
    Rows of ``scorer, metric, a, b, difference`` from the tables of masked values; ``status`` and ``reason`` as above.
``embedding``
    ``status``, ``reason``, ``kind`` and an :class:`~grn_cotrain.card.stability.Agreement`.
``edges``
    ``status``, ``reason``, ``num_pairs``, ``spearman`` of all scores, and ``rows`` of ``source, target, rank_a, rank_b,
    known_a, known_b``: pairs whose rank changed most in proportion, among those near the top of either run.

Dimension letters: M pairs, G genes, S sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grn_cotrain.card.diff_edges import changed_edges
from grn_cotrain.card.diff_pages import diff_sections
from grn_cotrain.card.inputs import graph_hash, read_rows, record_of
from grn_cotrain.card.plain import plain
from grn_cotrain.card.stability import Agreement, agreement_of, shared_rows
from grn_cotrain.config import to_dict
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.bootstrap import interval
from grn_cotrain.evaluate.cells import CELLS_SHAPE
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.export.genes import KINDS
from grn_cotrain.files import read_json, write_json
from grn_cotrain.model_io import read_tensors
from grn_cotrain.present.sections import Section
from grn_cotrain.present.terminal import print_sections
from grn_cotrain.recipe_diff import recipe_differences
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SCHEMA", "SCHEMA_VERSION", "RunDiff", "diff_runs"]

SCHEMA = "grn_cotrain.run_diff"
SCHEMA_VERSION = 1
Say = Callable[[str], None]

_LINK_METRICS = ("macro_auroc", "macro_ap", "auroc", "auprc", "degree_matched_auroc", "residual_auroc")
_CELL_METRICS = ("r2", "r2_pooled", "auroc", "auprc")
_INPUTS = {
    "vocabulary": "vocab_hash",
    "cells": "cells_hash",
    "split": "split_hash",
    "recipe": "recipe_hash",
    "graph": "graph_hash",
    "model": "model_sha256",
    "genes": "num_genes",
    "number of cells": "num_cells",
    "message edges": "message_edges",
    "name of split": "split",
}
_TRAINING = (
    *("status", "schedule", "seed", "steps", "best_step", "best_value", "criterion", "seconds"),
    "peak_memory_mb",
)


@dataclass(frozen=True, eq=False)
class RunDiff:
    """The difference of two runs; ``content`` is documented in :mod:`grn_cotrain.card.diff`."""

    content: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(self.content)

    def sections(self) -> list[Section]:
        """Neutral sections: titles, paragraphs, tables."""
        return diff_sections(self.content)

    def render(self, console: Console | None = None) -> None:
        """Print: rich tables on a terminal, aligned lines elsewhere."""
        if console is None:
            from rich.console import Console as RichConsole

            console = RichConsole()
        print_sections(self.sections(), console)

    def write(self, path: str | Path) -> None:
        """Write the JSON."""
        write_json(path, self.to_dict())


def diff_runs(
    run_a: str | Path,
    run_b: str | Path,
    *,
    kind: str = "graph",
    edges: bool = True,
    seed: int = 0,
    say: Say = lambda text: None,
) -> RunDiff:
    """Compare two runs. What one of them lacks is left out of the comparison, with the reason.

    Parameters
    ----------
    run_a, run_b
        Run folders; differences are b minus a.
    kind
        Kind of embedding that is compared.
    edges
        Score every pair of a TF and a gene in both runs (the slow part).
    seed
        Seed of the permutation that gives the chance level of the embeddings' agreement.
    say
        Function that receives lines on progress.

    Raises
    ------
    UserError
        One of them is not a run folder; both are the same folder.
    """
    a, b = RunFolder.open(run_a), RunFolder.open(run_b)
    if a.folder.resolve() == b.folder.resolve():
        raise UserError(f"RUN_B '{run_b}': is the same folder as RUN_A; give two runs")
    if kind not in KINDS:
        raise UserError(f"--kind '{kind}': choose from {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    recipes = [to_dict(run.recipe()) for run in (a, b)]
    records = [record_of(run) for run in (a, b)]
    say("tables ...")
    links, cells = _links(a, b), _cells(a, b)
    say("embeddings ...")
    embedding = _attempt(lambda: _embedding(a, b, kind, seed))
    edge_part: dict[str, Any] = {"status": "not run", "reason": "not asked for", "rows": []}
    if edges:
        say("edges ...")
        edge_part = _attempt(lambda: changed_edges(a, b), rows=[])
    content = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "runs": {"a": a.folder.resolve().name, "b": b.folder.resolve().name},
        "recipe": [{"key": key, "a": x, "b": y} for key, x, y in recipe_differences(*recipes)],
        "inputs": _side_by_side(
            _INPUTS, [{**record, **_model(run)} for record, run in zip(records, (a, b), strict=True)]
        ),
        "environment": _environment(records),
        "training": _training(records),
        "links": links,
        "cells": cells,
        "embedding": embedding,
        "edges": edge_part,
    }
    return RunDiff(plain(content))


def _attempt(make: Callable[[], dict[str, Any]], **otherwise: Any) -> dict[str, Any]:
    """Result of ``make``, or the reason why it is missing."""
    try:
        return {"status": "run", "reason": "", **make()}
    except UserError as error:
        return {"status": "not run", "reason": str(error), **otherwise}


def _side_by_side(keys: Mapping[str, str], records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for what, key in keys.items():
        a, b = (record.get(key) for record in records)
        if a is not None or b is not None:
            rows.append({"what": what, "a": a, "b": b, "equal": a == b})
    return rows


def _model(run: RunFolder) -> dict[str, Any]:
    """Hashes of the model's weights and message edges; nothing without a model."""
    if not (run.model / "config.json").is_file():
        return {}
    config = read_json(run.model / "config.json", what="model configuration")
    graph = read_tensors(run.model / "graph.safetensors", numpy=True)
    return {
        "graph_hash": graph_hash(config["vocab_hash"], graph["message_2E"], graph["sign_E"], graph.get("weight_E")),
        "model_sha256": config["sha256"]["model.safetensors"],
    }


def _environment(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    flat = []
    for record in records:
        environment = dict(record.get("environment", {}))
        packages = environment.pop("packages", {})
        named = {"version": record.get("version"), "commit": record.get("commit")}
        flat.append({**named, **environment, **{f"package {name}": value for name, value in packages.items()}})
    return _side_by_side({key: key for key in [*flat[0], *flat[1]]}, flat)


def _training(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    flat = [{**record, "parameters": record.get("parameters", {}).get("total")} for record in records]
    return _side_by_side({key.replace("_", " "): key for key in (*_TRAINING, "parameters")}, flat)


def _links(a: RunFolder, b: RunFolder) -> dict[str, Any]:
    for run, name in ((a, "a"), (b, "b")):
        if not (run.folder / "links.json").is_file():
            return {
                "status": "not run",
                "reason": f"run {name} has no link table: `grn-cotrain evaluate links {run.folder.name}` makes it",
                "rows": [],
            }
    tables = [LinkTable.read(run.folder) for run in (a, b)]
    keys = [table.keys.get(table.headline_split) for table in tables]
    shapes = {table.replicates_LB.shape[1] for table in tables}
    paired = keys[0] == keys[1] and len(shapes) == 1
    own = [_own(table) for table in tables]
    shared = [name for name in _scorers(tables[0]) if name in _scorers(tables[1])]
    compared = [(own[0], own[1])] if own[0] and own[1] else []
    compared += [(name, name) for name in shared if (name, name) not in compared]
    rows = []
    for scorer_a, scorer_b in compared:
        for metric in _LINK_METRICS:
            try:
                places = [table.row(name, metric) for table, name in zip(tables, (scorer_a, scorer_b), strict=True)]
            except UserError:
                continue
            values = [float(table.frame["value"].iloc[row]) for table, row in zip(tables, places, strict=True)]
            change = {"value": values[1] - values[0], "low": None, "high": None}
            if paired:
                replicates = [table.replicates_LB[row] for table, row in zip(tables, places, strict=True)]
                change = interval(values[1] - values[0], replicates[1] - replicates[0])._asdict()
            scorer = scorer_a if scorer_a == scorer_b else f"{scorer_a} | {scorer_b}"
            rows.append({"scorer": scorer, "metric": metric, "a": values[0], "b": values[1], "difference": change})
    reason = (
        "" if paired else "the tables rest on other splits, TFs or bootstrap draws, so differences have no interval"
    )
    return {"status": "paired" if paired else "unpaired", "reason": reason, "rows": rows}


def _own(table: LinkTable) -> str | None:
    """The run's own scorer: the row that is no control."""
    frame = table.frame
    mine = frame[(frame["split"] == table.headline_split) & (frame["kind"] != "control")]["scorer"]
    return str(mine.iloc[0]) if len(mine) else None


def _scorers(table: LinkTable) -> list[str]:
    frame = table.frame
    return list(dict.fromkeys(frame.loc[frame["split"] == table.headline_split, "scorer"]))


def _cells(a: RunFolder, b: RunFolder) -> dict[str, Any]:
    paths = [run.folder / "cells.json" for run in (a, b)]
    for path, name in zip(paths, "ab", strict=True):
        if not path.is_file():
            return {"status": "not run", "reason": f"run {name} has no table of masked values", "rows": []}
    tables = []
    for path in paths:
        rows = read_json(path, what="table of masked values", shape=CELLS_SHAPE)
        first = next((row.get("assay", "") for row in rows), "")
        tables.append(
            {
                (
                    row["scorer"] if row.get("assay", "") == first else f"{row['scorer']} ({row['assay']})",
                    row["metric"],
                ): (row["value"])
                for row in rows
                if row["metric"] in _CELL_METRICS
            }
        )
    rows = [
        {
            "scorer": key[0],
            "metric": key[1],
            "a": tables[0][key],
            "b": tables[1][key],
            "difference": _minus(tables[1][key], tables[0][key]),
        }
        for key in tables[0]
        if key in tables[1]
    ]
    return {"status": "unpaired", "reason": "", "rows": rows}


def _minus(b: float | None, a: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _embedding(a: RunFolder, b: RunFolder, kind: str, seed: int) -> dict[str, Any]:
    names_a, rows_a, recipe_a, weights_a = read_rows(a.folder, kind)
    names_b, rows_b, recipe_b, weights_b = read_rows(b.folder, kind)
    index_a, index_b = shared_rows(names_a, names_b, what="RUN_B")
    values, chance = agreement_of(np.asarray(rows_a)[index_a], np.asarray(rows_b)[index_b], seed=seed)
    differing = [key for key, _, _ in recipe_differences(recipe_a, recipe_b) if key not in ("seed", "name")]
    agreement = Agreement(
        run=b.folder.resolve().name,
        seed=recipe_b.get("seed"),
        num_shared=len(index_a),
        num_dropped=len(names_a) + len(names_b) - 2 * len(index_a),
        values=values,
        chance=chance,
        same_weights=weights_a == weights_b,
        differs_in=tuple(differing),
    )
    return {"kind": kind, "agreement": plain(agreement)}
