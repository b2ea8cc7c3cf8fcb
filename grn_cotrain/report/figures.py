"""Figures of :mod:`grn_cotrain.pl` as SVG inside the page: text as text, colours of the page's theme, ids of its own.

The neutral colours of ``pl`` become CSS variables, its hues become variables that differ for marks and for text, so
that both are readable on either ground. Every drawing is also described: a title and a description for those who do
not see it, and the data behind it as a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from xml.etree import ElementTree as ET

from markupsafe import Markup

from grn_cotrain.present import Table
from grn_cotrain.report.blocks import Block

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Figure", "draw"]

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_HEX = re.compile(r"#[0-9a-f]{6}\b", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_DROPPED = {"metadata", "style"}


@dataclass(frozen=True)
class Figure(Block):
    """A drawing with its description.

    Attributes
    ----------
    name
        Stem of its id.
    title, description
        Name of the drawing and description of what it shows, for those who do not see it.
    caption
        Below it.
    drawing
        SVG element, as text.
    data
        Data of the drawing, as a table.
    wide
        Whether it keeps its size on narrow screens and scrolls.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    description: str
    caption: str
    drawing: str
    data: Table | None = None
    wide: bool = False

    def svg(self, identifier: str) -> Markup:
        """Return the SVG element, its ids beginning with ``identifier``."""
        root = ET.fromstring(self.drawing)  # made by matplotlib a moment ago
        _rename_ids(root, identifier)
        for tag, text in (("desc", self.description), ("title", self.title)):
            element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{identifier}-{tag}"})
            element.text = text
            root.insert(0, element)
        root.set("role", "img")
        root.set("aria-labelledby", f"{identifier}-title")
        root.set("aria-describedby", f"{identifier}-desc")
        return Markup(_serialised(root))  # serialised by an XML writer, which escapes


def draw(
    plot: Callable[[Axes], Any],
    *,
    size: tuple[float, float],
    name: str,
    title: str,
    description: str,
    caption: str,
    data: Table | None = None,
    wide: bool = False,
) -> Figure:
    """Let ``plot`` draw on axes of ``size`` inches, and take the result in.

    Sizes are small (about 4.5 inches wide), since a figure is shown at most at its own size: so its text stays
    readable on a phone. A ``wide`` one scrolls there.
    """
    from matplotlib.figure import Figure as Canvas

    from grn_cotrain import pl
    from grn_cotrain.pl import theme

    with theme.style():
        canvas = Canvas(figsize=size, layout="constrained")
        ax = canvas.add_subplot()
        plot(ax)
        ax.set_title("", loc="left")  # the page's heading and caption hold the title, in words that wrap
    return Figure(name, title, description, caption, _clean(pl.to_svg(ax)), data, wide)


def _clean(svg: str) -> str:
    """Drop what a page has no use for, round coordinates, and replace colours."""
    root = ET.fromstring(svg)  # made by matplotlib a moment ago
    for parent in root.iter():
        for child in [child for child in parent if child.tag.split("}")[-1] in _DROPPED]:
            parent.remove(child)
    marks, texts = _colours()
    for element in root.iter():
        is_text = element.tag.split("}")[-1] in ("text", "tspan")
        if element.get(f"{{{_XLINK}}}href") is not None:
            element.set("href", element.attrib.pop(f"{{{_XLINK}}}href"))
        if style := element.get("style"):
            element.set("style", _recoloured(style, texts if is_text else marks))
        for attribute in ("d", "transform", "x", "y", "points"):
            if value := element.get(attribute):
                element.set(attribute, _LONG_NUMBER.sub(lambda found: f"{float(found.group()):.2f}", value))
    _drop_unused_ids(root)
    width, height = (float(str(root.get(side)).removesuffix("pt")) * 96 / 72 for side in ("width", "height"))
    root.attrib.pop("version", None)
    root.set("width", f"{width:.0f}")
    root.set("height", f"{height:.0f}")
    return _serialised(root)


def _colours() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Colour of ``pl`` -> CSS variable, for marks and for text."""
    from grn_cotrain.pl import theme

    neutral = {colour: f"var(--figure-{name})" for name, colour in theme.THEME.items()}
    hues = {name: getattr(theme, name.upper()) for name in ("blue", "vermilion", "green", "purple", "orange", "sky")}
    marks = neutral | {colour: f"var(--figure-{name})" for name, colour in hues.items()}
    texts = neutral | {colour: f"var(--figure-{name}-text)" for name, colour in hues.items()}
    return marks, texts


def _recoloured(style: str, variables: Mapping[str, str]) -> str:
    return _HEX.sub(lambda found: variables.get(found.group().lower(), found.group()), style)


def _references(root: ET.Element) -> set[str]:
    found: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            found.update(_REFERENCE.findall(value))
            if key == "href" and value.startswith("#"):
                found.add(value[1:])
    return found


def _drop_unused_ids(root: ET.Element) -> None:
    used = _references(root)
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _rename_ids(root: ET.Element, prefix: str) -> None:
    """Give every id a short name of this figure, so that clip paths of several figures are not mixed up."""
    names: dict[str, str] = {}
    for element in root.iter():
        if identifier := element.get("id"):
            names[identifier] = f"{prefix}-mark{len(names)}"
            element.set("id", names[identifier])
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href" and value.startswith("#"):
                element.set(key, f"#{names[value[1:]]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda found: f"url(#{names[found.group(1)]})", value))


def _serialised(root: ET.Element) -> str:
    """XML text in the default namespace."""
    ET.register_namespace("", _SVG)
    return ET.tostring(root, encoding="unicode")
