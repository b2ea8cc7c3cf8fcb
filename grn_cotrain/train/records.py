"""JSONL and CSV records of a run; a resumed run cuts what came after its checkpoint."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from grn_cotrain.files import atomic_file

__all__ = ["RunRecords"]


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
        with self.jsonl.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(plain, allow_nan=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All complete records; a line that a kill cut short is dropped."""
        if not self.jsonl.is_file():
            return []
        records = []
        for line in self.jsonl.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def cut_after(self, step: int) -> None:
        """Keep the records up to ``step``, so that replayed steps do not appear twice."""
        kept = [record for record in self.read() if record.get("step", 0) <= step]
        with atomic_file(self.jsonl) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")

    def write_csv(self) -> None:
        """Write the CSV: the union of all keys as columns, in order of first appearance."""
        records = self.read()
        columns = list(dict.fromkeys(key for record in records for key in record))
        with atomic_file(self.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows(records)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
