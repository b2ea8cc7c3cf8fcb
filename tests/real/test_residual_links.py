"""The residual decoder on the published hESC 500 split: it starts at the additive control, and its penalty matters."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from grn_cotrain.controls.pair_evidence import assemble_evidence
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit, Part
from grn_cotrain.data.negatives import LinkSampler
from grn_cotrain.data.split_published import published_split
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.nn.inductive import inductive_features
from grn_cotrain.nn.link_decoders import LINK_DECODERS, LinkDecoder
from grn_cotrain.nn.link_losses import LINK_LOSSES
from grn_cotrain.nn.node_table import NodeTable
from grn_cotrain.recipe import TableConfig

pytestmark = pytest.mark.real

WIDTH = 64


@pytest.fixture(scope="module")
def world(real_data: Path) -> tuple[EdgeSplit, MemoryStore]:
    folder = real_data / "beeline_genelink"
    data = anndata.read_h5ad(folder / "expression" / "hESC_TFs+500.h5ad")
    vocab = FeatureVocab.from_symbols(list(data.var_names), species="human")
    split = published_split(
        folder / "splits" / "scregnet__hESC__TFs+500__Train_set.tsv.gz",
        folder / "splits" / "genelink_demo_specific__hESC__500__Validation_set.tsv.gz",
        folder / "splits" / "scregnet__hESC__TFs+500__Test_set.tsv.gz",
        vocab=vocab,
        index="genes.tsv.gz:specific_chipseq/hESC/TFs+500",
    )
    return split, MemoryStore.build(vocab, data.X, kind="log")


@pytest.fixture(scope="module")
def features(world: tuple[EdgeSplit, MemoryStore]) -> dict[str, np.ndarray]:
    _, cells = world
    return inductive_features(("expression",), cells.vocab, Statistics(cells))


def build(split: EdgeSplit, features: dict[str, np.ndarray], **options: object) -> tuple[NodeTable, LinkDecoder]:
    torch.manual_seed(0)
    table = NodeTable(
        split.num_genes, WIDTH, config=TableConfig(), init_GD=features["expression"][:, :50], features=features
    )
    decoder = LINK_DECODERS.build("residual", {"evidence": [], **options}, width=WIDTH, num_genes=split.num_genes)
    decoder.prepare(assemble_evidence(split, {}))
    return table, decoder


@torch.no_grad()
def scores(split: EdgeSplit, part: Part, table: NodeTable, decoder: LinkDecoder) -> tuple[float, float]:
    """AUROC and AUPRC."""
    pairs = split.pairs(part)
    table.eval(), decoder.eval()
    logits_M = decoder(table(), torch.from_numpy(pairs.pairs_2M)).numpy()
    return roc_auc_score(pairs.labels_M, logits_M), average_precision_score(pairs.labels_M, logits_M)


def train(split: EdgeSplit, table: NodeTable, decoder: LinkDecoder, *, steps: int) -> None:
    loss = LINK_LOSSES.build("balanced_bce")
    sampler = LinkSampler(split, positive_share=0.5)
    optimizer = torch.optim.Adam([*table.parameters(), *decoder.parameters()], lr=5e-3)
    draws, dropout = np.random.default_rng(0), torch.Generator().manual_seed(0)
    table.train(), decoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(decoder, table(generator=dropout), sampler.draw(draws)).loss + decoder.regulariser()
        value.backward()
        optimizer.step()


def test_starts_at_the_additive_control(world: tuple[EdgeSplit, MemoryStore], features: dict[str, np.ndarray]) -> None:
    """Degree product .879/.583, additive logistic .883/.617: smoothed log-odds lie with the latter, before any step."""
    split, _ = world
    auroc, auprc = scores(split, "test", *build(split, features))
    assert auroc == pytest.approx(0.883, abs=0.005)
    assert auprc == pytest.approx(0.617, abs=0.005)


@pytest.mark.slow
def test_training_keeps_the_control_and_only_the_penalty_does_it(
    world: tuple[EdgeSplit, MemoryStore], features: dict[str, np.ndarray]
) -> None:
    split, _ = world
    held, free = build(split, features), build(split, features, residual_l2=0.0)
    for model in (held, free):
        train(split, *model, steps=200)
    (auroc, auprc), (free_auroc, free_auprc) = scores(split, "test", *held), scores(split, "test", *free)
    assert auroc > 0.88
    assert auprc > 0.60
    assert auroc > free_auroc + 0.01
    assert auprc > free_auprc + 0.03
