"""Objective ``generative``: unknown genes from known ones, then all genes from the cell's state.

Dimension letters: T packed tokens, M hidden tokens, D width, B cells, G genes, K value bins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.objectives.base import OBJECTIVES, GeneStates, LossOutput, ModelView, PredictsValues, Step, Sum
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.value_target import BinScale, Guess, Target, ValueTarget, require_bin_scale
from grn_cotrain.objectives.view import Encodings, View

__all__ = ["Generative"]


@OBJECTIVES.register("generative", paper="Cui et al. 2024, scGPT (Nature Methods)")
class Generative(PredictsValues):
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
    :func:`~grn_cotrain.export.generate.generate_values` orders its rounds. The paper does not state how a regression is
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
            Regression target: the ``value``, standardised by gene, or its ``bin`` (published).
        bin_scale
            Scale of ``target: bin``. ``unit``: bins run from 0 to 1, so the loss is about as large as others are.
            ``published``: they count from 1 to K, and the loss is K squared times as large (2,601 times with 51 bins).
        cell_prompt_weight
            Weight lambda of the cell-prompted pass; 0 leaves the pass out.
        second_pass
            Genes that the cell-prompted pass shows in addition to the cell's state: ``all_unknown``, none (as scGPT's
            paper describes it), or ``known_visible``, the genes that the first pass showed (scGPT's code).
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
            require(self.cell_prompt_weight >= 0, f"cell_prompt_weight: got {self.cell_prompt_weight}; give 0 or more")

    def __init__(self, config: Config, *, width: int, num_bins: int, num_genes: int, **_: Any) -> None:
        super().__init__()
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

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide the unknown genes of the first pass."""
        del model
        return View.of(hide(tokens, self.draw_unknown(tokens, generator), num_bins=self.num_bins), tokens)

    def counts(self, *views: View) -> dict[str, float]:
        """Unknown values of both passes, and unknown tokens where zeros are among them."""
        (view,) = views
        counts = self._counts(view, "")
        if self.config.cell_prompt_weight > 0:
            counts |= self._counts(self._second(view), "cell_prompt_")
        return counts

    def _counts(self, view: View, prefix: str) -> dict[str, float]:
        counts: dict[str, float] = {f"{prefix}squared_error": view.num_values}
        if self.config.hide_zeros:
            counts[f"{prefix}nonzero"] = view.num_asked
        return counts

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Both passes; the second one reads the cells' states of the first."""
        assert step.encodings is not None
        view, states = step.view, step.states
        parts = self._parts(view, states.tokens_TD, "", 1.0)
        weight = self.config.cell_prompt_weight
        if weight > 0:
            prompt_BD = states.cells_BD if self.config.prompt_gradient else states.cells_BD.detach()
            second = self._second(view)
            second = replace(second, tokens=replace(second.tokens, prompt_BD=prompt_BD))
            parts |= self._parts(second, step.encodings.of(second).tokens_TD, "cell_prompt_", weight)
        return LossOutput(parts, view.num_asked)

    def _second(self, view: View) -> View:
        """The view of the cell-prompted pass, without its prompt."""
        if self.config.second_pass == "known_visible":
            return view
        every_T = view.truth.feature_ids_T >= NUM_SPECIAL
        where_M = torch.nonzero(self._may_hide(view.truth)).squeeze(1)
        return View(hide(view.truth, every_T, num_bins=self.num_bins), view.truth, where_M)

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

    def _parts(self, view: View, states_TD: Tensor, prefix: str, weight: float) -> dict[str, Sum]:
        state_MD = states_TD[view.where_M]
        value_M, nonzero_M = self._head(state_MD)
        error, zeros = self.target.sums(view.truth, view.where_M, value_M, nonzero_M)
        log_square_M = self.spread_mlp(state_MD.detach()).squeeze(-1)
        square_M = (value_M - self.target.of(view.truth, view.where_M)).detach().square()
        likelihood_M = 0.5 * (log_square_M + square_M * torch.exp(-log_square_M))
        likelihood = likelihood_M.masked_fill(view.values_M == 0, 0.0).sum()
        counts = self._counts(view, prefix)
        # The likelihood adds its gradient without its value: the loss stays what is published.
        name = f"{prefix}squared_error"
        parts = {name: Sum(error + (likelihood - likelihood.detach()), counts[name], weight)}
        if zeros is not None:
            name = f"{prefix}nonzero"
            parts[name] = Sum(zeros, counts[name], weight)
        return parts

    def _head(self, state_MD: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs_MK = self.value_mlp(state_MD)
        return outputs_MK[:, 0], outputs_MK[:, 1] if self.config.hide_zeros else None

    def read_values(self, model: ModelView, step: Step) -> Tensor:
        """Hidden values; cell-prompted where the view's tokens have a prompt."""
        del model
        return self._guess(step).values_M

    @torch.no_grad()
    def guess_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Guess:
        """Values of the hidden tokens and the expected error of each, in units of the regression target."""
        return self._guess(Step(genes, (self.asking(batch),), Encodings(model, genes)))

    def _guess(self, step: Step) -> Guess:
        view = step.view
        state_MD = step.states.tokens_TD[view.where_M]
        value_M, nonzero_M = self._head(state_MD)
        spread_M = torch.exp(0.5 * self.spread_mlp(state_MD).squeeze(-1)).float()
        chance_M = None if nonzero_M is None else nonzero_M.float().sigmoid()
        values_M = self.target.values(view.tokens, view.where_M, value_M)
        deviation_M = self.target.deviations(view.tokens, view.where_M, value_M, spread_M)
        return Guess(values_M, spread_M, deviation_M, chance_M)
