"""Models whose attention is known, and brute-force sums over pairs.

Dimension letters: G genes, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.objectives import GeneStates
from grn_cotrain.recipe import TokenConfig

__all__ = ["EncoderModel", "PlantedModel", "brute_force"]


class PlantedModel:
    """Attention by rule: ``weigh(reader_genes, read_genes, cell)`` gives weights, CLS reads and is read evenly."""

    def __init__(self, weigh: Callable[[np.ndarray, np.ndarray, int], np.ndarray], **tokens: Any) -> None:
        self.weigh, self.tokens = weigh, TokenConfig(**tokens)

    def encode_graph(self) -> Any:
        """No genes are needed."""
        return GeneStates(torch.zeros(0, 1), torch.zeros(0, 1))

    def tokenizer(self, cells: MemoryStore) -> Tokenizer:
        """Of the tokens given."""
        return Tokenizer(cells, self.tokens)

    def cell_attention(
        self, batch: PackedTokens, genes: Any, *, layers: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """The rule's matrix, bordered by CLS."""
        del genes, layers
        for place, (start, end) in enumerate(zip(batch.cu_lens[:-1].tolist(), batch.cu_lens[1:].tolist(), strict=True)):
            gene_L = batch.feature_ids_T[start:end].numpy() - NUM_SPECIAL
            matrix = np.full((end - start, end - start), 0.01, dtype=np.float32)
            matrix[1:, 1:] = self.weigh(gene_L[1:], gene_L[1:], int(batch.cell_index_B[place]))
            yield torch.from_numpy(matrix)


class EncoderModel:
    """A real encoder over random rows, with what read-outs ask of a model."""

    def __init__(self, encoder: Any, features_VD: Tensor, tokens: TokenConfig) -> None:
        self.encoder, self.features_VD, self.tokens = encoder, features_VD, tokens

    def encode_graph(self) -> Any:
        """The rows are at hand."""
        return GeneStates(torch.zeros(0, 1), torch.zeros(0, 1))

    def tokenizer(self, cells: MemoryStore) -> Tokenizer:
        """Of the tokens given."""
        return Tokenizer(cells, self.tokens)

    def cell_attention(
        self, batch: PackedTokens, genes: Any, *, layers: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """The encoder's own."""
        del genes
        return self.encoder.attention(batch, self.features_VD, None, layers=layers)


def brute_force(
    model: Any, cells: MemoryStore, rows: np.ndarray, direction: str, *, zeros: bool = False
) -> dict[tuple[int, int], tuple[float, float, int]]:
    """Mean weight, mean expected weight and number of cells of every (source, target), pair by pair, cell by cell."""
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    tokenizer = model.tokenizer(cells)
    for row in rows:
        batch = tokenizer.batch(np.array([row])).pack()
        (matrix,) = model.cell_attention(batch, model.encode_graph())
        weight = matrix.double().numpy()
        reads, is_read = weight.sum(1) > 0, weight.sum(0) > 0
        at = {}
        for position in range(batch.num_tokens):
            gene = int(batch.feature_ids_T[position]) - NUM_SPECIAL
            if gene >= 0 and (zeros or int(batch.bins_T[position]) > 0):
                at[gene] = position

        def expected(gene: int) -> float:
            others = [weight[p, at[gene]] for g, p in at.items() if g != gene and reads[p]]  # noqa: B023
            return float(np.mean(others)) if others else 0.0

        for source in at:
            for target in at:
                if source == target:
                    continue
                readers = {
                    "target_reads_tf": [(target, source)],
                    "tf_reads_target": [(source, target)],
                    "symmetric": [(target, source), (source, target)],
                }[direction]
                if not all(reads[at[r]] and is_read[at[c]] for r, c in readers):
                    continue
                value = np.mean([weight[at[r], at[c]] for r, c in readers])
                found.setdefault((source, target), []).append((value, np.mean([expected(c) for _, c in readers])))
    return {
        pair: (float(np.mean([v for v, _ in values])), float(np.mean([e for _, e in values])), len(values))
        for pair, values in found.items()
    }
