"""Gradients and perturbations of predicted values, as scores of TF, target pairs.

Dimension letters: B cells of a batch, T packed tokens, N tokens of an edited batch, M asked tokens, G genes, S sources
(TFs), P pairs, E tokens that are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.apply import Encoder, over_cells
from grn_cotrain.apply.cells import AppliedModel, Progress
from grn_cotrain.data.assay_kinds import MODALITIES
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import MOST_PAIRS, CellGroup, cell_groups
from grn_cotrain.evaluate.in_silico_edits import add_tokens, take_cells
from grn_cotrain.jobs.value_readouts import ValueReadOutConfig
from grn_cotrain.nn.token_subset import only_tokens
from grn_cotrain.objectives import ModelView, PredictsValues, Step, ValuePredictor
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.view import Encodings

__all__ = ["FEATURES", "ValueModel", "ValueScores", "read_values"]

FEATURES = (
    "gradient", "absolute gradient", "set to zero", "absolute set to zero", "raised", "absolute raised"
)  # fmt: skip
"""Read-outs of a pair, each a mean over cells."""

_MOST_PAIRS = MOST_PAIRS // 2  # 28 bytes a pair, where attention takes 12


class ValueModel(AppliedModel, ModelView, Protocol):
    """Methods that are needed of a model; :class:`~grn_cotrain.model.CoTrainNetwork` has them."""

    def value_predictor(self) -> ValuePredictor | None:
        """The objective that predicts hidden values."""
        ...


@dataclass(frozen=True, eq=False)
class ValueScores:
    """Read-outs of pairs over sampled cells.

    Attributes
    ----------
    group
        The cells.
    sources_S
        Sorted gene indices of the rows.
    mean_FSG
        float32 mean of each of :data:`FEATURES` over the cells that show the pair; 0 where none does.
    count_SG
        int32 cells that show the pair: the source is a visible value and the target is asked for.
    """

    group: CellGroup
    sources_S: np.ndarray
    mean_FSG: np.ndarray
    count_SG: np.ndarray

    def count(self, pairs_2P: np.ndarray) -> np.ndarray:
        """Cells that show each pair: int64 ``[P]``."""
        row_P, known_P = self._rows(pairs_2P)
        return np.where(known_P, self.count_SG[row_P, pairs_2P[1]], 0).astype(np.int64)

    def features(self, pairs_2P: np.ndarray) -> np.ndarray:
        """float64 ``[P, 6]``: :data:`FEATURES` of each pair.

        Where no cell shows a pair, a signed read-out is 0, and an absolute one is the product of the means of its
        source and of its target over that of all pairs: what the two genes alone lead to expect.
        """
        row_P, known_P = self._rows(pairs_2P)
        seen_P = self.count(pairs_2P) > 0
        seen_SG = self.count_SG > 0
        result_PF = np.zeros((pairs_2P.shape[1], len(FEATURES)))
        for place, name in enumerate(FEATURES):
            mean_SG = self.mean_FSG[place]
            value_P = mean_SG[row_P, pairs_2P[1]].astype(np.float64)
            expected_P = np.zeros_like(value_P)
            if name.startswith("absolute"):
                overall = float(mean_SG.sum(dtype=np.float64) / max(1, seen_SG.sum()))
                source_S, target_G = (
                    np.where(seen_SG.any(axis), mean_SG.sum(axis, dtype=np.float64), overall)
                    / np.maximum(seen_SG.sum(axis), 1)
                    for axis in (1, 0)
                )
                source_P = np.where(known_P, source_S[row_P], overall)
                expected_P = source_P * target_G[pairs_2P[1]] / (overall or 1.0)
            result_PF[:, place] = np.where(seen_P, value_P, expected_P)
        return result_PF

    def inputs(self, pairs_2P: np.ndarray) -> np.ndarray:
        """float64 ``[P, 7]``: :meth:`features`, and the logarithm of 1 + the number of cells that show the pair."""
        return np.column_stack([self.features(pairs_2P), np.log1p(self.count(pairs_2P))])

    def _rows(self, pairs_2P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each pair's source, and whether it has one."""
        row_P = np.searchsorted(self.sources_S, pairs_2P[0]).clip(max=len(self.sources_S) - 1)
        return row_P, self.sources_S[row_P] == pairs_2P[0]


