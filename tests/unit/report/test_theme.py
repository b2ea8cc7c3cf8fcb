"""Contrast of every pair of colours that meet, in both themes (WCAG 2.1: 4.5 for text, 3 for marks)."""

from __future__ import annotations

import itertools
import re

import pytest

from grn_cotrain.report.theme import (
    FIGURE_TEXT_COLOURS,
    GROUNDS,
    MARK_COLOURS,
    TEXT_COLOURS,
    THEMES,
    stylesheet_variables,
)


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known near miss


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_readable_on_every_ground(theme: str) -> None:
    colours = THEMES[theme]
    low = {
        (text, ground): round(contrast(colours[text], colours[ground]), 2)
        for text, ground in itertools.product(TEXT_COLOURS, GROUNDS)
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert low == {}


@pytest.mark.parametrize("theme", THEMES)
def test_figures_are_readable_on_the_page(theme: str) -> None:
    colours = THEMES[theme]
    ground = colours["ground"]
    assert {name for name in FIGURE_TEXT_COLOURS if contrast(colours[name], ground) < 4.5} == set()
    assert {name for name in MARK_COLOURS if contrast(colours[name], ground) < 3} == set()
    assert contrast(colours["figure-paper"], colours["figure-ink"]) > 4.5, "names of TFs stand in boxes of ink"


def test_both_themes_define_the_same_variables() -> None:
    assert THEMES["light"].keys() == THEMES["dark"].keys()


def test_stylesheet_uses_no_colour_of_its_own_and_no_unknown_variable() -> None:
    from importlib.resources import files

    css = files("grn_cotrain.report").joinpath("assets", "report.css").read_text(encoding="utf-8")
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", css) == []
    assert set(re.findall(r"var\(--([a-z-]+)\)", css)) <= THEMES["light"].keys()
    assert "prefers-reduced-motion" in css
    assert "@media print" in css


def test_dark_theme_applies_by_system_and_by_switch_and_never_on_paper() -> None:
    css = stylesheet_variables()
    dark = THEMES["dark"]["ground"]
    assert css.count(dark) >= 2
    outside_of_screen = re.sub(r"@media screen[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", css)
    assert dark not in outside_of_screen
    assert THEMES["light"]["ground"] in outside_of_screen
