"""B3: one masked-token step at Geneformer's 10-million size, against BertForMaskedLM.

Same weights, same cells, same chosen tokens, same loss: 6 layers of width 256, 4 heads, feed-forward 512 with ReLU,
25,426 names. Ours packs the cells and computes names at the chosen positions only; the peer pads to the longest cell
and scores every name at every position. Ours also draws the tokens to hide and ranks the genes within its time; the
peer's inputs are ready made.

Adapted so that both compute one function: the peer's norms use our epsilon (1e-5), its tokens stand in the order of
their ranks behind CLS, its position 0 is a row of zeros, and the biases of its three special names are -1e9, so that
neither predicts them. No dropout on either side.

Dimension letters: B cells, L longest cell, T packed tokens, G genes, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from experiments.benchmarks.harness import Context, Row, assert_agrees, assert_near
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import CLS_ID, NUM_SPECIAL, PAD_ID
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellStates
from grn_cotrain.nn.cell_encoders.geneformer import GeneformerEncoder
from grn_cotrain.nn.precision import fast_fp32
from grn_cotrain.objectives import OBJECTIVES, GeneStates
from grn_cotrain.objectives.masked_gene import MaskedGene
from grn_cotrain.objectives.masking import draw_mask

__all__ = ["ID", "TITLE", "run"]

ID = "B3"
TITLE = "Masked-token step, forward + backward, at Geneformer-10M size (D256 L6 H4 FFN512, 25,426 names)"

MIXED = (768, 384, 288, 192, 192, 144, 96, 86)  # B1's mix at half length: 2,150 of 8 x 768 positions are tokens
EQUAL = (538, 538, 537, 537)  # as many tokens in cells of one length, as if batches were grouped by length
_QUICK_MIXED, _QUICK_EQUAL = (32, 16, 12, 8), (17, 17, 17, 17)


@dataclass(frozen=True)
class _Sizes:
    width: int = 256
    num_layers: int = 6
    num_heads: int = 4
    ffn_width: int = 512
    num_genes: int = 25_426 - NUM_SPECIAL
    max_ranks: int = 2048


_QUICK = _Sizes(width=32, num_layers=2, num_heads=2, ffn_width=64, num_genes=200, max_ranks=64)


class _Ours:
    """Encoder, objective and table, and what the objective asks of a model."""

    def __init__(self, sizes: _Sizes, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = CELL_ENCODERS.build(
                "geneformer",
                {
                    "num_layers": sizes.num_layers,
                    "num_heads": sizes.num_heads,
                    "ffn_multiplier": sizes.ffn_width / sizes.width,
                    "dropout": 0.0,
                    "max_ranks": sizes.max_ranks,
                },
                width=sizes.width,
                num_bins=2,
                num_modalities=1,
                num_genes=sizes.num_genes,
            )
            objective = OBJECTIVES.build("masked_gene", {}, width=sizes.width, num_bins=2, num_genes=sizes.num_genes)
            self.table_GD = (0.02 * torch.randn(sizes.num_genes, sizes.width)).requires_grad_()
            self.special_SD = (0.02 * torch.randn(NUM_SPECIAL, sizes.width)).requires_grad_()
        assert isinstance(encoder, GeneformerEncoder)
        assert isinstance(objective, MaskedGene)
        nn.init.ones_(objective.norm.weight)  # it starts at 0: neither side would have anything to do
        self.encoder, self.objective = encoder, objective
        self.shown: PackedTokens | None = None

    @property
    def link_decoder(self) -> NoReturn:
        """No links here."""
        raise NotImplementedError

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """Ranks."""
        return self.encoder.prepare_batch(batch)

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        """Rows of the table."""
        return genes.table_GD[feature_ids_T - NUM_SPECIAL]

    def every_row(self, genes: GeneStates) -> Tensor:
        """Rows of all features."""
        return genes.table_GD

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        """States; what was shown is kept, for the peer."""
        self.shown = batch
        return self.encoder(batch, torch.cat([self.special_SD, genes.table_GD]))

    def step(self, batch: PackedTokens, generator: torch.Generator) -> Tensor:
        """Loss, with gradients of every weight."""
        for module in (self.encoder, self.objective):
            module.zero_grad(set_to_none=True)
        self.table_GD.grad = self.special_SD.grad = None
        output = self.objective.on_cells(self, GeneStates(self.table_GD, self.table_GD), batch, generator)
        output.loss.backward()
        return output.loss.detach()


@dataclass(frozen=True)
class _Padded:
    ids_BL: Tensor
    valid_BL: Tensor
    labels_BL: Tensor


def run(context: Context) -> list[Row]:
    """Check that loss and gradients agree, then time."""
    sizes = _QUICK if context.quick else _Sizes()
    ours = _Ours(sizes, context.seed)
    try:
        peer = _peer_of(ours, sizes)
    except ImportError as error:
        return [Row("BertForMaskedLM", note=f"absent: {error} (extra 'bench')")]
    with fast_fp32(only_where_faster=False) as outcome:
        pass
    with fast_fp32() as usual:
        pass
    routes: dict[str, Callable[[], AbstractContextManager[Any]]] = {"default route": nullcontext}
    if outcome.enabled:
        routes["re-routed"] = lambda: fast_fp32(only_where_faster=False)
    mixes = {
        "mixed lengths": _QUICK_MIXED if context.quick else MIXED,
        "equal lengths": _QUICK_EQUAL if context.quick else EQUAL,
    }
    rows = []
    for mix, lengths in mixes.items():
        batch = _cells(lengths, sizes.num_genes, context.generator())
        agreed, padded = _agree(ours, peer, batch, context)
        padding = 1 - sum(lengths) / (len(lengths) * max(lengths))

        def our_step(batch: PackedTokens = batch) -> None:
            ours.step(batch, context.generator())

        def peer_step(padded: _Padded = padded) -> None:
            _peer_step(peer, padded)

        wanted = dict(routes)
        if mix == "equal lengths":  # what padding does not explain is the head; the route used in training shows it
            wanted.pop("default route" if usual.enabled else "re-routed", None)
        seconds = context.measure(
            {
                f"{name}: {side}": _within(route, step)
                for name, route in wanted.items()
                for side, step in (("ours", our_step), ("theirs", peer_step))
            },
            warmup=0,  # the agreement ran both
        )
        for name in wanted:
            mine, theirs = seconds[f"{name}: ours"], seconds[f"{name}: theirs"]
            note = f"{sum(lengths):,} tokens in {len(lengths)} cells"
            rows.append(Row(f"packed (ours), {mix}, {name}", mine, None, f"{note}; {agreed}"))
            rows.append(
                Row(f"BertForMaskedLM, {mix}, {name}", theirs, theirs / mine, f"padding {padding:.0%}; same weights")
            )
    if not outcome.enabled:
        rows.append(Row("re-routed", note=f"absent: it would round here (error {outcome.error:.0e})"))
    return rows


def _within(route: Callable[[], AbstractContextManager[Any]], step: Callable[[], None]) -> Callable[[], None]:
    def timed() -> None:
        with route():
            step()

    return timed


def _cells(lengths: Sequence[int], num_genes: int, generator: torch.Generator) -> PackedTokens:
    """Cells of these lengths, CLS included: random genes by id, values without ties."""
    ids = [torch.randperm(num_genes, generator=generator)[: length - 1].sort().values for length in lengths]
    values = [torch.rand(length - 1, generator=generator) + 0.5 for length in lengths]
    ids_T = torch.cat([part for own in ids for part in (torch.tensor([CLS_ID]), own + NUM_SPECIAL)])
    values_T = torch.cat([part for own in values for part in (torch.zeros(1), own)])
    return PackedTokens(
        feature_ids_T=ids_T,
        values_T=values_T,
        bins_T=(values_T > 0).long(),
        modality_T=torch.zeros_like(ids_T),
        cu_lens=torch.tensor([0, *lengths]).cumsum(0).int(),
        max_len=max(lengths),
        cell_index_B=torch.arange(len(lengths)),
    )


def _agree(ours: _Ours, peer: Any, batch: PackedTokens, context: Context) -> tuple[str, _Padded]:
    """Run both once; the note, and the peer's inputs."""
    our_loss = ours.step(batch, context.generator())
    our_gradient = ours.table_GD.grad
    assert our_gradient is not None
    assert ours.shown is not None
    chosen_T = draw_mask(batch, context.generator(), share=ours.objective.config.share)
    padded = _in_rank_order(batch, ours.shown, chosen_T)
    peer_loss = _peer_step(peer, padded)
    gradient = peer.bert.embeddings.word_embeddings.weight.grad[NUM_SPECIAL:]
    agreed = "; ".join(
        [
            assert_near("loss", float(our_loss), float(peer_loss), tolerance=1e-4),
            assert_agrees("gradient of the names", our_gradient, gradient, tolerance=1e-3),
        ]
    )
    return agreed, padded


