"""A page as neutral sections: titles, paragraphs and tables, for Markdown, a terminal or a report."""

from __future__ import annotations

from dataclasses import dataclass

from grn_cotrain.present.table import Table

__all__ = ["Section"]


@dataclass(frozen=True)
class Section:
    """A titled part of a page: paragraphs first, then tables. ``key`` is short and stable, for anchors."""

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
