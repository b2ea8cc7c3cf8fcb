"""Parts of a section of the report: plain records, turned into HTML by the templates, which escape every string.

A string is text; :class:`markupsafe.Markup` is HTML and is passed through, so make it with ``Markup(...).format(...)``,
which escapes its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from markupsafe import Markup

__all__ = [
    "Block",
    "Checks",
    "Code",
    "Columns",
    "Details",
    "Facts",
    "Heading",
    "Missing",
    "Names",
    "Points",
    "Section",
    "Text",
]


class Block(Protocol):
    """Part of a section: ``kind`` names the macro of ``templates/blocks.html`` that shows it.

    A :class:`~grn_cotrain.present.table.Table` is one too.
    """

    kind: ClassVar[str]


@dataclass(frozen=True)
class Text(Block):
    """A paragraph; a word in the text shows its ``tone`` too, never colour alone."""

    kind: ClassVar[str] = "text"
    text: str | Markup
    tone: Literal["plain", "lead", "note", "good", "bad", "caution"] = "plain"


@dataclass(frozen=True)
class Heading(Block):
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Missing(Block):
    """An input is not there: why, and the command that makes it."""

    kind: ClassVar[str] = "missing"
    text: str
    command: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Terms and values."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str | Markup]]


@dataclass(frozen=True)
class Points(Block):
    """Short remarks, one below the other."""

    kind: ClassVar[str] = "points"
    items: Sequence[str]


@dataclass(frozen=True)
class Names(Block):
    """A list of names behind its count; short lists are shown at once."""

    kind: ClassVar[str] = "names"
    title: str
    names: Sequence[str]
    meaning: str = ""


@dataclass(frozen=True)
class Checks(Block):
    """Checks that ran: name, count of offenders, severity (``ok``, ``note`` or ``error``), examples and meaning."""

    kind: ClassVar[str] = "checks"
    rows: Sequence[tuple[str, int, str, str]]


@dataclass(frozen=True)
class Code(Block):
    """Text to copy: commands, a recipe."""

    kind: ClassVar[str] = "code"
    text: str
    label: str = "commands"


@dataclass(frozen=True)
class Details(Block):
    """Blocks behind a line that opens them."""

    kind: ClassVar[str] = "details"
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Columns(Block):
    """Blocks of several runs (or figures) side by side, one below the other on narrow screens.

    ``narrow`` columns fit three on a wide screen.
    """

    kind: ClassVar[str] = "columns"
    items: Sequence[tuple[str, Sequence[Block]]]
    narrow: bool = False


@dataclass(frozen=True)
class Section:
    """One section: its anchor, its heading, its short name in the navigation, and its blocks."""

    name: str
    title: str
    short: str
    blocks: Sequence[Block] = field(default_factory=tuple)
