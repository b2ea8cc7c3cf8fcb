"""Requests of a built site to other hosts; there must be none."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["external_requests"]

#: Elements that a browser fetches by itself; links (``a``) are not among it.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object|input|track)\b[^>]*?\b(?:src|srcset|data)\s*=\s*[\"']?\s*"
    r"((?:https?:)?//[^\"'\s>]+)",
    re.IGNORECASE,
)
_LINK = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
_HREF = re.compile(r"\bhref\s*=\s*[\"']?((?:https?:)?//[^\"'\s>]+)", re.IGNORECASE)
_NOT_FETCHED = re.compile(r"\brel\s*=\s*[\"']?(?:canonical|alternate|next|prev|license|author|help)\b", re.IGNORECASE)
_STYLE = re.compile(r"(?:@import\s+(?:url\()?|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


def external_requests(folder: Path) -> list[str]:
    """``FILE: ADDRESS`` of everything that pages or styles of a site would fetch from elsewhere."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".html", ".css", ".svg"):
            continue
        text = path.read_text(encoding="utf-8")
        addresses = [*_STYLE.findall(text)]
        if path.suffix == ".html":
            addresses += _FETCHED.findall(text)
            for link in _LINK.findall(text):
                if not _NOT_FETCHED.search(link):
                    addresses += _HREF.findall(link)
        found += [f"{path.relative_to(folder)}: {address}" for address in addresses]
    return found
