"""Vocabulary extension: old rows and old outputs stay to the bit, for every encoder; new rows follow the rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_extend import extend_model, extended_tensor
from grn_cotrain.model_io import load_network, save_network
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from tests.unit.train.test_finetune import NUM_GENES, small_model

NEW = ("STAT1", "STAT3", "LONER")


def extended(model: CoTrainNetwork, cells: MemoryStore | None = None) -> CoTrainNetwork:
    vocab = model.vocab.extend(NEW).extend(["chr1:10-20"], modality="peak")
    wide = None
    if cells is not None:
        values_CG = np.hstack([cells.values_CG.toarray(), np.full((cells.num_cells, 4), 3.0)])
        wide = MemoryStore.build(vocab, values_CG, kind="counts")
    return extend_model(model, vocab, cells=wide)


def same_cells_wider(cells: MemoryStore, model: CoTrainNetwork) -> MemoryStore:
    """The cells, with zeros for the new features."""
    values_CG = np.hstack([cells.values_CG.toarray(), np.zeros((cells.num_cells, 4))])
    return MemoryStore.build(model.vocab, values_CG, kind="counts")


@pytest.mark.parametrize("with_cells", [False, True])
@pytest.mark.parametrize("encoder", CELL_ENCODERS.names())
def test_old_cells_are_read_as_before_to_the_bit(encoder: str, with_cells: bool) -> None:
    model, cells, _ = small_model(encoder)
    if "median_G" in dict(model.cell_encoder.named_buffers()):
        assert model.cell_encoder.get_buffer("median_G").unique().numel() > 1
    wide = extended(model, cells if with_cells else None)
    assert (wide.vocab.num_features, wide.training) == (NUM_GENES + 4, False)
    assert wide.vocab.symbols[:NUM_GENES] == model.vocab.symbols
    with torch.no_grad():
        before, after = model.encode_graph(), wide.encode_graph()
        assert torch.equal(after.table_GD[:NUM_GENES], before.table_GD)
        assert torch.equal(after.graph_GD[:NUM_GENES], before.graph_GD)
        rows_C = np.arange(6)
        old = model.encode_cells(model.tokenizer(cells).batch(rows_C).pack(), before)
        new = wide.encode_cells(wide.tokenizer(same_cells_wider(cells, wide)).batch(rows_C).pack(), after)
    assert torch.equal(new.tokens_TD, old.tokens_TD)
    assert torch.equal(new.cells_BD, old.cells_BD)
    pairs_2M = np.array([[0, 1, 5], [3, 2, 9]])
    np.testing.assert_allclose(wide.link_logits(after, pairs_2M), model.link_logits(before, pairs_2M), atol=1e-6)


def test_new_rows_are_the_mean_row_and_differ_by_seeded_noise() -> None:
    """Genes get rows in the table, a peak without an edge one in the encoder that reads it."""
    model, _, _ = small_model()
    with torch.no_grad():
        table_GD, wide = model.table(), extended(model)
        rows_GD = torch.cat([wide.table()[NUM_GENES:], wide.feature_rows["cells"].rows_PD])
    assert (wide.nodes.num_nodes, wide.nodes.num_genes) == (NUM_GENES + 3, NUM_GENES + 3)
    distance = (rows_GD - table_GD.mean(0)).square().mean().sqrt() / table_GD.square().mean().sqrt()
    assert 0.01 < float(distance) < 0.03
    assert len({tuple(row.tolist()) for row in rows_GD}) == 4
    assert torch.equal(extended(model).table()[NUM_GENES:], rows_GD[:3])
    assert torch.equal(extended(model).feature_rows["cells"].rows_PD, rows_GD[3:])
    assert extended(model).table.known_G.all()


def test_new_genes_are_read_through_their_family() -> None:
    """STAT1 and STAT3 share a column of the portable source; its map is what they begin with."""
    from grn_cotrain.nn.features import FEATURE_SOURCES, FeatureContext
    from grn_cotrain.recipe import TableConfig

    plain, _, _ = small_model()
    source = FEATURE_SOURCES.build("tf_family")
    features = {"tf_family": source.features(FeatureContext(vocab=plain.vocab)), "expression": np.eye(NUM_GENES, 5)}
    config = replace(plain.config, table=TableConfig(init="random", inductive=("expression", "tf_family")))
    model = CoTrainNetwork(config, {}, replace(plain.inputs, features=features), backend="csr").eval()
    wide = extended(model)
    family_HF = wide.table.features["tf_family"]
    assert torch.equal(family_HF[:NUM_GENES], model.table.features["tf_family"])
    raw_HF = source.features(FeatureContext(vocab=wide.nodes.vocab(wide.vocab)))
    np.testing.assert_array_equal(family_HF[NUM_GENES:].numpy(), raw_HF[NUM_GENES:])
    assert torch.equal(family_HF[NUM_GENES], family_HF[NUM_GENES + 1])
    expression_HF = wide.table.features["expression"]
    mean_F = model.table.features["expression"].mean(0)
    torch.testing.assert_close(expression_HF[NUM_GENES:], mean_F.expand(3, -1))
    with torch.no_grad():
        projections = dict(zip(model.table.sources, model.table.projections, strict=True))
        expected_D = (
            model.table.shared_D
            + mean_F @ projections["expression"]
            + torch.from_numpy(raw_HF[NUM_GENES]) @ projections["tf_family"]
            + model.table.id_GD.mean(0)
        )
        row_D = wide.table()[NUM_GENES]
    assert float((row_D - expected_D).square().mean().sqrt()) < 0.04 * float(
        model.table().detach().square().mean().sqrt()
    )


def test_statistics_of_new_features() -> None:
    model, cells, _ = small_model()
    mean_G = model.cell_encoder.get_buffer("embedding.mean_G")
    typical = extended(model).cell_encoder.get_buffer("embedding.mean_G")
    assert torch.equal(typical[:NUM_GENES], mean_G)
    assert typical[NUM_GENES:].tolist() == [float(mean_G.median())] * 4
    counted = extended(model, cells)
    for values in (
        counted.cell_encoder.get_buffer("embedding.mean_G"),
        counted.objectives["masked_value"].get_buffer("mean_G"),
    ):
        assert not torch.equal(values[NUM_GENES:], typical[NUM_GENES:])
    assert torch.equal(counted.cell_encoder.get_buffer("embedding.mean_G")[:NUM_GENES], mean_G)


def test_new_features_are_read_and_saved(tmp_path: Path) -> None:
    model, cells, _ = small_model()
    wide = extended(model)
    values_CG = np.hstack([cells.values_CG.toarray(), np.ones((cells.num_cells, 4))])
    seen = wide.tokenizer(MemoryStore.build(wide.vocab, values_CG, kind="counts")).batch(np.arange(4)).pack()
    assert int(seen.feature_ids_T.max()) == NUM_GENES + 3 + NUM_SPECIAL
    assert 1 in seen.modality_T.tolist(), "the peak"
    save_network(tmp_path / "model", wide)
    loaded = load_network(tmp_path / "model")
    with torch.no_grad():
        cells_BD = wide.encode_cells(seen, wide.encode_graph()).cells_BD
        assert torch.equal(loaded.encode_cells(seen, loaded.encode_graph()).cells_BD, cells_BD)
        unseen = wide.tokenizer(same_cells_wider(cells, wide)).batch(np.arange(4)).pack()
        assert not torch.allclose(wide.encode_cells(unseen, wide.encode_graph()).cells_BD, cells_BD)


def test_evidence_keeps_its_centre() -> None:
    generator = np.random.default_rng(0)
    evidence = PairEvidence(
        names=("kernel_ridge",),
        sources_S=np.array([0, 2]),
        train_KSG=generator.standard_normal((1, 2, NUM_GENES)).astype(np.float32),
        full_KSG=generator.standard_normal((1, 2, NUM_GENES)).astype(np.float32),
        source_logit_G=generator.standard_normal(NUM_GENES),
        target_logit_G=generator.standard_normal(NUM_GENES),
    )
    plain, _, _ = small_model()
    decoder = replace(plain.config.link_decoder, name="residual", options={"evidence": ["kernel_ridge"]})
    inputs = replace(plain.inputs, evidence=evidence)
    model = CoTrainNetwork(replace(plain.config, link_decoder=decoder), {}, inputs, backend="csr").eval()
    wide = extended(model)
    twice = extend_model(wide, wide.vocab.extend(["LATER"]))
    pairs_2M = np.array([[0, 2, 7], [3, 2, 9]])
    with torch.no_grad():
        expected_M = model.link_logits(model.encode_graph(), pairs_2M)
        for one in (wide, twice):
            np.testing.assert_allclose(one.link_logits(one.encode_graph(), pairs_2M), expected_M, atol=1e-6)
            assert torch.equal(one.link_decoder.target_prior_G[:NUM_GENES], model.link_decoder.target_prior_G)
    assert wide.inputs.evidence is not None
    again = PairEvidence.from_arrays(wide.inputs.evidence.to_arrays(), names=wide.inputs.evidence.names)
    assert again.num_centred == NUM_GENES


def test_what_is_refused() -> None:
    model, cells, _ = small_model()
    with pytest.raises(UserError, match="has all of them"):
        extend_model(model, model.vocab)
    with pytest.raises(UserError, match="does not begin"):
        extend_model(model, model.vocab.select(range(1, NUM_GENES)).extend(["A", "B"]))
    with pytest.raises(UserError, match="another vocabulary"):
        extend_model(model, model.vocab.extend(["A"]), cells=cells)
    with pytest.raises(UserError, match="does not define how it grows"):
        extended_tensor("encoder.weight", torch.zeros(4, 2), torch.zeros(5, 2), 4)
    with pytest.raises(UserError, match="has shape"):
        extended_tensor("encoder.rows_GD", torch.zeros(4, 2), torch.zeros(5, 3), 4)
    grown = extended_tensor("a.counts_DG", torch.tensor([[1, 2]]), torch.tensor([[7, 7, 7]]), 2)
    assert grown.tolist() == [[1, 2, 7]]


def test_every_feature_a_token_makes_room() -> None:
    model, _, _ = small_model()
    tokens = replace(model.config.tokens, zeros_per_cell="all", max_tokens=1 + NUM_GENES)
    crowded = CoTrainNetwork(replace(model.config, tokens=tokens), {}, model.inputs, backend="csr").eval()
    assert extended(crowded).config.tokens.max_tokens == 1 + NUM_GENES + 4