def _in_rank_order(batch: PackedTokens, shown: PackedTokens, chosen_T: Tensor) -> _Padded:
    """Padded sequences as the encoder was shown them, CLS first, then genes by rank; labels at chosen positions."""
    assert shown.ranks_T is not None
    shape = (batch.num_cells, batch.max_len)
    cell_T, place_T = shown.cell_of_token_T, shown.ranks_T
    ids_BL = torch.full(shape, PAD_ID)
    ids_BL[cell_T, place_T] = shown.feature_ids_T
    labels_BL = torch.full(shape, -100)
    labels_BL[cell_T[chosen_T], place_T[chosen_T]] = batch.feature_ids_T[chosen_T]
    lens_B = batch.cu_lens.diff()
    return _Padded(ids_BL, torch.arange(batch.max_len) < lens_B[:, None], labels_BL)


def _peer_step(peer: Any, padded: _Padded) -> Tensor:
    peer.zero_grad(set_to_none=True)
    mask_BL = None if bool(padded.valid_BL.all()) else padded.valid_BL.long()
    loss = peer(input_ids=padded.ids_BL, attention_mask=mask_BL, labels=padded.labels_BL).loss
    loss.backward()
    return loss.detach()


@torch.no_grad()
def _peer_of(ours: _Ours, sizes: _Sizes) -> Any:
    """``BertForMaskedLM`` with the same weights."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=sizes.num_genes + NUM_SPECIAL,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.num_heads,
        intermediate_size=sizes.ffn_width,
        hidden_act="relu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=sizes.max_ranks + 1,
        layer_norm_eps=1e-5,
        pad_token_id=PAD_ID,
    )
    with torch.random.fork_rng(devices=[]):
        peer = BertForMaskedLM(config).train()
    embeddings, head = peer.bert.embeddings, peer.cls.predictions
    embeddings.word_embeddings.weight.copy_(torch.cat([ours.special_SD, ours.table_GD]))
    embeddings.position_embeddings.weight.zero_()
    embeddings.position_embeddings.weight[1:] = ours.encoder.ranks.weight[: sizes.max_ranks]
    embeddings.token_type_embeddings.weight.zero_()
    head.bias.fill_(-1e9)
    head.bias[NUM_SPECIAL:] = ours.objective.bias_G
    head.decoder.bias = head.bias
    pairs: list[tuple[Any, nn.Module]] = [
        (embeddings.LayerNorm, ours.encoder.norm),
        (head.transform.dense, ours.objective.transform),
        (head.transform.LayerNorm, ours.objective.norm),
    ]
    for layer, block in zip(peer.bert.encoder.layer, ours.encoder.trunk.blocks, strict=True):
        read: Any = block
        parts = zip(read.qkv.weight.chunk(3), read.qkv.bias.chunk(3), strict=True)
        attention = layer.attention.self
        for linear, (weight, bias) in zip((attention.query, attention.key, attention.value), parts, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        pairs += [
            (layer.attention.output.dense, read.attention_out),
            (layer.attention.output.LayerNorm, read.attention_norm),
            (layer.intermediate.dense, read.ffn_up),
            (layer.output.dense, read.ffn_down),
            (layer.output.LayerNorm, read.ffn_norm),
        ]
    for theirs, mine in pairs:
        theirs.load_state_dict(mine.state_dict())
    assert head.decoder.weight is embeddings.word_embeddings.weight
    return peer
