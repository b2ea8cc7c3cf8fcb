"""Small random cells with a known low-rank structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.vocab import NUM_SPECIAL, FeatureVocab
from grn_cotrain.objectives import GeneStates, LossOutput, Objective

__all__ = ["Given", "ToyModel", "toy_cells"]


@dataclass(frozen=True)
class Given:
    """Gene states, cells and a generator: what an objective is scored on."""

    genes: GeneStates
    cells: PackedTokens
    generator: torch.Generator

    def score(self, objective: Objective, model: ToyModel) -> LossOutput:
        """The objective's record of these cells."""
        return objective.on_cells(model, self.genes, self.cells, self.generator)


def toy_cells(
    num_cells: int = 12,
    num_genes: int = 30,
    *,
    kind: Literal["counts", "log"] = "counts",
    spike_ins: int = 2,
    density: float = 0.4,
    seed: int = 0,
) -> MemoryStore:
    """Poisson counts (or their logarithms) of a rank-2 world; the last ``spike_ins`` features are no tokens."""
    generator = np.random.default_rng(seed)
    names = [f"GENE{i}" for i in range(num_genes - spike_ins)] + [f"ERCC-{i:05d}" for i in range(spike_ins)]
    states = generator.standard_normal((num_cells, 2))
    rate = np.exp(0.5 + 0.5 * states @ generator.standard_normal((2, num_genes)))
    counts = (generator.poisson(rate) + 1) * (generator.random(rate.shape) < density)
    values = counts if kind == "counts" else np.log1p(counts)
    return MemoryStore.build(FeatureVocab.from_symbols(names, species="human"), values, kind=kind)


class ToyModel:
    """What objectives ask of a model, over one encoder and one table."""

    def __init__(self, encoder: torch.nn.Module, width: int) -> None:
        self.encoder = encoder
        generator = torch.Generator().manual_seed(5)
        self.special_SD = torch.randn(NUM_SPECIAL, width, generator=generator)

    @property
    def link_decoder(self):
        """No links here."""
        raise NotImplementedError

    def encode_cells(self, batch, genes: GeneStates):
        """Encode over the table's rows."""
        return self.encoder(batch, torch.cat([self.special_SD, genes.table_GD]))

    def prepare_batch(self, batch):
        """What the encoder computes before anything is hidden."""
        return self.encoder.prepare_batch(batch)

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        """Rows of the table."""
        return genes.table_GD[feature_ids_T - NUM_SPECIAL]

    def every_row(self, genes: GeneStates) -> Tensor:
        """Rows of all features."""
        return genes.table_GD
