"""Docstrings -> Markdown: numpydoc sections, reStructuredText roles, equations."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass, field

__all__ = ["Docstring", "parse_docstring", "to_markdown"]

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`([^`]+)`")
_MATH_ROLE = re.compile(r":math:`([^`]+)`")
_BORDER = r"=+(?: +=+)+(?:\n|\Z)"
_SIMPLE_TABLE = re.compile(rf"^{_BORDER}(?:(?!=).+\n)+{_BORDER}(?:(?!=)(?:.+\n)+?{_BORDER})?", re.MULTILINE)
_SECTIONS = {
    "Attributes", "Parameters", "Config", "Returns", "Raises", "Notes", "Examples", "Yields", "See Also",
    "References", "Warns", "Warnings", "Other Parameters", "Methods",
}  # fmt: skip


@dataclass(frozen=True)
class Docstring:
    """A docstring in pieces: ``text`` above the sections as Markdown, and each section's entries or text.

    Attributes
    ----------
    summary
        First paragraph, in one line.
    text
        Everything above the first section, as Markdown.
    entries
        Section -> name -> description (Markdown, one line); a heading ``a, b`` gives both names the description.
    sections
        Section -> its raw text.
    """

    summary: str
    text: str
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)


def parse_docstring(documented: object) -> Docstring:
    """Cut the docstring of a class or function (never an inherited one) at its numpydoc sections."""
    raw = inspect.cleandoc(getattr(documented, "__doc__", None) or "")
    lines = raw.split("\n")
    starts = [
        i
        for i in range(len(lines) - 1)
        if lines[i].strip() in _SECTIONS and re.fullmatch(r"-{3,}", lines[i + 1].strip())
    ]
    head = "\n".join(lines[: starts[0]] if starts else lines).strip()
    sections, entries = {}, {}
    for start, stop in zip(starts, [*starts, len(lines)][1:], strict=True):
        name = lines[start].strip()
        sections[name] = "\n".join(lines[start + 2 : stop]).strip("\n")
        entries[name] = _entries(sections[name])
    summary = to_markdown(" ".join(head.split("\n\n", 1)[0].split()))
    return Docstring(summary, to_markdown(head), entries, sections)


def _entries(text: str) -> dict[str, str]:
    """``name : type`` lines with indented text below them."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text):
        heading, _, body = block.partition("\n")
        described = to_markdown(" ".join(textwrap.dedent(body).split()))
        for name in heading.split(" : ", 1)[0].split(","):
            found[name.strip()] = described
    return found


def to_markdown(text: str) -> str:
    """Roles become code, ``.. math::`` and ``:math:`` become equations; double backticks are Markdown already."""
    text = re.sub(r"^\.\. math:: *(\S.*(?:\n[ \t]+\S.*)*)$", _one_line, text, flags=re.MULTILINE)
    text = re.sub(r"^\.\. math::\n((?:\n|[ \t]+\S.*(?:\n|$))+)", _display, text, flags=re.MULTILINE)
    text = _MATH_ROLE.sub(r"$\1$", text)
    text = _ROLE.sub(lambda match: f"`{_short(match.group(1))}`", text)
    text = _SIMPLE_TABLE.sub(_table, text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _table(match: re.Match[str]) -> str:
    """A simple table of reStructuredText; a line that does not begin in the first column belongs to the last row."""
    border, *lines = match.group(0).rstrip("\n").split("\n")
    starts = [found.start() for found in re.finditer(r"=+", border)]
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("="):
            continue
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if cells[0] or not rows:
            rows.append(cells)
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    if lines[1].startswith("="):
        head, *rows = rows
    else:
        head = [""] * len(starts)
    made = [head, ["---"] * len(starts), *rows]
    return "\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in made) + "\n"


def _one_line(match: re.Match[str]) -> str:
    return f"\n$$\n{' '.join(match.group(1).split())}\n$$\n"


def _display(match: re.Match[str]) -> str:
    return f"\n$$\n{textwrap.dedent(match.group(1)).strip()}\n$$\n\n"


def _short(target: str) -> str:
    return target[1:].rsplit(".", 1)[-1] if target.startswith("~") else target
