"""Colours of the report in its two themes: the stylesheet is generated from them, and a test measures them.

Text colours reach a contrast of 4.5 on every ground they stand on (WCAG 2.1 AA), marks in figures 3. No meaning is
carried by colour alone: verdicts are words, best values have a star, curves have line styles.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FIGURE_TEXT_COLOURS", "GROUNDS", "MARK_COLOURS", "TEXT_COLOURS", "THEMES", "stylesheet_variables"]

#: Variable -> colour, for each theme. Names are those of the CSS variables, without the leading dashes.
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "ground": "#ffffff",
        "panel": "#f4f6f8",
        "raised": "#e9edf1",
        "highlight": "#fdf3d4",
        "ink": "#1a2027",
        "muted": "#515c68",
        "accent": "#0b5394",
        "good": "#17652f",
        "bad": "#9c1f1f",
        "caution": "#7a4a00",
        "line": "#cdd4db",
        "edge": "#78838f",
        "figure-ink": "#1a2027",
        "figure-muted": "#515c68",
        "figure-faint": "#a3abb5",
        "figure-grid": "#dde1e7",
        "figure-paper": "#ffffff",
        "figure-blue": "#0072b2",
        "figure-vermilion": "#d55e00",
        "figure-green": "#00936b",
        "figure-purple": "#b8609a",
        "figure-orange": "#c08300",
        "figure-sky": "#2e93d1",
        "figure-blue-text": "#0067a1",
        "figure-vermilion-text": "#ad4c00",
        "figure-green-text": "#007a58",
        "figure-purple-text": "#a34684",
        "figure-orange-text": "#8a5e00",
        "figure-sky-text": "#1a6ea3",
    },
    "dark": {
        "ground": "#12161b",
        "panel": "#1b2128",
        "raised": "#262e37",
        "highlight": "#3d3413",
        "ink": "#e8ecf1",
        "muted": "#aab4bf",
        "accent": "#86bdf5",
        "good": "#7fd397",
        "bad": "#ff9e95",
        "caution": "#f0c070",
        "line": "#36414c",
        "edge": "#8a96a3",
        "figure-ink": "#e8ecf1",
        "figure-muted": "#aab4bf",
        "figure-faint": "#66717d",
        "figure-grid": "#2c353f",
        "figure-paper": "#12161b",
        "figure-blue": "#3fa2de",
        "figure-vermilion": "#ee7a25",
        "figure-green": "#1fbd90",
        "figure-purple": "#d58fb8",
        "figure-orange": "#e8ac25",
        "figure-sky": "#6cc0ee",
        "figure-blue-text": "#6dbdee",
        "figure-vermilion-text": "#f59350",
        "figure-green-text": "#3fd0a5",
        "figure-purple-text": "#e0a5c8",
        "figure-orange-text": "#f0bf55",
        "figure-sky-text": "#8fd0f4",
    },
}
#: Colours of text, and the grounds that it stands on.
TEXT_COLOURS = ("ink", "muted", "accent", "good", "bad", "caution")
GROUNDS = ("ground", "panel", "raised", "highlight")
_HUES = ("blue", "vermilion", "green", "purple", "orange", "sky")
#: Text inside figures, which stand on the page's own ground.
FIGURE_TEXT_COLOURS = ("figure-ink", "figure-muted", *(f"figure-{hue}-text" for hue in _HUES))
#: Colours of outlines and marks that must be seen.
MARK_COLOURS = ("edge", "accent", *(f"figure-{hue}" for hue in _HUES))


def stylesheet_variables() -> str:
    """Three blocks of CSS variables: light, dark where the reader's system asks for it, dark by the switch."""
    dark = _declarations("dark")
    return "\n".join(
        (
            f":root {{ color-scheme: light; {_declarations('light')} }}",
            "@media screen and (prefers-color-scheme: dark) {",
            f"  :root:not([data-theme='light']) {{ color-scheme: dark; {dark} }}",
            "}",
            "@media screen {",  # paper is light
            f"  :root[data-theme='dark'] {{ color-scheme: dark; {dark} }}",
            "}",
        )
    )


def _declarations(theme: str) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in THEMES[theme].items())
