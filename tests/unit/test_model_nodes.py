"""Which features are nodes of a model, and where the rows of all others are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from grn_cotrain.data.nodes import Nodes, node_cells
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model, save_model
from grn_cotrain.train.build import build_model
from grn_cotrain.train.run import train
from tests.multiome import GENES, PEAKS, edges, make_multiome, multiome_recipe, multiome_vocab, opened


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_multiome(tmp_path_factory.mktemp("multiome") / "prep")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_multiome(tmp_path_factory.mktemp("linked") / "prep", edges())


def model_of(world: Path, **changes) -> CoTrainNetwork:
    recipe = multiome_recipe(world, **changes)
    return build_model(recipe, load_run_data(recipe)).eval()


def test_genes_are_nodes_and_peaks_those_that_an_edge_names() -> None:
    vocab = multiome_vocab()
    genes = Nodes.of(vocab)
    assert (genes.num_nodes, genes.num_genes) == (24, 24)
    assert genes.others_P.tolist() == list(range(24, 36))
    chosen = Nodes.of(vocab, ("gene", "peak"), np.array([[26, 3], [1, 30]]))
    assert chosen.feature_N.tolist() == [*range(24), 26, 30]
    assert chosen.num_genes == 24
    assert chosen.pairs(np.array([[26], [1]])).tolist() == [[24], [1]]
    with pytest.raises(UserError, match="without a row in the table"):
        chosen.pairs(np.array([[25], [1]]))
    assert Nodes.of(vocab, ("gene", "peak")).num_nodes == 36


@pytest.mark.parametrize(
    ("spaces", "linked", "fix"),
    [
        (("gene", "protein"), None, "the data have no space 'protein'"),
        (("gene", "peaks"), None, "did you mean 'peak'"),
        (("gene",), np.array([30]), "add peak to model.table.nodes"),
    ],
)
def test_nodes_that_cannot_be_are_refused(spaces: tuple[str, ...], linked: np.ndarray | None, fix: str) -> None:
    with pytest.raises(UserError, match=fix):
        Nodes.of(multiome_vocab(), spaces, linked)


def test_peaks_cost_the_graph_nothing(plain: Path) -> None:
    """The table, the graph and the link decoder are those of the genes alone; peaks have rows in the encoder."""
    model = model_of(plain)
    assert (model.table.num_nodes, model.graph.num_nodes, model.nodes.num_genes) == (24, 24, 24)
    assert model.feature_rows["cells"].rows_PD.shape == (12, 16)
    genes = model.encode_graph()
    assert genes.table_GD.shape == genes.linked_GD.shape == (24, 16)
    # What the table starts from is what it starts from in cells without peaks.
    alone = model_of(plain, model={"table": {"nodes": ["gene"], "inductive": ["expression"]}})
    torch.testing.assert_close(alone.table()[:, :8].std(), model.table()[:, :8].std(), atol=0.1, rtol=0.1)


def test_rows_stand_where_the_vocabulary_says(plain: Path, linked: Path) -> None:
    for model in (model_of(plain), model_of(linked, model={"table": {"nodes": ["gene", "peak"]}})):
        genes = model.encode_graph()
        ids_F = torch.arange(36) + NUM_SPECIAL
        rows_FD = model.gene_rows(genes, ids_F)
        nodes = torch.from_numpy(model.nodes.feature_N)
        assert torch.equal(rows_FD[nodes], genes.table_GD)
        own = torch.from_numpy(model.nodes.others_P)
        assert torch.equal(rows_FD[own], model.feature_rows["cells"].rows_PD)
        assert torch.equal(model.every_row(genes), rows_FD)
        features_VD, _ = model._features("cells", genes)
        coupled_GD = model.coupling(genes.table_GD, genes.graph_GD).features_GD
        assert torch.equal(features_VD[NUM_SPECIAL + nodes], coupled_GD)
        assert torch.equal(features_VD[NUM_SPECIAL + own], rows_FD[own])


def test_peaks_that_edges_name_are_nodes_and_carry_messages(linked: Path) -> None:
    model = model_of(linked, model={"table": {"nodes": ["gene", "peak"]}, "graph_encoder": "rgcn"})
    assert model.nodes.feature_N.tolist() == [*range(24), *range(24, 30)]
    assert model.graph.num_relations == 3 * 6  # regulation, motif and near; each by sign, each way
    assert model.inputs.others.names == ("motif", "near")
    with torch.no_grad():
        before = model.encode_graph()
        model.table.id_GD[24] += 1.0  # peak 0, near gene 6
        after = model.encode_graph()
    moved = (after.graph_GD != before.graph_GD).any(dim=1)
    assert moved[[6, 0]].all()  # its gene, and the TF with the motif
    assert after.linked_GD.shape == (24, 16)


def test_default_nodes_with_peak_edges_say_what_to_do(linked: Path) -> None:
    with pytest.raises(UserError, match=r"add peak to model\.table\.nodes, or leave these relations out"):
        model_of(linked)
    assert model_of(linked, graph={"relations": []}).nodes.num_nodes == 24


def test_a_control_graph_has_the_nodes_of_the_true_one(linked: Path) -> None:
    nodes = {"model": {"table": {"nodes": ["gene", "peak"]}}}
    true = model_of(linked, **nodes)
    for kind in ("rewired", "random", "none"):
        model = model_of(linked, graph={"messages": kind}, **nodes)
        assert np.array_equal(model.nodes.feature_N, true.nodes.feature_N)
        assert model.graph.num_relations == true.graph.num_relations
        assert model.inputs.others.num_edges == (0 if kind == "none" else true.inputs.others.num_edges)


@pytest.mark.parametrize("coupling", ["residual", "attention_bias"])
def test_training_saving_and_scores(linked: Path, coupling: str, tmp_path: Path) -> None:
    """Peak rows are trained, links are scored between genes, and a loaded model gives the same numbers."""
    recipe = multiome_recipe(linked, model={"table": {"nodes": ["gene", "peak"]}, "coupling": coupling})
    before = build_model(recipe, load_run_data(recipe))
    folder = train(recipe, tmp_path / "run").folder
    model, _ = load_model(folder / "model")
    assert model.feature_rows["cells"].rows_PD.shape == (6, 16)
    assert not torch.equal(model.feature_rows["cells"].rows_PD, before.feature_rows["cells"].rows_PD)
    save_model(tmp_path / "again", model, backend="csr", meta={})
    again, _ = load_model(tmp_path / "again", backend=model.backend)
    pairs_2M = np.array([[0, 4, 2], [23, 3, 7]])
    assert np.array_equal(
        again.link_logits(again.encode_graph(), pairs_2M), model.link_logits(model.encode_graph(), pairs_2M)
    )
    assert again.inputs.others.equals(model.inputs.others)
    assert np.array_equal(again.nodes.feature_N, model.nodes.feature_N)


def test_extended_by_genes_and_peaks(plain: Path) -> None:
    from grn_cotrain.model_extend import extend_model

    model = model_of(plain)
    wide = extend_model(model, model.vocab.extend(["chr2:5-9"], modality="peak"))
    assert wide.nodes.num_nodes == 24
    rows_PD = wide.feature_rows["cells"].rows_PD
    assert torch.equal(rows_PD[:12], model.feature_rows["cells"].rows_PD)
    assert rows_PD.shape == (13, 16)
    assert {GENES[0], PEAKS[0]} < set(wide.vocab.symbols)


def test_nodes_of_cells_on_disk_are_those_of_cells_in_memory(tmp_path: Path) -> None:
    prep = opened(make_multiome(tmp_path / "prep", atac_only=9, rna_only=7))
    vocab = prep.vocab
    nodes = Nodes.of(vocab, ("gene", "peak"), np.array([24, 27, 30]))
    memory, disk = (node_cells(prep.store(how), nodes) for how in ("memory", "backed"))
    assert np.array_equal(memory.normalised().toarray(), disk.normalised().toarray())
    for assay in ("rna", "atac"):
        alone, other = disk.only(assay), memory.only(assay)
        assert alone.vocab == other.vocab
        assert alone.num_cells == int(prep.store("memory").present(assay).sum())
        assert np.array_equal(alone.normalised().toarray(), other.normalised().toarray())
