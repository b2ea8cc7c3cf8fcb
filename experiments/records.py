"""Run records: small JSON files under ``experiments/records`` from which every number in the documents is made.

A record keeps the command, commit, seeds, environment, seconds and memory with the numbers, and what was published
for the same question, with its source (``experiments/published.yaml``).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from grn_cotrain.config import load_yaml
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json

__all__ = ["RECORDS", "make_record", "make_study_record", "read_records", "tagged", "withdrawn", "write_record"]

ROOT = Path(__file__).resolve().parent
RECORDS = ROOT / "records"
_PUBLISHED = ROOT / "published.yaml"
_FORMAT = 1
_LINK_METRICS = ("macro_auroc", "macro_ap", "auroc", "auprc", "degree_matched_auroc", "residual_auroc")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def make_record(folder: Path, name: str, *, command: str | None = None) -> dict[str, Any]:
    """Condense a comparison, an evaluated run, or a folder of benchmarks.

    Parameters
    ----------
    folder
        Output folder of ``grn-cotrain compare``, ``grn-cotrain evaluate links --out`` or ``experiments.benchmarks
        --out``.
    name
        Lower case, digits, ``-`` and ``_``; names the file, and the published figures that belong to it.
    command
        The command that made the folder; by default the one that a comparison noted, else the present one.

    Raises
    ------
    UserError
        The folder holds none of these, or the name is not of that form.
    """
    if (folder / "compare.json").is_file():
        kind, body = "compare", dict(read_json(folder / "compare.json", what="comparison"))
        noted = body.pop("command", None)  # it has the paths of one machine, where another command was given
        command = command or noted
    elif (folder / "links.json").is_file():
        kind, body = "links", _links(folder)
    elif benchmarks := sorted(folder.glob("b*.json")):
        kind, body = "bench", {"benchmarks": [read_json(file, what="benchmark") for file in benchmarks]}
    else:
        raise UserError(f"folder '{folder}': holds no compare.json, links.json or b*.json; name the --out of a run")
    return _record(name, kind, body, command)


def make_study_record(name: str, body: dict[str, Any], *, command: str | None = None) -> dict[str, Any]:
    """Record of a study: ``body`` holds ``header`` and ``table`` (text, as it is shown), ``rows`` (numbers), ``notes``.

    Raises
    ------
    UserError
        The name is not of that form.
    """
    return _record(name, "study", body, command)


def tagged(name: str, tag: str) -> str:
    """Name of the record of a study whose budget is another one: ``NAME_TAG``, or ``NAME`` without a tag.

    Raises
    ------
    UserError
        The tag is not of lower-case letters, digits and _.
    """
    if tag and not re.fullmatch(r"[a-z0-9_]+", tag):
        raise UserError(f"--tag '{tag}': not of lower-case letters, digits and _; choose another, such as long")
    return f"{name}_{tag}" if tag else name


def _record(name: str, kind: str, body: dict[str, Any], command: str | None) -> dict[str, Any]:
    from grn_cotrain.provenance import git_commit
    from grn_cotrain.train.environment import environment

    if not _NAME.fullmatch(name):
        raise UserError(f"--name '{name}': not of lower-case letters, digits, - and _; choose another")
    return {
        "format_version": _FORMAT,
        "name": name,
        "kind": kind,
        "command": command or _present_command(),
        "commit": git_commit() or "unknown",
        "environment": environment("cpu"),
        "published": _published(name),
        "body": body,
    }


def _present_command() -> str:
    """As one would type it: a package run by ``-m`` shows up as the path of its ``__main__.py`` or module."""
    program = Path(sys.argv[0]).resolve()
    if ROOT.parent in program.parents:
        module = program.relative_to(ROOT.parent).with_suffix("").parts
        return shlex.join(["python", "-m", ".".join(module).removesuffix(".__main__"), *sys.argv[1:]])
    return shlex.join([program.name, *sys.argv[1:]])


def _links(folder: Path) -> dict[str, Any]:
    table = dict(read_json(folder / "links.json", what="link table"))
    rows = [
        {key: row[key] for key in ("scorer", "kind", "metric", "value", "low", "high", "num_tfs", "prevalence", "seed")}
        for row in table["rows"]
        if row["split"] == table["headline_split"] and row["candidates"] == "all" and row["metric"] in _LINK_METRICS
    ]
    run = read_json(folder / "run.json", what="run record") if (folder / "run.json").is_file() else {}
    return {
        "split": table["headline_split"],
        "rows": rows,
        "warnings": table["warnings"],
        "audits": table["audits"],
        "run": {key: run.get(key) for key in ("seed", "commit", "schedule", "steps", "seconds", "peak_memory_mb")},
    }


def _published(name: str) -> list[dict[str, Any]]:
    table = load_yaml(_PUBLISHED, what="table of published values")
    return list(table.get(name, []))


def withdrawn(record: dict[str, Any], row: str, reason: str) -> dict[str, Any]:
    """The record of a study without the table's row ``GROUP: NAME``, and a note with the reason.

    Raises
    ------
    UserError
        There is no such row.
    """
    body = dict(record["body"])
    table = [line for line in body["table"] if f"{line[0]}: {line[1]}" != row]
    if len(table) == len(body["table"]):
        known = ", ".join(f"{line[0]}: {line[1]}" for line in body["table"] if line[0])
        raise UserError(f"--row '{row}': not in record '{record['name']}'; choose from {known}")
    label = row.replace(": ", " ").replace("%", " percent")
    rows = [one for one in body["rows"] if one["spec"].get("label") != label]
    notes = [*body["notes"], f"withdrawn: {row}: {reason}"]
    return {**record, "body": {**body, "table": table, "rows": rows, "notes": notes}}


def write_record(record: dict[str, Any], folder: Path = RECORDS) -> Path:
    """Write the record; a record of the same name is replaced."""
    path = folder / f"{record['name']}.json"
    write_json(path, record)
    return path


def read_records(folder: Path = RECORDS) -> list[dict[str, Any]]:
    """All records, by name."""
    records = [dict(read_json(path, what="run record")) for path in sorted(folder.glob("*.json"))]
    for record in records:
        if record.get("format_version") != _FORMAT:
            raise UserError(
                f"record '{record.get('name')}': of another format; make it again with `python -m experiments record`"
            )
    return records
