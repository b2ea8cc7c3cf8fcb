"""In-silico perturbation: delete or over-express genes, and see how far embeddings move, beside matched random genes.

With ``h`` an embedding before and ``h'`` after the edit, the shifts are

    cosine shift = 1 - cos(h, h')        Euclidean shift = |h - h'|

of the state of the cell, and of the final state of every *other* gene that the cell expresses (Theodoris et al. 2023,
where deletion and over-expression are those of Geneformer). A state of the cell that is pooled over genes is pooled
over the same other genes before and after, as Geneformer does: with the edited gene's own state in the mean before, its
absence alone would be a shift. Any edit moves an embedding somewhat, the more so the more
of the cell it touches; so the same is done to random genes of like detection and expression, and a shift is read as its
percentile among theirs. Every encoder is treated alike, through its batches: see
:mod:`~grn_cotrain.evaluate.in_silico_edits`.

Dimension letters: C cells, G genes, P perturbations (the wanted one, then its controls), T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from grn_cotrain.config import require_seed
from grn_cotrain.data.batch import CellBatch, PackedTokens
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.streams import one_pass
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.in_silico_edits import EditedCells, delete_genes, overexpress_genes, rebin, take_cells
from grn_cotrain.model import CoTrainModel
from grn_cotrain.nn.cell_encoders import CellStates

__all__ = ["MODES", "InSilico", "Level", "Mode", "matched_controls", "perturb_cells"]

Mode = Literal["delete", "overexpress"]
MODES: tuple[str, ...] = get_args(Mode)
Level = float | Literal["cell_max"]

_TOKENS_PER_BATCH = 16_384
_NOISE = 1e-12  # cosine shifts of float32 states that did not move; they must not be ranked among controls
_NEIGHBOURS = 2  # controls are drawn from so many times as many nearest genes


@dataclass(frozen=True, eq=False)
class InSilico:
    """What a perturbation does.

    Attributes
    ----------
    summary
        ``genes``, ``mode``, ``num_cells`` (cells that were edited), mean ``cosine_shift`` and ``euclidean_shift`` of
        the cell embedding, ``control_cosine_shift`` (mean over controls), ``percentile`` of the cosine shift among the
        ``num_controls`` controls (ties count half), ``p_value`` = (1 + controls that move at least as far) /
        (1 + controls), ``reads_ranks``, ``level``, ``seed``; and how like the controls are: ``detected`` (share of
        cells), ``mean_value`` (non-zero ones), ``control_detected``, ``control_mean_value``. None without controls.
    genes
        One row a gene that some edited cell expresses, farthest first: ``symbol, id, modality, num_cells`` (over which
        it is averaged), ``cosine_shift, euclidean_shift, control_cosine_shift, num_controls, percentile``.
    cells
        One row a cell that was edited: ``cell, cosine_shift, euclidean_shift``.
    controls
        One row a perturbation, the wanted one first: ``genes, detected, mean_value`` (of its genes: share of cells,
        mean non-zero value), ``num_cells, cosine_shift, euclidean_shift``.
    notes
        What there is to tell.
    """

    summary: dict[str, Any]
    genes: pd.DataFrame
    cells: pd.DataFrame
    controls: pd.DataFrame
    notes: list[str]


def matched_controls(
    values_CG: sparse.csr_matrix, genes: Sequence[int], eligible_G: np.ndarray, *, num_controls: int, seed: int = 0
) -> list[tuple[int, ...]]:
    """Random sets of genes like ``genes`` in detection rate and mean non-zero value.

    Distance is Euclidean in (arcsine of the root of the detection rate, mean non-zero value), each over its deviation
    among eligible genes. For each gene, controls are drawn without replacement from the ``2 * num_controls`` nearest.

    Parameters
    ----------
    values_CG
        Normalised values of the cells at hand.
    genes
        What is to be matched; never among the controls.
    eligible_G
        bool: genes that may be controls. Those without a value here never are.
    num_controls
        Number of sets; fewer come back where there are not enough genes.
    """
    detected_G, mean_G = _detection(values_CG)
    pool_N = np.flatnonzero(eligible_G & (detected_G > 0) & ~np.isin(np.arange(len(detected_G)), genes))
    point_G2 = np.stack([np.arcsin(np.sqrt(detected_G)), mean_G], axis=1)
    spread_2 = point_G2[pool_N].std(axis=0) if len(pool_N) else np.ones(2)
    point_G2 = point_G2 / np.where(spread_2 > 0, spread_2, 1.0)
    generator = np.random.default_rng((seed, 31))
    queues = []
    for gene in genes:
        distance_N = np.square(point_G2[pool_N] - point_G2[gene]).sum(axis=1)
        near_N = pool_N[np.argsort(distance_N, kind="stable")[: _NEIGHBOURS * num_controls]]
        queues.append(list(generator.permutation(near_N)))
    sets: list[tuple[int, ...]] = []
    while len(sets) < num_controls:
        drawn: list[int] = []
        for queue in queues:
            place = next((i for i, gene in enumerate(queue) if gene not in drawn), None)
            if place is None:
                return sets
            drawn.append(int(queue.pop(place)))
        sets.append(tuple(drawn))
    return sets


def _detection(values_CG: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Share of cells with a value, and mean of these values (0 without any), of each gene."""
    count_G = np.bincount(values_CG.indices, minlength=values_CG.shape[1])
    sum_G = np.bincount(values_CG.indices, values_CG.data.astype(np.float64), minlength=values_CG.shape[1])
    return count_G / max(1, values_CG.shape[0]), sum_G / np.maximum(count_G, 1)


