"""Head ``cls_mlp``: a perceptron on the state of each cell.

Dimension letters: B cells, C classes, D width, H hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from grn_cotrain.config import require, require_number
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.nn.heads.base import HEADS, Head

__all__ = ["ClsMLP"]


@HEADS.register(
    "cls_mlp", paper="Classification decoders of scMBERT, scBERT (Yang et al. 2022), scGPT (Cui et al. 2024)"
)
class ClsMLP(Head):
    r"""Perceptron on the state that the encoder gives each cell.

    .. math:: h_0 = z_b, \quad h_i = \mathrm{dropout}(\mathrm{norm}(\mathrm{relu}(W_i h_{i-1} + a_i))),
        \quad \mathrm{logits}_b = W_L h_{L-1} + a_L

    ``z_b`` is ``cells_BD``: the CLS state, or what the encoder pools. With one layer it is a linear map. scMBERT and
    scBERT have a decoder of fully connected layers, scGPT three with norms between them; the latter are meant here.

    Parameters
    ----------
    config
        See :class:`Config`.
    width
        D.
    num_classes
        C.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Depth, width, dropout.

        Attributes
        ----------
        num_layers
            Linear maps L; 1: a linear classifier.
        hidden
            Hidden width H; null: the model's width.
        dropout
            Share of hidden units dropped in training.
        """

        num_layers: int = 3
        hidden: int | None = None
        dropout: float = 0.1

        def __post_init__(self) -> None:
            require_number(self, "num_layers", "at least 1", lambda value: value >= 1)
            require_number(self, "hidden", "at least 1, or leave it out", lambda value: value >= 1)
            require(0 <= self.dropout < 1, f"dropout: got {self.dropout}; give a share in [0, 1)")

    def __init__(self, config: Config, *, width: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(config.num_layers - 1):
            hidden = config.hidden or width
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden), nn.Dropout(config.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, batch: PackedTokens, states: CellStates) -> Tensor:
        """See :class:`Head`."""
        del batch
        return self.layers(states.cells_BD)
