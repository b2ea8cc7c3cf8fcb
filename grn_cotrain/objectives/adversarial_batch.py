"""Objective ``adversarial_covariate``: cell states that do not show a covariate (the batch).

Dimension letters: B cells, N cells whose category is known, C categories, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.covariates import UNKNOWN
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.nn.cell_encoders import NO_COVARIATES
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, Objective, Step, Sum
from grn_cotrain.objectives.view import CLEAN, View

__all__ = ["AdversarialCovariate", "reverse_gradient"]


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient is the upstream one times ``-strength``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """``x`` as it is; gradients come back times ``-strength`` (Ganin et al. 2016, section 4.2)."""
    reversed_: Tensor = _Reverse.apply(x, strength)
    return reversed_


class _QuickLinear(nn.Linear):
    """A linear map whose weights are stored divided by ``speed``: Adam's steps move it so many times faster.

    The stored weights' gradients are those of the map's own, so that clipping by the norm of all is not upset.
    """

    def __init__(self, width: int, out: int, speed: float) -> None:
        super().__init__(width, out)
        self.speed = speed
        with torch.no_grad():
            self.weight.div_(speed)
            self.bias.div_(speed)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (self.speed * reverse_gradient(stored, -1 / self.speed) for stored in (self.weight, self.bias))
        return F.linear(x, weight, bias)


@OBJECTIVES.register(
    "adversarial_covariate", paper="Ganin et al. 2016, DANN; as in scGPT's batch integration (Cui et al. 2024)"
)
class AdversarialCovariate(Objective):
    r"""A classifier of one covariate learns from the cell states, and the encoder learns to make it fail.

    .. math:: L = -\frac1N \sum_b \log p_\theta(c_b \mid R(h_b)), \qquad R(h) = h, \quad
        \frac{\partial R}{\partial h} = -\lambda I, \qquad
        \lambda = \mathrm{strength} \left(\frac{2}{1 + e^{-10 p}} - 1\right), \quad p = \min(1, n / \mathrm{ramp})

    The classifier reads states standardised over the cells of the micro-batch (running statistics at evaluation;
    without learned factors): else an encoder escapes by states that differ little from cell to cell, which any linear
    probe still reads. It also learns ``speed`` times faster than the rest: a classifier that lags behind is fooled by
    states that overshoot, which show the covariate better than before. Neither is in the papers; ``standardise: false``
    and ``speed: 1`` leave them out.

    ``h`` is the cell's state (from the view that another objective hides values in, as in scGPT, or with nothing
    hidden), ``c`` its category; cells of unknown category are left out. ``n``
    counts the training calls (micro-batches): with ``ramp_steps`` the classifier learns first. Metrics: its accuracy
    and the share of the commonest category, which it reaches when the states show nothing. The loss picks no
    checkpoint: it is low where the states *do* show the covariate. A classifier at chance does not prove that they show
    nothing, since it may only lag behind: probe the finished states (``grn-cotrain embed cells``) before you conclude
    so.

    Parameters
    ----------
    covariate, view, strength, ramp_steps, num_layers, standardise, speed
        See :class:`Config`.
    """

    reads_cells = True
    selects = False

    calls: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`AdversarialCovariate`.

        Attributes
        ----------
        covariate
            Covariate, one of ``tokens.covariates``, that a cell's state must not show.
        view
            View of the cells to read. ``clean``: nothing is hidden. The name of an objective that hides values: its
            view, which is encoded once for both (as in scGPT). ``auto``: the view of the first such objective of
            the recipe; ``clean`` where there is none.
        strength
            Factor of the reversed gradient that reaches the encoder.
        ramp_steps
            Training calls (micro-batches) over which that factor grows from 0; 0: it is there at once.
        num_layers
            Hidden layers of the classifier.
        standardise
            Whether states are standardised over cells before the classifier reads them.
        speed
            How many times faster than the rest of the model the classifier learns.
        """

        covariate: str = "batch"
        view: str = "auto"
        strength: float = 1.0
        ramp_steps: int = 0
        num_layers: int = 2
        standardise: bool = True
        speed: float = 10.0

        def __post_init__(self) -> None:
            require(self.strength >= 0, f"strength: got {self.strength}; give 0 or more")
            require(self.speed > 0, f"speed: got {self.speed}; give a positive number")
            for name in ("ramp_steps", "num_layers"):
                require(getattr(self, name) >= 0, f"{name}: got {getattr(self, name)}; give 0 or more")

    def __init__(self, config: Config, *, width: int, covariates: Mapping[str, int] = NO_COVARIATES, **_: Any) -> None:
        super().__init__()
        if config.covariate not in covariates:
            names = list(covariates)
            raise UserError(
                f"covariate '{config.covariate}': not among model.tokens.covariates ({', '.join(names) or 'none'});"
                f" name the column of obs there{did_you_mean(config.covariate, names)}"
            )
        self.config = config
        self.column = list(covariates).index(config.covariate)
        self.num_categories = covariates[config.covariate]
        if self.num_categories < 2:
            raise UserError(
                f"covariate '{config.covariate}': has one category in the training cells; there is nothing to"
                " distinguish, leave the objective out"
            )
        self.standard = nn.BatchNorm1d(width, affine=False) if config.standardise else None
        layers: list[nn.Module] = []
        for _layer in range(config.num_layers):
            layers += [_QuickLinear(width, width, config.speed), nn.LeakyReLU(), nn.LayerNorm(width)]
        self.classifier = nn.Sequential(*layers, _QuickLinear(width, self.num_categories, config.speed))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self._noted: dict[int, Tensor] = {}
        self._before: tuple[Tensor, ...] | None = None

    def strength_now(self) -> float:
        """Factor of the reversed gradient after the calls so far."""
        if self.config.ramp_steps == 0:
            return self.config.strength
        progress = min(1.0, int(self.calls) / self.config.ramp_steps)
        return self.config.strength * (2 / (1 + math.exp(-10 * progress)) - 1)

    def reads(self, name: str, hiding: Sequence[str]) -> tuple[str, ...]:
        """The clean view, or that of an objective that hides values."""
        del name
        if self.config.view != "auto":
            return (self.config.view,)
        return (hiding[0],) if hiding else (CLEAN,)

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Nothing is hidden; draws nothing."""
        del model, generator
        return View.of(tokens)

    def counts(self, *views: View) -> dict[str, float]:
        """Cells of known category."""
        (view,) = views
        return {"cross_entropy": int((self._codes(view) != UNKNOWN).sum())}

    def _codes(self, view: View) -> Tensor:
        tokens = view.tokens
        if tokens.covariates_BK is None:
            return tokens.cell_index_B.new_full((tokens.num_cells,), UNKNOWN)
        return tokens.covariates_BK[:, self.column]

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Cross-entropy of the covariate given the cells' states."""
        del model
        code_B = self._codes(step.view)
        known_N = torch.nonzero(code_B != UNKNOWN).squeeze(1)
        state_ND = step.states.cells_BD[known_N]
        logits_NC = self.classifier(self._standardised(reverse_gradient(state_ND, self.strength_now())))
        if self.training:
            self.calls += 1
        code_N = code_B[known_N]
        count = len(known_N)
        metrics = {}
        if count:
            metrics = {
                "accuracy": float((logits_NC.argmax(-1) == code_N).float().mean()),
                "majority": float(torch.bincount(code_N, minlength=self.num_categories).max()) / count,
            }
        loss = F.cross_entropy(logits_NC, code_N, reduction="sum")
        return LossOutput({"cross_entropy": Sum(loss, count)}, count, metrics)

    def _standardised(self, state_ND: Tensor) -> Tensor:
        if self.standard is None:
            return state_ND
        if self.training and len(state_ND) > 1:
            self._note(state_ND.detach())
            return self.standard(state_ND)
        mean_D, var_D = self.standard.running_mean, self.standard.running_var
        return F.batch_norm(state_ND, mean_D, var_D, training=False, eps=self.standard.eps)

    # -- what one step's micro-batches leave behind, in whichever process (see train/counting.py) ---------------

    def calls_so_far(self) -> int:
        """Micro-batches of training so far."""
        return int(self.calls)

    def count_to(self, calls: int) -> None:
        """Stand as after ``calls`` micro-batches."""
        self.calls.fill_(calls)

    def _note(self, state_ND: Tensor) -> None:
        assert self.standard is not None
        if not self._noted:
            kept = (self.standard.running_mean, self.standard.running_var, self.standard.num_batches_tracked)
            self._before = tuple(_clone(buffer) for buffer in kept)
        self._noted[int(self.calls)] = torch.stack([state_ND.mean(0), state_ND.var(0)]).cpu()

    def take_notes(self) -> dict[int, Tensor]:
        """Mean and variance of the states by micro-batch since the last call."""
        noted, self._noted = self._noted, {}
        return noted

    def replay(self, noted: Mapping[int, Tensor]) -> None:
        """Set the running statistics as if all these micro-batches had been seen here, in order."""
        if self.standard is None:
            return
        mean_D, var_D, count = self.standard.running_mean, self.standard.running_var, self.standard.num_batches_tracked
        share = self.standard.momentum
        assert mean_D is not None
        assert var_D is not None
        assert count is not None
        assert share is not None
        if self._before is not None:
            for buffer, before in zip((mean_D, var_D, count), self._before, strict=True):
                buffer.copy_(before)
            self._before = None
        count += len(noted)
        for _, seen_2D in sorted(noted.items()):
            mean_D.lerp_(seen_2D[0].to(mean_D), share)
            var_D.lerp_(seen_2D[1].to(var_D), share)


def _clone(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor.clone()