class _Shifts:
    """Running sums of shifts of cells and genes, one row a perturbation."""

    def __init__(self, num_perturbations: int, num_genes: int) -> None:
        self.gene_cosine_PG = np.zeros((num_perturbations, num_genes))
        self.gene_euclidean_PG = np.zeros((num_perturbations, num_genes))
        self.gene_count_PG = np.zeros((num_perturbations, num_genes), dtype=np.int64)
        self.cells: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in range(num_perturbations)]

    def add(
        self, row: int, base: PackedTokens, before: CellStates, edited: EditedCells, after: CellStates, genes: Tensor
    ) -> None:
        """Add the cells of one batch; ``before`` and ``after`` are the encoder's states."""
        # A pooled state holds the edited genes' own before the edit, which says nothing of what they do to others.
        cosine_B, euclidean_B = _shift(
            before.cells_without(torch.isin(base.feature_ids_T, genes + NUM_SPECIAL))[edited.cells_B],
            after.cells_without(torch.isin(edited.batch.feature_ids_T, genes + NUM_SPECIAL)),
        )
        index_B = base.cell_index_B[edited.cells_B].cpu().numpy()
        self.cells[row].append((index_B, cosine_B, euclidean_B))
        ids_N = edited.batch.feature_ids_T
        others_N = (edited.source_N >= 0) & (ids_N >= NUM_SPECIAL) & (edited.batch.values_T != 0)
        others_N &= ~torch.isin(ids_N, genes + NUM_SPECIAL)
        cosine_N, euclidean_N = _shift(before.tokens_TD[edited.source_N[others_N]], after.tokens_TD[others_N])
        gene_N = (ids_N[others_N] - NUM_SPECIAL).cpu().numpy()
        num_genes = self.gene_count_PG.shape[1]
        self.gene_cosine_PG[row] += np.bincount(gene_N, cosine_N, minlength=num_genes)
        self.gene_euclidean_PG[row] += np.bincount(gene_N, euclidean_N, minlength=num_genes)
        self.gene_count_PG[row] += np.bincount(gene_N, minlength=num_genes)

    def of_cells(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the matrix, cosine and Euclidean shifts of the cells that the perturbation edited."""
        if not self.cells[row]:
            return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
        index_C, cosine_C, euclidean_C = (np.concatenate(parts) for parts in zip(*self.cells[row], strict=True))
        return index_C, cosine_C, euclidean_C


def _shift(before_ND: Tensor, after_ND: Tensor) -> tuple[np.ndarray, np.ndarray]:
    before_ND, after_ND = before_ND.double(), after_ND.double()
    cosine_N = 1 - F.cosine_similarity(before_ND, after_ND, dim=-1)
    cosine_N = cosine_N.masked_fill(cosine_N < _NOISE, 0.0)
    return cosine_N.cpu().numpy(), (after_ND - before_ND).norm(dim=-1).cpu().numpy()


@torch.no_grad()
def perturb_cells(
    model: CoTrainModel,
    cells: CellStore,
    genes: Sequence[int],
    *,
    rows_C: np.ndarray | None = None,
    mode: str = "delete",
    level: Level = 0.99,
    max_cells: int | None = None,
    num_controls: int = 20,
    seed: int = 0,
    tokens_per_batch: int = _TOKENS_PER_BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> InSilico:
    """Perturb ``genes`` together in each cell, and as many random sets like them.

    Parameters
    ----------
    model
        Any model; it is used in evaluation mode and left in the mode it was in.
    cells
        Cells in the model's vocabulary.
    genes
        Gene indices.
    rows_C
        Cells to use; default: all. Controls are matched among these.
    mode
        ``delete``: the genes' tokens are removed (set to zero where the model shows every feature), in the cells that
        express one of them. ``overexpress``: in every cell, expressed before or not, their values are raised to
        ``level``; for an encoder that reads ranks they come first.
    level
        Of over-expression: a quantile of the gene's own non-zero values in these cells, or ``cell_max``, the highest
        value of each cell. A gene without a value in these cells is raised to the cell's highest.
    max_cells
        At most so many cells for each perturbation, drawn among those it concerns; None: all of them.
    num_controls
        Random sets; 0 for none.
    seed
        Draws cells and controls; from 0 to ``LARGEST_SEED``.
    progress
        Told ``(cells done, cells in all)``, each perturbation counting its cells.

    Raises
    ------
    UserError
        A seed out of range; unknown mode; a level that is no quantile; no genes; features that are never tokens; a
        deletion of genes that no cell expresses.
    """
    require_seed(seed)
    rows_C = np.arange(cells.num_cells) if rows_C is None else np.asarray(rows_C, dtype=np.int64)
    wanted = tuple(dict.fromkeys(int(gene) for gene in genes))
    values_CG = cells.normalised()[rows_C]
    _check(cells, wanted, mode, level, num_controls, values_CG)
    if max_cells is not None and max_cells < 1:
        raise UserError(f"max_cells: got {max_cells}; give at least 1, or leave it out")
    is_token_G = np.asarray(cells.vocab.is_token, dtype=bool)
    sets = [wanted, *matched_controls(values_CG, wanted, is_token_G, num_controls=num_controls, seed=seed)]
    sample_PC = _samples(values_CG, sets, mode == "delete", max_cells, seed)
    tokenizer = model.tokenizer(cells)
    config = model.config.tokens
    rows_of_index = np.full(cells.num_cells, -1)
    rows_of_index[rows_C] = np.arange(len(rows_C))
    levels_G = _levels(values_CG, sorted({gene for genes_ in sets for gene in genes_}), level)
    device = model.special_SD.device
    modality_G = torch.tensor([MODALITIES.index(name) for name in cells.vocab.modality], device=device)
    shifts = _Shifts(len(sets), cells.num_features)
    reads_ranks = False
    was_training = model.training
    model.eval()
    try:
        states = model.encode_graph()
        done, total = 0, int(sample_PC.sum())
        for drawn in map(
            CellBatch.pack, one_pass(tokenizer, rows_C[sample_PC.any(axis=0)], tokens_per_batch=tokens_per_batch)
        ):
            sample_PB = sample_PC[:, rows_of_index[drawn.cell_index_B.numpy()]]
            base = rebin(drawn.to(device), num_bins=config.num_bins)
            before = model.encode_cells(base, states)
            reads_ranks = model.prepare_batch(base).ranks_T is not None
            for row, members in enumerate(sets):
                if not sample_PB[row].any():
                    continue
                part = take_cells(base, torch.from_numpy(np.flatnonzero(sample_PB[row])).to(device))
                index = torch.tensor(members, device=device)
                if mode == "delete":
                    edited = delete_genes(
                        part.batch, index, num_bins=config.num_bins, keep_as_zeros=config.zeros_per_cell == "all"
                    )
                else:
                    values = torch.tensor([levels_G[gene] for gene in members], dtype=torch.float32, device=device)
                    edited = overexpress_genes(
                        part.batch,
                        index,
                        values,
                        modality_G[index],
                        num_bins=config.num_bins,
                        prepare=model.prepare_batch,
                    )
                if edited is not None:
                    after = model.encode_cells(edited.batch, states)
                    shifts.add(row, base, before, edited.seen_from(part), after, index)
                done += part.batch.num_cells
                if progress is not None:
                    progress(done, total)
    finally:
        model.train(was_training)
    facts = {"mode": mode, "level": level if mode == "overexpress" else None, "reads_ranks": reads_ranks, "seed": seed}
    return _result(cells, values_CG, sets, shifts, facts, num_controls, int(sample_PC[0].sum()))


def _samples(
    values_CG: sparse.csr_matrix, sets: Sequence[tuple[int, ...]], delete: bool, max_cells: int | None, seed: int
) -> np.ndarray:
    """bool ``[P, C]``: the cells in which each set is perturbed; sets share as many as they can."""
    num_cells = values_CG.shape[0]
    # One order of all cells, so that the states before the edit serve many sets.
    order_C = np.random.default_rng((seed, 17)).permutation(num_cells)
    sample_PC = np.zeros((len(sets), num_cells), dtype=bool)
    for row, members in enumerate(sets):
        concerned_C = np.ones(num_cells, dtype=bool)
        if delete:
            concerned_C = np.diff(values_CG[:, list(members)].indptr) > 0
        sample_PC[row, order_C[concerned_C[order_C]][:max_cells]] = True
    return sample_PC


def _check(
    cells: CellStore, genes: Sequence[int], mode: str, level: Level, num_controls: int, values_CG: sparse.csr_matrix
) -> None:
    if mode not in MODES:
        raise UserError(f"mode '{mode}': choose from {', '.join(MODES)}{did_you_mean(mode, MODES)}")
    if level != "cell_max" and (isinstance(level, str) or not 0 <= level <= 1):
        raise UserError(f"level '{level}': give a quantile between 0 and 1, or cell_max")
    if num_controls < 0:
        raise UserError(f"num_controls: got {num_controls}; give 0 or more")
    if not genes:
        raise UserError("gene: none given; name at least one")
    if values_CG.shape[0] == 0:
        raise UserError("cells: none to perturb; give at least one")
    never = [cells.vocab.symbols[gene] for gene in genes if not cells.vocab.is_token[gene]]
    if never:
        raise UserError(f"gene '{never[0]}': is never a token of the model (spike-in); leave it out")
    if mode == "delete" and not np.isin(values_CG.indices, genes).any():
        names = ", ".join(cells.vocab.symbols[gene] for gene in genes)
        raise UserError(
            f"gene '{names}': expressed in none of the {values_CG.shape[0]:,} cells, so there is nothing to delete;"
            " give other cells, or mode overexpress"
        )


def _levels(values_CG: sparse.csr_matrix, genes: Sequence[int], level: Level) -> dict[int, float]:
    """Value that each gene is raised to; NaN: the highest of the cell."""
    if isinstance(level, str):
        return dict.fromkeys(genes, float("nan"))
    columns = values_CG[:, list(genes)].tocsc()
    return {
        gene: float(np.quantile(data, level)) if len(data) else float("nan")
        for gene, data in zip(genes, np.split(columns.data, columns.indptr[1:-1]), strict=True)
    }


def _result(
    cells: CellStore,
    values_CG: sparse.csr_matrix,
    sets: Sequence[tuple[int, ...]],
    shifts: _Shifts,
    facts: dict[str, Any],
    num_controls: int,
    num_wanted: int,
) -> InSilico:
    symbols = np.asarray(cells.vocab.symbols, dtype=object)
    detected_G, mean_G = _detection(values_CG)
    rows: list[dict[str, Any]] = []
    for row, members in enumerate(sets):
        index_C, cosine_C, euclidean_C = shifts.of_cells(row)
        some = len(index_C) > 0
        rows.append(
            {
                "genes": " ".join(symbols[list(members)]),
                "detected": float(detected_G[list(members)].mean()),
                "mean_value": float(mean_G[list(members)].mean()),
                "num_cells": len(index_C),
                "cosine_shift": float(cosine_C.mean()) if some else np.nan,
                "euclidean_shift": float(euclidean_C.mean()) if some else np.nan,
            }
        )
    table = pd.DataFrame(rows)
    own, others = rows[0], table["cosine_shift"].to_numpy()[1:]
    others = others[np.isfinite(others)]
    at_least = int((others >= own["cosine_shift"]).sum())
    summary = {
        "genes": [str(name) for name in symbols[list(sets[0])]],
        **facts,
        "num_cells": own["num_cells"],
        "cosine_shift": own["cosine_shift"],
        "euclidean_shift": own["euclidean_shift"],
        "detected": own["detected"],
        "mean_value": own["mean_value"],
        "num_controls": len(others),
        "control_detected": float(table["detected"][1:].mean()) if len(others) else None,
        "control_mean_value": float(table["mean_value"][1:].mean()) if len(others) else None,
        "control_cosine_shift": float(others.mean()) if len(others) else None,
        "percentile": _percentile(own["cosine_shift"], others) if len(others) else None,
        "p_value": (1 + at_least) / (1 + len(others)) if len(others) else None,
    }
    index_C, cosine_C, euclidean_C = shifts.of_cells(0)
    order_C = np.argsort(index_C, kind="stable")
    per_cell = pd.DataFrame(
        {
            "cell": cells.obs.index.astype(str).to_numpy()[index_C[order_C]],
            "cosine_shift": cosine_C[order_C],
            "euclidean_shift": euclidean_C[order_C],
        }
    )
    frame = _gene_frame(cells, shifts)
    if own["num_cells"] == 0:
        raise UserError(
            f"gene '{own['genes']}': of the {num_wanted:,} cells that express it, max_tokens cuts it from all; give"
            " other cells"
        )
    notes = [f"{own['num_cells']:,} of {values_CG.shape[0]:,} cells were edited"]
    if len(others) < num_controls:
        notes.append(f"{len(others):,} of {num_controls:,} controls: too few genes are expressed in these cells")
    if own["num_cells"] < num_wanted:
        notes.append(f"in {num_wanted - own['num_cells']:,} more it is expressed, but max_tokens has no room for it")
    unseen = [symbols[gene] for gene in sets[0] if detected_G[gene] == 0]
    if unseen:
        notes.append(f"without a value in these cells: {', '.join(unseen)}")
    return InSilico(summary, frame, per_cell, table, notes)


def _percentile(value: float, others: np.ndarray) -> float:
    return float(100 * ((others < value).sum() + 0.5 * (others == value).sum()) / len(others))


def _gene_frame(cells: CellStore, shifts: _Shifts) -> pd.DataFrame:
    count_PG = shifts.gene_count_PG
    with np.errstate(invalid="ignore"):
        cosine_PG = np.where(count_PG > 0, shifts.gene_cosine_PG / count_PG, np.nan)
        euclidean_G = shifts.gene_euclidean_PG[0] / count_PG[0]
    gene_N = np.flatnonzero(count_PG[0] > 0)
    own_N, others_PN = cosine_PG[0, gene_N], cosine_PG[1:, gene_N]
    number_N = np.isfinite(others_PN).sum(axis=0)
    below_N = (others_PN < own_N).sum(axis=0) + 0.5 * (others_PN == own_N).sum(axis=0)
    number = np.where(number_N > 0, number_N, np.nan)
    vocab = cells.vocab
    frame = pd.DataFrame(
        {
            "symbol": np.asarray(vocab.symbols, dtype=object)[gene_N],
            "id": np.asarray(vocab.ids, dtype=object)[gene_N],
            "modality": np.asarray(vocab.modality, dtype=object)[gene_N],
            "num_cells": count_PG[0, gene_N],
            "cosine_shift": own_N,
            "euclidean_shift": euclidean_G[gene_N],
            "control_cosine_shift": np.nansum(others_PN, axis=0) / number,
            "num_controls": number_N,
            "percentile": 100 * below_N / number,
        }
    )
    return frame.sort_values("cosine_shift", ascending=False, kind="stable", ignore_index=True)
