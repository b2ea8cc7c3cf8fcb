"""``grn-cotrain evaluate`` and ``score``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grn_cotrain.cli.apps import USE, app, evaluate_app, progress
from grn_cotrain.cli.options import OutFolder, PrepPlace, RawText, Run, tell_unfinished
from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.commands import command
from grn_cotrain.errors import UserError
from grn_cotrain.files import refuse_file
from grn_cotrain.jobs.attention import AttentionConfig, AttentionOptions
from grn_cotrain.jobs.value_readouts import ValueReadOutConfig
from grn_cotrain.present import figure, metric, number, table, whole
from grn_cotrain.present.terminal import print_table

if TYPE_CHECKING:
    import pandas as pd

    from grn_cotrain.apply import OpenRun
    from grn_cotrain.data.vocab import FeatureVocab
    from grn_cotrain.run_folder import RunFolder

__all__ = ["evaluate_attention", "evaluate_cells", "evaluate_links", "score"]


@command(evaluate_app, "links")
def evaluate_links(
    target: Annotated[Path, typer.Argument(metavar="RUN|PREP", help="Run folder, or prepared folder (controls only).")],
    split: Annotated[str | None, typer.Option(help="Name of the split; required for a PREP with several.")] = None,
    controls: Annotated[str | None, typer.Option(help="Controls: default, all, none, or names with commas.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the table; default: RUN, or PREP/links/SPLIT."),
    ] = None,
    bootstrap: Annotated[int | None, typer.Option(help="Number of bootstrap replicates; 0: none.")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Add rows for the attention of the cell encoder, trained and untrained.")
    ] = False,
    gradients: Annotated[
        bool,
        typer.Option(
            "--gradients",
            help="Add rows for gradients and perturbations of predicted values, trained and untrained.",
        ),
    ] = False,
    prep: PrepPlace = None,
) -> None:
    """Print and write the link-prediction table: model and controls, intervals, prevalence, audit.

    Scores of single TFs and the ROC, precision-recall and calibration curves are also written.
    """
    if bootstrap is not None and bootstrap < 0:
        raise UserError(f"--bootstrap '{bootstrap}': give 0 or more")
    if out is not None:
        refuse_file(out)
    if not target.is_dir():
        raise UserError(f"RUN|PREP '{target}': no such folder; give a run folder or a prepared folder")
    from grn_cotrain.evaluate.link_files import CURVES_FILE, PER_TF_FILE, ROWS_FILE, TABLE_FILE
    from grn_cotrain.evaluate.run import evaluate_prep, evaluate_run

    if (target / "prep.json").is_file():
        if prep is not None:
            raise UserError(f"--prep '{prep}': '{target}' is a prepared folder itself; leave the option out")
        if attention or gradients:
            flag = "--attention" if attention else "--gradients"
            raise UserError(f"{flag}: '{target}' is a prepared folder and has no encoder; give a run folder")
        table = evaluate_prep(
            target,
            split=split,
            controls=controls or "default",
            out=out,
            bootstrap=1000 if bootstrap is None else bootstrap,
            say=progress,
        )
        # One folder a split: the table of another split is another result, not a newer one.
        place = out or target / "links" / table.headline_split
        if out is None:
            table.write(place)
    else:
        place = out or target
        tell_unfinished(target)
        from grn_cotrain.train.build import build_model

        read_outs: list[AttentionConfig | ValueReadOutConfig] = [AttentionOptions()] if attention else []
        read_outs += [ValueReadOutConfig()] if gradients else []
        table = evaluate_run(
            target,
            split=split,
            controls=controls,
            out=out,
            bootstrap=bootstrap,
            read_outs=read_outs,
            initial=build_model,
            prep=prep,
            say=progress,
        )
    table.render(console())
    _tell_kept(target)
    _tell_cells(target)
    say(f"table: {place / TABLE_FILE}, {ROWS_FILE}; {PER_TF_FILE} (single TFs), {CURVES_FILE} (ROC, PR, calibration)")
    if (target / "prep.json").is_file():
        next_step("grn-cotrain", "check", "RECIPE.yaml")
    else:
        next_step("grn-cotrain", "report", target)


def _tell_kept(run: Path) -> None:
    """Print one line about the step whose model was evaluated, if a run was."""
    from grn_cotrain.run_folder import RunFolder
    from grn_cotrain.train.kept import kept_side, kept_step

    kept, second = kept_step(RunFolder(run)), kept_side(RunFolder(run))
    if kept is not None:
        say(f"model kept: {kept}")
    if second is not None:
        say(f"model kept for {second[0]}: {second[1]}")


def _tell_cells(run: Path) -> None:
    """Print one line about masked values, if the run has them."""
    from grn_cotrain.run_folder import RunFolder

    folder = RunFolder(run)
    cells = folder.record().get("cells") if folder.record_file.is_file() else None
    if isinstance(cells, dict):  # runs that were fine-tuned by earlier versions kept a file's name there
        others = ", ".join(f"{k[:-3].replace('_', ' ')} {number(v)}" for k, v in cells.items() if k != "r2")
        by_assay = folder.record().get("cells_by_assay")
        if not isinstance(by_assay, dict):
            say(f"masked values of held-out cells, R2: {number(cells['r2'])}; compared with {others}")
            return
        from grn_cotrain.evaluate.model_scorer import arm_name

        arm = arm_name(folder.recipe())
        for assay, values in by_assay.items():
            heading = metric(values["metric"]).heading
            shown = (f"{k.replace('_', ' ')} {number(v)}" for k, v in values.items() if k not in ("metric", arm))
            mine = number(values[arm]) if arm in values else "no row of the model"
            say(f"masked values of held-out cells, {assay}, {heading}: {mine}; compared with {', '.join(shown)}")


@command(evaluate_app, "cells")
def evaluate_cells(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    by_sparsity: Annotated[
        bool,
        typer.Option("--by-sparsity", help="Also evaluate at levels of sparsity: cells_by_sparsity.parquet."),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(help="Column of obs whose groups are also evaluated; needs --by-sparsity."),
    ] = None,
    prep: PrepPlace = None,
) -> None:
    """Print and write how well hidden values of held-out cells are predicted, by assay, compared with baselines."""
    if by is not None and not by_sparsity:
        raise UserError(f"--by '{by}': groups need --by-sparsity; add that option")
    from grn_cotrain.apply import OpenRun
    from grn_cotrain.evaluate.run import SPARSITY_FILE, evaluate_cells_by_sparsity
    from grn_cotrain.evaluate.run import evaluate_cells as evaluate
    from grn_cotrain.evaluate.sparsity import column_groups

    tell_unfinished(run)
    opened = OpenRun(run, prep=prep)
    folder = opened.folder
    if by is not None:
        data = opened.data(appended=True)
        column_groups(data.cells, data.cell_split, by)  # a wrong name is refused before any work
    frame = evaluate(opened)
    _print_cells(frame)
    _tell_no_row(folder, set(frame["scorer"]))
    _tell_unscored(opened, frame)
    _tell_kept(run)
    if by_sparsity:
        levels = evaluate_cells_by_sparsity(opened, by=by)
        _print_sparsity(levels)
        for line in levels.attrs["left_out"]:
            say(f"note: {line}")
    more = f", {SPARSITY_FILE}" if by_sparsity else ""
    say(f"written to {folder.folder}: cells.parquet, cells.json{more}")
    next_step("grn-cotrain", "report", run)


def _print_cells(frame: pd.DataFrame) -> None:
    """One table an assay."""
    several = frame["assay"].nunique() > 1
    for assay, rows in frame.groupby("assay", sort=False):
        ranked = "auroc" in set(rows["metric"])
        names = ("auroc", "auprc") if ranked else ("r2",)
        what = (
            "open features among hidden entries of held-out cells, open and closed"
            if ranked
            else "R2 of hidden values of held-out cells, standardised by gene"
        )
        first = rows.iloc[0]
        which = f"{assay}: " if several or ranked else ""
        also = f" {first['num_genes']:,} features, {first['num_cells']:,} cells;" if which else ""
        shown = [
            (
                str(scorer),
                *(figure(*one.set_index("metric").loc[name, ["value", "low", "high"]]) for name in names),
                str(one["note"].iloc[0] or ""),
            )
            for scorer, one in rows.groupby("scorer", sort=False)
        ]
        header = ("scorer", *(metric(name).heading for name in names), "note")
        caption = f"{which}{what};{also} 95 % intervals over cells"
        print_table(table(header, shown, numeric=range(1, len(header) - 1), caption=caption), console())


def _tell_unscored(run: OpenRun, frame: pd.DataFrame) -> None:
    """Assays without a row of the model, or without any, and why."""
    from grn_cotrain.data.assay_kinds import modality_of
    from grn_cotrain.evaluate.model_scorer import arm_name
    from grn_cotrain.evaluate.value_errors import MIN_DETECTED

    name = arm_name(run.recipe)
    for assay in (modality_of(space.name).assay for space in run.vocab.spaces):
        rows = frame[frame["assay"] == assay]
        if not len(rows):
            say(f"note: {assay} has no row: no held-out entry of a feature that {MIN_DETECTED:.0%} of its cells show")
        elif "auroc" in set(rows["metric"]) and name not in set(rows["scorer"]) and name in set(frame["scorer"]):
            say(
                f"note: {assay} has no row of {name}: its values are all alike, and no objective learns which are zero;"
                " train with objectives.masked_value.mask_zeros: true"
            )


def _tell_no_row(run: RunFolder, scorers: set[str]) -> None:
    """Print one line if only the baselines were scored, since a reader looks for the model."""
    from grn_cotrain.evaluate.model_scorer import arm_name

    recipe = run.recipe()
    name = arm_name(recipe)
    if name not in scorers:
        schedule = recipe.train.schedule
        why = "no objective predicts values"
        if not schedule.plan.trains_cells:
            why = f"its schedule {schedule.name} trains no values"
        say(f"the model {name} has no row, since {why}; all rows are baselines")


_SPARSITY_TITLES = {
    "dropout": "share of shown values dropped",
    "own": "sparsity of the cells",
}


def _print_sparsity(frame: pd.DataFrame) -> None:
    """Print R2 by level, one table for each assay and way, one column for each scorer."""
    rows = frame[frame["metric"] == "r2"]
    scorers = list(dict.fromkeys(rows["scorer"]))
    several = rows["assay"].nunique() > 1
    for (assay, by), mine in rows.groupby(["assay", "by"], sort=False):
        title = _SPARSITY_TITLES.get(str(by), str(by))
        lines = []
        for (group, _), level in mine.groupby(["group", "sparsity"], sort=False):
            values = level.set_index("scorer")["value"]
            figures = [figure(values[name]) for name in scorers]
            lines.append([str(group), figure(level["sparsity"].iloc[0]), whole(level["num_cells"].iloc[0]), *figures])
        header = (title, "zeros", "cells", *scorers)
        shown = table(
            header,
            lines,
            numeric=range(1, len(header)),
            caption=f"{assay}: R2 by sparsity" if several else "R2 by sparsity",
        )
        print_table(shown, console())


@command(evaluate_app, "attention")
def evaluate_attention(
    run: Run,
    out: OutFolder,
    options: AttentionOptions,
    untrained: Annotated[bool, typer.Option(help="Read the untrained encoder too, as a control.")] = True,
    edges: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Write the edges of each group in this edge format too.")
    ] = None,
    raw_text: RawText = False,
) -> None:
    """Score TF, target pairs by the attention of the cell encoder, for each cell type.

    The scores are compared with the model and the controls. The centrality of genes is reported too."""
    refuse_file(out)
    from grn_cotrain.apply import OpenRun
    from grn_cotrain.cli.attention_tables import print_report
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.evaluate.attention_run import evaluate_attention as evaluate
    from grn_cotrain.export.attention_edges import check_names, export_attention
    from grn_cotrain.export.edge_formats import EDGE_FORMATS
    from grn_cotrain.files import staged_files
    from grn_cotrain.train.build import build_model

    if edges is not None:
        EDGE_FORMATS.get(edges)  # a wrong name is reported before hours of reading

    def check(vocab: FeatureVocab, groups: Sequence[str]) -> None:
        if edges is not None:
            check_names(edges, groups, itertools.compress(vocab.symbols[: vocab.num_genes], vocab.is_token))

    tell_unfinished(run)
    opened = OpenRun(run, prep=options.prep)
    told: list[str] = []
    files: list[Path] = []
    with staged_files(out) as folder:  # opened first: a place that can't be written is reported before the work
        with counted("reading attention", "cells") as reading:
            report = evaluate(
                opened,
                options=options,
                initial=build_model if untrained else None,
                check=check,
                say=progress,
                progress=reading,
            )
        report.write(folder)
        if edges is not None:
            files = export_attention(opened, report.edges, edges, folder, say=told.append)
    print_report(report, say)
    say(f"written to {out}: attention.parquet (this table), attention_edges.parquet, attention_genes.parquet,")
    say("  attention_centrality.parquet, attention_differences.parquet; links.json and its files")
    for line in told:
        say(line)
    if edges is not None:
        say(f"edges, format {edges}: {', '.join(path.name for path in files) or 'none'}")
    next_step("grn-cotrain", "export", "edges", run)


@command(app, "score", panel=USE)
def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    pairs: Annotated[Path, typer.Option(metavar="PAIRS.tsv", help="Table of TF, target pairs by name.")],
    out: Annotated[Path, typer.Option(metavar="SCORES.tsv", help="File to write.")],
    format: Annotated[
        str,
        typer.Option(help="Format, as in grn-prep grn; tsv:source=COLUMN,target=COLUMN names the columns."),
    ] = "auto",
    raw_text: RawText = False,
) -> None:
    """Score any TF, target pairs. The output has one row for each row of the input; unknown genes are named."""
    tell_unfinished(run)
    from grn_cotrain.evaluate.score import score_pairs

    score_pairs(run, pairs, out, format=format, say=say)
    next_step("grn-cotrain", "export", "edges", run)
