"""In-silico perturbation: delete or over-express genes, and see how far embeddings move, compared with matched random
genes.

With ``h`` an embedding before and ``h'`` after the edit, the shifts are

    cosine shift = 1 - cos(h, h')        Euclidean shift = |h - h'|

for the state of the cell, and for the final state of every *other* gene that the cell expresses (Theodoris et al. 2023,
where deletion and over-expression are those of Geneformer). A state of the cell that is pooled over genes is pooled
over the same other genes before and after, as Geneformer does: with the edited gene's own state in the mean before, its
absence alone would be a shift. Any edit moves an embedding somewhat, the more so the more
of the cell it touches; so the same is done to random genes of like detection and expression, and a shift is read as its
percentile among theirs. Every encoder is treated alike, through its batches: see
:mod:`~grn_cotrain.evaluate.in_silico_edits`.

Dimension letters: C cells, G genes, P perturbations (the wanted one, then its controls), T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from grn_cotrain.apply import Encoder, over_cells
from grn_cotrain.apply.cells import Progress, Reader
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cell_blocks import column_values
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import FeatureMoments, Moments
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.in_silico_controls import matched_controls
from grn_cotrain.evaluate.in_silico_edits import EditedCells, delete_genes, overexpress_genes, rebin, take_cells
from grn_cotrain.jobs.perturb import Level, PerturbSettings
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.options import keywords

__all__ = ["InSilico", "perturb_cells"]


_NOISE = 1e-12  # cosine shifts of float32 states that did not move; they must not be ranked among controls


@dataclass(frozen=True, eq=False)
class InSilico:
    """Effects of a perturbation.

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
        Lines to report.
    """

    summary: dict[str, Any]
    genes: pd.DataFrame
    cells: pd.DataFrame
    controls: pd.DataFrame
    notes: list[str]


class _Shifts:
    """Running sums of shifts of cells and genes, one row a perturbation."""

    def __init__(self, num_perturbations: int, num_genes: int) -> None:
        self.gene_cosine_PG = np.zeros((num_perturbations, num_genes))
        self.gene_euclidean_PG = np.zeros((num_perturbations, num_genes))
        self.gene_count_PG = np.zeros((num_perturbations, num_genes), dtype=np.int64)
        self.reads_ranks = False
        self.cells: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in range(num_perturbations)]

    def add(
        self, row: int, base: PackedTokens, before: CellStates, edited: EditedCells, after: CellStates, genes: Tensor
    ) -> None:
        """Add the cells of one batch; values that were added to the states of cells show no effect on other genes."""
        before, after = before.of_encoder(), after.of_encoder()
        # A pooled state holds the edited genes' own before the edit, which shows nothing of their effect on others.
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


@dataclass(frozen=True, eq=False)
class _Sets:
    """Sets of genes to perturb, the wanted one first; each in its own sample of cells."""

    members: list[tuple[int, ...]]
    sample_PC: np.ndarray
    levels: dict[int, float]


@keywords(PerturbSettings)
def perturb_cells(
    model: CoTrainNetwork,
    cells: CellStore,
    genes: Sequence[int],
    options: PerturbSettings,
    *,
    rows_C: np.ndarray | None = None,
    progress: Progress | None = None,
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
    {options}
    rows_C
        Cells to use; default: all. Controls are matched among these.
    progress
        Receives ``(cells done, cells in all)``, each perturbation counting its cells.

    Raises
    ------
    UserError
        No genes; features that are never tokens; a deletion of genes that no cell expresses.
    """
    rows_C = np.arange(cells.num_cells) if rows_C is None else np.asarray(rows_C, dtype=np.int64)
    wanted = tuple(dict.fromkeys(int(gene) for gene in genes))
    moments = Statistics(cells, rows_C)[Moments()]
    _check(cells, wanted, options.mode, moments, len(rows_C))
    is_token_G = np.asarray(cells.vocab.is_token, dtype=bool)
    controls = matched_controls(moments, wanted, is_token_G, num_controls=options.num_controls, seed=options.seed)
    members = [wanted, *controls]
    genes_K = np.unique([gene for one in members for gene in one])
    columns_CK = column_values(cells, rows_C, genes_K)  # not the whole matrix, which may not fit into memory
    places = [np.searchsorted(genes_K, one) for one in members]
    sample_PC = _samples(columns_CK, places, options.mode == "delete", options.max_cells or None, options.seed)
    sets = _Sets(members, sample_PC, _levels(columns_CK, genes_K.tolist(), options.level))
    rows_of_index = np.full(cells.num_cells, -1)
    rows_of_index[rows_C] = np.arange(len(rows_C))
    shifts = _Shifts(len(members), cells.num_features)
    was_training = model.training
    model.eval()
    try:
        read = _reader(model, sets, rows_of_index, options.mode, shifts)
        over_cells(
            model,
            model.tokenizer(cells),
            read,
            rows=rows_C[sample_PC.any(axis=0)],
            progress=progress,
            total=int(sample_PC.sum()),
        )
    finally:
        model.train(was_training)
    level = options.level if options.mode == "overexpress" else None
    facts = {"mode": options.mode, "level": level, "reads_ranks": shifts.reads_ranks, "seed": options.seed}
    return _result(cells, moments, len(rows_C), sets, shifts, facts, options.num_controls)


