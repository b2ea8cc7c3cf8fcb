"""Objective ``generative``: unknown genes from known ones, then all genes from the cell's state.

Dimension letters: T packed tokens, M hidden tokens, D width, B cells, G genes, K value bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import NO_COVARIATES
from grn_cotrain.objectives.base import OBJECTIVES, GeneStates, LossOutput, ModelView, Objective, Step
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.value_target import BinScale, Guess, Target, ValueTarget, require_bin_scale

__all__ = ["Generative"]


@OBJECTIVES.register("generative", paper="Cui et al. 2024, scGPT (Nature Methods)")
class Generative(Objective):
    r"""Gene-prompted plus cell-prompted prediction of values (scGPT's pretraining).

    .. math:: L = \frac{1}{|U|} \sum_{j \in U} \left(\mathrm{MLP}(h_j) - y_j\right)^2
        + \lambda \frac{1}{N} \sum_j \left(\mathrm{MLP}(h'_j) - y_j\right)^2

    In the first pass a share of each cell's N genes is unknown (U), drawn for each cell from ``shares``; ``h`` are
    their states, and ``y`` what :class:`~grn_cotrain.objectives.value_target.ValueTarget` makes of their values. In the
    second pass the cell's state of the first stands in the place of CLS at the input (``h'``), and *all* genes are
    unknown: what that state does not hold cannot be predicted. In scGPT's code the known genes stay visible in the
    second pass, and U alone is asked again (``second_pass: known_visible``). As published no gradient passes by way of
    that state unless ``prompt_gradient``. ``scgpt`` is the encoder meant: there, what is predicted for a gene does not
    depend on which other genes are asked; with other encoders it may.

    A second small network estimates the logarithm of the squared error from the states, without a gradient to them
    (Gaussian likelihood around the fixed prediction; Nix and Weigend 1994): the confidence by which
    :func:`~grn_cotrain.export.generate.generate_values` orders its rounds. The paper does not say how a regression is
    to be confident. This network moves neither the loss as reported nor the encoder.

    Parameters
    ----------
    shares, target, bin_scale, cell_prompt_weight, second_pass, prompt_gradient, hide_zeros
        See :class:`Config`.
    """

    reads_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`Generative`.

        Attributes
        ----------
        shares
            Shares of a cell's genes that may be unknown; one is drawn for each cell at each step.
        target
            What is regressed: the ``value``, standardised by gene, or its ``bin`` (published).
        bin_scale
            Of ``target: bin``. ``unit``: bins run from 0 to 1, so the loss is about as large as others are.
            ``published``: they count from 1 to K, and the loss is K squared times as large (2,601 times with 51 bins).
        cell_prompt_weight
            Weight lambda of the cell-prompted pass; 0 leaves the pass out.
        second_pass
            What the cell-prompted pass shows beside the cell's state: ``all_unknown``, nothing (as scGPT's paper
            describes it), or ``known_visible``, the genes that the first pass showed (scGPT's code).
        prompt_gradient
            Whether that pass trains the cell's state that prompts it; published: no.
        hide_zeros
            Zeros among the tokens (``tokens.zeros_per_cell``) may be unknown too, and whether a gene is zero is asked.
        """

        shares: tuple[float, ...] = (0.25, 0.5, 0.75)
        target: Target = "value"
        bin_scale: BinScale = "unit"
        cell_prompt_weight: float = 1.0
        second_pass: Literal["all_unknown", "known_visible"] = "all_unknown"
        prompt_gradient: bool = False
        hide_zeros: bool = False

        def __post_init__(self) -> None:
            require_bin_scale(self.target, self.bin_scale)
            if not self.shares or not all(0 < share <= 1 for share in self.shares):
                given = ", ".join(map(str, self.shares)) or "none"
                raise UserError(f"shares: got {given}; give shares above 0 and at most 1, such as 0.25, 0.5, 0.75")
            if not self.cell_prompt_weight >= 0:
                raise UserError(f"cell_prompt_weight: got {self.cell_prompt_weight}; give 0 or more")

    def __init__(
        self,
        config: Config,
        *,
        width: int,
        num_bins: int,
        num_genes: int,
        covariates: Mapping[str, int] = NO_COVARIATES,
    ) -> None:
        super().__init__()
        del covariates
        self.config, self.num_bins = config, num_bins
        self.target = ValueTarget(config.target, num_bins=num_bins, num_genes=num_genes, bin_scale=config.bin_scale)
        last = nn.Linear(width, 2 if config.hide_zeros else 1)  # the value; the logit of "not zero"
        spread = nn.Linear(width, 1)
        for layer in (last, spread):  # starts at the gene's mean, and equally unsure of all
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.value_mlp = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), last
        )
        self.spread_mlp = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(), spread)

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        del config
        return ValueTarget.needs(num_bins)

    def prepare(self, statistics: Statistics) -> None:
        """Take the statistics of the training cells, once, before training; they are saved with the weights."""
        self.target.prepare(statistics)

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Both passes over ``step.cells``, the unknown genes drawn from ``step.generator``."""
        assert step.cells is not None
        batch = hide(step.cells, self.draw_unknown(step.cells, step.generator), num_bins=self.num_bins)
        states = model.encode_cells(batch, step.genes)
        where_M = torch.nonzero(batch.hidden_T).squeeze(1)
        loss, parts = self._loss(batch, where_M, states.tokens_TD, "")
        if self.config.cell_prompt_weight > 0:
            prompt_BD = states.cells_BD if self.config.prompt_gradient else states.cells_BD.detach()
            second, asked_T = batch, batch.hidden_T
            if self.config.second_pass == "all_unknown":
                second = hide(step.cells, step.cells.feature_ids_T >= NUM_SPECIAL, num_bins=self.num_bins)
                asked_T = self._may_hide(step.cells)
            second = replace(second, prompt_BD=prompt_BD)
            prompted_TD = model.encode_cells(second, step.genes).tokens_TD
            prompted, more = self._loss(second, torch.nonzero(asked_T).squeeze(1), prompted_TD, "cell_prompt_")
            loss, parts = loss + self.config.cell_prompt_weight * prompted, parts | more
        if len(where_M) == 0:  # a gradient of zero, not a missing one
            return LossOutput(0.0 * loss, 0)
        return LossOutput(loss, len(where_M), parts)

    def draw_unknown(self, batch: PackedTokens, generator: torch.Generator) -> Tensor:
        """Which values are unknown, bool ``[T]``: each of a cell's with the chance that was drawn for the cell."""
        shares = torch.tensor(self.config.shares)
        index_B = torch.randint(len(shares), (batch.num_cells,), generator=generator, device=generator.device)
        draw_T = torch.rand(batch.num_tokens, generator=generator, device=generator.device).to(batch.values_T.device)
        share_B = shares[index_B.cpu()].to(draw_T.device)
        return (draw_T < share_B[batch.cell_of_token_T]) & self._may_hide(batch)

    def _may_hide(self, batch: PackedTokens) -> Tensor:
        is_gene_T = batch.feature_ids_T >= NUM_SPECIAL
        return is_gene_T if self.config.hide_zeros else is_gene_T & (batch.values_T != 0)

    def _loss(
        self, batch: PackedTokens, where_M: Tensor, states_TD: Tensor, prefix: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        state_MD = states_TD[where_M]
        value_M, nonzero_M = self._head(state_MD)
        error, zeros = self.target.loss(batch, where_M, value_M, nonzero_M)
        parts = {f"{prefix}squared_error": error}
        if nonzero_M is not None:
            parts[f"{prefix}nonzero"] = zeros
        log_square_M = self.spread_mlp(state_MD.detach()).squeeze(-1)
        square_M = (value_M - self.target.of(batch, where_M)).detach().square()
        likelihood_M = 0.5 * (log_square_M + square_M * torch.exp(-log_square_M))
        is_value_M = batch.values_T[where_M] != 0
        likelihood = likelihood_M.masked_fill(~is_value_M, 0.0).sum() / is_value_M.sum().clamp_min(1)
        # Its gradient without its value: the loss stays what is published.
        return error + zeros + (likelihood - likelihood.detach()), parts

    def _head(self, state_MD: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs_MK = self.value_mlp(state_MD)
        return outputs_MK[:, 0], outputs_MK[:, 1] if self.config.hide_zeros else None

    @torch.no_grad()
    def predict_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """See :class:`~grn_cotrain.objectives.ValuePredictor`; with ``batch.prompt_BD``, cell-prompted."""
        return self.guess_values(model, batch, genes).values_M

    @torch.no_grad()
    def guess_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Guess:
        """Values of the hidden tokens and the expected error of each, in units of the regression target."""
        where_M = torch.nonzero(batch.hidden_T).squeeze(1)
        state_MD = model.encode_cells(batch, genes).tokens_TD[where_M]
        value_M, nonzero_M = self._head(state_MD)
        spread_M = torch.exp(0.5 * self.spread_mlp(state_MD).squeeze(-1)).float()
        chance_M = None if nonzero_M is None else nonzero_M.float().sigmoid()
        values_M = self.target.values(batch, where_M, value_M)
        return Guess(values_M, spread_M, self.target.deviations(batch, where_M, value_M, spread_M), chance_M)
