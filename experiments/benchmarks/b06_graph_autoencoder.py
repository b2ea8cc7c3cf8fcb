"""B6: one training epoch of a graph auto-encoder, against torch-geometric's.

The peer is torch-geometric's own recipe (``examples/autoencoder.py``): GAE over two GCN layers, binary cross-entropy on
all positives and as many sampled negatives, full batch, Adam; once over ``edge_index`` and once over a CSR matrix.
Ours is the encoder ``gcn`` over the ``csr`` back end with the same weights, the same loss on all positives, and as
negatives dense blocks of genes against genes, ten times as many pairs. The negatives are drawn differently, so three
things stand for equal work: the encoder's output and the positive loss are asserted equal, and so is the AUROC of
held-out edges after equal epochs, of the timed network and of a smaller one that is trained for longer.

Dimension letters: G genes, D width, E edges, P pairs, S sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from experiments.benchmarks.harness import Context, Row, assert_agrees, assert_near
from grn_cotrain.errors import MissingExtraError
from grn_cotrain.nn.backends import get_backend
from grn_cotrain.nn.graph_encoders.gcn import Gcn
from grn_cotrain.nn.pairwise import PairSet, all_pairs_bce, pair_logits
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["ID", "TITLE", "run"]

ID = "B6"
TITLE = "graph auto-encoder, one epoch (20k genes, 1M edges, D 256)"

_LEARNING_RATE = 0.01
_BLOCK = 512  # genes that each gene meets as negatives in one epoch
_AUROC_TOLERANCE = 0.002
_CONVERGED = (2_000, 40_000, 64, 60)  # genes, edges, width, epochs of the run whose AUROC is compared


@dataclass(frozen=True)
class _Data:
    """A directed network with communities, so that an AUROC means something; features know them faintly."""

    features_GD: Tensor
    train_2E: Tensor
    test_2P: Tensor
    labels_P: Tensor


def _simulate(num_genes: int, num_edges: int, width: int, generator: torch.Generator) -> _Data:
    num_groups = num_genes // 100
    group_G = torch.randint(num_groups, (num_genes,), generator=generator)
    member_G, start = torch.argsort(group_G, stable=True), torch.bincount(group_G, minlength=num_groups).cumsum(0)
    size = torch.bincount(group_G, minlength=num_groups)
    num_test = num_edges // 20
    draws = int((num_edges + num_test) * 1.6)
    source = torch.randint(num_genes, (draws,), generator=generator)
    # Half of the targets are in the source's own community.
    place = (torch.rand(draws, generator=generator) * size[group_G[source]]).long()
    inside = member_G[start[group_G[source]] - size[group_G[source]] + place]
    target = torch.where(
        torch.rand(draws, generator=generator) < 0.5, inside, torch.randint(num_genes, (draws,), generator=generator)
    )
    key = torch.unique((source * num_genes + target)[source != target])
    key = key[torch.randperm(key.shape[0], generator=generator)[: num_edges + num_test]]
    negative = torch.randint(num_genes * num_genes, (num_test,), generator=generator)
    negative = negative[~torch.isin(negative, key) & (negative // num_genes != negative % num_genes)]
    test = torch.cat([key[num_edges:], negative])
    features_GD = torch.randn(num_genes, width, generator=generator)
    features_GD += 0.3 * torch.randn(num_groups, width, generator=generator)[group_G]
    return _Data(
        features_GD,
        torch.stack([key[:num_edges] // num_genes, key[:num_edges] % num_genes]),
        torch.stack([test // num_genes, test % num_genes]),
        torch.cat([torch.ones(num_test), torch.zeros(negative.shape[0])]),
    )


class _Rival:
    """One model with its optimiser: ``epoch()`` trains, ``encode()`` gives the rows."""

    def __init__(self, model: nn.Module, encode: Callable[[], Tensor], loss: Callable[[Tensor], Tensor]) -> None:
        self.model, self.encode, self.loss = model, encode, loss
        self.optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)

    def epoch(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        self.loss(self.encode()).backward()
        self.optimizer.step()

    def auroc(self, data: _Data) -> float:
        self.model.eval()
        with torch.no_grad():
            rows_GD = self.encode()
            source_PD, target_PD = rows_GD[data.test_2P[0]], rows_GD[data.test_2P[1]]
        return float(roc_auc_score(data.labels_P.numpy(), (source_PD * target_PD).sum(1).numpy()))


def _torch_geometric(data: _Data, *, sparse: bool) -> _Rival:
    """GAE as in the example; ``cached`` spares it the normalisation of every epoch."""
    from torch_geometric.nn import GAE, GCNConv
    from torch_geometric.utils import to_torch_csr_tensor

    class Encoder(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv1 = GCNConv(width, width, cached=True)
            self.conv2 = GCNConv(width, width, cached=True)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            return self.conv2(self.conv1(x, edges).relu(), edges)

    num_genes, width = data.features_GD.shape
    edges = to_torch_csr_tensor(data.train_2E.flip(0), size=(num_genes, num_genes)) if sparse else data.train_2E
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GAE(Encoder(width))
    return _Rival(
        model, lambda: model.encode(data.features_GD, edges), lambda rows: model.recon_loss(rows, data.train_2E)
    )


def _copy_weights(encoder: Gcn, peer: Any) -> None:
    for layer, conv in zip(encoder.layers, (peer.encoder.conv1, peer.encoder.conv2), strict=True):
        linear = layer.linear
        assert isinstance(linear, nn.Linear)
        linear.weight.data.copy_(conv.lin.weight.data)
        linear.bias.data.copy_(conv.bias.data)


def _encoder(data: _Data, backend: str, peer: Any) -> Gcn:
    config = Gcn.Config(num_layers=2, dropout=0.0, residual=False, norm="none")
    encoder = Gcn(config, width=data.features_GD.shape[1], num_relations=3, backend=get_backend(backend))
    _copy_weights(encoder, peer)
    return encoder


def _ours(data: _Data, peer: Any, seed: int) -> tuple[_Rival, PairSet]:
    num_genes = data.features_GD.shape[0]
    graph = MessageGraph.build(data.train_2E, num_genes, bidirectional=False)
    positives = PairSet.build(data.train_2E[0], data.train_2E[1], num_genes, num_genes)
    encoder, generator = _encoder(data, "csr", peer), torch.Generator().manual_seed(seed)

    def loss(rows_GD: Tensor) -> Tensor:
        positive = F.softplus(-pair_logits(rows_GD, rows_GD, positives)).mean()
        # Genes are dealt into blocks, and every block is scored against another one: each gene meets as many others.
        order_G = torch.randperm(num_genes, generator=generator)
        place_G = torch.empty_like(order_G)
        place_G[order_G] = torch.arange(num_genes)
        blocks = rows_GD.index_select(0, order_G).split(_BLOCK)
        shift = int(torch.randint(1, len(blocks), (), generator=generator))
        row_P, column_P = place_G[positives.row_P], place_G[positives.column_P]
        met = (row_P // _BLOCK + shift) % len(blocks) == column_P // _BLOCK
        row_P, column_P = row_P[met], column_P[met]
        total, count = rows_GD.new_zeros(()), 0
        for index, rows in enumerate(blocks):
            columns = blocks[(index + shift) % len(blocks)]
            inside = row_P // _BLOCK == index
            known = PairSet.build(row_P[inside] % _BLOCK, column_P[inside] % _BLOCK, rows.shape[0], columns.shape[0])
            found = all_pairs_bce(rows, columns, known)
            total, count = total + found.negative * found.num_negatives, count + found.num_negatives
        return positive + total / count

    return _Rival(encoder, lambda: encoder(data.features_GD, graph), loss), positives


def _dgl(data: _Data, peer: Any, seed: int) -> _Rival:
    """The same encoder over DGL's kernels; positives and sampled negatives by its sampled product ``u_dot_v``."""
    import dgl

    num_genes = data.features_GD.shape[0]
    graph = MessageGraph.build(data.train_2E, num_genes, bidirectional=False)
    encoder, generator = _encoder(data, "dgl", peer), torch.Generator().manual_seed(seed)
    positives = dgl.graph(tuple(data.train_2E.int()), num_nodes=num_genes)

    def loss(rows_GD: Tensor) -> Tensor:
        drawn = torch.randint(num_genes, data.train_2E.shape, generator=generator, dtype=torch.int32)
        negatives = dgl.graph(tuple(drawn), num_nodes=num_genes)
        positive, negative = (dgl.ops.u_dot_v(pairs, rows_GD, rows_GD) for pairs in (positives, negatives))
        return F.softplus(-positive).mean() + F.softplus(negative).mean()

    return _Rival(encoder, lambda: encoder(data.features_GD, graph), loss)


