"""Figures inside the page: own ids, the page's colours, words for those who do not see them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from grn_cotrain.pl import theme
from grn_cotrain.report.figures import Figure, draw
from grn_cotrain.report.theme import THEMES
from tests.unit.report.html_checks import Parsed, external_resources

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(ax: Axes) -> None:
    ax.plot([0, 1, 2], [0, 1, 0], color=theme.BLUE, marker="o")
    ax.scatter([0, 1], [1, 1], color=theme.FAINT, rasterized=True)
    ax.text(1, 0.5, "<STAT1> & IRF9", color=theme.GREEN)
    ax.set_xlabel("step")


@pytest.fixture(scope="module")
def figure() -> Figure:
    return draw(plot, size=(3, 2), name="f", title="A <title>", description="What & why", caption="caption")


def test_text_is_text_and_is_escaped(figure: Figure) -> None:
    svg = str(figure.svg("one"))
    assert "&lt;STAT1&gt; &amp; IRF9" in svg
    assert "<text" in svg
    parsed = Parsed(svg)
    assert parsed.unbalanced == []
    assert {("title", "A <title>"), ("desc", "What & why")} <= set(parsed.texts)


def test_figure_is_an_image_with_a_name(figure: Figure) -> None:
    attributes = Parsed(str(figure.svg("one"))).elements[0][1]
    assert attributes["role"] == "img"
    assert attributes["aria-labelledby"] == "one-title"
    assert attributes["aria-describedby"] == "one-desc"


def test_ids_of_two_figures_do_not_clash_and_all_references_hold(figure: Figure) -> None:
    both = Parsed(str(figure.svg("one")) + str(figure.svg("two")))
    assert max(both.ids.values()) == 1
    assert both.references <= both.ids.keys()
    assert any(name.startswith("one-") for name in both.references)


def test_colours_are_the_pages(figure: Figure) -> None:
    svg = str(figure.svg("one"))
    for colour in (*theme.THEME.values(), theme.BLUE, theme.GREEN):
        assert colour not in svg
    assert "var(--figure-blue)" in svg
    assert "var(--figure-green-text)" in svg, "text is darker than marks are"
    assert set(re.findall(r"var\(--([a-z-]+)\)", svg)) <= THEMES["light"].keys()


def test_nothing_is_loaded_and_no_rule_leaks_into_the_page(figure: Figure) -> None:
    svg = str(figure.svg("one"))
    assert external_resources(svg) == []
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert "data:image/png;base64," in svg, "points are one picture, not thousands of paths"


def test_equal_plots_are_equal_text(figure: Figure) -> None:
    again = draw(plot, size=(3, 2), name="f", title="A <title>", description="What & why", caption="caption")
    assert again == figure


def test_hues_of_the_plots_have_variables() -> None:
    for name in ("blue", "vermilion", "green", "purple", "orange", "sky"):
        assert hasattr(theme, name.upper())
        assert f"figure-{name}" in THEMES["light"]
    assert {f"figure-{name}" for name in theme.THEME} <= THEMES["light"].keys()
