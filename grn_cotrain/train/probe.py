"""Links of a model that never saw a link loss: the same decoder, fitted afterwards on frozen embeddings."""

from __future__ import annotations

import math

import torch

from grn_cotrain.model_io import read_tensors
from grn_cotrain.objectives import Step
from grn_cotrain.train.optimizer import learning_rate_factor
from grn_cotrain.train.seeds import Purpose, numpy_generator
from grn_cotrain.train.trainer import Trainer

__all__ = ["fit_probe"]

_VALIDATE_EVERY = 50


def fit_probe(trainer: Trainer) -> dict[str, float]:
    """Fit the link decoder of the best ``mlm_only`` model for ``evaluate.probe_steps`` steps; table and encoders rest.

    Messages and supervised pairs stay disjoint at every step, the checkpoint is picked on validation pairs, and the
    model folder is written again with the fitted decoder. Returns the validation metrics of the chosen step.
    """
    recipe, model, device = trainer.recipe, trainer.model, trainer.fabric.device
    seed, steps = recipe.seed, recipe.evaluate.probe_steps
    model.load_state_dict(read_tensors(trainer.run.model / "model.safetensors"))
    model.to(device)
    model.link_decoder.load_state_dict(trainer.initial_decoder)
    sampler = trainer.source.link_sampler()
    objectives = trainer.schedule.link_objectives
    parameters = [parameter for parameter in model.link_decoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.train.learning_rate, weight_decay=recipe.train.weight_decay, betas=(0.9, 0.98)
    )
    best_value, best_state, best_metrics = -math.inf, model.link_decoder.state_dict(), dict[str, float]()
    trainer.reporter.start("fit the link probe", total=steps, done=0)
    model.eval()
    for step in range(steps + 1):
        if trainer.validator.pairs is not None and (step % _VALIDATE_EVERY == 0 or step == steps):
            model.link_decoder.eval()
            metrics = trainer.validator.links(model)
            value = metrics["validation/links/selection"]
            if value > best_value:
                best_value, best_metrics = value, metrics
                best_state = {key: tensor.clone() for key, tensor in model.link_decoder.state_dict().items()}
        if step == steps:
            break
        model.link_decoder.train()  # out-of-fold evidence while fitting
        for group in optimizer.param_groups:
            group["lr"] = recipe.train.learning_rate * learning_rate_factor(
                step, warmup_steps=recipe.train.warmup_steps, max_steps=steps
            )
        links = sampler.draw(numpy_generator(seed, step, Purpose.PROBE))
        with torch.no_grad():
            genes = model.encode_graph(trainer.source.message_graph(links.drop_2M))
        scored = Step(genes, links=links.to(device))
        optimizer.zero_grad(set_to_none=True)
        total = torch.stack([model.objective(name)(model, scored).loss for name in objectives]).sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.train.clip_norm)
        optimizer.step()
        trainer.reporter.step(step + 1, {"loss/probe": float(total.detach())})
    if trainer.validator.pairs is not None:
        model.link_decoder.load_state_dict(best_state)
    model.eval()
    trainer.reporter.close()
    trainer.save_best(best_metrics, probe_steps=steps)
    return best_metrics