def read_values(
    model: ValueModel,
    cells: CellStore,
    sources: np.ndarray,
    targets: np.ndarray,
    config: ValueReadOutConfig | None = None,
    *,
    progress: Progress | None = None,
) -> ValueScores:
    r"""Read who moves whose predicted value.

    In each cell some targets are drawn, whether the cell expresses them or not; their values are hidden, or a hidden
    token is added, and the model predicts them, :math:`\hat x_g`. For a TF s with a visible value, the gradient is

    .. math:: \frac{\partial \hat x_g}{\partial \lambda_s}\Big|_{\lambda_s = 1}, \qquad
              z_s(\lambda) = z_s^{\text{unknown}} + \lambda \, (z_s - z_s^{\text{unknown}})

    with ``z_s`` the input of its token and ``z_s^unknown`` that of the same token with a hidden value, so it is defined
    for encoders of numbers, bins and ranks alike. The perturbations are the changes of :math:`\hat x_g` when the value
    of s is set to zero (its token is left out, or shows a zero where zeros are tokens) and when it is raised to the
    highest of the cell. After Qi et al. 2026 (arXiv 2605.08128).

    One batch of cells is held at a time. A pass serves one asked gene, or one TF, of every cell of the batch.

    Parameters
    ----------
    model
        In evaluation mode.
    cells
        Over the model's vocabulary, as the run reads them.
    sources, targets
        Gene indices of the TFs, and of the genes that are asked for.
    config
        How to read.
    progress
        Receives the number of cells done and in all.

    Raises
    ------
    UserError
        The model predicts no values; too many pairs.
    """
    config = config or ValueReadOutConfig()
    objective = model.value_predictor()
    if not isinstance(objective, PredictsValues):
        raise UserError("--gradients: the model predicts no values; train with objectives.masked_value")
    sources_S = np.unique(np.asarray(sources, dtype=np.int64))
    is_token_G = np.asarray(cells.vocab.is_token, dtype=bool)
    targets_N = np.unique(np.asarray(targets, dtype=np.int64))
    targets_N = targets_N[is_token_G[targets_N]]
    if not len(sources_S) or not len(targets_N):
        raise UserError(f"sources, targets: {len(sources_S)} and {len(targets_N)} that are tokens; name at least one")
    if len(sources_S) * cells.vocab.num_genes > _MOST_PAIRS:
        raise UserError(
            f"sources: {len(sources_S):,} of them x {cells.vocab.num_genes:,} genes; name at most"
            f" {_MOST_PAIRS // cells.vocab.num_genes:,} TFs"
        )
    (group,), _ = cell_groups(cells, None, max_cells=config.max_cells, seed=config.seed)
    reader = _Reader(model, objective, cells, sources_S, targets_N, config)
    over_cells(model, reader.tokenizer, reader.add, rows=group.rows_C, progress=progress)
    return reader.scores(group)


