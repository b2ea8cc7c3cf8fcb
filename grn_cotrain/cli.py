"""The command line ``grn-cotrain``: check, train, evaluate, score, export, embed, list."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.commandline import console, run_app, say
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["app", "main", "registries"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Gene regulatory networks inside single-cell pretraining.",
)
evaluate_app = typer.Typer(no_args_is_help=True, help="Model beside controls, on held-out data.")
export_app = typer.Typer(no_args_is_help=True, help="Embeddings for other tools.")
embed_app = typer.Typer(no_args_is_help=True, help="Embed new data.")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(export_app, name="export")
app.add_typer(embed_app, name="embed")

#: Kind -> module and name of its registry, in the order of a recipe.
_REGISTRIES = {
    "graph_encoder": ("grn_cotrain.nn.graph_encoders", "GRAPH_ENCODERS"),
    "backend": ("grn_cotrain.nn.backends", "BACKENDS"),
    "coupling": ("grn_cotrain.nn.couplings", "COUPLINGS"),
    "cell_encoder": ("grn_cotrain.nn.cell_encoders", "CELL_ENCODERS"),
    "link_decoder": ("grn_cotrain.nn.link_decoders", "LINK_DECODERS"),
    "link_loss": ("grn_cotrain.nn.link_losses", "LINK_LOSSES"),
    "objective": ("grn_cotrain.objectives", "OBJECTIVES"),
    "inductive": ("grn_cotrain.nn.features", "FEATURE_SOURCES"),
    "control": ("grn_cotrain.controls", "CONTROLS"),
}

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="recipe of the run")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=c", help="change one key; repeatable")]


def registries() -> dict[str, Any]:
    """Kind -> registry of its components."""
    return {kind: getattr(importlib.import_module(module), name) for kind, (module, name) in _REGISTRIES.items()}


@app.command()
def check(recipe: Recipe, set_: Overrides = None) -> None:
    """Parse, load, align, audit, run one step; say what the run will cost."""
    from grn_cotrain.recipe import load_recipe

    resolved = load_recipe(recipe, set_ or [])  # a bad recipe is told before torch is imported
    from grn_cotrain.train.check import check_recipe

    report = check_recipe(resolved)
    say(f"data      {report.num_cells:,} cells x {report.num_genes:,} genes; {report.num_train_edges:,} training edges")
    say(f"split     {report.split_summary}")
    say(
        f"tokens    {report.tokens_per_epoch:,} an epoch ({report.tokens_per_cell:,} a cell, median); an epoch is"
        f" {report.steps_per_epoch:.1f} steps"
    )
    say(f"model     {report.num_parameters:,} parameters")
    say(f"memory    {report.memory_mb:,.0f} MiB at the peak of a step")
    say(f"time      {report.minutes:.1f} minutes expected ({report.seconds_per_step:.2f} s a step)")
    say(report.audit.summary())


@app.command()
def train(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(metavar="RUN", help="run folder to write")],
    set_: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint of RUN")] = False,
) -> None:
    """Co-train a recipe."""
    from grn_cotrain.recipe import load_recipe

    resolved = load_recipe(recipe, set_ or [])
    from grn_cotrain.cli_progress import TerminalReporter
    from grn_cotrain.train.run import train as run_training

    run = run_training(resolved, out, resume=resume, reporter=TerminalReporter())
    record = run.record()
    say(
        f"{record['steps']} steps in {record['seconds']:.0f} s, best at step {record['best_step']}"
        f" ({record['criterion']} {_number(record['best_value'])}); peak {record['peak_memory_mb']:.0f} MiB"
    )
    say(f"model: {run.model}; next: grn-cotrain evaluate links {run.folder}")


@evaluate_app.command("links")
def evaluate_links(
    target: Annotated[Path, typer.Argument(metavar="RUN|PREP", help="run folder, or prepared folder (controls only)")],
    split: Annotated[str | None, typer.Option(help="name of the split; a PREP with several needs it")] = None,
    controls: Annotated[str | None, typer.Option(help="default, all, none, or names with commas")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder for links.json and links.parquet; default: RUN|PREP")
    ] = None,
    bootstrap: Annotated[int | None, typer.Option(help="replicates of the intervals; 0 for none")] = None,
) -> None:
    """Print and write the link-prediction table: model beside controls, intervals, prevalence, audit."""
    if bootstrap is not None and bootstrap < 0:
        raise UserError(f"--bootstrap '{bootstrap}': give 0 or more")
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out '{out}': is a file; give a folder")
    if not target.is_dir():
        raise UserError(f"RUN|PREP '{target}': no such folder; give a run folder or a prepared folder")
    place = out or target
    from grn_cotrain.evaluate.run import evaluate_prep, evaluate_run

    if (target / "prep.json").is_file():
        table = evaluate_prep(
            target,
            split=split,
            controls=controls or "default",
            out=place,
            bootstrap=1000 if bootstrap is None else bootstrap,
            say=_progress,
        )
    else:
        table = evaluate_run(target, split=split, controls=controls, out=out, bootstrap=bootstrap, say=_progress)
    table.render(console())
    _tell_cells(target)
    say(f"table: {place / 'links.json'}, {place / 'links.parquet'}")


def _tell_cells(run: Path) -> None:
    """One line about masked values, where the run has them."""
    from grn_cotrain.run_folder import RunFolder

    folder = RunFolder(run)
    cells = folder.record().get("cells") if folder.record_file.is_file() else None
    if cells:
        others = ", ".join(f"{k[:-3].replace('_', ' ')} {_number(v)}" for k, v in cells.items() if k != "r2")
        say(f"masked values of held-out cells, R2: {_number(cells['r2'])}; beside it {others}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _progress(text: str) -> None:
    if console().is_terminal:
        say(f"  {text}", style="dim")


@app.command()
def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    pairs: Annotated[Path, typer.Option(metavar="PAIRS.tsv", help="TF, target pairs by name")],
    out: Annotated[Path, typer.Option(metavar="SCORES.tsv", help="file to write")],
) -> None:
    """Score any TF, target pairs; unknown genes are named."""
    from grn_cotrain.evaluate.score import score_pairs

    score_pairs(run, pairs, out, say=say)


@export_app.command("genes")
def export_genes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    kind: Annotated[str, typer.Option(help="static, graph or contextual")] = "graph",
    by: Annotated[str | None, typer.Option(metavar="OBS", help="contextual means per group of cells")] = None,
    format: Annotated[str, typer.Option(help="parquet, tsv or h5ad")] = "parquet",
    out: Annotated[Path | None, typer.Option(help="file to write; default: in the run folder")] = None,
) -> None:
    """Export gene embeddings with symbols, ids and the vocabulary's hash."""
    from grn_cotrain.export import export_genes as export

    export(run, kind, format, out, by=by, say=say)


