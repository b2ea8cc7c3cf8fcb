"""Griffe extension: reStructuredText roles and equations of docstrings as Markdown, before they are parsed."""

from __future__ import annotations

from typing import Any

import griffe

from tools.docs.text import to_markdown

__all__ = ["RolesToMarkdown"]


class RolesToMarkdown(griffe.Extension):
    """Applies :func:`tools.docs.text.to_markdown` to every docstring, section by section."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
