"""B1: one encoder step, packed against padded.

Same weights, same cells, same function: our packed transformer against ``nn.TransformerEncoder`` with a padding mask,
forward and backward, width 256, 6 layers, 4 heads. Each route of float32 products is compared with itself, so that no
side profits from the other's default. bf16 is measured where the CPU has the instructions, and absent elsewhere.

Dimension letters: B cells, L longest cell, T packed tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmarks.harness import Context, Row, assert_agrees
from grn_cotrain.nn.packed_transformer import PackedTransformer
from grn_cotrain.nn.precision import cpu_has_bf16, fast_fp32

__all__ = ["ID", "TITLE", "run"]

ID = "B1"
TITLE = "Encoder forward + backward: packed against padded (D256 L6 H4, 8 cells, padding share 0.65)"

WIDTH, NUM_LAYERS, NUM_HEADS = 256, 6, 4
LENGTHS = (1536, 768, 576, 384, 384, 288, 192, 172)  # 4,300 of 8 x 1,536 positions are tokens
_QUICK_LENGTHS = (128, 64, 48, 32, 32, 24, 16, 14)


def run(context: Context) -> list[Row]:
    """Check that outputs and gradients agree, then time."""
    lengths = _QUICK_LENGTHS if context.quick else LENGTHS
    num_layers = 2 if context.quick else NUM_LAYERS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        ours = PackedTransformer(WIDTH, num_layers, NUM_HEADS, 4 * WIDTH)
    peer = _peer_of(ours)
    tokens_TD = torch.randn(sum(lengths), WIDTH, generator=context.generator())
    weights_TD = torch.randn(tokens_TD.shape, generator=context.generator())
    cu_lens = torch.tensor([0, *lengths]).cumsum(0).int()
    valid_BL = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens_BLD = torch.zeros(*valid_BL.shape, WIDTH)
    tokens_BLD[valid_BL] = tokens_TD

    def our_step() -> tuple[Tensor, Tensor]:
        return _step(ours, lambda: ours(tokens_TD, cu_lens, max(lengths)), weights_TD)

    def peer_step() -> tuple[Tensor, Tensor]:
        return _step(peer, lambda: peer(tokens_BLD, src_key_padding_mask=~valid_BL)[valid_BL], weights_TD)

    (our_out, our_grad), (peer_out, peer_grad) = our_step(), peer_step()
    agreed = "; ".join(
        [
            assert_agrees("outputs", our_out, peer_out, tolerance=1e-5),
            assert_agrees("gradients", our_grad, peer_grad, tolerance=1e-4),
        ]
    )
    with fast_fp32(only_where_faster=False) as outcome:
        pass
    routes: dict[str, Callable[[], AbstractContextManager[Any]]] = {"fp32, default route": nullcontext}
    if outcome.enabled:
        routes["fp32, re-routed"] = lambda: fast_fp32(only_where_faster=False)
    if cpu_has_bf16():
        routes["bf16"] = lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    seconds = context.measure(
        {
            f"{name}: {side}": _within(route, step)
            for name, route in routes.items()
            for side, step in (("packed (ours)", our_step), ("padded", peer_step))
        },
        warmup=0,  # the agreement ran both
    )
    rows = []
    for name in routes:
        packed, padded = seconds[f"{name}: packed (ours)"], seconds[f"{name}: padded"]
        rows.append(Row(f"packed (ours), {name}", packed, None, agreed if name.endswith("default route") else ""))
        rows.append(Row(f"nn.TransformerEncoder, {name}", padded, padded / packed, "same weights, same route"))
    if not outcome.enabled:
        rows.append(Row("fp32, re-routed", note=f"absent: it would round here (error {outcome.error:.0e})"))
    if not cpu_has_bf16():
        rows.append(Row("bf16", note="absent: this CPU has no bf16 instructions, the dispatcher stays in fp32"))
    return rows


def _within(
    route: Callable[[], AbstractContextManager[Any]], step: Callable[[], tuple[Tensor, Tensor]]
) -> Callable[[], None]:
    def timed() -> None:
        with route():
            step()

    return timed


def _step(module: nn.Module, forward: Callable[[], Tensor], weights_TD: Tensor) -> tuple[Tensor, Tensor]:
    """Output at real tokens, and the gradient of the first feed-forward weight; all gradients are computed."""
    module.zero_grad()
    out_TD = forward().float()
    (out_TD * weights_TD).sum().backward()
    first = module.blocks[0].ffn_up if isinstance(module, PackedTransformer) else module.layers[0].linear1  # type: ignore[index, union-attr]
    return out_TD.detach(), first.weight.grad  # type: ignore[return-value, union-attr]


def _peer_of(ours: PackedTransformer) -> nn.TransformerEncoder:
    """``nn.TransformerEncoder`` with the same weights."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, NUM_HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    peer = nn.TransformerEncoder(layer, len(ours.blocks), norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
    names = {
        "attention_norm": "norm1",
        "qkv": "self_attn.in_proj_",
        "attention_out": "self_attn.out_proj",
        "ffn_norm": "norm2",
        "ffn_up": "linear1",
        "ffn_down": "linear2",
    }
    state = {}
    for name, weight in ours.state_dict().items():
        *prefix, module, leaf = name.split(".")
        if module == "final_norm":
            state[f"norm.{leaf}"] = weight
        else:
            target = names[module]
            joined = target + leaf if target.endswith("_") else f"{target}.{leaf}"
            state[f"layers.{prefix[1]}.{joined}"] = weight
    peer.load_state_dict(state)
    return peer
