"""The parts that all cards have in common: plain JSON with a schema, a readable page, and its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, refuse_file, write_json, write_text
from grn_cotrain.present.markdown import page
from grn_cotrain.present.sections import Section

__all__ = ["Card"]


@dataclass(frozen=True, eq=False)
class Card(ABC):
    """A card; ``content`` is what its JSON file holds."""

    schema: ClassVar[str]
    schema_version: ClassVar[int] = 1
    stem: ClassVar[str]
    """Name of its files, without their suffixes."""
    what: ClassVar[str]
    """The card in words, for messages."""
    command: ClassVar[str]
    """The command that makes one."""

    content: Mapping[str, Any]

    @property
    @abstractmethod
    def title(self) -> str:
        """Heading of its page."""

    @property
    @abstractmethod
    def subtitle(self) -> str:
        """Line below the heading."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """The readable page as neutral sections: titles, paragraphs, tables."""

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights that the card describes."""
        return str(self.content["identity"]["hashes"]["weights_sha256"])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(self.content)

    def to_markdown(self) -> str:
        """The readable page as Markdown."""
        return page(self.title, self.sections())

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write the card as JSON and as Markdown into ``folder``, each atomically; returns both paths."""
        folder = Path(folder)
        refuse_file(folder)
        as_json, as_text = folder / f"{self.stem}.json", folder / f"{self.stem}.md"
        write_text(as_text, self.to_markdown())
        write_json(as_json, self.to_dict())
        return as_json, as_text

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the JSON file of a card, or the folder that holds it.

        Raises
        ------
        UserError
            Missing, damaged, no card, or written by a newer version.
        """
        path = Path(path)
        path = path / f"{cls.stem}.json" if path.is_dir() else path
        content = read_json(path, what="card")
        if not isinstance(content, dict) or content.get("schema") != cls.schema:
            raise UserError(f"card '{path}': not {cls.what}; make one with `{cls.command}`")
        if content.get("schema_version") != cls.schema_version:
            raise UserError(
                f"card '{path}': schema_version {content.get('schema_version')!r}, this version reads"
                f" {cls.schema_version}; make the card again"
            )
        return cls(content)
