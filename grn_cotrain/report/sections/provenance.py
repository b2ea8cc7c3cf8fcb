"""Where the result comes from: hashes, versions, machine, and the commands that make it again."""

from __future__ import annotations

from grn_cotrain.present import Cell, Column, Row, Table
from grn_cotrain.present.numbers import MISSING
from grn_cotrain.report.blocks import Block, Code, Heading, Missing, Section, Text
from grn_cotrain.report.inputs import ReportInputs, RunInputs

__all__ = ["section"]

_RECORDED = (
    ("commit", "commit"),
    ("version", "grn-cotrain"),
    ("recipe_hash", "hash of the recipe"),
    ("vocab_hash", "hash of the vocabulary"),
    ("cells_hash", "hash of the cells"),
    ("split_hash", "hash of the split"),
    ("weights_sha256", "SHA-256 of the weights"),
)
_MACHINE = ("python", "machine", "processor", "device", "threads")


def section(report: ReportInputs) -> Section:
    """One column a run."""
    columns = [Column("", numeric=False)]
    columns += [Column(run.title if run.label else "this run", numeric=False) for run in report.runs]
    blocks: list[Block] = []
    missing = [run for run in report.runs if not run.record]
    for run in missing:
        who = f"run {run.label}: " if run.label else ""
        blocks.append(Missing(f"{who}no run.json yet", f"grn-cotrain train RECIPE.yaml --out {run.place} --resume"))
    named = [(title, [_recorded(run, key) for run in report.runs]) for key, title in _RECORDED]
    named.insert(6, ("hash of the network", [_network_hash(run) for run in report.runs]))
    machine = [(key, [_environment(run, key) for run in report.runs]) for key in _MACHINE]
    packages = list(dict.fromkeys(name for run in report.runs for name in _packages(run)))
    versions = [(name, [_packages(run).get(name, MISSING) for run in report.runs]) for name in packages]
    columns[0] = Column("what", numeric=False)
    for name, title, rows in (
        ("hashes", "Hashes: two runs with equal hashes read and did the same", named),
        ("machine", "Machine of the training", machine),
        ("versions", "Versions of the packages that were used", versions),
    ):
        shown = [row for row in rows if any(value != MISSING for value in row[1])]
        if shown:
            blocks.append(Table(columns, [_row(*row) for row in shown], name=name, caption=f"{title}.", sortable=False))
    blocks.append(Heading("How to repeat the run"))
    blocks.append(Text("The recipe is in this report (as YAML, above) and in the run folder as recipe.yaml."))
    blocks.append(Code("\n".join(_commands(report))))
    return Section("provenance", "Provenance", "Provenance", tuple(blocks))


def _row(title: str, values: list[str]) -> Row:
    differs = len(set(values)) > 1
    return Row(
        [Cell(f"≠ {title}" if differs else title)]
        + [Cell(value, tone="differs" if differs else "", code=True) for value in values]
    )


def _recorded(run: RunInputs, key: str) -> str:
    return str(run.record.get(key) or MISSING)


def _network_hash(run: RunInputs) -> str:
    prep = run.prep.value
    return prep.grn.content_hash if prep is not None and prep.has_grn else MISSING


def _environment(run: RunInputs, key: str) -> str:
    return str(run.record.get("environment", {}).get(key) or MISSING)


def _packages(run: RunInputs) -> dict[str, str]:
    return {str(name): str(version) for name, version in run.record.get("environment", {}).get("packages", {}).items()}


def _commands(report: ReportInputs) -> list[str]:
    lines = []
    for run in report.runs:
        commit = run.record.get("commit")
        lines.append(f"# {run.title}" + (f"; commit {commit}" if commit else ""))
        lines.append(f"grn-cotrain train {run.place}/recipe.yaml --out {run.place}-again")
        lines.append(f"grn-cotrain evaluate links {run.place}-again")
    again = " ".join(f"{run.place}-again" for run in report.runs)
    return [*lines, f"grn-cotrain report {again}"]
