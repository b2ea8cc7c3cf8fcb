"""The view of an objective that reads the state of a cell: another objective's, or one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grn_cotrain.errors import UserError
from grn_cotrain.objectives.base import Objective

__all__ = ["BorrowsView", "require_own_view"]


def require_own_view(view: str, mask_share: float | None) -> None:
    """Refuse a share of hidden values where the view is another objective's."""
    if view not in ("auto", "own") and mask_share is not None:
        raise UserError(
            f"mask_share: got {mask_share}, and the view of {view} is read, which hides what it"
            " hides; leave mask_share out, or set view: own"
        )


class BorrowsView(Objective):
    """An objective that reads the view of another one, so that a cell is encoded once for both.

    ``auto`` is the view of the first objective of the recipe that hides values; its own where there is none, or where
    ``mask_share`` is given.
    """

    config: Any

    @property
    def hides_values(self) -> bool:
        """Only where it was asked for a view of its own."""
        view = self.config.view
        return view == "own" or (view == "auto" and self.config.mask_share is not None)

    def reads(self, name: str, hiding: Sequence[str]) -> tuple[str, ...]:
        """Its own view, or that of another objective that hides values."""
        if self.hides_values:
            return (name,)
        if self.config.view != "auto":
            return (self.config.view,)
        return (hiding[0],) if hiding else (name,)
