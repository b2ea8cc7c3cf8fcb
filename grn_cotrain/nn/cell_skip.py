"""A way from the values of a cell to its state that passes by no block.

Dimension letters: T packed tokens, N tokens that are read, V vocabulary (special tokens, then features), G features,
B cells, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.depth_covariance import DepthCovariance
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL, FeatureVocab
from grn_cotrain.nn.cell_encoders import CellStates

__all__ = ["CellSkip"]


class CellSkip(nn.Module):
    r"""The state of a cell: its values as weighted rows of their features, and the encoder's state through a gate.

    .. math:: h_c = a \odot h^{\mathrm{encoder}}_c
        + M \, (I - u u^\top) \, \mathrm{LN}\left(\sum_g v_{cg} f_g - \sum_g \bar v_g f_g\right),
        \qquad M = I + \Delta, \qquad u = \frac{t}{\lVert t \rVert}, \quad t = \sum_g \mathrm{cov}(v_g, \log(1 + d)) f_g

    ``v`` are the visible values of the cell, :math:`\bar v` the means over training cells, zeros among them, ``f`` the
    feature's row as the encoder reads it. :math:`\Delta` and the gate ``a`` start at 0. With several assays
    there is one such term for each, with a map of its own, and the mean over those that the cell has is taken.

    ``u`` is the direction in which the sum goes with the depth ``d`` of a cell. The covariances are those of training
    cells, in nats, and the rows are those of the moment: ``u`` moves with the table, without a gradient.
    ``t`` is the covariance of the sum itself with log depth. It is taken out after the norm, which brings a part of
    depth into other directions; taken out before the norm, it costs accuracy (``docs/decisions/0012-cell-state.md``).
    An assay without reads has no ``u``, and keeps every direction.

    With a table that starts at PCA loadings the sum is close to the principal components of the cell before anything
    is trained, and what an encoder finds is added where the loss asks for it. An open gate (``a = 1``) lets the depth
    of the cell into every dimension, since the states of tokens need it: see ``docs/decisions/0012-cell-state.md``.

    Parameters
    ----------
    width
        D.
    vocab
        Features of the model. Those that cannot be tokens are never read.
    spaces
        Spaces (``gene``, ``peak``, ``protein``) that the encoder reads.
    keeps_depth
        Whether the direction of depth stays (``u = 0``).
    """

    mean_G: Tensor
    depth_G: Tensor
    space_G: Tensor

    def __init__(self, width: int, vocab: FeatureVocab, spaces: Sequence[str], *, keeps_depth: bool = False) -> None:
        super().__init__()
        self.keeps_depth = keeps_depth
        # Zeros draw no random number, so other initial weights do not depend on whether there is a skip.
        self.maps = nn.ParameterDict({space: nn.Parameter(torch.zeros(width, width)) for space in spaces})
        self.gate_D = nn.Parameter(torch.zeros(width))
        code_G = [
            MODALITIES.index(space) if space in spaces and is_token else -1
            for space, is_token in zip(vocab.modality, vocab.is_token, strict=True)
        ]
        self.register_buffer("mean_G", torch.zeros(vocab.num_features))
        self.register_buffer("depth_G", torch.zeros(vocab.num_features))
        self.register_buffer("space_G", torch.tensor(code_G), persistent=False)

    @classmethod
    def needs(cls) -> frozenset[Need[Any]]:
        """Statistics that :meth:`prepare` reads."""
        return frozenset({Moments(), DepthCovariance()})

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take means and covariances with depth of the training cells; they are saved with the weights."""
        self.mean_G.copy_(torch.from_numpy(statistics[Moments()].mean_of_cells_G))
        if not self.keeps_depth:
            self.depth_G.copy_(torch.from_numpy(statistics[DepthCovariance()]))

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Sum of the visible values: ``[B, D]``.

        Parameters
        ----------
        batch
            Cells as the encoder reads them. Hidden values, and values whose name is hidden, are left out.
        features_VD
            Rows of the special tokens, then of the features.
        """
        gene_T = batch.feature_ids_T - NUM_SPECIAL
        shown_T = (gene_T >= 0) & (batch.values_T != 0) & ~batch.hidden_T
        cell_T, space_T = batch.cell_of_token_T, self.space_G[gene_T.clamp_min(0)]
        # Rows end with the last feature that the encoder reads.
        mean_G = self.mean_G[: len(features_VD) - NUM_SPECIAL].to(features_VD.dtype)
        depth_G = self.depth_G[: len(mean_G)].to(features_VD.dtype)
        sum_BD = features_VD.new_zeros(batch.num_cells, features_VD.shape[1])
        count_B1 = features_VD.new_zeros(batch.num_cells, 1)
        for space, delta_DD in self.maps.items():
            code = MODALITIES.index(space)
            own_T = space_T == code
            read_N = torch.nonzero(own_T & shown_T).squeeze(1)
            rows_ND = F.embedding(batch.feature_ids_T[read_N], features_VD) * batch.values_T[read_N, None]
            total_BD = torch.zeros_like(sum_BD).index_add(0, cell_T[read_N], rows_ND.to(sum_BD.dtype))
            other_G = self.space_G[: len(mean_G)] != code
            mean_D = mean_G.masked_fill(other_G, 0.0) @ features_VD[NUM_SPECIAL:]
            state_BD = F.layer_norm(total_BD - mean_D, total_BD.shape[1:])
            # A vector of zeros stays one, so a model without the covariances keeps every direction.
            depth_D = F.normalize(depth_G.masked_fill(other_G, 0.0) @ features_VD.detach()[NUM_SPECIAL:], dim=0)
            state_BD = state_BD - (state_BD @ depth_D)[:, None] * depth_D
            has_B1 = torch.zeros_like(count_B1).index_fill(0, cell_T[own_T & (gene_T >= 0)], 1.0)
            sum_BD = sum_BD + has_B1 * (state_BD + state_BD @ delta_DD.T)
            count_B1 = count_B1 + has_B1
        return sum_BD / count_B1.clamp_min(1)

    def added(self, states: CellStates, batch: PackedTokens, features_VD: Tensor) -> CellStates:
        """The encoder's states, with those of the cells passed through the gate and the visible values added.

        Parameters
        ----------
        states
            States that the encoder gave.
        batch, features_VD
            See :meth:`forward`.
        """

        def repool(left_out_T: Tensor) -> Tensor:
            shown = batch.with_mask(batch.hidden_T | left_out_T)
            return self.gate_D * states.cells_without(left_out_T) + self(shown, features_VD)

        return CellStates(states.tokens_TD, self.gate_D * states.cells_BD + self(batch, features_VD), repool, states)

    @torch.no_grad()
    def grow_from(self, old: CellSkip) -> None:
        """Take the gate, maps and statistics of ``old``. New features have zeros, so old cells keep their states."""
        self.gate_D.copy_(old.gate_D)
        for space, delta_DD in old.maps.items():
            self.maps[space].copy_(delta_DD)
        for new_G, old_G in ((self.mean_G, old.mean_G), (self.depth_G, old.depth_G)):
            new_G.zero_()
            new_G[: len(old_G)] = old_G

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Models of before have no covariances with depth: theirs are 0, and they give the states that they gave."""
        state_dict.setdefault(f"{prefix}depth_G", torch.zeros_like(self.depth_G))
        super()._load_from_state_dict(state_dict, prefix, *rest)
