"""B7: sparse graph attention against attention over the dense adjacency matrix.

GENELink (Chen & Liu 2022) scores all N x N pairs of genes, masks those without an edge and takes a softmax of whole
rows. Its attention is Velickovic's (2018): the logit of an edge is a sum of a source term and a target term. Two
comparisons, each of one layer and one function, forward and backward in training mode (agreement is asserted without
dropout):

- that attention, dense as GENELink writes it, against our primitives over edges;
- gatv2, whose logits need N x N x D values when dense (one head at a time, or memory runs out), against our encoder.

Dimension letters: G genes, D width, H heads, K width of a head, E edges.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks.harness import Context, Row, assert_agrees
from grn_cotrain.nn.backends import MessageBackend, get_backend
from grn_cotrain.nn.graph_encoders.gatv2 import GatV2, GatV2Layer
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["ID", "TITLE", "run"]

ID = "B7"
TITLE = "graph attention, one layer, 3 heads of 64, forward + backward (2,000 genes, 40k edges)"

_HEADS, _HEAD_WIDTH, _SLOPE = 3, 64, 0.2
_DROPOUT = 0.5  # dropout of attention in GENELink
_WIDTH = _HEADS * _HEAD_WIDTH


class _Attention(nn.Module):
    """Weights of Velickovic's attention, as GENELink holds them: per head a projection and two vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_HDK = nn.Parameter(torch.randn(_HEADS, _WIDTH, _HEAD_WIDTH) / _WIDTH**0.5)
        self.source_HK = nn.Parameter(torch.randn(_HEADS, _HEAD_WIDTH) / _HEAD_WIDTH**0.5)
        self.target_HK = nn.Parameter(torch.randn(_HEADS, _HEAD_WIDTH) / _HEAD_WIDTH**0.5)

    def dense(self, genes_GD: Tensor, adjacency_GG: Tensor) -> Tensor:
        """Rows of the matrix are targets; every head unpacks the adjacency, builds and masks a G x G matrix."""
        outputs = []
        for weight_DK, source_K, target_K in zip(self.weight_HDK, self.source_HK, self.target_HK, strict=True):
            rows_GK = genes_GD @ weight_DK
            logits_GG = F.leaky_relu((rows_GK @ target_K).unsqueeze(1) + rows_GK @ source_K, _SLOPE)
            masked_GG = torch.where(adjacency_GG.to_dense() > 0, logits_GG, -9e15 * torch.ones_like(logits_GG))
            share_GG = F.dropout(F.softmax(masked_GG, dim=1), _DROPOUT, self.training)
            outputs.append(share_GG @ rows_GK)
        return torch.cat(outputs, 1)

    def sparse(self, genes_GD: Tensor, graph: MessageGraph, backend: MessageBackend) -> Tensor:
        """The same over edges alone; both logit terms come from ``genes (W a)`` instead of ``(genes W) a``."""
        rows_GHK = (genes_GD @ self.weight_HDK.transpose(0, 1).flatten(1)).view(-1, _HEADS, _HEAD_WIDTH)
        ends_H2K = torch.stack([self.source_HK, self.target_HK], 1)
        ends_2GH = torch.einsum("gd,hdk,hik->igh", genes_GD, self.weight_HDK, ends_H2K)
        source_E, target_E = graph.edge_index_2E
        logits_EH = F.leaky_relu(ends_2GH[0].index_select(0, source_E) + ends_2GH[1].index_select(0, target_E), _SLOPE)
        share_EH = F.dropout(backend.edge_softmax(logits_EH, graph), _DROPOUT, self.training)
        return backend.aggregate_heads(rows_GHK, graph, share_EH).flatten(1)


def _dense_gatv2(layer: GatV2Layer, genes_GD: Tensor, adjacency_GG: Tensor) -> Tensor:
    """gatv2 over the dense adjacency matrix, a head at a time."""
    shape = (genes_GD.shape[0], *layer.attention_HK.shape)
    source_GHK, target_GHK = layer.source(genes_GD).view(shape), layer.target(genes_GD).view(shape)
    outputs = []
    for head, attention_K in enumerate(layer.attention_HK):
        sum_GGK = target_GHK[:, head].unsqueeze(1) + source_GHK[:, head]
        logits_GG = F.leaky_relu(sum_GGK, layer.config.slope) @ attention_K
        masked_GG = torch.where(adjacency_GG > 0, logits_GG, torch.full_like(logits_GG, -9e15))
        share_GG = F.dropout(F.softmax(masked_GG, dim=1), _DROPOUT, layer.training)
        outputs.append(share_GG @ source_GHK[:, head])
    return torch.cat(outputs, 1) + layer.bias_D


