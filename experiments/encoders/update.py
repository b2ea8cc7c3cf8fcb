"""Some rows of a recorded study trained again; the others stay as they are recorded.

A change of the code that touches some rows leaves the others true. :func:`updated` puts the new ones
in their place, takes out those that were asked for and are not there, and reports it in the record's notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.encoders.tables import table_of
from experiments.encoders.worlds import find_worlds
from experiments.records import RECORDS
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json

__all__ = ["recorded", "recorded_rates", "updated"]

_KEY = ("system", "world", "arm", "objective", "seed")
_COSTS = ("seconds_per_1000_cells", "peak_memory_mb")  # measured on an idle machine, over the same steps


def recorded(name: str) -> dict[str, Any]:
    """The record of a study.

    Raises
    ------
    UserError
        There is none.
    """
    path = RECORDS / f"{name}.json"
    if not path.is_file():
        raise UserError(f"--update: there is no record '{name}' to update; leave the option out")
    return dict(read_json(path, what="run record"))


def recorded_rates(names: Iterable[str]) -> dict[tuple[str, str], float]:
    """(system, objective) -> the learning rate that the recorded searches chose."""
    return {
        (search["spec"]["system"], search["spec"]["objective"]): float(search["rate"])
        for name in names
        for search in recorded(name)["body"].get("rates", [])
        if "rate" in search
    }


def updated(record: Mapping[str, Any], rows: Sequence[dict[str, Any]], objective: str, why: str) -> dict[str, Any]:
    """Body of the record with ``rows`` in the place of those of the same system, world, graph, objective and seed.

    A row with an ``error`` (not run, or failed) takes the recorded one out: that one is of the code before the change.

    Parameters
    ----------
    record
        From :func:`recorded`.
    rows
        Rows that were asked for again, done or not.
    objective
        ``common`` or ``own``.
    why
        Reason of the change, for the notes.
    """
    body = dict(record["body"])
    mine = {_key(row): row for row in rows if row["spec"].get("objective") == objective}
    done = {key: row for key, row in mine.items() if "error" not in row}
    kept = []
    for row in body["rows"]:
        key = _key(row)
        if key in done:
            kept.append({**done.pop(key), **{name: row[name] for name in _COSTS if name in row}})
        elif key not in mine:
            kept.append(row)
    worlds = find_worlds(",".join(control["spec"]["world"] for control in body["controls"]))
    body["rows"] = [*kept, *done.values()]
    body["header"], body["table"] = table_of(body["rows"], body["controls"], worlds, objective)
    again, gone = ([_name(row) for row in mine.values() if ("error" in row) is bad] for bad in (False, True))
    notes = []
    if again:
        notes.append(
            f"{why}: trained again, at the recorded learning rates and settings: {', '.join(again)}; these are other"
            " models, so columns that the change does not touch moved too; seconds and peak memory are those of the"
            " first time"
        )
    if gone:
        notes.append(f"{why}: taken out, since not trained again: {', '.join(gone)}")
    if notes:
        processor = record.get("environment", {}).get("processor", "an unknown processor")
        notes.append(f"all other rows are those of the table of commit {record['commit']}, trained on {processor}")
    body["notes"] = [*body["notes"], *notes]
    return body


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row["spec"].get(name) for name in _KEY)


def _name(row: Mapping[str, Any]) -> str:
    return " ".join(str(row["spec"][name]) for name in ("system", "world"))
