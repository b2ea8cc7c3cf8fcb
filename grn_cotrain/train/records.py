"""JSONL and CSV records of a run; a resumed run cuts what came after its checkpoint."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, disk_full_in_one_line, sha256_file
from grn_cotrain.strict import check_shape, parse_json
from grn_cotrain.text_tables import write_rows

__all__ = ["RunRecords"]

logger = logging.getLogger(__name__)


class RunRecords:
    """Appends to ``metrics.jsonl``; ``metrics.csv`` is written from it at the end and at every checkpoint.

    Values that are no finite numbers are written as null, which JSON can hold.
    """

    def __init__(self, folder: Path) -> None:
        self.jsonl = folder / "metrics.jsonl"
        self.csv = folder / "metrics.csv"

    def append(self, record: dict[str, Any]) -> None:
        """Add one record."""
        plain = {key: _finite(value) for key, value in record.items()}
        with disk_full_in_one_line(self.jsonl), self.jsonl.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(plain, allow_nan=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All complete records. A last line that a kill cut short is dropped; any other that is damaged is named."""
        if not self.jsonl.is_file():
            return []
        records = []
        try:
            lines = self.jsonl.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"metrics '{self.jsonl}': cannot be read ({error}); it is damaged, remove it") from None
        for number, line in enumerate(lines, 1):
            where = f"metrics '{self.jsonl}', line {number}"
            try:
                record = parse_json(line, where)
                check_shape(record, {"step?": int, "kind?": str}, where)
            except UserError as error:
                if number < len(lines):
                    logger.warning("%s; this record is left out", error)
                continue
            records.append(record)
        return records

    @property
    def sha256(self) -> str:
        """SHA-256 of ``metrics.jsonl``; empty where there is none yet."""
        return sha256_file(self.jsonl) if self.jsonl.is_file() else ""

    def cut_after(self, step: int, *, sha256: str = "") -> None:
        """Keep the records up to ``step``, so that replayed steps do not appear twice.

        ``sha256`` is what :attr:`sha256` was then, if that is known: records that differ are warned of.
        """
        if not self.jsonl.is_file() and not sha256:
            return  # nothing is written into a new folder before its recipe
        kept = [record for record in self.read() if record.get("step", 0) <= step]
        with atomic_file(self.jsonl) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        if sha256 and self.sha256 != sha256:
            logger.warning(
                "metrics '%s': is not what training wrote up to step %d; the weights do not depend on it, its curves"
                " do", self.jsonl, step
            )  # fmt: skip

    def write_csv(self) -> None:
        """Write the CSV: the union of all keys as columns, in order of first appearance."""
        records = self.read()
        columns = list(dict.fromkeys(key for record in records for key in record))
        with atomic_file(self.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            write_rows(handle, columns, ([record.get(name, "") for name in columns] for record in records))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
