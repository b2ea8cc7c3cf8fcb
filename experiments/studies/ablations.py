"""xTrimoGene's own questions in small: how values become vectors, what is predicted, what is hidden, how much.

``python -m experiments.studies.ablations --out DIR [--seeds 0,1,2] [--jobs 2] [--record]``, with ``GRN_COTRAIN_DATA``
set. Each row changes one thing of a reference and nothing else; same cells, batches, steps, learning rate and initial
seed. The reference is the published setting (auto-discretisation, regression, 30 % of the values and 3 % of the zeros
hidden) except for its target: values are standardised by gene, and zeros asked apart, without which R2 does not measure
an encoder; the published target is a row. Judged by masked values of held-out cells (gene-standardised R2, with its
difference to the reference, paired over held-out cells under the same seeds) and a linear probe of cell type, on PBMCs
of which a stratified fifth was never seen. ``size`` is loss against size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.encoders.gate import gate, replicates_of, without_replicates
from experiments.encoders.plan import results_of
from experiments.encoders.rows import Budget, Row, row_job
from experiments.encoders.systems import SYSTEMS
from experiments.encoders.tables import figure, r2_controls, say_table
from experiments.encoders.worlds import WORLDS
from experiments.records import make_study_record, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.processes import Job, run_jobs
from grn_cotrain.config import expand_environment
from grn_cotrain.errors import UserError
from grn_cotrain.files import write_json
from grn_cotrain.present import number

__all__ = ["ABLATIONS", "Ablation", "ablation_table", "main"]

_RECORD = "encoder_ablations"
_RATE = 1e-3  # xtrimogene's choice for standardised values in the study of encoders; one for all rows

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Ablation:
    """One change: of the encoder, of the objective ``masked_value``, or of the number of parameters."""

    group: str
    name: str
    encoder: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """Keys that are merged over the recipe."""
        changes: dict[str, Any] = {}
        if self.encoder:
            changes["model"] = {"cell_encoder": dict(self.encoder)}
        # With its zeros in it, a predicted value is not a prediction of a value that is there, and R2 does not measure
        # the encoder; so all rows but the one that is about this standardise values, and ask apart whether they are
        # zero.
        changes["objectives"] = {"masked_value": {"target": "standardised", **self.objective}}
        return changes


ABLATIONS: tuple[Ablation, ...] = (
    Ablation("reference", "as published, but values standardised by gene"),
    Ablation("target", "the value itself, zeros and all (as published)", objective={"target": "value"}),
    Ablation("values", "round bins", {"values": "round"}),
    Ablation("values", "up bins", {"values": "up"}),
    Ablation("values", "equal bins", {"values": "equal"}),
    Ablation("task", "classification", objective={"loss": "cross_entropy", "loss_norm": "masked_count"}),
    Ablation("zeros", "zeros not hidden", objective={"mask_zeros": False, "mask_balance": "same"}),
    Ablation("zeros", "as many zeros as values", objective={"mask_balance": "equal_count"}),
    *(
        Ablation("mask share", f"{share:.0%}", objective={"mask_share": share})
        for share in (0.15, 0.45, 0.6, 0.75, 0.9)
    ),
    *(Ablation("size", f"{count // 1000:,}k", parameters=count) for count in (300_000, 3_000_000)),
)
"""All rows; the first is what the others differ from."""


def ablation_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Header and text rows from the results by ``group: name``, means over seeds; then controls on the same values."""
    header = ["changed", "to", "seeds", "R2", "minus reference", "accuracy", "macro-F1", "F1, mean state", "parameters"]
    header += ["FLOPs / cell"]
    reference = next(iter(found))
    verdicts = gate(replicates_of(found), reference=reference)
    lines = []
    for key, rows in found.items():
        group, _, name = key.partition(": ")
        done = [dict(row) for row in rows if "error" not in row]
        if not done:
            error = next((str(row["error"]) for row in rows), "not run")
            lines.append([group, f"{name}: failed", *[""] * (len(header) - 3), error])
            continue

        def mean(metric: str, of: Sequence[dict[str, Any]] = done) -> str:
            values = [value for value in (figure(row, metric) for row in of) if value is not None]
            return number(sum(values) / len(values)) if values else "-"

        verdict = verdicts.get(key)
        lines.append(
            [
                group,
                name,
                str(len(done)),
                "-" if verdict is None else verdict.texts[0],
                "-" if verdict is None or key == reference else verdict.texts[1],
                *(mean(metric) for metric in ("accuracy", "macro_f1", "mean:macro_f1")),
                f"{done[0]['parameters']['cell_encoder']:,}",
                f"{done[0]['flops_per_cell']:.2e}",
            ]
        )
    controls = r2_controls(row for rows in found.values() for row in rows)
    return header, lines + [["", title, "", text, *[""] * (len(header) - 4)] for title, text in controls]


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0",
    groups: Annotated[str, typer.Option(help="Target, values, task, zeros, mask share, size; or all.")] = "all",
    world: Annotated[str, typer.Option(help="A world with labels.")] = "pbmc3k",
    jobs: Annotated[int, typer.Option(help="Processes at a time, one thread each.")] = 2,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 180,
    width: Annotated[int, typer.Option(help="Width of table and encoder.")] = Budget.width,
    parameters: Annotated[int, typer.Option(help="Parameters wanted of the encoder.")] = Budget.parameters,
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Run the ablations."""
    from grn_cotrain.compare.vary import parse_seeds

    known = list(dict.fromkeys(one.group for one in ABLATIONS[1:]))
    wanted = known if groups == "all" else [word.strip() for word in groups.split(",")]
    if set(wanted) - set(known):
        raise UserError(f"--groups '{groups}': choose from {', '.join(known)}, or all")
    if world not in WORLDS or WORLDS[world].kind != "probe":
        labelled = [name for name, one in WORLDS.items() if one.kind == "probe"]
        raise UserError(f"--world '{world}': has no labels; choose from {', '.join(labelled)}")
    place = replace(WORLDS[world], share=1.0)
    data = Path(expand_environment("${GRN_COTRAIN_DATA}")) if place.cells else Path(".")
    prep = place.prepare(data, out / "worlds" / place.name)
    budget = replace(Budget(), steps=steps, width=width, parameters=parameters)
    key = f"{prep.meta['cells_hash']}{prep.split(place.split).content_hash}"
    work: dict[str, list[Job]] = {}
    for ablation in ABLATIONS:
        if ablation.group not in ("reference", *wanted):
            continue
        mine = replace(budget, parameters=ablation.parameters or budget.parameters)
        rows = [
            Row("probe", SYSTEMS["xtrimogene"], place, objective="own", seed=seed, changes=ablation.changes,
                label=f"{ablation.group} {ablation.name}".replace("%", " percent"))
            for seed in parse_seeds(seeds)
        ]  # fmt: skip
        size = prep.vocab.num_features
        work[f"{ablation.group}: {ablation.name}"] = [
            row_job(row, out, mine, num_genes=size, data=key, rate=_RATE) for row in rows
        ]
    run_jobs([job for members in work.values() for job in members], at_a_time=jobs, say=say)
    found = {name: results_of(members) for name, members in work.items()}
    header, table = ablation_table(found)
    say_table(header, table)
    body = {
        "header": header,
        "table": table,
        "rows": without_replicates(row for rows in found.values() for row in rows),
        "notes": [
            f"xtrimogene, published decoder, no graph; {place.title}; seeds {seeds}; {steps} steps of"
            f" {budget.cells_per_batch} cells, the same batches; learning rate {_RATE:g} for all",
            "256 zeros of each cell are shown in addition to its values",
            "R2 is of 15 % of the values, hidden among no zeros, whatever was hidden in training: a setting that hides"
            " more, or zeros in proportion, is judged away from where it was trained",
            "size: 300k is the smallest that this width allows",
            "intervals: bootstrap over held-out cells of the mean over seeds, differences paired under the same seeds",
        ],
    }
    write_json(out / "study.json", body)
    if record:
        say(f"record: {write_record(make_study_record(_RECORD, body))}")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
