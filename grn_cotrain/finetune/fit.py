"""Fine-tune a trained model for cell-type annotation, as scMBERT does.

Dimension letters: B cells of a batch, C cells, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.apply import Encoder
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.finetune.classifier import Classifier
from grn_cotrain.jobs.finetune import FinetuneConfig
from grn_cotrain.recipe import TrainConfig
from grn_cotrain.train.early_stopping import EarlyStopping
from grn_cotrain.train.environment import deterministic
from grn_cotrain.train.fabric import find_device
from grn_cotrain.train.freezing import freeze, frozen_to_evaluation
from grn_cotrain.train.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from grn_cotrain.train.seeds import Purpose, step_seed, torch_generator

__all__ = ["EpochReport", "FinetuneResult", "class_weights", "fit"]


@dataclass(frozen=True)
class EpochReport:
    """Losses of one epoch (mean cross-entropy in nats) and accuracy on the validation cells."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class FinetuneResult:
    """Result of fine-tuning.

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
        Tokens of all cells, as the model reads them.
    codes_C
        Class of each cell, -1 where it is none of these.
    train_C, validation_C
        Rows, disjoint, all with a class.
    config
        Settings.
    validate
        Called with the epoch's number for ``(loss, accuracy)`` in place of the pass over ``validation_C``.
    on_epoch
        Called after each epoch.

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
                loss = F.cross_entropy(classifier.logits(batch, Encoder(model, genes)), target_B, weight=weight_K)
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
