"""Which weights stay as they are while a model is fine-tuned, for any cell encoder.

Dimension letters: T packed tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.cross_attention import CrossAttentionBlock
from grn_cotrain.nn.packed_transformer import TransformerBlock

__all__ = ["FREEZE_LEVELS", "FreezeLevel", "first_block", "freeze", "frozen_to_evaluation"]

FreezeLevel = Literal["none", "embeddings", "first_block", "encoder"]
FREEZE_LEVELS: tuple[FreezeLevel, ...] = get_args(FreezeLevel)


def freeze(model: CoTrainNetwork, level: FreezeLevel, batch: PackedTokens) -> list[str]:
    """Take away the gradients of the weights that ``level`` names.

    =============== ==================================================================================================
    level           what stays as it is
    =============== ==================================================================================================
    ``none``        nothing
    ``embeddings``  what makes the tokens: gene table, special rows, graph encoder, coupling, and the encoder's own
                    embeddings, which are the parts that the first block's input depends on
    ``first_block`` these and the encoder's first block (scMBERT: "the initial layer is frozen")
    ``encoder``     the whole model: the head alone is trained
    =============== ==================================================================================================

    The encoder's embeddings are found by asking autograd what its first block is given depends on (latents that read
    tokens are given both), so no encoder has to declare them. A part of the encoder of which one weight is an embedding
    is frozen as a whole (the row of hidden values with the rows of visible ones).

    Parameters
    ----------
    model
        Model; only ``requires_grad`` changes.
    level
        How much.
    batch
        Any cells, to be encoded once; on the model's device.

    Returns
    -------
    list of str
        Names of the parameters that are frozen.

    Raises
    ------
    UserError
        Unknown level; an encoder without blocks, where the level needs one.
    """
    if level not in FREEZE_LEVELS:
        raise UserError(f"freeze '{level}': choose from {', '.join(FREEZE_LEVELS)}")
    frozen: list[nn.Parameter] = []
    if level == "encoder":
        frozen += model.parameters()
    elif level != "none":

        def run() -> None:
            model.encode_cells(batch, model.encode_graph())

        for part in (model.table, model.graph_encoder, model.coupling, model.feature_rows):
            frozen += part.parameters()
        frozen.append(model.special_SD)
        for name, encoder in model.encoders.items():
            found = first_block(encoder, run)
            if found is None:
                component = model.config.encoder_specs[name].component.name
                raise UserError(f"freeze '{level}': cell encoder '{component}' has no blocks; choose none or encoder")
            block, inputs = found
            frozen += _embeddings(encoder, block, inputs)
            if level == "first_block":
                frozen += block.parameters()
    chosen = {id(parameter) for parameter in frozen}
    names = []
    for name, parameter in model.named_parameters():
        if id(parameter) in chosen:
            parameter.requires_grad_(False)
            names.append(name)
    return names


def first_block(encoder: nn.Module, run: Callable[[], None]) -> tuple[nn.Module, list[Tensor]] | None:
    """The block that ``run`` enters first, and the tensors its parts are given; None if there is no block.

    Blocks are the items of a ``ModuleList`` of the name ``blocks``, or transformer blocks by class. A block counts as
    entered when one of its parts is, since some encoders call a block's parts one by one; what its parts are given
    until another block is entered is what it is given, whether or not it made some of it itself.
    """
    candidates = list(_blocks(encoder))
    entered: list[nn.Module] = []
    given: list[Tensor] = []

    def note(block: nn.Module) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            del module
            if not entered or entered[-1] is not block:
                entered.append(block)
            if len(entered) == 1:
                given.extend(x for x in inputs if isinstance(x, Tensor) and x.is_floating_point())

        return hook

    handles = [part.register_forward_pre_hook(note(block)) for block in candidates for part in block.modules()]
    training = encoder.training
    try:
        encoder.eval()  # a trial run draws nothing
        with torch.enable_grad():
            run()
    finally:
        encoder.train(training)
        for handle in handles:
            handle.remove()
    return (entered[0], given) if entered else None


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Outermost blocks."""
    for name, child in module.named_children():
        if isinstance(child, (TransformerBlock, CrossAttentionBlock)):
            yield child
        elif name == "blocks" and isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def _embeddings(encoder: nn.Module, block: nn.Module, inputs: list[Tensor]) -> list[nn.Parameter]:
    """Parameters of ``encoder`` on which ``inputs`` depend, and those of the direct parts they belong to."""
    weights = [weight for weight in encoder.parameters() if weight.requires_grad]
    sums = [tensor.sum() for tensor in inputs if tensor.requires_grad]
    if not sums or not weights:
        return []
    gradients = torch.autograd.grad(torch.stack(sums).sum(), weights, allow_unused=True)
    reached = {id(weight) for weight, grad in zip(weights, gradients, strict=True) if grad is not None}
    inside = {id(weight) for weight in block.parameters()}
    found = [weight for weight in weights if id(weight) in reached - inside]
    for child in encoder.children():
        own = list(child.parameters())
        if not inside & set(map(id, own)) and reached & set(map(id, own)):
            found += own
    return found


@contextmanager
def frozen_to_evaluation(model: nn.Module) -> Iterator[None]:
    """Training mode inside, except for parts all of whose weights are frozen: no dropout there, and no buffer moves.

    Evaluation mode outside.
    """
    model.train()
    for module in model.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()
    try:
        yield
    finally:
        model.eval()
