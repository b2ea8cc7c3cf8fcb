"""The skip from a cell's values to its state: its value, what it never reads, and that every encoder has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from grn_cotrain.config import parse
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL, FeatureVocab
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.model_extend import extend_model
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_skip import CellSkip
from grn_cotrain.recipe import ModelConfig
from tests.multiome import multiome_vocab

WIDTH = 16


def store(num_cells: int = 7) -> MemoryStore:
    """Genes and peaks; cell 0 lacks ATAC, cell 1 lacks RNA."""
    counts = np.random.default_rng(1).poisson(1.0, (num_cells, 36))
    counts[:, 24:] = counts[:, 24:] > 0
    has_rna, has_atac = np.arange(num_cells) != 1, np.arange(num_cells) != 0
    counts[~has_rna, :24] = 0
    counts[~has_atac, 24:] = 0
    return MemoryStore.build(multiome_vocab(), counts, kind="counts", present={"rna": has_rna, "atac": has_atac})


def model_of(
    cells: MemoryStore, objectives: dict[str, Any] | None = None, *, cell_state: str = "skip", **parts: Any
) -> CoTrainNetwork:
    table = {"init": "random", "inductive": [], "id_dropout": 0.0}
    mapping = {"width": WIDTH, "table": table, "link_decoder": "bilinear", "cell_state": cell_state, **parts}
    config = parse(ModelConfig, mapping, path="model")
    inputs = ModelInputs(cells.vocab, None, {}, None, np.array([[0, 1], [2, 3]]), np.array([1, 0]))
    model = CoTrainNetwork(config, objectives or {}, inputs, backend="csr", seed=3)
    model.prepare(Statistics(cells))
    return model.eval()


def packed(model: CoTrainNetwork, cells: MemoryStore) -> PackedTokens:
    return model.tokenizer(cells).batch(np.arange(cells.num_cells)).pack()


def log_depth(cells: MemoryStore) -> torch.Tensor:
    return torch.from_numpy(np.log1p(cells.assays["rna"].size_factor_C)).float()


def test_it_is_the_centred_sum_of_rows_through_a_norm_and_a_map() -> None:
    cells = store()
    vocab = cells.vocab
    skip = CellSkip(WIDTH, vocab, ("gene", "peak"))
    skip.prepare(Statistics(cells))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        skip.maps["peak"].copy_(torch.randn(WIDTH, WIDTH, generator=generator))
    features_VD = torch.randn(NUM_SPECIAL + 36, WIDTH, generator=generator)
    found_BD = skip(packed(model_of(cells), cells), features_VD)
    values_CG = torch.from_numpy(cells.normalised(np.arange(7)).toarray())
    expected = []
    for columns, present, space in (
        (slice(0, 24), cells.present("rna"), "gene"),
        (slice(24, 36), cells.present("atac"), "peak"),
    ):
        own_CG = values_CG[:, columns]
        mean_G = own_CG[torch.from_numpy(present)].mean(0)  # zeros count, cells without the assay do not
        sum_CD = (own_CG - mean_G) @ features_VD[NUM_SPECIAL:][columns]
        norm_CD = F.layer_norm(sum_CD, (WIDTH,))
        if space == "gene":  # peaks that are open or not have no depth
            depth_C = log_depth(cells)[torch.from_numpy(present)]
            shown_CG = own_CG[torch.from_numpy(present)] @ features_VD[NUM_SPECIAL:][columns]
            along_D = F.normalize((depth_C - depth_C.mean()) @ shown_CG, dim=0)
            norm_CD = norm_CD - torch.outer(norm_CD @ along_D, along_D)
        expected.append(norm_CD + norm_CD @ skip.maps[space].T)
    both = torch.stack(expected).mean(0)
    both[0], both[1] = expected[0][0], expected[1][1]  # what a cell lacks does not enter
    torch.testing.assert_close(found_BD, both, rtol=1e-4, atol=1e-4)


def test_no_cell_has_anything_in_the_direction_of_depth() -> None:
    counts = np.random.default_rng(0).poisson(np.linspace(1, 6, 40)[:, None] * np.linspace(0.2, 2, 12), (40, 12))
    vocab = FeatureVocab.from_symbols([f"G{i}" for i in range(12)], species="human")
    cells = MemoryStore.build(vocab, counts + 1, kind="counts")
    features_VD = torch.randn(NUM_SPECIAL + 12, WIDTH, generator=torch.Generator().manual_seed(0))
    model, kept = (model_of(cells, cell_state=state) for state in ("skip_without_depth", "skip"))
    tokens = packed(model, cells)
    values_CG = torch.from_numpy(cells.normalised(np.arange(40)).toarray())
    depth_C = log_depth(cells)
    along_D = F.normalize((depth_C - depth_C.mean()) @ values_CG @ features_VD[NUM_SPECIAL:], dim=0)
    found_BD = model.cell_skips["cells"](tokens, features_VD).detach()
    assert float((found_BD @ along_D).abs().max()) < 1e-4
    before_BD = kept.cell_skips["cells"](tokens, features_VD).detach()
    assert float((before_BD @ along_D).abs().max()) > 1
    torch.testing.assert_close(before_BD - torch.outer(before_BD @ along_D, along_D), found_BD, rtol=1e-3, atol=1e-4)


def test_a_model_of_before_keeps_the_direction_of_depth() -> None:
    cells = store()
    model, fresh = (model_of(cells, cell_state="skip_without_depth") for _ in range(2))
    old = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("depth_G")}
    fresh.load_state_dict(old)
    skip = fresh.cell_skips["cells"]
    assert not skip.depth_G.any()
    features_VD = torch.randn(NUM_SPECIAL + 36, WIDTH)
    kept = model_of(cells, cell_state="skip")
    tokens = packed(kept, cells)
    assert torch.equal(skip(tokens, features_VD), kept.cell_skips["cells"](tokens, features_VD))


def test_hidden_values_and_hidden_names_are_not_read() -> None:
    cells = store()
    model = model_of(cells)
    tokens, skip = packed(model, cells), model.cell_skips["cells"]
    features_VD = torch.randn(NUM_SPECIAL + 36, WIDTH)
    hidden_T = torch.zeros(tokens.num_tokens, dtype=torch.bool)
    hidden_T[5::4] = tokens.feature_ids_T[5::4] >= NUM_SPECIAL
    shown = tokens.with_mask(hidden_T)
    assert hidden_T.sum() > 10
    assert not torch.allclose(skip(shown, features_VD), skip(tokens, features_VD))
    other_T = torch.where(hidden_T, 77.0, tokens.values_T)
    assert torch.equal(skip(shown, features_VD), skip(replace(shown, values_T=other_T), features_VD))
    # A hidden name is as good as a hidden value: its row is not known.
    names = replace(tokens, feature_ids_T=tokens.feature_ids_T.masked_fill(hidden_T, MASK_ID))
    torch.testing.assert_close(skip(names, features_VD), skip(shown, features_VD))


def test_features_that_are_no_tokens_do_not_shift_the_state() -> None:
    names = [f"GENE{i}" for i in range(6)] + ["ERCC-00002"]
    counts = np.random.default_rng(0).poisson(2.0, (5, 7)) + 1
    cells = MemoryStore.build(FeatureVocab.from_symbols(names, species="human"), counts, kind="counts")
    model = model_of(cells)
    tokens, skip = packed(model, cells), model.cell_skips["cells"]
    first_VD = torch.randn(NUM_SPECIAL + 7, WIDTH)
    second_VD = first_VD.clone()
    second_VD[-1] = 9.0
    assert torch.equal(skip(tokens, first_VD), skip(tokens, second_VD))


@pytest.mark.parametrize("name", CELL_ENCODERS.names())
def test_every_encoder_has_it_and_starts_at_the_sum_alone(name: str) -> None:
    cells = store()
    encoder = {"name": name}
    plain, model = (model_of(cells, cell_encoder=encoder, cell_state=state) for state in ("encoder", "skip"))
    tokens = packed(model, cells)
    with torch.no_grad():
        genes = model.encode_graph()
        before, after = plain.encode_cells(tokens, plain.encode_graph()), model.encode_cells(tokens, genes)
        features_VD = model._features("cells", genes)[0]
        skip = model.cell_skips["cells"]
        added_BD = skip(tokens, features_VD)
        skip.gate_D.fill_(0.5)
        opened = model.encode_cells(tokens, genes)
    # The same seed gives the same encoder with and without, so recipes that read no cells keep their numbers.
    assert torch.equal(before.tokens_TD, after.tokens_TD)
    torch.testing.assert_close(after.cells_BD, added_BD)
    torch.testing.assert_close(opened.cells_BD, 0.5 * before.cells_BD + added_BD)
    assert not list(plain.cell_skips)


def test_states_pooled_without_some_tokens_leave_their_values_out() -> None:
    cells = store()
    model = model_of(cells, cell_encoder={"name": "scbert", "num_layers": 1})
    tokens = packed(model, cells)
    left_out_T = torch.zeros(tokens.num_tokens, dtype=torch.bool)
    left_out_T[3::5] = tokens.feature_ids_T[3::5] >= NUM_SPECIAL
    with torch.no_grad():
        model.cell_skips["cells"].gate_D.fill_(2.0)
        genes = model.encode_graph()
        states = model.encode_cells(tokens, genes)
        features_VD = model._features("cells", genes)[0]
        skip = model.cell_skips["cells"]
        own_BD = model.encoders["cells"](tokens, features_VD).cells_without(left_out_T)
        expected_BD = 2 * own_BD + skip(tokens.with_mask(left_out_T), features_VD)
    torch.testing.assert_close(states.cells_without(left_out_T), expected_BD)


def test_new_features_do_not_move_the_states_of_old_cells() -> None:
    counts = np.random.default_rng(0).poisson(2.0, (5, 8)) + 1
    old = FeatureVocab.from_symbols([f"GENE{i}" for i in range(8)], species="human")
    cells = MemoryStore.build(old, counts, kind="counts")
    model = model_of(cells)
    with torch.no_grad():
        model.cell_skips["cells"].maps["gene"].fill_(0.1)
        model.cell_skips["cells"].gate_D.fill_(0.7)
    more = old.extend(["NEW1", "NEW2"])
    wide = MemoryStore.build(more, np.hstack([counts, counts[:, :2]]), kind="counts")
    extended = extend_model(model, more, cells=wide)
    with torch.no_grad():
        tokens = packed(model, cells)
        before = model.encode_cells(tokens, model.encode_graph()).cells_BD
        after = extended.encode_cells(tokens, extended.encode_graph()).cells_BD
    torch.testing.assert_close(after, before)
