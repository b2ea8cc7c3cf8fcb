"""Inputs of a cell card: embeddings of the same cells, and the columns that may explain them.

Dimension letters: C cells, D width, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.apply import Encoder, OpenRun, over_cells
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.linear_probe import expression_features
from grn_cotrain.export.cell_files import open_tables
from grn_cotrain.jobs.read import ReadOptions

__all__ = ["EMBEDDING", "WITH_DEPTH", "CellCardInputs", "read_cell_inputs"]

EMBEDDING = "embedding"
"""Name of the model's own states among the embeddings that are compared."""

WITH_DEPTH = "with_depth"
"""Name of the same states before the direction of read depth was taken out."""

_FEWEST_CELLS = 50
_MOST_VALUES = 50
_PRESENCE = ("has_", "present_")


@dataclass(frozen=True, eq=False)
class CellCardInputs:
    """Cells of a card.

    Attributes
    ----------
    run
        The run, with its best model of cells.
    source
        Where the cells come from, in words.
    features
        Name -> float64 ``[C, D]``: the embedding first, then the controls.
    numbers
        Name -> float64 ``[C]``: log depth (where values are reads) and log detected genes.
    labels
        Column of ``obs`` -> labels ``[C]``; missing ones are empty.
    num_given, num_without
        Cells of the source, and those of them without a token, which have no embedding.
    notes
        Words on cells and columns that were left out.
    """

    run: OpenRun
    source: str
    features: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    num_given: int
    num_without: int
    notes: Sequence[str]

    @property
    def num_cells(self) -> int:
        """C."""
        return len(self.features[EMBEDDING])


def read_cell_inputs(
    run: str | Path,
    cells: str | Path | None,
    read: ReadOptions,
    *,
    prep: str | Path | None = None,
    columns: Sequence[str] = (),
    against: Sequence[str] = (),
    max_cells: int,
    seed: int,
    say: Callable[[str], None],
) -> CellCardInputs:
    """Read cells, embed a sample of them, and compute the controls of the same cells.

    Parameters
    ----------
    run
        Run folder.
    cells
        File of cells; None: the cells of the run's prepared folder.
    read
        How the file is read.
    prep
        New place of the prepared folder.
    columns
        Columns of ``obs`` that are labels; none: all that have 2 to 50 different values.
    against
        Keys of ``obsm`` of the file that are compared too (``X_scVI``).
    max_cells
        Cells at most; of more, a sample is drawn.
    seed
        Seed of the sample and of the controls.
    say
        Receives lines.

    Raises
    ------
    UserError
        No model or cells; fewer than 50 cells with an embedding; a column or key that is not there.
    """
    opened = OpenRun(run, prep=prep, side="cells")
    others: Mapping[str, np.ndarray] = {}
    if cells is None:
        store: CellStore = opened.data(appended=True).cells
        source, notes = "the run's prepared folder", ["most of these cells trained the model"]
        if against:
            raise UserError(f"--against '{against[0]}': a key of obsm; give the file that has it by --cells FILE")
        labels, left_out = _labels(store.obs, columns)
    else:
        applied = opened.apply_to(cells, read)
        store, source = applied.cells, Path(cells).name
        labels, left_out = _labels(store.obs, columns)  # before anything is printed or computed
        others = _other_embeddings(Path(cells), applied.names, against)
        applied.tell(say)
        seen, sentence = opened.training_cells(applied.names)
        notes = [*applied.notes, *applied.warnings, *([sentence] if seen else [])]
    rows_C = np.arange(store.num_cells)
    if store.num_cells > max_cells:
        rows_C = np.sort(np.random.default_rng((seed, 17)).choice(store.num_cells, max_cells, replace=False))
        notes.append(f"a sample of {max_cells:,} of {store.num_cells:,} cells, drawn with seed {seed}")
    embedded_CD = _embedded(opened, store, rows_C, say)
    has_C = np.isfinite(embedded_CD).all(axis=1)
    if int(has_C.sum()) < _FEWEST_CELLS:
        raise UserError(f"cells: {int(has_C.sum())} of them have an embedding; a card needs at least {_FEWEST_CELLS}")
    num_without, rows_C = int((~has_C).sum()), rows_C[has_C]
    if num_without:
        notes.append(f"{num_without:,} cells have no value of any gene that the model knows, and no embedding")
    taken = store.take(rows_C)
    say("controls ...")
    controls = expression_features(taken, np.arange(len(rows_C)), seed=seed)
    states_CD = embedded_CD[has_C].astype(np.float64)
    features = {EMBEDDING: states_CD}
    if opened.depth is not None and len(opened.depth.along_AD):
        features = {EMBEDDING: opened.depth.removed(states_CD), WITH_DEPTH: states_CD}
        notes.append(opened.depth.note())
    features |= {"pca": controls["pca"], "log_counts": controls["hvg"]}
    features |= {key: values_CD[rows_C] for key, values_CD in others.items()}
    return CellCardInputs(
        run=opened,
        source=source,
        features=features,
        numbers=_numbers(taken),
        labels={name: labels_C[rows_C] for name, labels_C in labels.items()},
        num_given=store.num_cells,
        num_without=num_without,
        notes=[*notes, *left_out],
    )


