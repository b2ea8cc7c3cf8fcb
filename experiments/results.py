"""Tables of the documents, generated: experiments/RESULTS.md and the marked parts of README.md."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.records import RECORDS, read_records
from grn_cotrain.cli import registries
from grn_cotrain.compare.table import METRICS, change, label_of, number
from grn_cotrain.errors import UserError
from grn_cotrain.files import write_text

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
_LINK_HEADINGS = {
    "macro_auroc": "macro AUROC",
    "macro_ap": "macro AP",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "degree_matched_auroc": "matched",
}
_SHOWN_CONTROLS = 3
_OF_THE_COMMIT = "the commit is the one that made the table; rows are kept by recipe, and some were trained earlier"

STUDIES = {
    "encoders_common": "python -m experiments.studies.encoders --out DIR --record",
    "encoders_own": "python -m experiments.studies.encoders --out DIR --record",
    "encoders_published_sizes": "python -m experiments.studies.encoders --out DIR --record",
    "encoder_ablations": "python -m experiments.studies.ablations --out DIR --record",
    "decoders": "python -m experiments.studies.decoders --out DIR --record",
}
"""Records that RESULTS.md asks for by name, and the command that makes each."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def component_table() -> str:
    """One row per kind of component: its names."""
    return markdown(
        ["kind", "components"],
        [[f"`{kind}`", ", ".join(f"`{name}`" for name in registry.names())] for kind, registry in registries().items()],
    )


def link_table(record: Mapping[str, Any], *, controls: int = _SHOWN_CONTROLS) -> str:
    """Models, then the best controls by macro AUROC, then what was published."""
    rows_by_scorer: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in record["body"]["rows"]:
        rows_by_scorer.setdefault((row["kind"], row["scorer"]), {})[row["metric"]] = row

    def order(item: tuple[tuple[str, str], dict[str, Mapping[str, Any]]]) -> tuple[bool, float]:
        value = item[1].get("macro_auroc", {}).get("value")
        return item[0][0] == "control", -(value if value is not None else -math.inf)

    shown, num_controls = [], 0
    for (kind, scorer), metrics in sorted(rows_by_scorer.items(), key=order):
        num_controls += kind == "control"
        if num_controls > controls and kind == "control":
            continue
        name = f"{scorer} ({kind})" if kind == "control" else f"**{scorer}**"
        shown.append([name, *(_with_interval(metrics.get(metric)) for metric in _LINK_HEADINGS)])
    published: dict[str, dict[str, float]] = {}
    for figure in record["published"]:
        published.setdefault(f"{figure['who']} ({figure['source']})", {})[figure["metric"]] = figure["value"]
    shown += [[who, *(number(values.get(metric)) for metric in _LINK_HEADINGS)] for who, values in published.items()]
    return markdown(["scorer", *_LINK_HEADINGS.values()], shown)


def _with_interval(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    text = number(row["value"])
    return text if row["low"] is None else f"{text} [{number(row['low'])}, {number(row['high'])}]"


def _compare_table(record: Mapping[str, Any]) -> str:
    header = ["arm", "seeds", *(_LINK_HEADINGS[metric] for metric in METRICS), "R2 of cells"]
    header += [f"minus {record['body']['reference']}", "minus best control", "s a run", "MB"]
    rows = []
    for row in record["body"]["rows"]:
        means = [number(row[metric]["mean"]) for metric in (*METRICS, "cells_r2")]
        costs = [
            "-" if row[key]["mean"] is None else f"{row[key]['mean']:.0f}" for key in ("train_seconds", "memory_mb")
        ]
        differences = [change(row["against_first"]), change(row["against_control"])]
        rows.append([label_of(row), str(len(row["seeds"])), *means, *differences, *costs])
        if row["error"]:
            rows.append([f"{row['arm']}: failed", *[""] * (len(header) - 2), row["error"]])
    return markdown(header, rows)


def _bench_table(record: Mapping[str, Any]) -> str:
    rows = []
    for benchmark in record["body"]["benchmarks"]:
        for row in benchmark["rows"]:
            seconds = "-" if row["seconds"] is None else f"{row['seconds']:.4f}"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}x"
            rows.append([benchmark["id"], row["name"], seconds, ratio, row["note"]])
    return markdown(["id", "rival", "seconds", "ratio", "note"], rows)


def _study_table(record: Mapping[str, Any]) -> str:
    return markdown(record["body"]["header"], record["body"]["table"])


def _section(record: Mapping[str, Any]) -> str:
    body = record["body"]
    tables = {"compare": _compare_table, "links": link_table, "bench": _bench_table, "study": _study_table}
    table = tables[record["kind"]](record)
    lines = [f"## {record['name']}", "", table, ""]
    if "split" in body:
        lines.append(f"- split: {body['split']}")
    if record["kind"] == "compare":
        lines.append(
            f"- {body['num_tfs']} TFs, prevalence {body['prevalence']:.4f}; {body['seconds'] / 60:.0f} minutes in all"
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


def write_documents(*, root: Path = ROOT, records: Path = RECORDS) -> list[Path]:
    """Write RESULTS.md and the marked parts of README.md; returns the two paths."""
    found = read_records(records)
    results, readme = root / "experiments" / "RESULTS.md", root / "README.md"
    links = [record for record in found if record["kind"] == "links"]
    comparisons = [record for record in found if record["kind"] == "compare"]
    parts = {
        "components": component_table(),
        "results:links": _readme_tables(links, link_table) or "No run record yet.",
        "results:compare": _readme_comparisons(comparisons) or "No run record yet.",
        "results:encoders": _readme_encoders(found),
    }
    text = readme.read_text(encoding="utf-8")
    for marker, content in parts.items():
        text = fill(text, marker, content)
    write_text(results, results_text(found))
    write_text(readme, text)
    return [results, readme]


def _readme_comparisons(records: Sequence[Mapping[str, Any]]) -> str:
    """One short table of all comparisons; RESULTS.md has the other metrics, costs and commands."""
    rows = []
    for record in records:
        where = f"{record['name']}, {record['body']['split']}"
        for row in record["body"]["rows"]:
            figures = [number(row[metric]["mean"]) for metric in ("macro_auroc", "cells_r2")]
            differences = [change(row["against_first"]), change(row["against_control"])]
            rows.append([where, label_of(row), str(len(row["seeds"])), *figures, *differences])
            where = ""
    header = ["data, split", "arm", "seeds", "macro AUROC", "R2 of cells", "minus the first", "minus best control"]
    return markdown(header, rows) if rows else ""


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
    return f"{markdown(*short_encoders(body['header'], body['table']))}\n\n{notes}\n{made}"


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


def _readme_tables(records: Sequence[Mapping[str, Any]], table: Any) -> str:
    parts = []
    for record in records:
        parts += [f"`{record['name']}`, {record['body']['split']}, commit {record['commit']}:", "", table(record), ""]
        parts += [f"Warning: {warning}\n" for warning in record["body"].get("warnings", [])]
    return "\n".join(parts).rstrip()
