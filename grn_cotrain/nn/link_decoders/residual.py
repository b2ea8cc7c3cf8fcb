"""Closed-form control plus a learned residual that starts at zero.

Dimension letters: D width, G genes, K evidence channels, M pairs, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, LearnedDecoder, LinkDecoder

__all__ = ["ResidualDecoder"]

# Chosen by validation on the published hESC 500 split. A perceptron makes its own features of the rows, and overfits
# them at a penalty that a bilinear form is content with.
_RESIDUAL_L2 = {"bilinear": 1e-3, "distmult": 1e-3, "inner": 1e-3, "mlp": 0.1}


@LINK_DECODERS.register(
    "residual", paper="after Stock et al. 2018 (two-step kernel ridge) and He et al. 2016 (learn the residual)"
)
class ResidualDecoder(LinkDecoder):
    r"""TF bias + target bias + closed-form evidence + learned residual that starts at exactly zero.

    .. math::
        z_{st} = (a_s + \delta_s) + (b_t + \epsilon_t) + \sum_k (u_k S_{ks} + v_k T_{kt} + w_k E_{kst})
            + r(\hat g_s, \hat g_t) + \beta

    ``a`` and ``b`` are the smoothed log-odds of :class:`PairEvidence`, centred, with learned deviations that start at
    zero. ``S``, ``T`` and ``E`` are a channel's mean of the TF, its mean of the target, and what is left, the pair's
    part: out-of-fold in training mode and the full fit in evaluation mode, and 0 for sources without a row. Their
    weights are fitted in closed form, out of fold, and are not trained: a link loss would take from the pair's part
    what distinguishes the targets of one TF from those of another (docs/decisions/0013-pair-evidence.md).
    ``r`` is another decoder whose last layer starts at zero, so that training begins at the control itself.
    In evaluation mode :math:`\delta`, :math:`\epsilon` and ``r`` count by a share in [0, 1] that validation pairs
    choose (:func:`~grn_cotrain.train.learned_share.choose_share`): 0 unless they show that the learned part helps.

    Two traps are closed here. *Degree*: on a held-out side (``PairEvidence.held_out``) every bias stays at its prior
    mean, in training as at test; biases fitted to training genes would explain away what the evidence shows about
    genes without one. *Escape*: rows enter ``r`` with fixed length :math:`D^{1/4}`, which makes the residual at most
    the (spectral) norm of its last layer, so that no growth of the table weakens the L2 penalty.

    Parameters
    ----------
    config
        ``evidence``: channels, in the order of ``PairEvidence.names``. ``residual``: the learned part.
        ``residual_l2``: penalty per squared norm of its last layer (None: 0.1 for mlp, 0.001 for the others).
        ``bias_l2``: penalty on the mean squared deviation of each side's biases. ``evidence_weight``: starting weight
        of the pairs' parts, shared by the channels, unless the evidence brings fitted ones.
    width
        D, width of the gene rows.
    num_genes
        G.

    Raises
    ------
    RuntimeError
        Used before :meth:`prepare`.
    ValueError
        The evidence has other channels or another number of genes.

    Notes
    -----
    The evidence itself is not part of ``state_dict()`` (it is large and never trained): call :meth:`prepare` with the
    same evidence before or after loading weights.
    """

    uses_evidence = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Channels of evidence, kind of residual, penalties.

        Attributes
        ----------
        evidence
            Closed-form controls whose scores enter as channels; an empty list leaves biases and residual.
        residual
            Decoder of the learned part.
        residual_l2
            Penalty per squared norm of the residual's last layer; null: 0.1 for mlp, 0.001 for the others.
        bias_l2
            Penalty on the mean squared deviation of each side's biases.
        evidence_weight
            Starting weight of the pairs' parts, shared by the channels, unless the evidence brings fitted ones.
        """

        evidence: tuple[str, ...] = ("kernel_ridge", "knn_family")
        residual: Literal["bilinear", "distmult", "inner", "mlp"] = "bilinear"
        residual_l2: float | None = None
        bias_l2: float = 0.3
        evidence_weight: float = 1.0

        def __post_init__(self) -> None:
            for name in ("residual_l2", "bias_l2", "evidence_weight"):
                if getattr(self, name) is not None and not getattr(self, name) >= 0:
                    raise UserError(f"{name}: got {getattr(self, name)}; give 0 or more")
            if len(set(self.evidence)) != len(self.evidence):
                raise UserError(f"evidence: got {', '.join(self.evidence)}; name each channel once")

    learned_share: Tensor
    train_KSG: Tensor
    full_KSG: Tensor
    mean_weight_2K: Tensor
    means_2SK: Tensor
    means_2GK: Tensor
    row_G: Tensor
    source_prior_G: Tensor
    target_prior_G: Tensor
    free_2: Tensor

    def __init__(self, config: Config, *, width: int, num_genes: int) -> None:
        super().__init__()
        self.config = config
        channels = len(config.evidence)
        self._row_length = width**0.25
        self._residual_l2 = _RESIDUAL_L2[config.residual] if config.residual_l2 is None else config.residual_l2
        self._is_prepared = False
        self.evidence_weight_K = nn.Parameter(torch.full((channels,), config.evidence_weight / max(1, channels)))
        self.register_buffer("mean_weight_2K", torch.zeros(2, channels))
        self.register_buffer("learned_share", torch.ones(()))
        self.source_deviation_G = nn.Parameter(torch.zeros(num_genes))
        self.target_deviation_G = nn.Parameter(torch.zeros(num_genes))
        self.residual = cast(LearnedDecoder, LINK_DECODERS.build(config.residual, width=width, num_genes=num_genes))
        nn.init.zeros_(self.residual.last_layer())
        # Buffers, so that they follow the module to its device; not saved (see Notes).
        self.register_buffer("train_KSG", torch.zeros(channels, 0, num_genes), persistent=False)
        self.register_buffer("full_KSG", torch.zeros(channels, 0, num_genes), persistent=False)
        self.register_buffer("means_2SK", torch.zeros(2, 0, channels), persistent=False)
        self.register_buffer("means_2GK", torch.zeros(2, num_genes, channels), persistent=False)
        self.register_buffer("row_G", torch.full((num_genes,), -1), persistent=False)
        self.register_buffer("source_prior_G", torch.zeros(num_genes), persistent=False)
        self.register_buffer("target_prior_G", torch.zeros(num_genes), persistent=False)
        self.register_buffer("free_2", torch.ones(2), persistent=False)

    @torch.no_grad()
    def prepare(self, evidence: PairEvidence) -> None:
        """See :class:`LinkDecoder`. Fitted starting weights of the evidence replace the configured one."""
        if tuple(evidence.names) != tuple(self.config.evidence):
            raise ValueError(
                f"evidence: channels {evidence.names}; this decoder was configured for {self.config.evidence}"
            )
        num_genes = len(self.row_G)
        if len(evidence.target_logit_G) != num_genes:
            raise ValueError(f"evidence: {len(evidence.target_logit_G)} genes; this decoder has {num_genes}")
        device = self.row_G.device
        sources_S = torch.as_tensor(evidence.sources_S, dtype=torch.long, device=device)

        def tensor(array: object) -> Tensor:
            return torch.as_tensor(array, dtype=torch.float32, device=device)

        self.train_KSG, self.full_KSG = tensor(evidence.train_KSG), tensor(evidence.full_KSG)
        self.row_G = torch.full((num_genes,), -1, device=device)
        self.row_G[sources_S] = torch.arange(len(sources_S), device=device)
        free_source, free_target = (evidence.held_out not in (side, "both") for side in ("source", "target"))
        self.free_2 = tensor([float(free_source), float(free_target)])
        # Centred, so that a class-balanced loss starts near its own intercept, not at the log-odds of a rare edge.
        source_G, target_G = tensor(evidence.source_logit_G), tensor(evidence.target_logit_G)
        centre = source_G[sources_S].mean() if len(sources_S) else source_G.mean()
        self.source_prior_G = (source_G - centre) * self.free_2[0]
        self.target_prior_G = (target_G - target_G[: evidence.num_centred].mean()) * self.free_2[1]
        channels = len(evidence.names)
        self.means_2SK = torch.zeros(2, len(sources_S), channels, device=device)
        self.means_2GK = torch.zeros(2, num_genes, channels, device=device)
        if evidence.means is not None:
            means = evidence.means
            self.means_2SK = torch.stack([tensor(means.train_source_KS), tensor(means.full_source_KS)]).mT
            self.means_2GK = torch.stack([tensor(means.train_target_KG), tensor(means.full_target_KG)]).mT
            self.mean_weight_2K.copy_(tensor(means.weight_2K))
        if evidence.weight_K is not None:
            self.evidence_weight_K.copy_(tensor(evidence.weight_K))
            self.evidence_weight_K.requires_grad_(evidence.means is None)
        self._is_prepared = True

    def forward(self, genes_GD: Tensor, pairs_2M: Tensor) -> Tensor:
        """See :class:`LinkDecoder`."""
        source_G, target_G = self._biases()
        sources_M, targets_M = pairs_2M
        row_M = self.row_G[sources_M]
        evidence_M = source_G.new_zeros(sources_M.shape)
        if self._evidence().shape[1]:
            evidence_KM = self._evidence()[:, row_M.clamp_min(0), targets_M]
            # A product and a sum, no matmul: autocast would round the evidence to bfloat16.
            evidence_M = (self.evidence_weight_K[:, None] * evidence_KM).sum(0)
            evidence_M = (evidence_M + self._source_part()[row_M.clamp_min(0)]) * (row_M >= 0)
            evidence_M = evidence_M + self._target_part()[targets_M]
        learned_M = self._share() * self.residual(self._rows(genes_GD), pairs_2M)
        return source_G[sources_M] + target_G[targets_M] + evidence_M + learned_M

    def block(self, genes_GD: Tensor, sources_S: Tensor) -> Tensor:
        """See :class:`LinkDecoder`."""
        source_G, target_G = self._biases()
        row_S = self.row_G[sources_S]
        logits_SG = source_G[sources_S][:, None] + target_G
        if self._evidence().shape[1]:
            rows_S = row_S.clamp_min(0)
            evidence_SG = (self.evidence_weight_K[:, None, None] * self._evidence()[:, rows_S]).sum(0)
            evidence_SG = (evidence_SG + self._source_part()[rows_S][:, None]) * (row_S >= 0)[:, None]
            logits_SG = logits_SG + evidence_SG + self._target_part()
        return logits_SG + self._share() * self.residual.block(self._rows(genes_GD), sources_S)

    def channel_parts(self, pairs_2M: Tensor) -> Tensor:
        """Return the weighted pair part of each channel, ``[K, M]``: where the score of an edge comes from."""
        return self.evidence_weight_K[:, None] * self.pair_parts(pairs_2M)

    def pair_parts(self, pairs_2M: Tensor) -> Tensor:
        """Return the pair part of each channel without its weight, ``[K, M]``; 0 for sources without a row."""
        row_M = self.row_G[pairs_2M[0]]
        if not self._evidence().shape[1]:
            return self.evidence_weight_K.new_zeros(len(self.evidence_weight_K), pairs_2M.shape[1])
        evidence_KM = self._evidence()[:, row_M.clamp_min(0), pairs_2M[1]]
        return evidence_KM * (row_M >= 0)

    @property
    def share(self) -> Tensor:
        """See :class:`LinkDecoder`."""
        return self.learned_share

    def regulariser(self) -> Tensor:
        """``residual_l2 |last layer|^2 + bias_l2 (mean delta^2 + mean epsilon^2)``, over the biases that are free."""
        deviations = torch.stack([self.source_deviation_G.square().mean(), self.target_deviation_G.square().mean()])
        residual = self.residual.last_layer().square().sum()
        return self._residual_l2 * residual + self.config.bias_l2 * (deviations * self.free_2).sum()

    def _evidence(self) -> Tensor:
        return self.train_KSG if self.training else self.full_KSG

    def _source_part(self) -> Tensor:
        return (self.means_2SK[int(not self.training)] * self.mean_weight_2K[0]).sum(-1)

    def _target_part(self) -> Tensor:
        return (self.means_2GK[int(not self.training)] * self.mean_weight_2K[1]).sum(-1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Models of version 0.1 have whole scores as evidence: the means have no part in theirs.
        state_dict.setdefault(f"{prefix}mean_weight_2K", torch.zeros_like(self.mean_weight_2K))
        state_dict.setdefault(f"{prefix}learned_share", torch.ones_like(self.learned_share))  # nor a share of their own
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _biases(self) -> tuple[Tensor, Tensor]:
        if not self._is_prepared:
            raise RuntimeError("the residual decoder was used before prepare(evidence)")
        share = self._share()
        return (
            self.source_prior_G + share * self.free_2[0] * self.source_deviation_G,
            self.target_prior_G + share * self.free_2[1] * self.target_deviation_G,
        )

    def _share(self) -> Tensor | float:
        return 1.0 if self.training else self.learned_share

    def _rows(self, genes_GD: Tensor) -> Tensor:
        return F.normalize(genes_GD, dim=-1, eps=1e-6) * self._row_length