def _other_embeddings(cells: Path, names: Sequence[str], against: Sequence[str]) -> dict[str, np.ndarray]:
    """Embeddings of an h5ad by key, a row for each of the cells ``names``."""
    if not against:
        return {}
    if cells.suffix != ".h5ad":
        raise UserError(f"--against '{against[0]}': a key of obsm of an h5ad, and the cells are '{cells.name}'")
    whole = open_tables(cells)
    for key in against:
        if key not in whole.obsm:
            known = ", ".join(map(str, whole.obsm)) or "none"
            hint = did_you_mean(key, list(whole.obsm))
            raise UserError(f"--against '{key}': no such key of obsm; the file has {known}{hint}")
    row_C = pd.Index(whole.obs_names.astype(str)).get_indexer(list(names))
    found = {key: np.asarray(whole.obsm[key])[row_C] for key in against}
    for key, values_CD in found.items():
        is_number = values_CD.ndim == 2 and values_CD.dtype.kind in "fiu"
        if not is_number or (row_C < 0).any() or not np.isfinite(values_CD).all():
            raise UserError(f"--against '{key}': not one finite row for each cell; compute it for all cells")
    return {key: values_CD.astype(np.float64) for key, values_CD in found.items()}


def _embedded(opened: OpenRun, store: CellStore, rows_C: np.ndarray, say: Callable[[str], None]) -> np.ndarray:
    """States of the cells, float32 ``[C, D]``; NaN for those without a token."""
    model = opened.model
    tokenizer = model.tokenizer(store)
    say(f"embedding {len(rows_C):,} cells ...")
    values_CD = np.full((store.num_cells, model.config.width), np.nan, np.float32)

    def read(batch: PackedTokens, encoder: Encoder) -> None:
        values_CD[batch.cell_index_B.cpu().numpy()] = encoder.cells(batch).cells_BD.float().cpu().numpy()

    with_tokens_C = rows_C[np.asarray(tokenizer.lengths_C)[rows_C] > 1]  # CLS alone does not count
    over_cells(model, tokenizer, read, rows=with_tokens_C, encoder=opened.encoder)
    return values_CD[rows_C]


def _numbers(store: CellStore) -> dict[str, np.ndarray]:
    """Logarithms of depth and of the number of detected features, of the first assay."""
    assay = next(iter(store.assays.values()))
    rows = store.rows(np.arange(store.num_cells))[assay.name]
    found = {"detected genes": np.log1p(np.diff(rows.indptr).astype(np.float64))}
    if assay.has_reads:  # before genes were selected, as training read it
        found = {"depth": np.log1p(assay.size_factor_C.astype(np.float64)), **found}
    return found


def _labels(obs: pd.DataFrame, columns: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns that group cells, and a sentence on those that are left out because nothing chose them."""
    for name in columns:
        obs_column(obs, name, "--labels")
    labels: dict[str, np.ndarray] = {}
    for name in columns or [str(column) for column in obs.columns]:
        values_C = as_labels(obs[name]).fillna("").to_numpy(dtype=str)
        number = len(set(values_C[values_C != ""]))
        if columns and number < 2:
            raise UserError(f"--labels '{name}': {number} different value; name a column that has several")
        is_group = 2 <= number <= _MOST_VALUES and not str(obs[name].dtype).startswith("float")
        if columns or (is_group and not name.startswith(_PRESENCE)):
            labels[name] = values_C
    left_out = [str(name) for name in obs.columns if str(name) not in labels] if not columns else []
    notes = [f"columns of obs that are no labels here: {name_some(left_out, 6)}"] if left_out else []
    return labels, notes
