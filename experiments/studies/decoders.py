"""How few FLOPs may a decoder spend? The designs of ``xtrimogene`` at equal steps on whole transcriptomes.

``python -m experiments.studies.decoders --out DIR [--seeds 0,1,2] [--jobs 2] [--record]``, with ``GRN_COTRAIN_DATA``
set. Kang's 2,000 cells with all their 9,015 genes, a small width, no graph; each form chooses its learning rate among
three on validation cells, in equally many steps, then takes the same number of steps on the same batches. What is
judged is the gene-standardised R2 of hidden values of held-out cells, and its difference to form A's under the same
seeds, with intervals over cells. FLOPs are counted at this size, and at 19,264 genes and ten million parameters by
shape. The last lines state which ratio may be claimed (:mod:`experiments.encoders.gate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.encoders.designs import FORMS, WIDTH, design_objective, design_options, design_tokens, shape_flops
from experiments.encoders.full_transcriptome import NUM_GENES, full_cells
from experiments.encoders.gate import (
    PUBLISHED_FLOPS,
    RECORD,
    TOLERANCE,
    Verdict,
    claims,
    gate,
    replicates_of,
    without_replicates,
)
from experiments.encoders.plan import results_of
from experiments.encoders.rows import Budget, Row, row_job
from experiments.encoders.systems import System
from experiments.encoders.tables import r2_controls, say_table
from experiments.encoders.worlds import WORLDS, World
from experiments.records import make_study_record, tagged, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.commands import command
from grn_cotrain.compare.processes import Job, run_jobs
from grn_cotrain.config import expand_environment
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, write_json
from grn_cotrain.options import Options, option

__all__ = ["curve_figure", "curve_table", "form_system", "main"]

_COSTLY = "published"
_RATES = (1e-3, 2e-3, 4e-3)

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def form_system(form: str, num_nonzero: int, num_genes: int) -> System:
    """A form as a system of fixed size: the encoder's own defaults at the width of the budget."""
    tokens = design_tokens(form, num_nonzero)
    room = num_genes if tokens["zeros_per_cell"] == "all" else num_genes + num_nonzero
    return System(
        f"xtrimogene {form}",
        "xtrimogene",
        design_options(form),
        depth="",
        tokens={**tokens, "max_tokens": 1 + room},
        own=design_objective(form),
    )


class _Jobs:
    """Processes of the study by form."""

    def __init__(self, world: World, prep: Prep, budget: Budget, out: Path) -> None:
        self.world, self.prep, self.budget, self.out = world, prep, budget, out
        self.num_nonzero = round(prep.meta["num_values"] / prep.meta["num_cells"])

    def job(self, form: str, kind: Any, seed: int, rate: float | None = None) -> Job:
        system = form_system(form, self.num_nonzero, self.prep.vocab.num_features)
        row = Row(kind, system, self.world, objective="own", seed=seed)
        data = f"{self.prep.meta['cells_hash']}{self.prep.split(self.world.split).content_hash}"
        more = {} if rate is None else {"rate": rate}
        return row_job(row, self.out, self.budget, num_genes=self.prep.vocab.num_features, data=data, **more)


def curve_table(
    verdicts: Mapping[str, Verdict], rows: Mapping[str, Sequence[Mapping[str, Any]]], shapes: Mapping[str, float]
) -> tuple[list[str], list[list[str]]]:
    """Header and text rows: the whole curve, in the order of ``rows``, then the controls on the same hidden values."""
    header = ["decoder", "parameters", "seeds", "R2", "minus A", "passes the gate", "FLOPs / cell here"]
    header += ["s / 1,000 cells", "peak MB"]
    header += [f"FLOPs / cell at {NUM_GENES:,} genes (shape)", f"published {PUBLISHED_FLOPS:.2e} over that"]
    lines = []
    for form, found in rows.items():
        done = [row for row in found if "error" not in row]
        verdict = verdicts.get(form)
        shape = shapes.get(form)
        if not done:
            error = next((str(row["error"]) for row in found), "not run")
            lines.append([f"{form}: failed", *[""] * (len(header) - 2), error])
            continue
        lines.append(
            [
                form,
                f"{done[0]['parameters']['cell_encoder']:,}",
                str(len(done)),
                "-" if verdict is None else verdict.texts[0],
                "-" if verdict is None or form == "A" else verdict.texts[1],
                "-" if verdict is None else "yes" if verdict.passes else "no",
                f"{done[0]['flops_per_cell']:.2e}",
                f"{done[0]['seconds_per_1000_cells']:.1f}",
                f"{done[0]['peak_memory_mb']:.0f}",
                "-" if shape is None else f"{shape:.2e}",
                "-" if shape is None else f"{PUBLISHED_FLOPS / shape:.1f}x",
            ]
        )
    controls = r2_controls(row for found in rows.values() for row in found)
    return header, lines + [[title, "", "", text, *[""] * (len(header) - 4)] for title, text in controls]


