"""Fine-tune a trained model for cell-type annotation, as scMBERT does.

Dimension letters: B cells of a batch, C cells, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.config import ComponentSpec, require, require_number
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TrainConfig
from grn_cotrain.train.classifier import Classifier
from grn_cotrain.train.early_stopping import EarlyStopping
from grn_cotrain.train.environment import deterministic
from grn_cotrain.train.fabric import find_device
from grn_cotrain.train.freezing import FreezeLevel, freeze, frozen_to_evaluation
from grn_cotrain.train.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from grn_cotrain.train.seeds import Purpose, step_seed, torch_generator

__all__ = ["EpochReport", "FinetuneConfig", "FinetuneResult", "class_weights", "fit"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How a model is fine-tuned.

    Attributes
    ----------
    head
        Classification head with its options (``grn-cotrain list head``).
    freeze
        What stays as it was: ``none``, ``embeddings``, ``first_block`` (as scMBERT) or ``encoder``.
    class_weights
        ``balanced``: every class weighs the same in the loss, however rare; ``none``: every cell does.
    epochs
        Most passes over the training cells.
    patience
        Epochs without a lower validation loss after which training stops (scMBERT: 10).
    learning_rate
        AdamW's peak rate; a cosine over ``epochs`` takes it down.
    table_learning_rate
        Rate of the gene table, where it is trained; null: ``learning_rate``.
    weight_decay
        Of the encoder's matrices.
    clip_norm
        Largest norm of the gradient.
    cells_per_batch
        Most cells a step.
    tokens_per_batch
        Most tokens a step.
    device
        ``cpu`` or ``cuda``.
    seed
        Of head, order, down-sampling, dropout.
    """

    head: ComponentSpec = field(default_factory=lambda: ComponentSpec("cls_mlp"))
    freeze: FreezeLevel = "first_block"
    class_weights: Literal["none", "balanced"] = "none"
    epochs: int = 50
    patience: int = 10
    learning_rate: float = 1e-3
    table_learning_rate: float | None = None
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    cells_per_batch: int = 32
    tokens_per_batch: int = 32_768
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "cells_per_batch", "tokens_per_batch"):
            require_number(self, name, "at least 1", lambda value: value >= 1)
        for name in ("learning_rate", "table_learning_rate", "clip_norm"):
            require_number(self, name, "a positive number", lambda value: value > 0)
        require_number(self, "weight_decay", "0 or more", lambda value: value >= 0)
        require(self.seed >= 0, f"seed: got {self.seed}; give 0 or more")
        require(
            self.class_weights in ("none", "balanced"),
            f"class_weights: got '{self.class_weights}'; choose from none, balanced",
        )


@dataclass(frozen=True)
class EpochReport:
    """Losses of one epoch (mean cross-entropy in nats) and accuracy on the validation cells."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning did.

    Attributes
    ----------
    history
        One report an epoch.
    best_epoch, best_loss
        Epoch whose weights were put back, and its validation loss.
    frozen
        Names of the parameters that did not change.
    num_trained
        Numbers that were trained, head included.
    """

    history: list[EpochReport]
    best_epoch: int
    best_loss: float
    frozen: list[str]
    num_trained: int


def class_weights(codes_C: np.ndarray, num_classes: int, *, balanced: bool) -> Tensor:
    r"""Weight of each class in the loss: 1, or :math:`C / (K\, n_k)` with ``n_k`` its training cells."""
    if not balanced:
        return torch.ones(num_classes)
    count_K = np.bincount(codes_C, minlength=num_classes)
    return torch.from_numpy(len(codes_C) / (num_classes * np.maximum(1, count_K))).float()