def _graph(num_genes: int, num_edges: int, generator: torch.Generator) -> MessageGraph:
    """One-way edges and a loop at every gene (no row of the dense softmax is empty)."""
    key = torch.unique(torch.randint(num_genes**2, (int(num_edges * 1.1),), generator=generator))
    key = key[key // num_genes != key % num_genes]
    key = key[torch.randperm(key.shape[0], generator=generator)[:num_edges]]
    return MessageGraph.build(torch.stack([key // num_genes, key % num_genes]), num_genes, bidirectional=False)


def _step(function: Callable[[Tensor], Tensor], genes_GD: Tensor, module: nn.Module) -> Callable[[], list[Tensor]]:
    """Forward and backward; returns the output and the gradients of the input and of every weight."""
    weights = list(module.parameters())
    probe_GD = torch.randn(genes_GD.shape, generator=torch.Generator().manual_seed(1))

    def step() -> list[Tensor]:
        leaf_GD = genes_GD.detach().requires_grad_()
        output_GD = function(leaf_GD)
        return [output_GD.detach(), *torch.autograd.grad(output_GD, [leaf_GD, *weights], probe_GD)]

    return step


def _agree(what: str, ours: list[Tensor], theirs: list[Tensor]) -> str:
    for mine, other in zip(ours, theirs, strict=True):
        assert_agrees(what, mine, other, tolerance=1e-4)
    return f"{what}: output and all gradients equal"


def run(context: Context) -> list[Row]:
    """See the module."""
    num_genes, num_edges = (300, 3_000) if context.quick else (2_000, 40_000)
    generator, backend = context.generator(), get_backend("csr")
    graph = _graph(num_genes, num_edges, generator)
    looped = graph.with_self_loops
    adjacency_GG = torch.zeros(num_genes, num_genes)
    adjacency_GG[looped.edge_index_2E[1], looped.edge_index_2E[0]] = 1
    sparse_GG = adjacency_GG.to_sparse()
    genes_GD = torch.randn(num_genes, _WIDTH, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        attention = _Attention().eval()
        layer = GatV2Layer(GatV2.Config(heads=_HEADS, attention_dropout=_DROPOUT), _WIDTH, backend).eval()

    first = {
        "ours": _step(lambda x: attention.sparse(x, looped, backend), genes_GD, attention),
        "dense": _step(lambda x: attention.dense(x, sparse_GG), genes_GD, attention),
    }
    second = {
        "ours": _step(lambda x: layer(x, graph), genes_GD, layer),
        "dense": _step(lambda x: _dense_gatv2(layer, x, adjacency_GG), genes_GD, layer),
    }
    notes = [
        _agree("GENELink's attention", first["ours"](), first["dense"]()),
        _agree("gatv2", second["ours"](), second["dense"]()),
    ]
    attention.train()
    layer.train()
    seconds_first = context.measure(first, repeats=7)
    seconds_second = context.measure({"ours": second["ours"]}, repeats=7) | context.measure(second, warmup=0)

    large_genes, large_edges = (1_000, 20_000) if context.quick else (20_000, 400_000)
    large = _graph(large_genes, large_edges, generator)
    large_GD = torch.randn(large_genes, _WIDTH, generator=generator)
    seconds_large = context.measure({"ours": _step(lambda x: layer(x, large), large_GD, layer)})["ours"]
    matrix = large_genes**2 * 4 / 1e9
    return [
        Row("ours, GENELink's attention over edges (csr)", seconds_first["ours"]),
        Row(
            "dense adjacency, as in GENELink",
            seconds_first["dense"],
            seconds_first["dense"] / seconds_first["ours"],
            notes[0],
        ),
        Row("ours, gatv2 (csr)", seconds_second["ours"]),
        Row(
            "dense adjacency, gatv2",
            seconds_second["dense"],
            seconds_second["dense"] / seconds_second["ours"],
            notes[1],
        ),
        Row(
            "GENELink's dense attention against our gatv2",
            seconds_first["dense"],
            seconds_first["dense"] / seconds_second["ours"],
            "architecture differs",
        ),
        Row(
            f"ours, gatv2, {large_genes:,} genes, {large_edges:,} edges",
            seconds_large,
            note=f"one dense matrix would take {matrix:.1f} GB, and each head several",
        ),
    ]
