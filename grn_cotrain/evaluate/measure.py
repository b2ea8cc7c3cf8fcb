"""Every metric of one scored list of pairs, with bootstrap replicates, from a handful of sorts.

Resampling a TF weighs all its pairs, so a replicate is a weighted metric. Macro metrics of a TF do not depend on its
own weight: one matrix product gives all replicates. Pooled metrics need the weight of each tie block in each replicate:
counts of pairs by block and TF, times the weights. Where held-out genes are resampled too, weights are summed over the
pairs of each block, a few dozen replicates at a time.

Dimension letters: M pairs, O sorted pairs, P a piece of them, K tie blocks, R groups, U and S TFs, N held-out
genes, C bootstrap columns (column 0: no resampling).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from grn_cotrain.evaluate.bootstrap import Bootstrap, Sample
from grn_cotrain.evaluate.ranks import expected_hits, expected_reciprocal_rank
from grn_cotrain.metrics.blocks import (
    Ranking,
    TieBlocks,
    block_auroc,
    block_average_precision,
    block_precision_at,
    cumulate,
    group_sum,
    rank_scores,
    tie_blocks,
)
from grn_cotrain.metrics.links import MIN_POSITIVES, degree_matched_groups, logit_strata
from grn_cotrain.present import LINK_METRICS

__all__ = ["Universe", "measure"]

_TOP = 100
_HITS = 10
_CELLS = 4_000_000  # blocks x columns held at once
_ROWS = 2048  # blocks counted by TF at once
_PAIRS = 8192  # pairs weighed at once: their weights fit into the cache
_TWO_WAY_COLUMNS = 64


@dataclass(frozen=True, eq=False)
class Universe:
    """Candidate pairs, their labels and strata: everything about a test that does not depend on the scorer.

    Attributes
    ----------
    sources_M, targets_M, labels_M
        Gene indices and bool.
    degree_M
        Other known regulators of the target (:func:`~grn_cotrain.metrics.links.leave_one_out_degree`).
    logits_M
        The additive model's scores, or None: then there is no residual AUROC.
    """

    sources_M: np.ndarray
    targets_M: np.ndarray
    labels_M: np.ndarray
    degree_M: np.ndarray
    logits_M: np.ndarray | None = None

    def subset(self, keep_M: np.ndarray) -> Universe:
        """The pairs at ``keep_M`` (indices or mask)."""
        logits_M = None if self.logits_M is None else self.logits_M[keep_M]
        return Universe(
            self.sources_M[keep_M], self.targets_M[keep_M], self.labels_M[keep_M], self.degree_M[keep_M], logits_M
        )

    @property
    def num_pairs(self) -> int:
        """Number of pairs M."""
        return len(self.labels_M)

    @property
    def prevalence(self) -> float:
        """Share of positives; NaN without pairs."""
        return float(self.labels_M.mean()) if self.num_pairs else float("nan")


@dataclass(frozen=True, eq=False)
class _Resampled:
    """A universe whose pairs know their bootstrap units."""

    universe: Universe
    bootstrap: Bootstrap
    source_M: np.ndarray
    target_M: np.ndarray | None

    @classmethod
    def build(cls, universe: Universe, bootstrap: Bootstrap) -> _Resampled:
        source_M = np.searchsorted(bootstrap.sources_S, universe.sources_M)
        target_M = None
        if bootstrap.targets_N is not None:
            target_M = np.searchsorted(bootstrap.targets_N, universe.targets_M)
        return cls(universe, bootstrap, source_M, target_M)

    def num_tfs(self, pairs: np.ndarray | None = None) -> int:
        """Number of TFs among the pairs."""
        source_M = self.source_M if pairs is None else self.source_M[pairs]
        return int(np.count_nonzero(np.bincount(source_M)))

    def block_weights(self, blocks: TieBlocks, *, of_sources: bool) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield columns of the bootstrap, and the positive and negative weight of each block in them (``[C, K]``).

        ``of_sources=False`` leaves TF weights out: right where every group is within one TF, whose weight cancels.
        If genes are not resampled either, one row stands for all.
        """
        bootstrap = self.bootstrap
        if self.target_M is None and not of_sources:
            yield slice(0, bootstrap.num_columns), blocks.positive_K[None], blocks.negative_K[None]
            return
        label_O, source_O = self.universe.labels_M[blocks.order_O], self.source_M[blocks.order_O]
        width = int(np.clip(_CELLS // max(blocks.num_blocks, 1), 32, 1024))
        if self.target_M is None:
            for columns in bootstrap.chunks(width):
                weights = _weigh_by_counts(blocks, source_O, label_O, bootstrap.source_weight_SC[:, columns])
                yield columns, *weights
            return
        assert bootstrap.target_weight_NC is not None
        target_O = self.target_M[blocks.order_O]
        for columns in bootstrap.chunks(min(width, _TWO_WAY_COLUMNS)):
            weight_NC = np.ascontiguousarray(bootstrap.target_weight_NC[:, columns])
            if of_sources:
                weight_SC = np.ascontiguousarray(bootstrap.source_weight_SC[:, columns])
                yield columns, *_weigh_by_pairs(blocks, source_O, target_O, label_O, weight_SC, weight_NC)
            else:
                yield columns, *_weigh_by_genes(blocks, target_O, label_O, weight_NC)


def _weigh_by_counts(
    blocks: TieBlocks, source_O: np.ndarray, label_O: np.ndarray, weight_SC: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weigh pairs by TF: counts of pairs by block and TF, times TF weights, some blocks at a time."""
    num_blocks, num_sources = blocks.num_blocks, len(weight_SC)
    edge_K = np.append(blocks.start_K, len(source_O))
    block_O = np.repeat(np.arange(num_blocks), blocks.size_K)
    weight_CS = np.ascontiguousarray(weight_SC.T)
    sums = np.empty((2, len(weight_CS), num_blocks), dtype=np.float32)
    for start in range(0, num_blocks, _ROWS):
        stop = min(start + _ROWS, num_blocks)
        piece = slice(edge_K[start], edge_K[stop])
        code_O = (block_O[piece] - start) * num_sources + source_O[piece]
        for row, chosen_O in enumerate((label_O[piece], ~label_O[piece])):
            count_KS = np.bincount(code_O[chosen_O], minlength=(stop - start) * num_sources)
            sums[row, :, start:stop] = weight_CS @ count_KS.reshape(-1, num_sources).T.astype(np.float32)
    return sums[0], sums[1]


def _weigh_by_genes(
    blocks: TieBlocks, target_O: np.ndarray, label_O: np.ndarray, weight_NC: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weigh pairs by target gene: a sparse block x gene matrix of pairs, times gene weights."""
    sums = []
    for chosen_O in (label_O, ~label_O):
        indptr_K = np.append(0, np.cumsum(chosen_O))[np.append(blocks.start_K, len(target_O))]
        genes_KN = _ones(target_O[chosen_O], indptr_K, len(weight_NC))
        sums.append(np.ascontiguousarray((genes_KN @ weight_NC).T))
    return sums[0], sums[1]


def _weigh_by_pairs(
    blocks: TieBlocks,
    source_O: np.ndarray,
    target_O: np.ndarray,
    label_O: np.ndarray,
    weight_SC: np.ndarray,
    weight_NC: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Weigh pairs by TF x gene: products of weights, summed by block, in pieces that stay in the cache."""
    width = weight_NC.shape[1]
    sums = np.zeros((2, blocks.num_blocks, width), dtype=np.float32)
    block_O = np.repeat(np.arange(blocks.num_blocks), blocks.size_K)
    of_source_PC, of_target_PC = (np.empty((_PAIRS, width), dtype=np.float32) for _ in range(2))
    for row, chosen_O in enumerate((np.flatnonzero(label_O), np.flatnonzero(~label_O))):
        for start in range(0, len(chosen_O), _PAIRS):
            piece_P = chosen_O[start : start + _PAIRS]
            size = len(piece_P)
            np.take(weight_SC, source_O[piece_P], axis=0, out=of_source_PC[:size], mode="clip")
            np.take(weight_NC, target_O[piece_P], axis=0, out=of_target_PC[:size], mode="clip")
            of_target_PC[:size] *= of_source_PC[:size]
            low, high = block_O[piece_P[0]], block_O[piece_P[-1]] + 1
            indptr_K = np.searchsorted(block_O[piece_P], np.arange(low, high + 1))
            sums[row, low:high] += _ones(np.arange(size), indptr_K, size) @ of_target_PC[:size]
    return np.ascontiguousarray(sums[0].T), np.ascontiguousarray(sums[1].T)


def _ones(indices: np.ndarray, indptr: np.ndarray, num_columns: int) -> sparse.csr_array:
    data = np.ones(len(indices), dtype=np.float32)
    return sparse.csr_array((data, indices.astype(np.int32), indptr.astype(np.int32)), (len(indptr) - 1, num_columns))


def measure(
    universe: Universe,
    scores_M: np.ndarray,
    bootstrap: Bootstrap,
    *,
    probability_M: np.ndarray | None = None,
    min_positives: int = MIN_POSITIVES,
    ranking: Ranking | None = None,
) -> dict[str, Sample]:
    """Every metric of :data:`grn_cotrain.present.LINK_METRICS` for one scorer, but those of specificity.

    Parameters
    ----------
    universe
        The candidates. All of their TFs (and targets, if resampled) must be units of ``bootstrap``.
    scores_M
        Finite; higher is better.
    bootstrap
        Shared by all scorers (and folds) that are to be compared.
    probability_M
        Adds the Brier score.
    min_positives
        For macro metrics.
    ranking
        Ranking of the scores, where the caller has it already.
    """
    resampled = _Resampled.build(universe, bootstrap)
    ranking = rank_scores(scores_M) if ranking is None else ranking
    samples = _pooled(resampled, tie_blocks(ranking, universe.labels_M))
    samples |= _within_tf(resampled, tie_blocks(ranking, universe.labels_M, resampled.source_M), min_positives)
    if universe.logits_M is not None:
        strata_M = logit_strata(universe.logits_M, universe.labels_M)
        samples["residual_auroc"] = _residual(resampled, tie_blocks(ranking, universe.labels_M, strata_M))
    groups_M = degree_matched_groups(resampled.source_M, universe.degree_M)
    samples["degree_matched_auroc"] = _degree_matched(
        resampled, tie_blocks(ranking, universe.labels_M, groups_M), min_positives
    )
    if probability_M is not None:
        samples["brier"] = _brier(resampled, probability_M)
    return {name: samples[name] for name in LINK_METRICS if name in samples}


def _sample(values_C: np.ndarray, universe: Universe, num_tfs: int) -> Sample:
    return Sample(values_C, np.ones_like(values_C), False, num_tfs, universe.num_pairs, universe.prevalence)


def _pooled(resampled: _Resampled, blocks: TieBlocks) -> dict[str, Sample]:
    names = ("auroc", "auprc", "auprc_ratio", "early_precision", "epr", "precision_at_100")
    values = {name: np.full(resampled.bootstrap.num_columns, np.nan) for name in names}
    if blocks.num_blocks:
        for columns, positive_CK, negative_CK in resampled.block_weights(blocks, of_sources=True):
            positive_C = positive_CK.sum(axis=1, dtype=np.float64)
            total_C = positive_C + negative_CK.sum(axis=1, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                prevalence_C = positive_C / total_C
                auprc_C = block_average_precision(positive_CK, negative_CK, blocks.first_R)[:, 0]
                early_C = block_precision_at(positive_CK, negative_CK, positive_C)
                values["auroc"][columns] = block_auroc(positive_CK, negative_CK, blocks.first_R)[:, 0]
                values["auprc"][columns] = auprc_C
                values["auprc_ratio"][columns] = auprc_C / prevalence_C
                values["early_precision"][columns] = early_C
                values["epr"][columns] = early_C / prevalence_C
                top_C = np.full(len(total_C), float(_TOP))
                values["precision_at_100"][columns] = block_precision_at(positive_CK, negative_CK, top_C)
    num_tfs = resampled.num_tfs()
    return {name: _sample(values_C, resampled.universe, num_tfs) for name, values_C in values.items()}


def _within_tf(resampled: _Resampled, blocks: TieBlocks, min_positives: int) -> dict[str, Sample]:
    bootstrap, first_R = resampled.bootstrap, blocks.first_R
    macro, ranked = ("macro_auroc", "macro_ap"), ("mrr", "hits_at_10", "mean_rank_adjusted")
    names = (*macro, *ranked, "mrr_adjusted", "hits_at_10_adjusted")
    numerator = {name: np.zeros(bootstrap.num_columns) for name in names}
    denominator = {name: np.zeros(bootstrap.num_columns) for name in names}
    positive_R = group_sum(blocks.positive_K[None], first_R)[0]
    negative_R = group_sum(blocks.negative_K[None], first_R)[0]
    enough_R = positive_R >= max(min_positives, 1)

    def add(
        name: str, columns: slice, value_CR: np.ndarray, weight_CR: np.ndarray, best_CR: np.ndarray | float
    ) -> None:
        defined_CR = np.isfinite(value_CR) & (weight_CR > 0)
        numerator[name][columns] = (np.where(defined_CR, value_CR, 0) * weight_CR).sum(axis=1)
        denominator[name][columns] = (defined_CR * weight_CR * best_CR).sum(axis=1)

    for columns, positive_CK, negative_CK in resampled.block_weights(blocks, of_sources=False):
        weight_CR = bootstrap.source_weight_SC[blocks.group_R, columns].T.astype(np.float64)
        add("macro_auroc", columns, block_auroc(positive_CK, negative_CK, first_R), weight_CR * enough_R, 1.0)
        add("macro_ap", columns, block_average_precision(positive_CK, negative_CK, first_R), weight_CR * enough_R, 1.0)

        # Filtered realistic ranks: only negatives of the TF are ahead or tied.
        rank_CK = 1 + cumulate(negative_CK, first_R) - negative_CK / 2
        known_CR = group_sum(positive_CK, first_R)
        rivals_CR = group_sum(negative_CK, first_R)
        weight_CR = weight_CR * known_CR * (rivals_CR > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mrr_CR = group_sum(positive_CK / rank_CK, first_R) / known_CR
            hits_CR = group_sum(positive_CK * (rank_CK <= _HITS), first_R) / known_CR
            lost_CR = group_sum(positive_CK * (rank_CK - 1), first_R) / known_CR
        add("mrr", columns, mrr_CR, weight_CR, 1.0)
        add("hits_at_10", columns, hits_CR, weight_CR, 1.0)
        for name, value_CR, chance_CR in (
            ("mrr_adjusted", mrr_CR, expected_reciprocal_rank(rivals_CR + 1)),
            ("hits_at_10_adjusted", hits_CR, expected_hits(rivals_CR + 1, _HITS)),
        ):
            add(name, columns, value_CR - chance_CR, weight_CR, 1 - chance_CR)
        add("mean_rank_adjusted", columns, rivals_CR / 2 - lost_CR, weight_CR, rivals_CR / 2)

    def facts(chosen_R: np.ndarray, *, mean_over_tfs: bool) -> tuple[int, int, float]:
        size_R = (positive_R + negative_R)[chosen_R]
        if not len(size_R):
            return 0, 0, float("nan")
        share_R = positive_R[chosen_R] / size_R
        return len(size_R), int(size_R.sum()), float(np.average(share_R, weights=None if mean_over_tfs else size_R))

    of_macro = facts(enough_R, mean_over_tfs=True)
    of_ranked = facts(positive_R > 0, mean_over_tfs=False)
    return {
        name: Sample(numerator[name], denominator[name], True, *(of_macro if name in macro else of_ranked))
        for name in names
    }


def _residual(resampled: _Resampled, blocks: TieBlocks) -> Sample:
    numerator_C, denominator_C = (np.zeros(resampled.bootstrap.num_columns) for _ in range(2))
    if blocks.num_blocks:
        for columns, positive_CK, negative_CK in resampled.block_weights(blocks, of_sources=True):
            auroc_CR = block_auroc(positive_CK, negative_CK, blocks.first_R)
            weight_CR = np.where(np.isfinite(auroc_CR), group_sum(positive_CK, blocks.first_R), 0)
            numerator_C[columns] = (np.nan_to_num(auroc_CR) * weight_CR).sum(axis=1)
            denominator_C[columns] = weight_CR.sum(axis=1)
    num_pairs = len(blocks.order_O)
    prevalence = float(blocks.positive_K.sum() / num_pairs) if num_pairs else float("nan")
    return Sample(numerator_C, denominator_C, False, resampled.num_tfs(blocks.order_O), num_pairs, prevalence)


def _degree_matched(resampled: _Resampled, blocks: TieBlocks, min_positives: int) -> Sample:
    bootstrap = resampled.bootstrap
    numerator_C, denominator_C = (np.zeros(bootstrap.num_columns) for _ in range(2))
    if not blocks.num_blocks:
        return Sample(numerator_C, denominator_C, True, 0, 0, float("nan"))
    first_R = blocks.first_R
    source_R = resampled.source_M[blocks.order_O[blocks.start_K[first_R]]]
    first_U = np.flatnonzero(np.append(True, source_R[1:] != source_R[:-1]))  # groups are sorted by TF
    positive_U = group_sum(group_sum(blocks.positive_K[None], first_R), first_U)[0]
    enough_U = positive_U >= max(min_positives, 1)
    for columns, positive_CK, negative_CK in resampled.block_weights(blocks, of_sources=False):
        auroc_CR = block_auroc(positive_CK, negative_CK, first_R)
        positive_CR = np.where(np.isfinite(auroc_CR), group_sum(positive_CK, first_R), 0)
        won_CU = group_sum(np.nan_to_num(auroc_CR) * positive_CR, first_U)
        positive_CU = group_sum(positive_CR, first_U)
        weight_CU = bootstrap.source_weight_SC[source_R[first_U], columns].T * (enough_U & (positive_CU > 0))
        share_CU = np.divide(won_CU, positive_CU, out=np.zeros(won_CU.shape), where=positive_CU > 0)
        numerator_C[columns] = (share_CU * weight_CU).sum(axis=1)
        denominator_C[columns] = weight_CU.sum(axis=1)
    num_pairs = len(blocks.order_O)
    prevalence = float(blocks.positive_K.sum() / num_pairs)
    return Sample(numerator_C, denominator_C, True, int(enough_U.sum()), num_pairs, prevalence)


def _brier(resampled: _Resampled, probability_M: np.ndarray) -> Sample:
    universe, bootstrap = resampled.universe, resampled.bootstrap
    error_M = (probability_M - universe.labels_M) ** 2
    num_sources = len(bootstrap.sources_S)
    if resampled.target_M is None:
        error_S = np.bincount(resampled.source_M, weights=error_M, minlength=num_sources)
        count_S = np.bincount(resampled.source_M, minlength=num_sources)
        numerator_C = error_S @ bootstrap.source_weight_SC
        denominator_C = count_S @ bootstrap.source_weight_SC.astype(np.float64)
    else:
        assert bootstrap.targets_N is not None
        assert bootstrap.target_weight_NC is not None
        shape = (num_sources, len(bootstrap.targets_N))
        code_M = resampled.source_M * shape[1] + resampled.target_M
        size = shape[0] * shape[1]
        error_SN = np.bincount(code_M, weights=error_M, minlength=size).reshape(shape)
        count_SN = np.bincount(code_M, minlength=size).reshape(shape)
        numerator_C = ((error_SN @ bootstrap.target_weight_NC) * bootstrap.source_weight_SC).sum(axis=0)
        denominator_C = ((count_SN @ bootstrap.target_weight_NC) * bootstrap.source_weight_SC).sum(axis=0)
    num_tfs = resampled.num_tfs()
    return Sample(numerator_C, denominator_C, True, num_tfs, universe.num_pairs, universe.prevalence)