def _reader(model: CoTrainNetwork, sets: _Sets, rows_of_index: np.ndarray, mode: str, shifts: _Shifts) -> Reader:
    """Edit the cells of a batch, once for each set, and add how far they moved; units are edited cells."""
    config, device = model.config.tokens, model.special_SD.device
    modality_G = torch.tensor([MODALITIES.index(name) for name in model.vocab.modality], device=device)

    def edit(part: PackedTokens, members: tuple[int, ...], index: Tensor) -> EditedCells | None:
        if mode == "delete":
            return delete_genes(part, index, num_bins=config.num_bins, keep_as_zeros=config.zeros_per_cell == "all")
        values = torch.tensor([sets.levels[gene] for gene in members], dtype=torch.float32, device=device)
        return overexpress_genes(
            part, index, values, modality_G[index], num_bins=config.num_bins, prepare=model.prepare_batch
        )

    def read(drawn: PackedTokens, encoder: Encoder) -> int:
        done = 0
        sample_PB = sets.sample_PC[:, rows_of_index[drawn.cell_index_B.cpu().numpy()]]
        base = rebin(drawn, num_bins=config.num_bins)
        before = encoder.cells(base)
        shifts.reads_ranks = model.prepare_batch(base).ranks_T is not None
        for row, members in enumerate(sets.members):
            if not sample_PB[row].any():
                continue
            part = take_cells(base, torch.from_numpy(np.flatnonzero(sample_PB[row])).to(device))
            index = torch.tensor(members, device=device)
            edited = edit(part.batch, members, index)
            if edited is not None:
                shifts.add(row, base, before, edited.seen_from(part), encoder.cells(edited.batch), index)
            done += part.batch.num_cells
        return done

    return read


def _samples(
    columns_CK: sparse.csr_matrix, places: Sequence[np.ndarray], delete: bool, max_cells: int | None, seed: int
) -> np.ndarray:
    """bool ``[P, C]``: the cells in which each set (columns of genes) is perturbed; sets share as many as they can."""
    num_cells = columns_CK.shape[0]
    # One order of all cells, so that the states before the edit serve many sets.
    order_C = np.random.default_rng((seed, 17)).permutation(num_cells)
    sample_PC = np.zeros((len(places), num_cells), dtype=bool)
    for row, members in enumerate(places):
        concerned_C = np.ones(num_cells, dtype=bool)
        if delete:
            concerned_C = np.diff(columns_CK[:, members].indptr) > 0
        sample_PC[row, order_C[concerned_C[order_C]][:max_cells]] = True
    return sample_PC


def _check(cells: CellStore, genes: Sequence[int], mode: str, moments: FeatureMoments, num_cells: int) -> None:
    if not genes:
        raise UserError("--gene: none given; name at least one")
    if num_cells == 0:
        raise UserError("cells: there is none to perturb; give at least one")
    never = [cells.vocab.symbols[gene] for gene in genes if not cells.vocab.is_token[gene]]
    if never:
        raise UserError(f"gene '{never[0]}': is never a token of the model (spike-in); leave it out")
    if mode == "delete" and not moments.count_G[list(genes)].any():
        names = ", ".join(cells.vocab.symbols[gene] for gene in genes)
        raise UserError(
            f"gene '{names}': expressed in none of the {num_cells:,} cells, so there is nothing to delete;"
            " give other cells, or mode overexpress"
        )


def _levels(columns_CK: sparse.csr_matrix, genes: Sequence[int], level: Level) -> dict[int, float]:
    """Value that each gene (a column each) is raised to; NaN: the highest of the cell."""
    if isinstance(level, str):
        return dict.fromkeys(genes, float("nan"))
    columns = columns_CK.tocsc()
    return {
        gene: float(np.quantile(data, level)) if len(data) else float("nan")
        for gene, data in zip(genes, np.split(columns.data, columns.indptr[1:-1]), strict=True)
    }


def _result(
    cells: CellStore,
    moments: FeatureMoments,
    num_cells: int,
    sets: _Sets,
    shifts: _Shifts,
    facts: dict[str, Any],
    num_controls: int,
) -> InSilico:
    num_wanted = int(sets.sample_PC[0].sum())
    symbols = np.asarray(cells.vocab.symbols, dtype=object)
    detected_G, mean_G = moments.detected_G, moments.mean_G
    rows: list[dict[str, Any]] = []
    for row, members in enumerate(sets.members):
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
        "genes": [str(name) for name in symbols[list(sets.members[0])]],
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
    notes = [f"{own['num_cells']:,} of {num_cells:,} cells were edited"]
    if len(others) < num_controls:
        notes.append(f"{len(others):,} of {num_controls:,} controls: too few genes are expressed in these cells")
    if own["num_cells"] < num_wanted:
        notes.append(f"in {num_wanted - own['num_cells']:,} more it is expressed, but max_tokens has no room for it")
    unseen = [symbols[gene] for gene in sets.members[0] if detected_G[gene] == 0]
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