def curve_figure(verdicts: Mapping[str, Verdict], shapes: Mapping[str, float], path: Path) -> None:
    """R2 against FLOPs a cell at 19,264 genes; the band is what the gate lets through."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    shown = [verdict for verdict in verdicts.values() if verdict.form in shapes]
    for verdict in shown:
        place = (shapes[verdict.form], verdict.r2)
        spread = [[verdict.r2 - verdict.low], [verdict.high - verdict.r2]]
        colour = "tab:blue" if verdict.passes else "tab:gray"
        axes.errorbar([place[0]], [place[1]], yerr=spread, fmt="o", color=colour, capsize=3)
        axes.annotate(verdict.form, place, xytext=(-6, 6), textcoords="offset points", ha="right")
    reference = verdicts.get("A")
    if reference is not None:
        axes.axhspan(reference.r2 - TOLERANCE, reference.r2 + TOLERANCE, color="tab:blue", alpha=0.15, lw=0)
    goal = PUBLISHED_FLOPS / 10
    axes.axvline(goal, color="black", lw=0.8, ls="--")
    axes.annotate("a tenth of the\npublished 3.35e11", (goal, 1), xytext=(4, 0), textcoords="offset points",
                  xycoords=("data", "axes fraction"), va="top", fontsize="small")  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda flops, _: f"{flops:.0e}".replace("e+", "e"))
    axes.set_xlabel(f"training FLOPs a cell at {NUM_GENES:,} genes (shape calculation)")
    axes.set_ylabel("held-out masked-value R2")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="svg")


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Options):
    """Options of the study."""

    forms: str = option(",".join(FORMS), "Decoders, separated by commas; A must be among them.")
    seeds: str = option("0,1,2", "At least 3 for a claim.")
    published_seeds: int = option(1, "Seeds of the published decoder, which costs most.")
    world: str = option("kang_full", "Kang_full, or a simulated one.")
    jobs: int = option(2, "Processes at a time, one thread each.")
    steps: int = option(200, "Training steps.")
    search_steps: int = option(40, "Steps of each learning rate tried.")
    width: int = option(64, "Width of table and encoder.")
    genes: int = option(NUM_GENES, "Genes of the shape calculation.")
    tag: str = option("", "Ends the record's name, for another budget.", metavar="WORD")
    record: bool = option(False, "Keep a run record.")


@command(app, "study")
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    options: StudyOptions,
) -> None:
    """Run the study."""
    from grn_cotrain.compare.vary import parse_seeds

    forms = options.forms
    seeds = options.seeds
    published_seeds = options.published_seeds
    world = options.world
    jobs = options.jobs
    steps = options.steps
    search_steps = options.search_steps
    width = options.width
    genes = options.genes
    tag = options.tag
    record = options.record
    wanted = [form.strip() for form in forms.split(",")]
    unknown = [form for form in wanted if form not in FORMS]
    if unknown or "A" not in wanted:
        raise UserError(
            f"--forms '{forms}': choose from {', '.join(FORMS)}; A, the gate's reference, must be among them"
        )
    name = tagged(RECORD, tag)
    if record and genes != NUM_GENES:
        raise UserError(
            f"--genes {genes}: a record is of {NUM_GENES:,} genes, as its claim states; leave one of the two out"
        )
    if world not in WORLDS:
        raise UserError(f"--world '{world}': unknown; choose from {', '.join(WORLDS)}")
    place = replace(WORLDS[world], kind="values")
    data = Path(expand_environment("${GRN_COTRAIN_DATA}")) if place.cells else Path(".")
    prep = place.prepare(data, out / "worlds" / place.name)
    budget = replace(Budget(), steps=steps, search_steps=search_steps, width=width, bootstrap=1000, rates=_RATES)
    work = _Jobs(place, prep, budget, out)
    numbers = parse_seeds(seeds)
    searches = {form: work.job(form, "rates", numbers[0]) for form in wanted}
    run_jobs(list(searches.values()), at_a_time=jobs, say=say)
    trained: dict[str, list[Job]] = {}
    for form in wanted:
        chosen = numbers[:published_seeds] if form == _COSTLY else numbers
        found = results_of([searches[form]])[0]
        trained[form] = [] if "error" in found else [work.job(form, "values", seed, found["rate"]) for seed in chosen]
    run_jobs([job for members in trained.values() for job in members], at_a_time=jobs, say=say)

    rows = {form: results_of(members) if members else results_of([searches[form]]) for form, members in trained.items()}
    verdicts = gate(replicates_of(rows))
    cells = full_cells(2, num_genes=genes)
    shapes: dict[str, float] = {}
    for form in wanted:
        count, _ = shape_flops(form, cells)
        shapes[form] = float(count.without_recomputation)
    header, table = curve_table(verdicts, rows, shapes)
    say_table(header, table)
    said = claims(verdicts, shapes)
    say("\n".join(said))
    curve_figure(verdicts, shapes, out / "decoders.svg")
    every = [row for members in rows.values() for row in members]
    body = {
        "header": header,
        "table": table,
        "rows": without_replicates(every),
        "verdicts": [asdict(verdict) for verdict in verdicts.values()],
        "notes": [
            *said,
            f"{place.title}, width {width}, {steps} steps of {budget.cells_per_batch} cells, the same batches; 30 % of"
            " the values hidden and as many zeros",
            "intervals: bootstrap over held-out cells, paired with A under the same seeds, of the mean over seeds",
            f"R2, parameters, time and FLOPs here: of models of width {width} on {prep.vocab.num_features:,} genes",
            f"FLOPs at {genes:,} genes: a shape calculation at width {WIDTH}, backward counted as twice forward, as"
            " papers do; quality was not measured at that size",
            "figure: decoders.svg in the study's folder",
        ],
    }
    write_json(out / "study.json", body)
    say(f"figure: {out / 'decoders.svg'}")
    if record:
        say(f"record: {write_record(make_study_record(name, body))}")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
