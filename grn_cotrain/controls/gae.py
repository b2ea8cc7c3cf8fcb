"""Graph auto-encoder of the training graph with expression components as node features.

Dimension letters: G genes, E edges, R rank, D width, M pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._boosting import validation_pairs
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import RANK, unit_loadings
from grn_cotrain.controls._selection import macro_auroc
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

if TYPE_CHECKING:
    import torch
    from torch_geometric.nn import GAE

__all__ = ["GraphAutoEncoder"]

_VALIDATION_NEGATIVES = 50_000


@CONTROLS.register("gae", paper="Kipf and Welling 2016, arXiv:1611.07308")
class GraphAutoEncoder(Control):
    """torch-geometric's ``GAE``: two GCN layers over the undirected training graph, inner-product decoder.

    Node features are the 50 expression components and two flags of the graph's own making: the logarithm of the
    training out-degree, and whether the gene is a TF. As in torch-geometric's example, message edges are also the
    supervision edges; negatives are drawn again at each epoch among pairs that may be training negatives. The epoch
    with the best macro AUROC on validation pairs is kept.

    Config
    ------
    width
        Width of the hidden layer; the embedding has half of it.
    epochs, learning_rate, every
        Epochs and learning rate of Adam; number of epochs between two validations.
    """

    name = "gae"
    cost = "costly"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`GraphAutoEncoder`."""

        width: int = 64
        epochs: int = 200
        learning_rate: float = 0.01
        every: int = 10

        def __post_init__(self) -> None:
            for name in ("width", "epochs", "learning_rate", "every"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")

    embedding_GD: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Train; the global generator of torch is left as it was."""
        import torch

        cells = self.require(cells)
        table = EdgeTable.of(split)
        self.embedding_GD = np.zeros((table.num_genes, max(2, self.config.width // 2)), dtype=np.float32)
        if not table.labels_SG.any():
            return self
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # layers of torch-geometric take no generator
            self._train(split, table, self._features(table, cells))
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Inner products ``[M]``."""
        return np.concatenate(
            [
                np.einsum("md,md->m", self.embedding_GD[block_2M[0]], self.embedding_GD[block_2M[1]], dtype=np.float64)
                for block_2M in np.array_split(pairs_2M, max(1, pairs_2M.shape[1] // 500_000), axis=1)
            ]
        )

    def _features(self, table: EdgeTable, cells: CellStore) -> torch.Tensor:
        import torch

        out_degree_G1 = np.zeros((table.num_genes, 1))
        out_degree_G1[table.sources_S, 0] = np.log1p(table.labels_SG.sum(axis=1))
        is_tf_G1 = np.zeros((table.num_genes, 1))
        is_tf_G1[table.sources_S] = 1
        # Unit rows have entries of 1 / sqrt(rank): back to unit variance.
        loadings_GR = unit_loadings(cells, rank=RANK) * np.sqrt(RANK)
        return torch.tensor(np.concatenate([loadings_GR, out_degree_G1, is_tf_G1], axis=1), dtype=torch.float32)

    def _train(self, split: EdgeSplit, table: EdgeTable, features_GR: torch.Tensor) -> None:
        import torch

        generator = np.random.default_rng([self.seed, 16])
        adjacency = table.adjacency_GG.tocoo()
        positive_2E = torch.tensor(np.stack(adjacency.coords).astype(np.int64))
        messages_2E = torch.cat([positive_2E, positive_2E.flip(0)], dim=1)
        negative_M = np.flatnonzero(table.known_SG & (table.labels_SG == 0))
        validation = validation_pairs(split, _VALIDATION_NEGATIVES, generator)
        model = _build(features_GR.shape[1], self.config.width, self.embedding_GD.shape[1])
        optimiser = torch.optim.Adam(model.parameters(), lr=self.config.learning_rate)
        best = -np.inf
        for epoch in range(1, self.config.epochs + 1):
            model.train()
            optimiser.zero_grad()
            embedding_GD = model.encode(features_GR, messages_2E)
            drawn_M = generator.choice(negative_M, positive_2E.shape[1]) if len(negative_M) else negative_M
            rows_M, columns_M = np.divmod(drawn_M, table.num_genes)
            negative_2M = torch.tensor(np.stack([table.sources_S[rows_M], columns_M]).astype(np.int64))
            loss = model.recon_loss(embedding_GD, positive_2E, negative_2M)
            loss.backward()
            optimiser.step()
            if epoch % self.config.every and epoch != self.config.epochs:
                continue
            model.eval()
            with torch.no_grad():
                embedding = model.encode(features_GR, messages_2E).numpy()
            quality = float(epoch)  # without validation pairs, the last epoch
            if validation is not None:
                (source_M, target_M), labels_M = validation
                scores_M = np.einsum("md,md->m", embedding[source_M], embedding[target_M])
                quality = macro_auroc(scores_M, labels_M, source_M, min_positives=1)
            if quality > best:
                best, self.embedding_GD = quality, embedding


def _build(num_features: int, width: int, out: int) -> GAE:
    from torch import Tensor, nn
    from torch_geometric.nn import GAE, GCNConv

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = GCNConv(num_features, width), GCNConv(width, out)

        def forward(self, features_GR: Tensor, messages_2E: Tensor) -> Tensor:
            return self.second(self.first(features_GR, messages_2E).relu(), messages_2E)

    return GAE(Encoder())
