"""The network inside the language model: who reads whom in the cells of a type, as scores of TF, target pairs.

Only genes are scored, in the cells that have RNA. Tokens of other features take part in a cell's attention, and are
left out of every sum.

Dimension letters: C cells, G genes, L tokens of a cell, K of them kept, S sources (TFs), M pairs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grn_cotrain.apply import Encoder, over_cells
from grn_cotrain.apply.cells import AppliedModel, OneEncoder, Progress, shifted
from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention_weights import column_means, pagerank, rank_normalised
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.model import CoTrainNetwork

__all__ = [
    "ALL_CELLS",
    "MOST_PAIRS",
    "AttentionScores",
    "CellGroup",
    "cell_groups",
    "excess",
    "read_attention",
    "rna_cells",
]

ALL_CELLS = "all cells"
"""Name of the group that holds all cells."""

MOST_PAIRS = 64_000_000
"""Sources x genes that one read-out may hold: at 12 bytes a pair 768 MB. 255 TFs of 9,015 genes are 2.3 million."""

_ROUNDING = 1e-5  # error of a mean over some thousand float32 weights


@dataclass(frozen=True, eq=False)
class CellGroup:
    """Cells of one type: ``rows_C`` were drawn of ``num_cells``."""

    name: str
    rows_C: np.ndarray
    num_cells: int


def cell_groups(
    cells: CellStore, by: str | None, *, max_cells: int | None, seed: int = 0
) -> tuple[list[CellGroup], int]:
    """Groups by a column of obs, sorted by name, each with a seeded draw of at most ``max_cells`` cells that have RNA.

    Returns
    -------
    groups, int
        The number counts cells with RNA and without a label, which are in no group.

    Raises
    ------
    UserError
        No such column; no cell has a label.
    """
    has_rna_C = rna_cells(cells)
    if by is None:
        labels_C = pd.Series(ALL_CELLS, index=range(cells.num_cells))
    else:
        labels_C = as_labels(obs_column(cells.obs, by, "--by")).reset_index(drop=True)
    labelled_C = labels_C.notna().to_numpy() & has_rna_C
    names_C = labels_C.to_numpy()
    groups = []
    for name in sorted(set(names_C[labelled_C])):
        members = np.flatnonzero((names_C == name) & labelled_C)
        rows_C = members
        if max_cells is not None and len(members) > max_cells:
            # A stream of its own: the draw of one type does not depend on which other types there are.
            generator = np.random.default_rng((seed, zlib.crc32(name.encode())))
            rows_C = np.sort(generator.choice(members, max_cells, replace=False))
        groups.append(CellGroup(name, rows_C, len(members)))
    if not groups:
        raise UserError(f"--by '{by}': no cell has a label; choose another column")
    return groups, int((has_rna_C & ~labelled_C).sum())


def rna_cells(cells: CellStore) -> np.ndarray:
    """bool ``[C]``: the cells whose genes were measured."""
    assay = modality_of("gene").assay
    return cells.present(assay) if assay in cells.assays else np.zeros(cells.num_cells, dtype=bool)


@dataclass(frozen=True, eq=False)
class AttentionScores:
    """Attention between sources and all genes, over the cells of one group.

    A pair is seen in a cell where both are tokens, the reader reads something by attention and the other is read by
    anyone. Self-pairs are never seen.

    Attributes
    ----------
    group
        The cells.
    config
        How they were read.
    sources_S
        Sorted gene indices of the rows.
    weight_SG
        float32 mean weight over the cells that show the pair; 0 where none does.
    expected_SG
        float32 mean, over the same cells, of the weight that the read gene gets from *all* its readers in that cell
        (its column mean): what popularity alone would give the pair.
    count_SG
        int32 cells that show the pair.
    popularity_G
        float64 mean column mean of each gene over the cells where it is read; the overall mean where it never is.
    received_G, pagerank_G
        float64 mean column sum (the attention a gene receives in a cell) and mean PageRank times the number of tokens
        (1: an average token); NaN for genes that are read in no cell.
    num_read_G
        int64 cells in which each gene is read.
    num_cut
        Cells that hold more tokens than the model takes, and lost their lowest values.
    """

    group: CellGroup
    config: AttentionConfig
    sources_S: np.ndarray
    weight_SG: np.ndarray
    expected_SG: np.ndarray
    count_SG: np.ndarray
    popularity_G: np.ndarray
    received_G: np.ndarray
    pagerank_G: np.ndarray
    num_read_G: np.ndarray
    num_cut: int

    @property
    def num_cells(self) -> int:
        """Cells that were read."""
        return len(self.group.rows_C)

    def count(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Cells that show each pair: int64 ``[M]``; 0 for sources that were not read."""
        row_M, known_M = self._rows(pairs_2M)
        return np.where(known_M, self.count_SG[row_M, pairs_2M[1]], 0).astype(np.int64)

    def score(self, pairs_2M: np.ndarray, *, corrected: bool = False) -> np.ndarray:
        """Mean weight of each pair, float64 ``[M]``; ``corrected``: less what is expected from popularity.

        A pair that no cell shows gets the popularity of the gene that would be read (``symmetric``: the mean of both),
        and 0 if corrected: what is expected, and no more.
        """
        row_M, _ = self._rows(pairs_2M)
        target_M = pairs_2M[1]
        weight_M = self.weight_SG[row_M, target_M].astype(np.float64)
        seen_M = self.count(pairs_2M) > 0
        if corrected:
            return np.where(seen_M, excess(weight_M, self.expected_SG[row_M, target_M].astype(np.float64)), 0.0)
        popularity_2M = self.popularity_G[pairs_2M]
        fallback_M = {
            "target_reads_tf": popularity_2M[0],
            "tf_reads_target": popularity_2M[1],
            "symmetric": popularity_2M.mean(axis=0),
        }[self.config.direction]
        return np.where(seen_M, weight_M, fallback_M)

    def _rows(self, pairs_2M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each pair's source, and whether it has one."""
        if not len(self.sources_S):
            raise UserError("sources: none were read; name at least one TF")
        row_M = np.searchsorted(self.sources_S, pairs_2M[0]).clip(max=len(self.sources_S) - 1)
        return row_M, self.sources_S[row_M] == pairs_2M[0]


def excess(weight: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """``weight - expected``, 0 where the two differ by the rounding of float32 sums alone."""
    difference = weight - expected
    difference[np.abs(difference) <= _ROUNDING * np.abs(expected)] = 0
    return difference


def read_attention(
    model: AppliedModel,
    cells: CellStore,
    sources: np.ndarray,
    groups: Sequence[CellGroup],
    config: AttentionConfig | None = None,
    *,
    centrality: bool = False,
    progress: Progress | None = None,
) -> Iterator[AttentionScores]:
    """Yield the scores of each group, one after another.

    Memory: 12 bytes per source and gene, for one group at a time (whatever the caller keeps aside), and one ``[L, L]``
    matrix; neither grows with the number of cells or of groups.

    Parameters
    ----------
    model
        In evaluation mode.
    cells
        Over the model's vocabulary, as the run reads them.
    sources
        Gene indices of the TFs.
    groups
        From :func:`cell_groups`.
    centrality
        Compute PageRank in every cell too (20 or so products of the matrix with a vector).
    progress
        Function that receives the number of cells done and in all.

    Raises
    ------
    UserError
        More than :data:`MOST_PAIRS` sources x genes; layers that the encoder does not have, or in which no gene reads
        another.
    """
    config = config or AttentionConfig()
    sources_S = np.unique(np.asarray(sources, dtype=np.int64))
    _check_memory(len(sources_S), cells.vocab.num_genes)
    if isinstance(model, CoTrainNetwork):
        model = OneEncoder(model, model.gene_encoder(config.encoder))
    encoder, tokenizer = Encoder.of(model), model.tokenizer(cells)
    nonzero_C = np.sum([cells.num_values(name, tokens=True) for name in tokenizer.assays], axis=0)
    before, total = 0, sum(len(group.rows_C) for group in groups)
    for group in groups:
        sums = _Sums(sources_S, cells.vocab.num_genes, config, centrality)
        told = shifted(progress, before, total)
        over_cells(model, tokenizer, sums.add_batch, rows=group.rows_C, encoder=encoder, progress=told)
        before += len(group.rows_C)
        if config.layers is not None and not sums.num_read_G.any():
            raise UserError(
                f"--layers '{','.join(map(str, config.layers))}': no gene reads another there in cells of {group.name}"
                " (layers of a decoder that serve hidden genes alone have nothing to do here); give all, or others"
            )
        num_cut = int((nonzero_C[group.rows_C] > tokenizer.config.max_values).sum())
        yield sums.scores(group, num_cut)


def _check_memory(num_sources: int, num_genes: int) -> None:
    if num_sources * num_genes > MOST_PAIRS:
        raise UserError(
            f"sources: {num_sources:,} of them x {num_genes:,} genes take {num_sources * num_genes * 12 / 1e9:.1f} GB,"
            f" more than {MOST_PAIRS * 12 / 1e9:.1f} GB; name at most {MOST_PAIRS // max(1, num_genes):,} TFs"
        )


class _Sums:
    """Running sums of one group."""

    def __init__(self, sources_S: np.ndarray, num_genes: int, config: AttentionConfig, centrality: bool) -> None:
        shape = (len(sources_S), num_genes)
        self.sources_S, self.config, self.centrality = sources_S, config, centrality
        self.row_G = np.full(num_genes, -1)
        self.row_G[sources_S] = np.arange(len(sources_S))
        self.weight_SG = np.zeros(shape, dtype=np.float32)
        self.expected_SG = np.zeros(shape, dtype=np.float32)
        self.count_SG = np.zeros(shape, dtype=np.int32)
        self.mean_G, self.received_G, self.pagerank_G = np.zeros((3, num_genes))
        self.num_read_G = np.zeros(num_genes, dtype=np.int64)

    def add_batch(self, batch: PackedTokens, encoder: Encoder) -> None:
        """Add the cells of a batch."""
        bounds_B = batch.cu_lens.tolist()
        for place, matrix_LL in enumerate(encoder.attention(batch, self.config.layers)):
            tokens = slice(bounds_B[place], bounds_B[place + 1])
            self.add(
                matrix_LL.float().cpu().numpy(),
                batch.feature_ids_T[tokens].cpu().numpy() - NUM_SPECIAL,
                batch.bins_T[tokens].cpu().numpy() > 0,
            )

    def add(self, matrix_LL: np.ndarray, gene_L: np.ndarray, nonzero_L: np.ndarray) -> None:
        """Add one cell; special tokens have negative ``gene_L``, other features than genes come after them."""
        keep_L = (gene_L >= 0) & (gene_L < len(self.row_G)) & (nonzero_L | self.config.zeros)
        # Tokens that read nothing, or that no one can read (those an encoder only decodes), carry no information about
        # a pair.
        reads_K = matrix_LL.sum(axis=1)[keep_L] > 0
        is_read_K = matrix_LL.sum(axis=0)[keep_L] > 0
        gene_K = gene_L[keep_L]
        weight_KK = matrix_LL[np.ix_(keep_L, keep_L)]
        if self.config.rank_normalised:
            weight_KK = rank_normalised(weight_KK, reads_K, is_read_K)
        mean_K, sum_K = column_means(weight_KK, reads_K)
        has_reader_K = is_read_K & (reads_K.sum() > reads_K)
        read = gene_K[has_reader_K]
        self.mean_G[read] += mean_K[has_reader_K]
        self.received_G[read] += sum_K[has_reader_K]
        self.num_read_G[read] += 1
        if self.centrality and len(read):
            self.pagerank_G[read] += pagerank(weight_KK[np.ix_(has_reader_K, has_reader_K)]) * len(read)
        self._add_pairs(weight_KK, mean_K.astype(np.float32), gene_K, reads_K, has_reader_K)

    def _add_pairs(
        self,
        weight_KK: np.ndarray,
        mean_K: np.ndarray,
        gene_K: np.ndarray,
        reads_K: np.ndarray,
        is_read_K: np.ndarray,
    ) -> None:
        is_source_K = self.row_G[gene_K] >= 0
        direction = self.config.direction
        if direction == "target_reads_tf":
            source, target = np.flatnonzero(is_source_K & is_read_K), np.flatnonzero(reads_K)
            weight_ST = weight_KK[np.ix_(target, source)].T
            expected_ST = mean_K[source][:, None]
        elif direction == "tf_reads_target":
            source, target = np.flatnonzero(is_source_K & reads_K), np.flatnonzero(is_read_K)
            weight_ST = weight_KK[np.ix_(source, target)]
            expected_ST = mean_K[target][None, :]
        else:
            both_K = reads_K & is_read_K
            source, target = np.flatnonzero(is_source_K & both_K), np.flatnonzero(both_K)
            weight_ST = (weight_KK[np.ix_(source, target)] + weight_KK[np.ix_(target, source)].T) / 2
            expected_ST = (mean_K[source][:, None] + mean_K[target][None, :]) / 2
        where = np.ix_(self.row_G[gene_K[source]], gene_K[target])
        self.weight_SG[where] += weight_ST
        self.expected_SG[where] += expected_ST
        self.count_SG[where] += 1

    def scores(self, group: CellGroup, num_cut: int) -> AttentionScores:
        """Turn sums into means, in place."""
        own = (np.arange(len(self.sources_S)), self.sources_S)
        for array_SG in (self.weight_SG, self.expected_SG, self.count_SG):
            array_SG[own] = 0
        for row, count_G in enumerate(self.count_SG):  # by rows: no second table is held
            divisor_G = np.maximum(count_G, 1).astype(np.float32)
            self.weight_SG[row] /= divisor_G
            self.expected_SG[row] /= divisor_G
        seen_G = self.num_read_G > 0
        cells_G = np.maximum(self.num_read_G, 1)
        overall = self.mean_G.sum() / max(1, int(self.num_read_G.sum()))
        nowhere_G = np.full(len(seen_G), np.nan)
        return AttentionScores(
            group=group,
            config=self.config,
            sources_S=self.sources_S,
            weight_SG=self.weight_SG,
            expected_SG=self.expected_SG,
            count_SG=self.count_SG,
            popularity_G=np.where(seen_G, self.mean_G / cells_G, overall),
            received_G=np.where(seen_G, self.received_G / cells_G, nowhere_G),
            pagerank_G=np.where(seen_G & self.centrality, self.pagerank_G / cells_G, nowhere_G),
            num_read_G=self.num_read_G,
            num_cut=num_cut,
        )
