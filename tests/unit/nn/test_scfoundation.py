"""scFoundation's tokens of read depth: what they hold, who reads them, and that the batch's layout stays.

Dimension letters: T packed tokens, V vocabulary, D width, B cells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.scfoundation import ScFoundationEncoder, log_depth
from grn_cotrain.nn.cell_encoders.xtrimogene import XTrimoGeneEncoder
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

WIDTH = 12
OPTIONS: dict[str, dict[str, Any]] = {
    "published": {"num_layers": 2, "num_heads": 3},
    "A": {"decoder": "A", "num_layers": 2, "num_heads": 3},
    "D1": {"decoder": "D1", "num_latents": 4, "latent_layers": 1},
    "C": {"decoder": "C", "num_latents": 4, "latent_layers": 1},
}
FORMS = sorted(OPTIONS)


def _encoder(form: str, *, name: str = "scfoundation", **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CELL_ENCODERS.build(
            name, {**OPTIONS[form], **options}, width=WIDTH, num_bins=5, num_modalities=3, num_genes=30
        ).eval()


def _features() -> Tensor:
    return torch.randn(NUM_SPECIAL + 30, WIDTH, generator=torch.Generator().manual_seed(1))


def _batch(kind: str = "counts") -> PackedTokens:
    cells = toy_cells(kind=kind)  # type: ignore[arg-type]
    batch = Tokenizer(cells, TokenConfig(num_bins=5, zeros_per_cell="all")).batch(np.arange(3)).pack()
    return batch.with_mask((batch.feature_ids_T % 3 == 0) & (batch.feature_ids_T >= NUM_SPECIAL))


@pytest.mark.parametrize("form", FORMS)
def test_it_is_xtrimogene_over_two_more_visible_tokens(form: str) -> None:
    """T and S by hand: two genes whose rows are T's and S's and whose values are their vectors."""
    encoder, batch, features = _encoder(form), _batch(), _features()
    assert isinstance(encoder, ScFoundationEncoder)
    depth_B2 = torch.tensor([[8.0, 7.0], [6.5, 6.5], [9.0, 2.0]])
    found = encoder(replace(batch, depth_B2=depth_B2), features)

    plain = _encoder(form, name="xtrimogene")
    assert type(plain) is XTrimoGeneEncoder
    own = {name: weight for name, weight in encoder.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(own)
    pieces: dict[str, list[Tensor]] = {name: [] for name in ("ids", "values", "masked")}
    for cell in range(3):
        at = slice(int(batch.cu_lens[cell]), int(batch.cu_lens[cell + 1]))
        assert batch.masked_T is not None
        pieces["ids"] += [batch.feature_ids_T[at], torch.tensor([33, 34])]
        pieces["values"] += [batch.values_T[at], torch.tensor([100.0 + cell, 200.0 + cell])]
        pieces["masked"] += [batch.masked_T[at], torch.tensor([False, False])]
    rows = {
        100.0 * (1 + side) + cell: encoder.depth(depth_B2[cell, side, None])[0] for cell in range(3) for side in (0, 1)
    }
    value_embedding = plain.values.forward
    plain.values.forward = lambda values: torch.stack(
        [rows.get(float(value), value_embedding(value[None])[0]) for value in values]
    )
    longer = replace(
        batch,
        feature_ids_T=torch.cat(pieces["ids"]),
        values_T=torch.cat(pieces["values"]),
        masked_T=torch.cat(pieces["masked"]),
        modality_T=torch.zeros(sum(map(len, pieces["ids"])), dtype=torch.long),
        cu_lens=(batch.cu_lens + 2 * torch.arange(4)).int(),
        max_len=batch.max_len + 2,
    )
    by_hand = plain(longer, torch.cat([features, encoder.depth_rows_2D]))
    kept_T = longer.feature_ids_T < 33
    torch.testing.assert_close(found.tokens_TD, by_hand.tokens_TD[kept_T], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.cells_BD, by_hand.cells_BD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_deeper_target_changes_what_is_predicted(form: str) -> None:
    encoder, batch, features = _encoder(form), _batch(), _features()
    assert batch.masked_T is not None
    same = log_depth(batch)
    deeper = same + torch.tensor([2.0, 0.0])
    plain = encoder(batch, features)
    moved = encoder(replace(batch, depth_B2=deeper), features).tokens_TD - plain.tokens_TD
    assert (moved[batch.masked_T].abs().sum(1) > 1e-6).all()
    # T and S are not one number: swapped, they say something else.
    swapped = encoder(replace(batch, depth_B2=deeper.flip(1)), features)
    assert not torch.allclose(swapped.tokens_TD, encoder(replace(batch, depth_B2=deeper), features).tokens_TD)
    # Another cell's depth says nothing of this one.
    other = deeper.clone()
    other[1] += 3.0
    start = int(batch.cu_lens[1])
    torch.testing.assert_close(
        encoder(replace(batch, depth_B2=other), features).tokens_TD[:start],
        encoder(replace(batch, depth_B2=deeper), features).tokens_TD[:start],
    )


def test_depths_default_to_the_cells_total_counts() -> None:
    encoder, batch, features = _encoder("A"), _batch(), _features()
    assert batch.total_B is not None
    totals = np.log1p(toy_cells().size_factor_C[:3])
    np.testing.assert_allclose(log_depth(batch).numpy(), np.stack([totals, totals], axis=1), rtol=1e-6)
    depth_B2 = torch.from_numpy(np.stack([totals, totals], axis=1)).float()
    given = encoder(replace(batch, depth_B2=depth_B2), features)
    assert torch.equal(given.tokens_TD, encoder(batch, features).tokens_TD)


@pytest.mark.parametrize("values", ["auto", "equal"])
def test_unknown_depths_have_a_vector_of_their_own(values: str) -> None:
    cells = toy_cells(kind="log")
    encoder, batch, features = _encoder("A", values=values), _batch("log"), _features()
    encoder.prepare(Statistics(cells))
    assert batch.total_B is None
    assert log_depth(batch).isnan().all()
    plain = encoder(batch, features)
    assert torch.isfinite(plain.tokens_TD).all()
    # Known for one cell only: the others stay as they were, and gradients are finite.
    depth_B2 = torch.full((3, 2), torch.nan)
    depth_B2[1] = 7.0
    features.requires_grad_()
    mixed = encoder(replace(batch, depth_B2=depth_B2), features)
    start, end = batch.cu_lens[1:3].tolist()
    torch.testing.assert_close(mixed.tokens_TD[:start], plain.tokens_TD[:start])
    torch.testing.assert_close(mixed.tokens_TD[end:], plain.tokens_TD[end:])
    assert not torch.allclose(mixed.tokens_TD[start:end], plain.tokens_TD[start:end])
    mixed.tokens_TD.square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    assert encoder.unknown_depth_D.grad.abs().sum() > 0


def test_an_empty_cell_has_a_depth_too() -> None:
    """log(1 + 0) is 0, and yet no zero token."""
    encoder, batch, features = _encoder("A"), _batch(), _features()
    none = encoder(replace(batch, depth_B2=torch.zeros(3, 2)), features)
    assert torch.isfinite(none.tokens_TD).all()
    calls = []
    handle = encoder.trunk.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0]))
    encoder(replace(batch, depth_B2=torch.zeros(3, 2)), features)
    encoder(batch, features)
    handle.remove()
    assert calls[0].shape == calls[1].shape


def test_bins_of_depths_come_from_training_totals() -> None:
    cells = toy_cells()
    encoder = _encoder("A", values="equal", value_bins=4)
    encoder.prepare(Statistics(cells, np.arange(8)))
    totals = np.sort(np.log1p(cells.size_factor_C[:8]))
    np.testing.assert_allclose(encoder.depth.edges_K.numpy(), totals[[1, 3, 5]], rtol=1e-6)


@pytest.mark.parametrize("form", ["A", "C"])
def test_cell_state_of_all_joins_both_depths_and_both_poolings_of_genes(form: str) -> None:
    encoder, batch, features = _encoder(form, pooling="all"), _batch(), _features()
    deeper, rows, _, kept_T = encoder._with_depth(batch, features, None)
    decoded = encoder.decoder(encoder.encode(deeper, rows, None))
    parts = decoded.summary_PD.split(decoded.summary_cu.diff().tolist())
    states = decoded.tokens_TD.split(deeper.cu_lens.diff().tolist())
    expected = []
    for part, state in zip(parts, states, strict=True):
        genes = part[1:-2] if form == "A" else part  # CLS first, T and S last; or latents
        joined = torch.cat([state[-2], state[-1], genes.amax(0), genes.mean(0)])
        expected.append(joined @ encoder.cell_map.weight.T + encoder.cell_map.bias)
    found = encoder(batch, features)
    torch.testing.assert_close(found.cells_BD, torch.stack(expected))
    assert torch.equal(deeper.feature_ids_T[kept_T], batch.feature_ids_T)


@pytest.mark.parametrize("form", FORMS)
def test_readouts_leave_the_depths_out(form: str) -> None:
    encoder, batch, features = _encoder(form), _batch(), _features()
    for share_LL, length in zip(encoder.attention(batch, features), batch.cu_lens.diff().tolist(), strict=True):
        assert share_LL.shape == (length, length)
        sums_L = share_LL.sum(1)
        assert ((sums_L - 1).abs().lt(1e-5) | (sums_L == 0)).all()