def _exact(context: Context, rows_GD: Tensor, positives: PairSet) -> tuple[float, float]:
    """Exact negative loss over all pairs, and the seconds of loss and gradient."""
    rows_GD = rows_GD.detach().requires_grad_()
    start = context.now()
    found = all_pairs_bce(rows_GD, rows_GD, positives, self_S=torch.arange(rows_GD.shape[0]))
    torch.autograd.grad(found.positive + found.negative, rows_GD)
    return float(found.negative.detach()), context.now() - start


def _converged(context: Context) -> Row:
    """Train both to the end on a smaller network and compare what they know about held-out edges."""
    num_genes, num_edges, width, num_epochs = _CONVERGED
    data = _simulate(num_genes, num_edges, width, context.generator())
    torch.manual_seed(context.seed)
    peer = _torch_geometric(data, sparse=False)
    ours, _ = _ours(data, peer.model, context.seed)
    for _ in range(3 if context.quick else num_epochs):
        ours.epoch()
        peer.epoch()
    tolerance = 1.0 if context.quick else _AUROC_TOLERANCE
    note = assert_near("AUROC, ours", ours.auroc(data), peer.auroc(data), tolerance=tolerance)
    return Row(f"same quality: {num_epochs} epochs, {num_genes:,} genes, {num_edges:,} edges", note=note)


