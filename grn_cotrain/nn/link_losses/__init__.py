"""Losses of link prediction, one a file."""

from grn_cotrain.nn.link_losses.base import LINK_LOSSES, LinkLoss, LinkLossOutput

__all__ = ["LINK_LOSSES", "LinkLoss", "LinkLossOutput"]