class _Reader:
    """Running sums over cells."""

    def __init__(
        self,
        model: ValueModel,
        objective: PredictsValues,
        cells: CellStore,
        sources_S: np.ndarray,
        targets_N: np.ndarray,
        config: ValueReadOutConfig,
    ) -> None:
        self.model, self.objective, self.config = model, objective, config
        self.tokenizer = model.tokenizer(cells)
        self.sources_S, self.targets_N = sources_S, torch.from_numpy(targets_N) + NUM_SPECIAL
        num_genes = cells.vocab.num_genes
        self.row_V = torch.full((NUM_SPECIAL + cells.num_features,), -1)
        self.row_V[torch.from_numpy(sources_S) + NUM_SPECIAL] = torch.arange(len(sources_S))
        self.sum_FSG = np.zeros((len(FEATURES), len(sources_S), num_genes), dtype=np.float32)
        self.count_SG = np.zeros((len(sources_S), num_genes), dtype=np.int32)

    def add(self, batch: PackedTokens, encoder: Encoder) -> None:
        """Add the cells of a batch."""
        batch = self.asked(batch)
        self._add_gradients(batch, encoder)
        self._add_perturbations(batch, encoder)

    def asked(self, batch: PackedTokens) -> PackedTokens:
        """The cells with drawn targets hidden; a target that a cell does not show is added as a hidden token."""
        cell_A, ids_A = [], []
        shown_B = batch.cu_lens.diff().tolist()
        for cell, (index, length) in enumerate(zip(batch.cell_index_B.tolist(), shown_B, strict=True)):
            # The draw of a cell depends on the cell alone, not on the batch that it comes in.
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + index)
            wanted = max(1, round((length - 1) * self.config.asked))
            drawn_A = self.targets_N[torch.randperm(len(self.targets_N), generator=generator)[:wanted]]
            cell_A.append(torch.full_like(drawn_A, cell))
            ids_A.append(drawn_A)
        vocabulary = len(self.row_V)
        key_A = torch.cat(cell_A) * vocabulary + torch.cat(ids_A)
        key_T = batch.cell_of_token_T.cpu() * vocabulary + batch.feature_ids_T.cpu()
        key_E = key_A[~torch.isin(key_A, key_T)]
        device = batch.values_T.device
        cell_E, ids_E = (key_E // vocabulary).to(device), (key_E % vocabulary).to(device)
        wider = add_tokens(batch, cell_E, ids_E, torch.full_like(ids_E, MODALITIES.index("gene"))).batch
        key_N = wider.cell_of_token_T * vocabulary + wider.feature_ids_T
        return self._binned(wider, torch.isin(key_N, key_A.to(device)))

    def _binned(self, batch: PackedTokens, masked_T: Tensor) -> PackedTokens:
        hidden = hide(replace(batch, ranks_T=None), masked_T, num_bins=self.tokenizer.config.num_bins)
        return self.model.prepare_batch(hidden)

    def _predict(self, batch: PackedTokens, encoder: Encoder) -> Tensor:
        genes = encoder.genes
        step = Step(genes, (self.objective.asking(batch),), Encodings(self.model, genes))
        return self.objective.read_values(self.model, step)

    def _source_rows(self, batch: PackedTokens) -> Tensor:
        """Row of each token among the sources, int64 ``[T]``; -1 unless it is a TF whose value is shown."""
        row_T = self.row_V.to(batch.values_T.device)[batch.feature_ids_T]
        return torch.where(batch.hidden_T | (batch.values_T == 0), -1, row_T)

    def _add_gradients(self, batch: PackedTokens, encoder: Encoder) -> None:
        cell_T, row_T = batch.cell_of_token_T, self._source_rows(batch)
        where_T = torch.nonzero(row_T >= 0).squeeze(1)
        where_M = torch.nonzero(batch.hidden_T).squeeze(1)
        with torch.enable_grad():
            gain_T = torch.ones_like(batch.values_T).requires_grad_()
            value_M = self._predict(replace(batch, gain_T=gain_T), encoder)
            rounds = _rounds(cell_T[where_M])
            for number, asked_R in enumerate(rounds):
                (slope_T,) = torch.autograd.grad(
                    value_M[asked_R].sum(), gain_T, retain_graph=number + 1 < len(rounds), allow_unused=True
                )
                slope_T = torch.zeros_like(gain_T) if slope_T is None else slope_T
                target_B = torch.full((batch.num_cells,), -1, device=cell_T.device)
                target_B[cell_T[where_M[asked_R]]] = batch.feature_ids_T[where_M[asked_R]] - NUM_SPECIAL
                target_P = target_B[cell_T[where_T]]
                is_asked_P = target_P >= 0
                token_P = where_T[is_asked_P]
                self._sum(0, row_T[token_P], target_P[is_asked_P], slope_T[token_P])

    @torch.no_grad()
    def _add_perturbations(self, batch: PackedTokens, encoder: Encoder) -> None:
        before_M = self._predict(batch, encoder)
        cell_T, row_T = batch.cell_of_token_T, self._source_rows(batch)
        where_M = torch.nonzero(batch.hidden_T).squeeze(1)
        where_T = torch.nonzero(row_T >= 0).squeeze(1)
        top_B = torch.zeros(batch.num_cells, device=cell_T.device).scatter_reduce(
            0, cell_T, batch.values_T.masked_fill(batch.hidden_T, 0.0), "amax"
        )
        keeps_zeros = self.tokenizer.config.zeros_per_cell == "all"
        for turned_R in _rounds(cell_T[where_T]):
            token_R = where_T[turned_R]
            cells_R = cell_T[token_R]
            is_turned_T = torch.zeros_like(batch.hidden_T).index_fill_(0, token_R, True)
            part = take_cells(batch, cells_R)
            is_turned_N = is_turned_T[part.source_N]
            row_B = torch.full((batch.num_cells,), -1, device=cell_T.device)
            row_B[cells_R] = row_T[token_R]
            asked_M = row_B[cell_T[where_M]] >= 0
            row_P = row_B[cell_T[where_M[asked_M]]]
            target_P = batch.feature_ids_T[where_M[asked_M]] - NUM_SPECIAL
            raised_N = torch.where(is_turned_N, top_B[cell_T[part.source_N]], part.batch.values_T)
            raised = self._binned(replace(part.batch, values_T=raised_N), part.batch.hidden_T)
            zeroed = replace(part.batch, values_T=part.batch.values_T.masked_fill(is_turned_N, 0.0))
            if not keeps_zeros:
                zeroed = only_tokens(part.batch, ~is_turned_N)
            zeroed = self._binned(zeroed, zeroed.hidden_T)
            for place, edited in ((2, zeroed), (4, raised)):
                self._sum(place, row_P, target_P, self._predict(edited, encoder) - before_M[asked_M])

    def _sum(self, place: int, row_P: Tensor, target_P: Tensor, value_P: Tensor) -> None:
        """Add values of pairs to the sums of a signed read-out and of its absolute twin."""
        pair = row_P.cpu().numpy(), target_P.cpu().numpy()
        value = value_P.float().cpu().numpy()
        np.add.at(self.sum_FSG[place], pair, value)
        np.add.at(self.sum_FSG[place + 1], pair, np.abs(value))
        if place == 0:  # a pair has a gradient in the cells in which it is perturbed
            np.add.at(self.count_SG, pair, 1)

    def scores(self, group: CellGroup) -> ValueScores:
        """Turn sums into means, in place."""
        self.sum_FSG /= np.maximum(self.count_SG, 1)
        return ValueScores(group, self.sources_S, self.sum_FSG, self.count_SG)


def _rounds(cell_P: Tensor) -> list[Tensor]:
    """Places of the first entry of every cell, then of the second and so on; ``cell_P`` ascends."""
    number_B = torch.bincount(cell_P)
    first_B = number_B.cumsum(0) - number_B
    rank_P = torch.arange(len(cell_P), device=cell_P.device) - first_B[cell_P]
    order_P = torch.argsort(rank_P, stable=True)
    return list(order_P.split(torch.bincount(rank_P).tolist()))