def run(context: Context) -> list[Row]:
    """See the module."""
    num_genes, num_edges, width = (2_000, 20_000, 64) if context.quick else (20_000, 1_000_000, 256)
    data = _simulate(num_genes, num_edges, width, context.generator())
    torch.manual_seed(context.seed)  # torch-geometric draws its negatives from the global state
    peers = {"edge_index": _torch_geometric(data, sparse=False), "CSR": _torch_geometric(data, sparse=True)}
    ours, positives = _ours(data, peers["edge_index"].model, context.seed)
    rivals = {"ours": ours, **peers}
    rows: list[Row] = []
    try:
        get_backend("dgl")
        rivals["DGL"] = _dgl(data, peers["edge_index"].model, context.seed)
    except MissingExtraError as error:
        rows.append(Row("DGL", note=f"absent: {error}"))

    # Agreement, which also warms every rival up: same rows, same positive loss, before any weight has moved.
    with torch.no_grad():
        expected_GD = peers["edge_index"].encode()
        for name, rival in rivals.items():
            agreed = assert_agrees(f"encoder output ({name})", rival.encode(), expected_GD)
        theirs = -torch.sigmoid((expected_GD[data.train_2E[0]] * expected_GD[data.train_2E[1]]).sum(1)).log().mean()
        positive = F.softplus(-pair_logits(expected_GD, expected_GD, positives)).mean()
        assert_agrees("positive loss", positive, theirs)
    rivals["ours"].loss(expected_GD.requires_grad_()).backward()

    seconds = context.measure({name: rival.epoch for name, rival in rivals.items()}, warmup=0)
    auroc = {name: rival.auroc(data) for name, rival in rivals.items()}
    for name in peers:
        assert_near(f"AUROC ({name})", auroc["ours"], auroc[name], tolerance=1.0 if context.quick else _AUROC_TOLERANCE)
    rows = [
        _converged(context),
        Row("ours (gcn, csr)", seconds["ours"], note=f"AUROC {auroc['ours']:.4f} after 3 epochs; {agreed}"),
        *(
            Row(
                f"torch-geometric GAE, {name}",
                seconds[name],
                seconds[name] / seconds["ours"],
                f"AUROC {auroc[name]:.4f}",
            )
            for name in peers
        ),
        *rows,
    ]
    if "DGL" in rivals:
        note = f"AUROC {auroc['DGL']:.4f}; reported only"
        rows.append(Row("gcn over DGL", seconds["DGL"], seconds["DGL"] / seconds["ours"], note))
    exact, exact_seconds = _exact(context, ours.encode(), positives)
    pairs = f"{num_genes**2:.0e}".replace("e+0", "e")
    rows.append(
        Row(
            f"exact loss and gradient over all {pairs} pairs",
            exact_seconds,
            note=f"mean over negatives {exact:.4f}; once",
        )
    )
    return rows
