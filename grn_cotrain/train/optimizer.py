"""AdamW with parameter groups, and warm-up + cosine as a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.recipe import TrainConfig

__all__ = ["build_optimizer", "learning_rate_factor", "set_learning_rate"]


def learning_rate_factor(step: int, *, warmup_steps: int, max_steps: int, floor: float = 0.05) -> float:
    """Linear warm-up from 1/warmup to 1, then a cosine down to ``floor`` at ``max_steps``."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, max_steps - warmup_steps)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def build_optimizer(model: CoTrainNetwork, weighting: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; matrices decay, rows of features, vectors (biases, norms) and loss weights do not.

    Rows (the table, and those of features that are not nodes) have a learning rate of their own, since a feature's row
    is touched by few tokens of a step.
    """
    table = {id(parameter) for part in (model.table, model.feature_rows) for parameter in part.parameters()}
    decay, plain, rows = [], [], []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in table:
            rows.append(parameter)
        elif parameter.ndim >= 2:
            decay.append(parameter)
        else:
            plain.append(parameter)
    plain.extend(weighting.parameters())
    table_rate = config.table_learning_rate or config.learning_rate
    groups = [
        {"params": decay, "weight_decay": config.weight_decay, "lr": config.learning_rate},
        {"params": plain, "weight_decay": 0.0, "lr": config.learning_rate},
        {"params": rows, "weight_decay": 0.0, "lr": table_rate},
    ]
    groups = [{**group, "base_lr": group["lr"]} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
