"""Tables of pages, from registries, catalogues, tests and records; see :mod:`tools.docs.reference` for the rest."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grn_cotrain.present import LINK_METRICS, metric, number, table
from grn_cotrain.present.markdown import Markdown, to_markdown
from tools.docs.text import parse_docstring

__all__ = ["TABLES", "markdown"]

ROOT = Path(__file__).resolve().parents[2]


def markdown(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table whose cells are Markdown."""
    return to_markdown(table(list(header), [[Markdown(cell) for cell in row] for row in rows], numeric=()))


def metrics() -> str:
    """Metrics of the link table."""
    rows = ((f"`{name}`", one.heading, one.sentence) for name, one in LINK_METRICS.items())
    return markdown(["metric", "heading", "meaning"], rows)


def _project() -> dict[str, Any]:
    import tomllib

    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def extras() -> str:
    """Optional dependencies, from ``pyproject.toml``."""
    optional = _project()["optional-dependencies"].items()
    return markdown(["extra", "brings"], ((f"`{extra}`", ", ".join(f"`{w}`" for w in ws)) for extra, ws in optional))


def core_dependencies() -> str:
    """Dependencies without extras, from ``pyproject.toml``."""
    return ", ".join(f"`{one}`" for one in _project()["dependencies"]) + "."


def schedules() -> str:
    """Schedules by name."""
    from grn_cotrain.train.schedule import Schedule

    rows = re.findall(r"^ *``(\w+)``\s+(.+)$", Schedule.__doc__ or "", flags=re.MULTILINE)
    return markdown(["`train.schedule.name`", "what acts"], ((f"`{name}`", text) for name, text in rows))


def split_kinds() -> str:
    """Edges that each kind of split hides, from its module's table."""
    import grn_cotrain.data.splits

    text = grn_cotrain.data.splits.__doc__ or ""
    rows = re.findall(r"^(random|unseen-\w+) {2,}(.+?) {2,}(.+)$", text, flags=re.MULTILINE)
    return markdown(["kind", "test", "validation, inside the rest"], ((f"`{k}`", a, b) for k, a, b in rows))


def edge_list_formats() -> str:
    """Formats of edge lists that are read, with the descriptions of their parsers."""
    from grn_cotrain.data.io.edge_formats import FORMATS

    rows = ((f"`{name}`", parse_docstring(getattr(parser, "parse", parser)).text) for name, parser in FORMATS.items())
    return markdown(["`--format`", "reads"], rows)


def gene_exports() -> str:
    """Formats of exported gene embeddings: their users, and the descriptions of their writers."""
    from grn_cotrain.export.gene_formats import GENE_FORMATS

    rows = (
        (f"`{name}`", form.summary, parse_docstring(form.write).summary) for name, form in sorted(GENE_FORMATS.items())
    )
    return markdown(["`--format`", "for", "file"], rows)


def edge_exports() -> str:
    """Formats of exported edges, one section each."""
    from grn_cotrain.export.edge_formats import EDGE_FORMATS
    from tools.docs.reference import key_rows, key_table

    parts = []
    for component in EDGE_FORMATS.components():
        doc = parse_docstring(component.cls)
        paper = "" if component.paper in ("-", "none") else f"\n\n*{component.paper}.*"
        rows = key_rows(component.cls.Config, owner=component.cls)  # type: ignore[attr-defined]
        options = f"\n\n{key_table(rows)}" if rows else ""
        default = component.cls.selection  # type: ignore[attr-defined]
        heading = f'<a id="edge_format-{component.name}"></a>\n\n### `{component.name}`'
        parts.append(f"{heading}\n\n{doc.text}\n\nBy default: {default}.{options}{paper}\n")
    return "\n".join(parts)


def catalogue(*kinds: str) -> str:
    """Resources that ``grn-prep fetch`` knows by name."""
    from data_prep.fetch.catalogue import shipped_catalogue

    entries = sorted(shipped_catalogue().values(), key=lambda entry: entry.name)
    rows = []
    for entry in entries:
        if entry.kind in kinds:
            licence = entry.licence + (f"; {entry.terms}" if entry.terms else "")
            rows.append(
                (
                    f"`{entry.name}`",
                    entry.what,
                    entry.size_text or (f"in `{entry.from_}`" if entry.from_ else ""),
                    licence,
                    entry.citation,
                )
            )
    return markdown(["name", "what", "size", "licence", "citation"], rows)


def published_figures() -> str:
    """The degree controls on the published splits, as a test on the published files asserts them."""
    path = ROOT / "tests" / "real" / "test_published_figures.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    figures = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FIGURES"
    )
    rows = (
        (f"{cell} {size}", *(f"{number(a)} / {number(b)}" for a, b in ((dp, dpp), (al, alp))))
        for cell, size, dp, dpp, al, alp in figures
    )
    return markdown(["split", "degree product, AUROC / AUPRC", "additive logistic, AUROC / AUPRC"], rows)


def published(name: str) -> str:
    """Figures that papers print, by the name of the record that they belong to."""
    import yaml

    stated = yaml.safe_load((ROOT / "experiments" / "published.yaml").read_text(encoding="utf-8"))[name]
    rows = ((item["who"], metric(item["metric"]).heading, number(item["value"], 2), item["source"]) for item in stated)
    return markdown(["who", "metric", "printed", "source"], rows)


def record(name: str, *dropped: str) -> str:
    """Table of a study's record, as ``make results`` writes it, with its command; without the columns ``dropped``.

    Spaces of a column's name are written as ``_``.
    """
    text = (ROOT / "experiments" / "RESULTS.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(name)}\n\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if section is None:
        raise ValueError(f"experiments/RESULTS.md holds no section '{name}'")
    lines = section.group(1).strip().split("\n")
    drawn = [line for line in lines if line.startswith("|")]
    unwanted = {column.replace("_", " ") for column in dropped}
    heads = [cell.strip() for cell in drawn[0].strip("|").split("|")]
    if unwanted - set(heads):
        raise ValueError(f"record '{name}' has no column {', '.join(sorted(unwanted - set(heads)))}")
    kept = [index for index, head in enumerate(heads) if head not in unwanted]
    shown = []
    for line in drawn:
        cells = line.strip("|").split("|")
        shown.append("|" + "|".join(cells[index] for index in kept) + "|")
    return "\n".join([*shown, *lines[len(drawn) :]])


def controls_by_cost(cost: str) -> str:
    """Names of the controls of one cost."""
    registry = importlib.import_module("grn_cotrain.controls").CONTROLS
    return (
        ", ".join(
            f"[`{c.name}`](maths/controls.md#control-{c.name})" for c in registry.components() if c.cls.cost == cost
        )
        + "."
    )


TABLES = {
    "metrics": metrics,
    "extras": extras,
    "core-dependencies": core_dependencies,
    "schedules": schedules,
    "split-kinds": split_kinds,
    "edge-list-formats": edge_list_formats,
    "edge-exports": edge_exports,
    "gene-exports": gene_exports,
    "catalogue": catalogue,
    "published-figures": published_figures,
    "published": published,
    "record": record,
    "controls-by-cost": controls_by_cost,
}
