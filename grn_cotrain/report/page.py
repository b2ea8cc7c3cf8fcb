"""The page: sections -> one self-contained HTML text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup

from grn_cotrain.present import html
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
        Title of the document.
    subtitle
        One line below it.
    sections
        Sections in order.
    date
        Date to show; nothing in a report depends on the clock.
    version
        Version of the program.
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
        unique=html.unique_ids(),
        stylesheet=Markup(stylesheet_variables() + "\n" + _asset("report.css")),  # our own files
        script=Markup(_asset("report.js")),
    )


@cache
def _environment() -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("grn_cotrain.report", "templates"), html.loader()]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(html.FILTERS)
    return environment


def _asset(name: str) -> str:
    return files("grn_cotrain.report").joinpath("assets", name).read_text(encoding="utf-8")
