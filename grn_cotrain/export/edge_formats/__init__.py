"""Formats in which predicted edges leave for other tools, one a file."""

from __future__ import annotations

from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat, Selection

__all__ = ["EDGE_FORMATS", "EdgeFormat", "Selection"]
