"""Stop when validation no longer improves, and give back the weights of the best epoch."""

from __future__ import annotations

import math

from torch import Tensor, nn

from grn_cotrain.errors import UserError

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Keeps the weights of the epoch with the lowest validation loss.

    Parameters
    ----------
    modules
        Modules that are trained; buffers are kept and restored with the weights.
    patience
        Epochs without improvement after which :meth:`update` stops the training (scMBERT: 10).

    Attributes
    ----------
    best_epoch, best_loss
        Epoch and value of the lowest loss so far; the first among equals. 0 and infinity before any epoch.
    """

    def __init__(self, *modules: nn.Module, patience: int = 10) -> None:
        if patience < 1:
            raise UserError(f"patience: got {patience}; give at least 1")
        self.patience = patience
        self.best_epoch, self.best_loss = 0, math.inf
        self._modules = modules
        self._states: list[dict[str, Tensor]] = []

    def update(self, epoch: int, loss: float) -> bool:
        """Note the validation loss of ``epoch``; True where training should stop.

        Raises
        ------
        UserError
            The loss is not finite.
        """
        if not math.isfinite(loss):
            raise UserError(f"validation loss: {loss} at epoch {epoch}; lower learning_rate")
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = epoch, loss
            self._states = [
                {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
                for module in self._modules
            ]
        return epoch - self.best_epoch >= self.patience

    def restore(self) -> None:
        """Put the weights of the best epoch back, to the bit."""
        for module, state in zip(self._modules, self._states, strict=True):
            module.load_state_dict(state)
