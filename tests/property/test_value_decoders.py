"""Which tokens are asked changes no answer: decoding a subset in training and all genes later is one function."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellEncoder
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

WIDTH = 12
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
FEATURES = torch.randn(NUM_SPECIAL + 30, WIDTH, generator=torch.Generator().manual_seed(1))


@cache
def _encoder(name: str, decoder: str, decode_zeros: bool) -> CellEncoder:
    options = {"decoder": decoder, "num_heads": 2, "decode_zeros": decode_zeros}
    if decoder != "A":
        options |= {"num_latents": 3, "latent_layers": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(name, options, width=WIDTH, num_bins=5, num_modalities=3, num_genes=30)
    return encoder.eval()


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(["xtrimogene", "scfoundation"]),
    decoder=st.sampled_from(["A", "D2", "D1", "C"]),
    decode_zeros=st.booleans(),
    share=st.floats(0, 1),
    zeros=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    seed=st.integers(0, 2**31),
)
def test_answers_do_not_depend_on_who_else_is_asked(
    name: str, decoder: str, decode_zeros: bool, share: float, zeros: tuple[int, int], seed: int
) -> None:
    """Two draws of hidden zeros, of unlike number, beside the same hidden and visible values."""
    encoder = _encoder(name, decoder, decode_zeros)
    states, names = [], []
    rows = np.arange(3)
    for number in zeros:
        batch = Tokenizer(toy_cells(density=0.3), TokenConfig(num_bins=5, zeros_per_cell=number)).batch(rows).pack()
        # A value is hidden by its gene and cell alone, so that both draws hide the same; of zeros some are.
        cell_T = batch.cell_of_token_T
        table_BV = torch.rand(3, NUM_SPECIAL + 30, generator=torch.Generator().manual_seed(seed))
        masked_T = (table_BV[cell_T, batch.feature_ids_T] < share) & (batch.feature_ids_T >= NUM_SPECIAL)
        encoded = encoder(batch.with_mask(masked_T), FEATURES)
        keys = list(zip(cell_T.tolist(), batch.feature_ids_T.tolist(), strict=True))
        states.append(dict(zip(keys, encoded.tokens_TD, strict=True)))
        names.append(encoded.cells_BD)
    torch.testing.assert_close(names[0], names[1], **CLOSE)
    shared = states[0].keys() & states[1].keys()
    assert len(shared) >= 3
    for key in shared:
        torch.testing.assert_close(states[0][key], states[1][key], **CLOSE)
