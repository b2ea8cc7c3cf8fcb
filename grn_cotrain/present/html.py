"""Tables as HTML: headers that sort, right-aligned tabular numerals, a minus and a dash as printers set them.

Without scripts a table is a table; with them its headers are buttons that the keyboard reaches. The report's style
sheet and script belong to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from grn_cotrain.present.numbers import MISSING

if TYPE_CHECKING:
    from jinja2 import Environment, PackageLoader

    from grn_cotrain.present.table import Table

__all__ = ["FILTERS", "loader", "to_html", "typographic", "unique_ids"]

_HYPHEN = re.compile(r"(?<![\w.])-(?=\d)")
_DASH = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def typographic(text: str) -> str:
    """Write the minus of numbers as a minus, and a missing number as a dash; other text stays."""
    return _DASH if text == MISSING else _HYPHEN.sub(_MINUS, text)


def breakable(text: str) -> Markup:
    """Let long names break behind an underscore, a comma or a slash; HTML passes as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(re.sub(r"(?<=[_,/])(?=\w)", "<wbr>", str(escape(text))))


FILTERS: dict[str, Callable[..., Any]] = {"breakable": breakable, "typographic": typographic}
"""Filters that the templates use."""


def loader() -> PackageLoader:
    """Return the loader of this room's templates; ``table.html`` holds the macro ``table``."""
    from jinja2 import PackageLoader

    return PackageLoader("grn_cotrain.present", "templates")


def to_html(table: Table, *, unique: Callable[[str], str] | None = None) -> Markup:
    """Draw a table as HTML; every text is escaped. ``unique`` makes ids that a page has once."""
    template = _environment().from_string('{% from "table.html" import table with context %}{{ table(given) }}')
    return Markup(template.render(given=table, unique=unique or unique_ids()))  # every text was escaped above


@cache
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        loader=loader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(FILTERS)
    return environment


def unique_ids() -> Callable[[str], str]:
    """Return a function name -> id: letters, digits and hyphens, counted up where a name comes again."""
    taken: Counter[str] = Counter()

    def unique(name: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        while True:
            taken[stem] += 1
            found = stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
            if found == stem or taken[found] == 0:
                taken[found] = max(taken[found], 1)
                return found

    return unique
