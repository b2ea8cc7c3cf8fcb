"""Tables of the documents, generated: experiments/RESULTS.md and the marked parts of README.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.records import RECORDS, read_records
from grn_cotrain.cli import registries
from grn_cotrain.compare.table import METRICS, change, label_of
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_rows import SUMMARY, links_table
from grn_cotrain.files import write_text
from grn_cotrain.present import Cell, Row, count, figure, metric, number, table, whole
from grn_cotrain.present.markdown import Markdown, to_markdown

__all__ = [
    "ROOT",
    "STUDIES",
    "component_table",
    "fill",
    "link_table",
    "results_text",
    "short_encoders",
    "write_documents",
]

ROOT = Path(__file__).resolve().parents[1]
_SHOWN_CONTROLS = 3
_OF_THE_COMMIT = "the commit is the one that made the table; rows are kept by recipe, and some were trained earlier"

STUDIES = {
    "encoders_common": "python -m experiments.studies.encoders --out DIR --record",
    "encoders_own": "python -m experiments.studies.encoders --out DIR --record",
    "encoders_published_sizes": "python -m experiments.studies.encoders --out DIR --record",
    "encoder_ablations": "python -m experiments.studies.ablations --out DIR --record",
    "decoders": "python -m experiments.studies.decoders --out DIR --record",
    "power": "python -m experiments.studies.power --out DIR --record",
    "regulon": "python -m experiments.studies.regulon --out DIR --record",
}
"""Records that RESULTS.md asks for by name, and the command that makes each."""


def component_table() -> str:
    """One row per kind of component: its names."""
    rows = [
        (Cell(kind, code=True), Markdown(", ".join(f"`{name}`" for name in registry.names())))
        for kind, registry in registries().items()
    ]
    return to_markdown(table(("kind", "components"), rows))


def link_table(record: Mapping[str, Any], *, controls: int = _SHOWN_CONTROLS) -> str:
    """Models, then the best controls by macro AUROC, then what was published."""
    measured = links_table(
        [("", pd.DataFrame(record["body"]["rows"]))],
        "all",
        printed=SUMMARY,
        controls=controls,
        label=lambda row: row.short_label,
    )
    published: dict[str, dict[str, float]] = {}
    for stated in record["published"]:
        published.setdefault(f"{stated['who']} ({stated['source']})", {})[stated["metric"]] = stated["value"]
    rows = [Row([Cell(who), *(figure(values.get(name)) for name in SUMMARY)]) for who, values in published.items()]
    return to_markdown(replace(measured, rows=[*measured.rows, *rows]))


def _compare_table(record: Mapping[str, Any]) -> str:
    header = ["arm", "seeds", *(metric(name).heading for name in METRICS), "R2 of cells"]
    header += [f"minus {record['body']['reference']}", "minus best control", "s a run", "MB"]
    rows = []
    for row in record["body"]["rows"]:
        means = [figure(row[name]["mean"]) for name in (*METRICS, "cells_r2")]
        costs = [figure(row[key]["mean"], digits=0) for key in ("train_seconds", "memory_mb")]
        differences = [change(row["against_first"]), change(row["against_control"])]
        rows.append([label_of(row), whole(len(row["seeds"])), *means, *differences, *costs])
        if row["error"]:
            rows.append([f"{row['arm']}: failed", *[""] * (len(header) - 2), row["error"]])
    return to_markdown(table(header, rows))


def _bench_table(record: Mapping[str, Any]) -> str:
    rows = []
    for benchmark in record["body"]["benchmarks"]:
        for row in benchmark["rows"]:
            ratio = "" if row["ratio"] is None else f"{number(row['ratio'], 1)}x"
            rows.append([benchmark["id"], row["name"], figure(row["seconds"], digits=4), ratio, row["note"]])
    return to_markdown(table(["id", "rival", "seconds", "ratio", "note"], rows))


def _study_table(record: Mapping[str, Any]) -> str:
    return to_markdown(table(record["body"]["header"], record["body"]["table"]))


def _section(record: Mapping[str, Any]) -> str:
    body = record["body"]
    tables = {"compare": _compare_table, "links": link_table, "bench": _bench_table, "study": _study_table}
    lines = [f"## {record['name']}", "", tables[record["kind"]](record), ""]
    if "split" in body:
        lines.append(f"- split: {body['split']}")
    if record["kind"] == "compare":
        lines.append(
            f"- {body['num_tfs']} TFs, prevalence {number(body['prevalence'], 4)}; "
            f"{count(body['seconds'] / 60)} minutes in all"
        )
        lines.append(
            "- differences are of macro AUROC, with 95 % intervals; * is better (3 seeds, interval above zero)"
        )
    lines += [f"- {note}" for note in body.get("notes", [])]
    lines += [f"- warning: {warning}" for warning in body.get("warnings", [])]
    run = {key: value for key, value in body.get("run", {}).items() if value is not None}
    if run:
        lines.append("- run: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in run.items()))
    environment = record["environment"]
    if record["name"] in STUDIES:
        lines.append(f"- {_OF_THE_COMMIT}")
    lines += [
        f"- command: `{record['command']}`",
        f"- commit {record['commit']}; {environment['processor']}, {environment['threads']} threads, "
        f"Python {environment['python']}, torch {environment['packages'].get('torch', '?')}",
    ]
    return "\n".join(lines)


def results_text(records: Sequence[Mapping[str, Any]]) -> str:
    """RESULTS.md: a section a record; a study without one is named, with the command that makes it."""
    head = [
        "# Results",
        "",
        "Generated by `python -m experiments results` from the run records in `experiments/records`; do not edit.",
        "A null is a result and stays; failed rows stay with their error.",
        "",
    ]
    there = {record["name"] for record in records}
    sections = [_section(record) for record in records]
    sections += [
        f"## {name}\n\nNo run record yet: nothing of this study may be quoted. Make it: `{command}`"
        for name, command in STUDIES.items()
        if name not in there
    ]
    return "\n".join(head) + "\n" + "\n\n".join(sections) + "\n"


def fill(text: str, marker: str, content: str) -> str:
    """Replace what stands between ``<!-- marker -->`` and ``<!-- /marker -->``.

    Raises
    ------
    UserError
        The markers are missing.
    """
    pattern = re.compile(rf"(<!-- {re.escape(marker)} -->\n).*?(<!-- /{re.escape(marker)} -->)", re.DOTALL)
    if not pattern.search(text):
        raise UserError(
            f"README.md: no markers <!-- {marker} --> and <!-- /{marker} -->; put them where the table belongs"
        )
    return pattern.sub(lambda match: f"{match.group(1)}{content}\n{match.group(2)}", text)


#: Pages with marked parts.
_PAGES = ("README.md", "docs/encoders.md", "docs/reading-the-table.md")


def write_documents(*, root: Path = ROOT, records: Path = RECORDS) -> list[Path]:
    """Write RESULTS.md and the marked parts of README.md and of pages of ``docs``; return their paths.

    Raises
    ------
    UserError
        A part has markers in none of them.
    """
    found = read_records(records)
    results = root / "experiments" / "RESULTS.md"
    pages = {path: path.read_text(encoding="utf-8") for path in (root / name for name in _PAGES) if path.is_file()}
    links = [record for record in found if record["kind"] == "links"]
    comparisons = [record for record in found if record["kind"] == "compare"]
    parts = {
        "components": component_table(),
        "results:links": _readme_tables(links) or "No run record yet.",
        "results:compare": _readme_comparisons(comparisons) or "No run record yet.",
        "results:encoders": _readme_encoders(found),
    }
    for marker, content in parts.items():
        place = next((path for path, text in pages.items() if f"<!-- {marker} -->" in text), root / "README.md")
        pages[place] = fill(pages.get(place, ""), marker, content)
    write_text(results, results_text(found))
    for path, text in pages.items():
        write_text(path, text)
    return [results, *pages]


def _readme_comparisons(records: Sequence[Mapping[str, Any]]) -> str:
    """One short table of all comparisons; RESULTS.md has the other metrics, costs and commands."""
    rows = []
    for record in records:
        where = f"{record['name']}, {record['body']['split']}"
        for row in record["body"]["rows"]:
            figures = [figure(row[name]["mean"]) for name in ("macro_auroc", "cells_r2")]
            differences = [change(row["against_first"]), change(row["against_control"])]
            rows.append([where, label_of(row), whole(len(row["seeds"])), *figures, *differences])
            where = ""
    header = ["data, split", "arm", "seeds", "macro AUROC", "R2 of cells", "minus the first", "minus best control"]
    return to_markdown(table(header, rows)) if rows else ""


_ENCODERS = "encoders_common"
_ARMS = ("no graph", "graph", "rewired")


def _readme_encoders(records: Sequence[Mapping[str, Any]]) -> str:
    """A line a system and its notes, or the command that makes the study; RESULTS.md has a line a graph."""
    record = next((record for record in records if record["name"] == _ENCODERS), None)
    if record is None:
        return f"No run record yet: nothing of this study may be quoted. It is made by `{STUDIES[_ENCODERS]}`."
    body = record["body"]
    notes = "\n".join(f"- {note}" for note in [f"links: {' / '.join(_ARMS)}; the others: no graph", *body["notes"]])
    made = f"- {_OF_THE_COMMIT}\n- command: `{record['command']}`, commit {record['commit']}"
    return f"{to_markdown(table(*short_encoders(body['header'], body['table'])))}\n\n{notes}\n{made}"


def short_encoders(header: Sequence[str], table: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """One line a system or control: links under each graph in one cell, all else without a graph."""
    kept = [
        name
        for name in header
        if name in ("parameters", "s / 1,000 cells", "FLOPs / cell") or name.endswith((" R2", " links", " F1"))
    ]
    by_system: dict[str, dict[str, Mapping[str, str]]] = {}
    for line in table:
        by_system.setdefault(line[0], {})[line[1]] = dict(zip(header, line, strict=True))
    rows = []
    for system, arms in by_system.items():
        first = arms.get("no graph") or next(iter(arms.values()))
        three = [arms[arm] for arm in _ARMS if arm in arms] or [first]
        figures = [" / ".join(arm[name] for arm in three) if name.endswith(" links") else first[name] for name in kept]
        rows.append([system, *figures])
    return ["system", *kept], rows


def _readme_tables(records: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for record in records:
        parts += [
            f"`{record['name']}`, {record['body']['split']}, commit {record['commit']}:",
            "",
            link_table(record),
            "",
        ]
        parts += [f"Warning: {warning}\n" for warning in record["body"].get("warnings", [])]
    return "\n".join(parts).rstrip()
