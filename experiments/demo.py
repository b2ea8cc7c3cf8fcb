"""The demo: prepare, co-train, evaluate on random edges and on unseen TFs, export gene embeddings, write a report.

``make demo`` uses 700 labelled PBMCs and a literature network; ``make demo-sim`` a simulated world whose network is
known.
Both run the functions behind the command lines, on the recipe next to this file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from grn_cotrain.commandline import console, run_app, say
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe, load_recipe
from grn_cotrain.run_folder import RunFolder

__all__ = ["app", "main", "prepare", "run_demo"]

_CONFIGS = Path(__file__).resolve().parent / "configs"
_TITLE_RANDOM = "Random edges: a third of each TF's targets is hidden"
_TITLE_UNSEEN = "Unseen TFs: all targets of the TFs of a fold are hidden; five folds together"

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class DemoPaths:
    """Where the demo leaves things."""

    prep: Path
    random_run: Path
    fold_runs: tuple[Path, ...]
    tables: tuple[Path, Path]
    embeddings: Path
    report: Path


def prepare(out: Path, *, simulated: bool) -> tuple[Recipe, Prep]:
    """Write the demo's data into ``out`` and return its recipe, with that place filled in."""
    from data_prep.demo import prepare_demo
    from data_prep.simulate import simulate
    from data_prep.splits import prepare_splits
    from grn_cotrain.data.prep_hook import open_prepared

    folder = out / "prepared"
    if not simulated:
        counts, edges = prepare_demo(out / "raw")
        overrides = [f"prep.counts={counts}", f"prep.grn={edges}", f"data.prep={folder}"]
        recipe = load_recipe(_CONFIGS / "demo_pbmc.yaml", overrides)
        return recipe, open_prepared(recipe)
    recipe = load_recipe(_CONFIGS / "demo_sim.yaml", [f"data.prep={folder}"])
    if not (folder / "prep.json").is_file():
        simulate(folder, seed=recipe.seed)
        for kind in ("random", "unseen-tf"):
            prepare_splits(folder, kind, seed=recipe.seed)
    return recipe, Prep.open(folder)


def run_demo(
    out: Path, *, simulated: bool = False, overrides: Sequence[str] = (), basis: Literal["umap", "pca"] = "umap"
) -> DemoPaths:
    """Run the demo in ``out``; runs that are finished there are kept.

    ``overrides`` are for tests: smaller runs of the same demo; ``basis`` is the report's.
    """
    from grn_cotrain.config import apply_overrides, canonical_hash, parse, to_dict
    from grn_cotrain.evaluate.run import evaluate_run
    from grn_cotrain.export import export_genes
    from grn_cotrain.report import write_report
    from grn_cotrain.train.run import train

    start = time.perf_counter()
    recipe, prep = prepare(out, simulated=simulated)
    if overrides:
        recipe = parse(Recipe, apply_overrides(to_dict(recipe), overrides))
    say(f"prepared: {prep.cells.num_cells:,} cells x {prep.vocab.num_features:,} genes, {prep.grn.num_edges:,} edges")
    folds = sorted(name for name in prep.split_names() if name.startswith("unseen-tf-visible-seed0-fold"))

    def trained(split: str) -> RunFolder:
        run = RunFolder(out / "runs" / split)
        mine = replace(recipe, data=replace(recipe.data, split=split))
        if run.recipe_file.is_file() and canonical_hash(run.recipe()) != canonical_hash(mine):
            raise UserError(f"--out '{out}': holds a demo with other settings; remove that folder or name another")
        began = time.perf_counter()
        folder = train(mine, run.folder, resume=run.folder.is_dir())
        say(f"co-trained on {split}: {time.perf_counter() - began:.0f} s")
        return folder

    random_run = trained("random-seed0")
    fold_runs = [trained(name) for name in folds]
    tables = (out / "tables" / "random", out / "tables" / "unseen-tf")

    say(f"\n{_TITLE_RANDOM}", style="bold")
    random_table = evaluate_run(random_run.folder)  # into the run folder, where the report looks for it
    random_table.write(tables[0])
    random_table.render(console())
    say(f"\n{_TITLE_UNSEEN}", style="bold")
    evaluate_run([run.folder for run in fold_runs], out=tables[1]).render(console())

    embeddings = out / "gene_embeddings.tsv"
    export_genes(random_run.folder, kind="graph", format="tsv", out=embeddings)
    say("\nReport", style="bold")
    report = write_report(
        [random_run.folder],
        out / "report.html",
        title=f"{recipe.name}: the demo",
        tables=[tables[1]],
        basis=basis,
        say=lambda text: say(f"  {text}", style="dim"),
    )
    folders = tuple(run.folder for run in fold_runs)
    paths = DemoPaths(Path(prep.folder), random_run.folder, folders, tables, embeddings, report)
    _tell(paths, time.perf_counter() - start)
    return paths


def _tell(paths: DemoPaths, seconds: float) -> None:
    say("\nFiles", style="bold")
    say(f"  prepared data           {paths.prep}")
    say(f"  run, random edges       {paths.random_run}  (recipe, records, model)")
    say(f"  runs, unseen TFs        {paths.fold_runs[0].parent}")
    say(f"  link tables             {paths.tables[0]}, {paths.tables[1]}  (json, parquet)")
    say(f"  gene embeddings         {paths.embeddings}  (symbol, id, columns; the vocabulary's hash in its header)")
    say(
        f"\n{seconds:.0f} s in all. Look closer: grn-cotrain evaluate links {paths.random_run} --controls all --out DIR"
    )
    say(f"report: {paths.report}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")],
    simulated: Annotated[bool, typer.Option(help="A simulated world instead of PBMCs.")] = False,
) -> None:
    """Run the demo."""
    run_demo(out, simulated=simulated)


def main() -> None:
    """Entry point of ``python -m experiments.demo``."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