def fit(
    classifier: Classifier,
    tokenizer: Tokenizer,
    codes_C: np.ndarray,
    train_C: np.ndarray,
    validation_C: np.ndarray,
    config: FinetuneConfig,
    *,
    validate: Callable[[int], tuple[float, float]] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> FinetuneResult:
    r"""Train head and encoder by cross-entropy; end with the weights of the best validation epoch.

    .. math:: \mathcal{L} = -\frac{\sum_n w_{y_n} \log \hat y_{n, y_n}}{\sum_n w_{y_n}}

    scMBERT's fine-tuning loss with class weights ``w`` (1 unless balanced). Validation is a pass without dropout over
    the validation cells, with the same weights. Test cells are not seen here.

    Parameters
    ----------
    classifier
        Changed in place; in evaluation mode afterwards.
    tokenizer
        Of all cells, as the model reads them.
    codes_C
        Class of each cell, -1 where it is none of these.
    train_C, validation_C
        Rows, disjoint, all with a class.
    config
        Settings.
    validate
        Called with the epoch's number for ``(loss, accuracy)`` in place of the pass over ``validation_C``.
    on_epoch
        Told of each epoch.

    Raises
    ------
    UserError
        No cell to train on or validate with; a device that is unknown or not on this machine; the encoder has no block
        to freeze; a loss that is not finite.
    """
    if not len(validation_C) and validate is None:
        raise UserError("validation: no cell is left for it; give more cells, or a larger share")
    with deterministic(True):  # the caller's random state stays as it was
        return _fit(classifier, tokenizer, codes_C, train_C, validation_C, config, validate, on_epoch)


def _fit(
    classifier: Classifier,
    tokenizer: Tokenizer,
    codes_C: np.ndarray,
    train_C: np.ndarray,
    validation_C: np.ndarray,
    config: FinetuneConfig,
    validate: Callable[[int], tuple[float, float]] | None,
    on_epoch: Callable[[EpochReport], None] | None,
) -> FinetuneResult:
    device = find_device(config.device, option="--device")
    model, head = classifier.model.to(device).eval(), classifier.head.to(device).eval()
    graph = model.graph.to(device)
    stream = CellStream(
        tokenizer,
        train_C,
        tokens_per_batch=config.tokens_per_batch,
        cells_per_batch=config.cells_per_batch,
        seed=config.seed,
    )
    frozen = freeze(model, config.freeze, tokenizer.batch(train_C[:1]).pack().to(device))
    weights = [weight for weight in [*model.parameters(), *head.parameters()] if weight.requires_grad]
    optimizer = build_optimizer(
        model,
        head,
        TrainConfig(
            learning_rate=config.learning_rate,
            table_learning_rate=config.table_learning_rate,
            weight_decay=config.weight_decay,
        ),
    )
    weight_K = class_weights(codes_C[train_C], len(classifier.classes), balanced=config.class_weights == "balanced").to(
        device
    )
    codes = torch.from_numpy(np.asarray(codes_C, dtype=np.int64))
    gene_parts = (model.table, model.graph_encoder, model.coupling)
    genes_move = any(weight.requires_grad for part in gene_parts for weight in part.parameters())
    with torch.no_grad():
        fixed_genes = None if genes_move else model.encode_graph(graph)
    steps_per_epoch = math.ceil(len(train_C) / config.cells_per_batch)
    stopping = EarlyStopping(model, head, patience=config.patience)
    history: list[EpochReport] = []
    step = 0

    def own_validation(epoch: int) -> tuple[float, float]:
        del epoch
        logs_CK = classifier.log_probabilities(tokenizer, validation_C)
        truth_C = codes_C[validation_C]
        weight_C = weight_K.cpu().numpy().astype(np.float64)[truth_C]
        loss_C = -logs_CK[np.arange(len(truth_C)), truth_C].astype(np.float64)
        return float(weight_C @ loss_C / weight_C.sum()), float((logs_CK.argmax(1) == truth_C).mean())

    for epoch in range(1, config.epochs + 1):
        total = weight_sum = 0.0
        with frozen_to_evaluation(model):
            head.train()
            for batch in _one_epoch(stream, len(train_C)):
                batch = batch.to(device)
                torch.manual_seed(step_seed(config.seed, step, Purpose.DROPOUT))
                genes = fixed_genes
                if genes is None:
                    generator = torch_generator(config.seed, step, Purpose.TABLE, device=device)
                    genes = model.encode_graph(graph, generator=generator)
                target_B = codes[batch.cell_index_B.cpu()].to(device)
                loss = F.cross_entropy(classifier.logits(batch, genes), target_B, weight=weight_K)
                if not bool(torch.isfinite(loss)):
                    raise UserError(f"training loss: not finite at epoch {epoch}; lower learning_rate")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, config.clip_norm)
                factor = learning_rate_factor(
                    step, warmup_steps=steps_per_epoch, max_steps=config.epochs * steps_per_epoch
                )
                set_learning_rate(optimizer, factor)
                optimizer.step()
                share = float(weight_K[target_B].sum())
                total, weight_sum, step = total + share * float(loss.detach()), weight_sum + share, step + 1
        head.eval()
        report = EpochReport(epoch, total / weight_sum, *(validate or own_validation)(epoch))
        history.append(report)
        if on_epoch is not None:
            on_epoch(report)
        if stopping.update(epoch, report.validation_loss):
            break
    stopping.restore()
    for weight in model.parameters():
        weight.requires_grad_(True)
    return FinetuneResult(
        history, stopping.best_epoch, stopping.best_loss, frozen, sum(weight.numel() for weight in weights)
    )


def _one_epoch(stream: CellStream, num_cells: int) -> Iterator[PackedTokens]:
    """Batches until every training cell was given out once."""
    while True:
        yield next(stream).pack()
        if stream.position >= num_cells:
            return
