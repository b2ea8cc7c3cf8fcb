"""The card of a run's cell embedding: what explains it, which labels can be read from it, compared with controls.

``cell_card.json`` is plain JSON (numbers that do not exist are null), schema ``grn_cotrain.cell_card``, version 1:

``schema``, ``schema_version``
    As above; a reader refuses other schemas and newer versions.
``identity``
    ``run``, ``source`` (where the cells come from), ``num_cells``, ``num_given``, ``num_without``, ``width``, ``step``
    (of the model of cells), ``hashes`` (``vocabulary``, ``recipe``, ``weights_sha256``), ``card_made_with``
    (``version``, ``commit``, ``seed``, ``neighbours``, ``replicates``).
``notes``
    Words on cells and columns that were left out.
``factors``
    Factor (``depth``, ``detected genes``, columns of ``obs``) -> embedding -> ``variance`` (share of the total variance
    that it explains linearly), ``components`` (R2 of each of the first components), and for numbers ``readable`` (R2
    from all dimensions, out of fold).
``components``
    Embedding -> share of the variance of each of the first components.
``labels``
    Column -> embedding -> ``knn`` (``value``, ``low``, ``high``: accuracy of the commonest label of the nearest cells),
    ``minus_pca`` (the same for the paired difference), ``probe`` (macro-F1 of a linear classifier on held-out cells,
    with its interval); and ``num_classes``, ``num_cells``, ``commonest`` (share of the commonest label).
``agreement``
    Embedding -> mean share of the neighbours that it has in common with the model's embedding.
``map``
    ``scores`` (first components of up to 2,000 cells), ``numbers`` and ``labels`` of these cells.

Dimension letters: C cells, D width, K neighbours, B replicates, P components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import grn_cotrain
from grn_cotrain.card.cell_inputs import EMBEDDING, CellCardInputs, read_cell_inputs
from grn_cotrain.card.cell_measures import (
    factor_columns,
    held_out_r2,
    knn_accuracy_C,
    nearest_CK,
    principal_components,
    shared_neighbours,
    variance_explained,
)
from grn_cotrain.card.cell_pages import cell_sections
from grn_cotrain.card.document import Card
from grn_cotrain.card.plain import plain
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.linear_probe import linear_probe, stratified
from grn_cotrain.jobs.cell_card import CellCardOptions
from grn_cotrain.options import keywords
from grn_cotrain.present.sections import Section
from grn_cotrain.provenance import git_commit

__all__ = ["CellCard", "build_cell_card"]

_COMPONENTS = 5
_MAP_CELLS = 2000
_MAP_COMPONENTS = 10
_PROBE_FEWEST = 10  # cells of a class: below, three folds and a test cannot all have some

Say = Callable[[str], None]


class CellCard(Card):
    """A card; ``content`` is what ``cell_card.json`` holds, documented in :mod:`grn_cotrain.card.cell_card`."""

    schema = "grn_cotrain.cell_card"
    stem = "cell_card"
    what = "a cell-embedding card"
    command = "grn-cotrain card RUN --cells FILE"

    @property
    def title(self) -> str:
        """Heading of its page."""
        return f"Cell-embedding card: {self.content['identity']['run']}"

    @property
    def subtitle(self) -> str:
        """Line below the heading."""
        identity = self.content["identity"]
        return f"{identity['num_cells']:,} cells of {identity['source']} in {identity['width']} dimensions"

    def sections(self) -> list[Section]:
        """The readable page as neutral sections: titles, paragraphs, tables."""
        return cell_sections(self.content)


@keywords(CellCardOptions)
def build_cell_card(
    run: str | Path, cells: str | Path | None, options: CellCardOptions, *, say: Say = print
) -> CellCard:
    """Build the card of a run's cell embedding; nothing is written.

    The embedding is that of the best model on validation cells. Principal components and log counts of the same cells
    stand in every table. Labels train nothing but the linear classifier, which is judged on held-out cells.

    Parameters
    ----------
    run
        Run folder.
    cells
        File of cells; None: the cells of the run's prepared folder.
    {options}
    say
        Function that receives lines on progress and on what did not match.

    Raises
    ------
    UserError
        No run or model; cells that cannot be read; fewer than 50 cells; a column or key that is not there.
    """
    inputs = read_cell_inputs(
        run,
        cells,
        options,
        prep=options.prep,
        columns=options.labels or (),
        against=options.against or (),
        max_cells=options.max_cells,
        seed=options.seed,
        say=say,
    )
    say("neighbours ...")
    count = min(options.neighbours, inputs.num_cells - 1)
    near = {name: nearest_CK(values_CD, count) for name, values_CD in inputs.features.items()}
    scores = {name: principal_components(values_CD, _MAP_COMPONENTS) for name, values_CD in inputs.features.items()}
    labels = {}
    for name, labels_C in inputs.labels.items():
        say(f"labels: {name} ...")
        labels[name] = _label_rows(inputs, labels_C, near, options)
    factors: dict[str, np.ndarray] = {**inputs.numbers, **inputs.labels}
    content = {
        "schema": CellCard.schema,
        "schema_version": CellCard.schema_version,
        "identity": _identity(inputs, count, options),
        "notes": list(inputs.notes),
        "factors": {name: _factor_rows(inputs, values_C, scores, options.seed) for name, values_C in factors.items()},
        "components": {name: share_P[:_COMPONENTS].tolist() for name, (_, share_P) in scores.items()},
        "labels": labels,
        "agreement": {
            name: shared_neighbours(near[EMBEDDING], near_CK) for name, near_CK in near.items() if name != EMBEDDING
        },
        "map": _map(inputs, scores[EMBEDDING][0], options.seed),
    }
    return CellCard(plain(content))


def _factor_rows(
    inputs: CellCardInputs,
    values_C: np.ndarray,
    scores: Mapping[str, tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> dict[str, Any]:
    """Shares of each embedding that one factor explains; cells without a label are left out."""
    is_number = values_C.dtype.kind == "f"
    known_C = np.isfinite(values_C) if is_number else values_C != ""
    columns_CF = factor_columns(values_C[known_C])
    rows: dict[str, Any] = {}
    for name, values_CD in inputs.features.items():
        score_CP = scores[name][0][known_C, :_COMPONENTS]
        rows[name] = {
            "variance": variance_explained(values_CD[known_C], columns_CF),
            "components": [variance_explained(score_CP[:, [p]], columns_CF) for p in range(score_CP.shape[1])],
        }
        if is_number:
            rows[name]["readable"] = held_out_r2(values_CD[known_C], values_C[known_C], seed=seed)
    return rows


def _label_rows(
    inputs: CellCardInputs, labels_C: np.ndarray, near: Mapping[str, np.ndarray], options: CellCardOptions
) -> dict[str, Any]:
    """How well the nearest cells, and a linear classifier, know a label. Cells without one are not judged."""
    known_C = labels_C != ""
    names, count_K = np.unique(labels_C[known_C], return_counts=True)
    draws_BC = cell_draws(int(known_C.sum()), options.replicates, options.seed)
    right = {name: knn_accuracy_C(near_CK, labels_C)[known_C].astype(float) for name, near_CK in near.items()}
    rows: dict[str, Any] = {
        name: {
            "knn": _mean(right_C, draws_BC),
            "minus_pca": None if name == "pca" else _mean(right_C - right["pca"], draws_BC),
        }
        for name, right_C in right.items()
    }
    common_C = np.isin(labels_C, names[count_K >= _PROBE_FEWEST])
    if len(names[count_K >= _PROBE_FEWEST]) > 1:
        features = {name: values_CD[common_C] for name, values_CD in inputs.features.items()}
        split = stratified(list(labels_C[common_C]), seed=options.seed)
        table = linear_probe(
            features,
            list(labels_C[common_C]),
            split,
            strengths=(0.01, 0.1, 1.0),
            bootstrap=options.replicates,
            seed=options.seed,
        )
        found = table[table["metric"] == "macro_f1"].set_index("scorer")
        for name in features:
            rows[name]["probe"] = {key: float(found[key].loc[name]) for key in ("value", "low", "high")}
    return {
        "num_classes": len(names),
        "num_cells": int(known_C.sum()),
        "commonest": float(count_K.max() / count_K.sum()),
        "embeddings": rows,
    }


def _mean(value_C: np.ndarray, draws_BC: np.ndarray) -> dict[str, float]:
    replicate_B = draws_BC @ value_C / draws_BC.sum(axis=1)
    low, high = np.quantile(replicate_B, [0.025, 0.975])
    return {"value": float(value_C.mean()), "low": float(low), "high": float(high)}


def _identity(inputs: CellCardInputs, neighbours: int, options: CellCardOptions) -> dict[str, Any]:
    identity = inputs.run.identity
    return {
        "run": identity.run,
        "source": inputs.source,
        "num_cells": inputs.num_cells,
        "num_given": inputs.num_given,
        "num_without": inputs.num_without,
        "width": int(inputs.features[EMBEDDING].shape[1]),
        "step": inputs.run.meta.get("step"),
        "hashes": {
            "vocabulary": identity.vocab_hash,
            "recipe": identity.recipe_hash or None,
            "weights_sha256": identity.weights_sha256,
        },
        "card_made_with": {
            "version": grn_cotrain.__version__,
            "commit": git_commit(),
            "seed": options.seed,
            "neighbours": neighbours,
            "replicates": options.replicates,
        },
    }


def _map(inputs: CellCardInputs, score_CP: np.ndarray, seed: int) -> dict[str, Any]:
    """First components of some cells, from which a map is drawn."""
    rows_C = np.arange(len(score_CP))
    if len(rows_C) > _MAP_CELLS:
        rows_C = np.sort(np.random.default_rng((seed, 19)).choice(rows_C, _MAP_CELLS, replace=False))
    scale = float(np.abs(score_CP).max(initial=0)) or 1.0
    return {
        "scores": np.round(score_CP[rows_C] / scale, 5).tolist(),
        "numbers": {name: np.round(values_C[rows_C], 4).tolist() for name, values_C in inputs.numbers.items()},
        "labels": {name: values_C[rows_C].tolist() for name, values_C in inputs.labels.items()},
    }
