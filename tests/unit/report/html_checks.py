"""What makes a page valid and self-contained, checked by the standard library's parser."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

__all__ = ["Parsed", "external_resources"]

_VOID = {"meta", "br", "wbr", "input", "img", "hr", "link", "col", "source"}
_LOADED = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}


class Parsed(HTMLParser):
    """A page, read: unbalanced tags, ids, references, headings, texts by tag."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.ids: Counter[str] = Counter()
        self.references: set[str] = set()
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.tags: Counter[str] = Counter()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        self.unbalanced += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags[tag] += 1
        self.elements.append((tag, given))
        if tag not in _VOID:
            self.open.append(tag)
        if identifier := given.get("id"):
            self.ids[identifier] += 1
        for name, value in given.items():
            if value is None:
                continue
            if name in _LOADED:
                (self.references.add(value[1:]) if value.startswith("#") else self.loads.append(value))
            self.references.update(re.findall(r"url\(#([^)]+)\)", value))
            if name in ("aria-labelledby", "aria-describedby", "for", "data-table"):
                self.references.update(value.split())
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unbalanced.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    @property
    def text(self) -> str:
        """All visible words."""
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))


def external_resources(html: str) -> list[str]:
    """Whatever the page would fetch: anything but fragments, data: images and links to click on."""
    parsed = Parsed(html)
    found = [value for value in parsed.loads if not value.startswith("data:image/png;base64,")]
    found += [value for value in re.findall(r"url\(\s*['\"]?([^)'\"]+)", html) if not value.startswith("#")]
    found += re.findall(r"@import[^;]+", html)
    found += re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\b", html)
    return found
