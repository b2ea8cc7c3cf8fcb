"""The page: sections -> one self-contained HTML text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from grn_cotrain.report.blocks import Section
from grn_cotrain.report.theme import stylesheet_variables

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Page", "render_page"]


@dataclass(frozen=True)
class Page:
    """A page before it is text.

    Attributes
    ----------
    title
        Of the document.
    subtitle
        One line below it.
    sections
        In order.
    date
        Shown where given; nothing in a report depends on the clock.
    version
        Of the program.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    version: str
    date: str = ""


def render_page(page: Page) -> str:
    """Return the HTML text; equal pages give equal texts."""
    template = _environment().get_template("page.html")
    return template.render(
        page=page,
        unique=_unique_ids(),
        stylesheet=Markup(stylesheet_variables() + "\n" + _asset("report.css")),  # our own files
        script=Markup(_asset("report.js")),
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("grn_cotrain.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: str) -> Markup:
    """Let long names break behind an underscore, a comma or a slash; HTML passes as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(re.sub(r"(?<=[_,/])(?=\w)", "<wbr>", str(escape(text))))


def _asset(name: str) -> str:
    return files("grn_cotrain.report").joinpath("assets", name).read_text(encoding="utf-8")


def _unique_ids() -> Callable[[str], str]:
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
