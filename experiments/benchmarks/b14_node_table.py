"""B14: what peaks cost the graph part of a step, as rows of the table and as rows of an encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from experiments.benchmarks.harness import Context, Row, assert_agrees
from grn_cotrain.config import parse
from grn_cotrain.data.nodes import Nodes
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.recipe import ModelConfig

__all__ = ["ID", "TITLE", "run"]

ID = "B14"
TITLE = "node table: graph part of a step, forward + backward (20k genes, 300k peaks, 40k edges, D 64, sage)"


def run(context: Context) -> list[Row]:
    """See the module."""
    num_genes, num_peaks, num_pairs, width = (500, 5_000, 2_000, 16) if context.quick else (20_000, 300_000, 40_000, 64)
    genes = [f"GENE{i}" for i in range(num_genes)]
    peaks = [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(num_peaks)]
    rng = np.random.default_rng(context.seed)
    keys_E = rng.choice(num_genes * num_genes, num_pairs, replace=False)
    pairs_2E = np.stack(np.divmod(keys_E, num_genes))
    pairs_2E = pairs_2E[:, pairs_2E[0] != pairs_2E[1]]
    config = parse(
        ModelConfig,
        {
            "width": width,
            "table": {"init": "random", "inductive": [], "id_dropout": 0.0},
            "graph_encoder": {"name": "sage", "dropout": 0.0},
            "cell_encoder": {"name": "transformer", "num_layers": 1},
            "link_decoder": "inner",
        },
    )

    def model(names: list[str], modality: list[str], nodes: Nodes | None) -> CoTrainNetwork:
        vocab = FeatureVocab.from_symbols(names, modality=modality, species="human")
        inputs = ModelInputs(vocab, None, {}, None, pairs_2E, np.zeros(pairs_2E.shape[1], np.int64), nodes=nodes)
        return CoTrainNetwork(config, {}, inputs, backend="csr", seed=context.seed)

    both, spaces = genes + peaks, ["gene"] * num_genes + ["peak"] * num_peaks
    models = {
        "genes alone": model(genes, spaces[:num_genes], None),
        "genes and peaks, peaks are rows of the encoder": model(both, spaces, None),
        "genes and peaks, every feature is a node (before)": model(both, spaces, Nodes.every(len(both))),
    }
    first = models["genes alone"]
    with torch.no_grad():
        for other in models.values():  # the same genes in all
            other.table.id_GD[:num_genes], other.table.shared_D[:] = first.table.id_GD, first.table.shared_D
            other.graph_encoder.load_state_dict(first.graph_encoder.state_dict())
    probe_GD = torch.randn(num_genes, width, generator=context.generator())

    def step(one: CoTrainNetwork) -> Callable[[], torch.Tensor]:
        def measured() -> torch.Tensor:
            one.zero_grad(set_to_none=True)
            states = one.encode_graph()
            (states.graph_GD[:num_genes] * probe_GD).sum().backward()
            assert one.table.id_GD.grad is not None
            return one.table.id_GD.grad[:num_genes]

        return measured

    rivals = {name: step(one) for name, one in models.items()}
    expected = rivals["genes alone"]()
    notes = {name: assert_agrees("gradient of the genes", rival(), expected) for name, rival in rivals.items()}
    seconds = context.measure(rivals)
    ours = seconds["genes alone"]
    return [
        Row(name, seconds[name], seconds[name] / ours, f"{notes[name]}; {models[name].nodes.num_nodes:,} nodes")
        for name in models
    ]
