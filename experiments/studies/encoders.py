"""Every encoder of the field under one contract, one budget, one table.

``python -m experiments.studies.encoders --out DIR [--jobs 2] [--seeds 0,1,2] [--record]``, with ``GRN_COTRAIN_DATA``
set. ``--estimate`` reports how long it would take and stops. A second call continues where the first one stopped.

``--update WHY`` trains some rows again (``--systems``, ``--worlds``, ``--no-common``) and puts them into the records
that are there, at the recorded learning rates; with ``--no-train`` what is not done yet is taken out of the records.

Each system is trained without a graph, with the network's training edges, and with these rewired (all degrees kept), at
about a million parameters of its own (:mod:`experiments.encoders.systems`), on the same cells in the same batches for
the same number of steps, at a learning rate that each chooses among four by its loss on validation cells of Kang's
data, in equally many steps, without a graph. All are trained on one common objective (masked values, squared error), so
that architectures compare, and without a graph on their own published ones where these differ. Published sizes get one
timed step on a generated full transcriptome.

Columns: held-out masked-value R2 and macro AUROC of links (Kang, hESC); accuracy and macro-F1 of a linear probe of cell
type on frozen cell states (held-out batch; stratified fifth); cost, on Kang's data: seconds per 1,000 cells of training
steps, links included, peak memory of the whole process, FLOPs per cell (:mod:`experiments.flops`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from experiments.encoders.plan import Study, results_of, seconds_of
from experiments.encoders.rows import Budget
from experiments.encoders.systems import available, chosen, zeros_shown
from experiments.encoders.tables import published_table, say_table, table_of
from experiments.encoders.update import recorded, recorded_rates, updated
from experiments.encoders.worlds import find_worlds
from experiments.records import make_study_record, tagged, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.commands import command
from grn_cotrain.config import expand_environment
from grn_cotrain.errors import UserError
from grn_cotrain.files import write_json
from grn_cotrain.options import Options, option

__all__ = ["main", "save", "save_update"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


_OWN_NOTES = [
    "each system's published objective; the R2 column is of non-zero values, so it measures little of an objective"
    " that asks hidden zeros and values in one regression (xtrimogene, scfoundation): its guesses are drawn to zero",
    "xtrimogene: 30 % of the values and 3 % of the zeros hidden, squared error of the value; scfoundation: 30 % of"
    " both, from a down-sampled cell; scgpt: bins, 51 of them, gene- and cell-prompted; scbert: classes of the rounded"
    " logarithm; scmbert: bins and modality",
    "geneformer's objective predicts names and has no R2",
]


def _zeros_note(study: Study) -> list[str]:
    """Which systems read zeros, and where the cap on tokens let them read only some."""
    readers = [system.name for system in study.systems if system.tokens.get("zeros_per_cell") == "room"]
    shown: dict[int | str, list[str]] = {}
    for world in study.worlds:
        num_genes = study.preps[world.name].vocab.num_features
        zeros = zeros_shown("room", num_genes=num_genes, max_tokens=study.budget.max_tokens)
        shown.setdefault(zeros, []).append(world.name)
    if not readers:
        return []
    said = "; ".join(f"{zeros} in {', '.join(worlds)}" for zeros, worlds in shown.items())
    return [f"zeros that {', '.join(readers)} read with the values (all where the cap has room for every gene): {said}"]


def _edge_note(study: Study) -> list[str]:
    """Systems whose learning rate is the lowest or highest of those tried: a wider search may serve them better."""
    low, high = min(study.budget.rates), max(study.budget.rates)
    at_edge = [
        f"{system} ({objective}) {rate:g}" for (system, objective), rate in study.rates().items() if rate in (low, high)
    ]
    return (
        [f"learning rate at an edge of those tried, so perhaps not the best: {', '.join(at_edge)}"] if at_edge else []
    )


def _notes(study: Study) -> list[str]:
    budget = study.budget
    worlds = "; ".join(
        f"{world.name}: {world.title}, {study.preps[world.name].vocab.num_features:,} genes" for world in study.worlds
    )
    steps = ", ".join(f"{world.name} {budget.steps_in(world)}" for world in study.worlds)
    return [
        worlds,
        f"seeds {', '.join(map(str, study.seeds))}; every row saw the same batches of {budget.cells_per_batch} cells;"
        f" steps: {steps}; at most {budget.max_tokens:,} tokens a cell; width {budget.width}; the model at the end is"
        " judged",
        "parameters: the encoder's own; the shared gene table, graph encoder, link decoder and heads are the same for"
        " all; depth is set so that they come nearest to"
        f" {budget.parameters:,}",
        f"learning rate: the best of {len(budget.rates)} on validation cells of {study.rate_world.name},"
        f" {budget.search_steps} steps each, for each system",
        "cost columns are those of the first world; FLOPs: matrix products, forward and backward, by torch's counter;"
        " the graph is encoded once a step and left out",
        "intervals (bootstrap over TFs, cells) are in the record's rows",
        *_zeros_note(study),
        *_edge_note(study),
    ]


def save(study: Study, *, record: bool, published: bool = True, tag: str = "") -> list[str]:
    """Write study.json, print the tables, and keep the records if asked; returns the records' names.

    ``tag`` ends the records' names: a study of another budget is kept with the first one.
    """
    rows = [*results_of(study.row_jobs()), *study.rows_without_rate()]
    controls = results_of(study.control_jobs())
    steps, rates = results_of(study.step_jobs()), results_of(study.job(row) for row in study.rate_rows())
    write_json(study.out / "study.json", {"rows": rows, "controls": controls, "steps": steps, "rates": rates})
    kept = []
    objectives = [*(["common"] if study.common else []), *(["own"] if study.own else [])]
    tables = {name: (*table_of(rows, controls, study.worlds, name), rows) for name in objectives}
    if published:
        tables["published_sizes"] = (*published_table(steps), steps)
    for wanted, (header, table, found) in tables.items():
        name = tagged(f"encoders_{wanted}", tag)
        mine = [row for row in found if row["spec"].get("objective", wanted) == wanted]
        if not mine:
            continue
        say(f"\n{name}")
        say_table(header, table)
        if record:
            body = {"header": header, "table": table, "rows": mine, "controls": controls, "notes": _notes(study)}
            if wanted == "own":
                body["notes"] = [*_OWN_NOTES, *_notes(study)]
            if wanted in objectives:
                body["rates"] = [row for row in rates if row["spec"].get("objective") == wanted]
            else:
                body["notes"] = ["one training step of one generated cell of 19,264 genes, a tenth of them not zero"]
            say(f"record: {write_record(make_study_record(name, body))}")
            kept.append(name)
    return kept


def save_update(study: Study, why: str, *, record: bool) -> list[str]:
    """Print the recorded tables with this study's rows in them, and keep them if asked; returns the records' names."""
    rows, kept = study.found(), []
    for objective, wanted in (("common", study.common), ("own", study.own)):
        if not wanted:
            continue
        name = f"encoders_{objective}"
        body = updated(recorded(name), rows, objective, why)
        say(f"\n{name}")
        say_table(body["header"], body["table"])
        if record:
            say(f"record: {write_record(make_study_record(name, body))}")
            kept.append(name)
    return kept


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Options):
    """Options of the study."""

    systems: str = option("all", "Names, separated by commas.")
    worlds: str = option("all", "Names, separated by commas; the first one gives the costs.")
    seeds: str = option("0", "Numbers, separated by commas.")
    jobs: int = option(2, "Rows at a time, one thread each.")
    steps: int = option(Budget.steps, "Training steps of a row on Kang's data; other worlds take a share.")
    search_steps: int = option(Budget.search_steps, "Steps of each learning rate tried.")
    cells_per_batch: int = option(Budget.cells_per_batch, "Cells of a step.")
    parameters: int = option(Budget.parameters, "Parameters wanted of each encoder.")
    width: int = option(Budget.width, "Width of table and encoders.")
    device: str = option("cpu", "Cpu or cuda.")
    common: bool = option(True, "Train the common objective.")
    own: bool = option(True, "Train the published objectives too.")
    published: bool = option(True, "Time one step of the published sizes.")
    tag: str = option("", "Ends the records' names, for another budget.", metavar="WORD")
    update: str = option("", "Put these rows into the existing records; the text states what changed.", metavar="WHY")
    train: bool = option(True, "Train what is not done yet.")
    estimate: bool = option(False, "Report how long it would take, and stop.")
    record: bool = option(False, "Keep run records.")


@command(app, "study")
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    options: StudyOptions,
) -> None:
    """Run the study."""
    from grn_cotrain.compare.vary import parse_seeds

    systems = options.systems
    worlds = options.worlds
    seeds = options.seeds
    jobs = options.jobs
    steps = options.steps
    search_steps = options.search_steps
    cells_per_batch = options.cells_per_batch
    parameters = options.parameters
    width = options.width
    device = options.device
    common = options.common
    own = options.own
    published = options.published
    tag = options.tag
    update = options.update
    train = options.train
    estimate = options.estimate
    record = options.record
    if steps < 1 or search_steps < 1 or cells_per_batch < 1:
        raise UserError(
            f"--steps {steps}, --search-steps {search_steps}, --cells-per-batch {cells_per_batch}: give 1 or more"
        )
    tagged("encoders", tag)
    wanted = chosen(systems)
    missing = [system.name for system in wanted if system.name not in available()]
    if missing:
        say(f"left out, their encoder is not registered: {', '.join(missing)}")
        wanted = [system for system in wanted if system.name not in missing]
    places = find_worlds(worlds)
    data = Path(expand_environment("${GRN_COTRAIN_DATA}")) if any(world.cells for world in places) else None
    budget = replace(
        Budget(),
        steps=steps,
        search_steps=search_steps,
        cells_per_batch=cells_per_batch,
        parameters=parameters,
        width=width,
        device=device,
    )
    if update and tag:
        raise UserError(f"--tag '{tag}': --update is for the records without a tag; leave one of the two out")
    names = [name for name, asked in (("encoders_common", common), ("encoders_own", own)) if asked]
    rates = recorded_rates(names) if update else {}
    began = time.perf_counter()
    planned = Study(
        wanted, places, parse_seeds(seeds), budget, out, common=common, own=own, data=data, known_rates=rates
    )
    total, lines = seconds_of(planned)
    say("\n".join(lines))
    say(
        f"estimate: {len(planned.rows())} rows, {len(planned.rate_rows())} searches, {len(planned.step_jobs())} timed"
        f" sizes: {total / 60 / jobs:.0f} minutes with {jobs} at a time on as many idle cores"
    )
    if estimate:
        return
    if train:
        planned.run(jobs=jobs, steps=published and not update, controls=not update)
    if update:
        save_update(planned, update, record=record)
    else:
        save(planned, record=record, published=published, tag=tag)
    say(f"{(time.perf_counter() - began) / 60:.0f} minutes")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