@embed_app.command("cells")
def embed_cells(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="h5ad, 10x h5, Matrix Market folder, csv")],
    out: Annotated[Path, typer.Option(metavar="OUT.h5ad", help="file to write")],
    layer: Annotated[str | None, typer.Option(help="layer that holds the counts")] = None,
    key_added: Annotated[str, typer.Option(help="key in obsm")] = "X_grn_cotrain",
    min_mapped: Annotated[float, typer.Option(help="least share of genes that the model must know")] = 0.5,
) -> None:
    """Embed cells of any file."""
    from grn_cotrain.export import embed_cells as embed

    embed(run, cells, out, layer=layer, key_added=key_added, min_mapped=min_mapped, say=say)


@app.command("list")
def list_components(kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="one kind only")] = None) -> None:
    """List components with their papers."""
    chosen = registries()
    if kind is not None:
        key = kind.strip().lower().replace("-", "_")
        if key not in chosen:
            raise UserError(f"KIND '{kind}': choose from {', '.join(chosen)}{did_you_mean(key, chosen)}")
        chosen = {key: chosen[key]}
    for name, registry in chosen.items():
        say(name, style="bold")
        components = registry.components()
        width = max(len(component.name) for component in components)
        for component in components:
            say(f"  {component.name:<{width}}  {component.summary}  [{component.paper}]")


def main() -> None:
    """Entry point."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
