"""``grn-cotrain compare``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import EVALUATE, app
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command

__all__ = ["compare"]


@command(app, "compare", panel=EVALUATE)
def compare(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Recipe that all arms share.")],
    vary: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUE,VALUE", help="Key of the recipe and its values (YAML); repeatable."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the grid; a second call resumes it.")],
    seeds: Annotated[str, typer.Option(help="Random seeds, separated by commas; at least 3 for a claim.")] = "0,1,2",
    jobs: Annotated[int, typer.Option(help="Number of runs at a time.")] = 1,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change one key for all arms; repeatable.")
    ] = None,
) -> None:
    """Train every combination of the given values under every seed; print one table of paired differences.

    All other combinations are compared with the first one. Controls are fitted once.
    """
    from grn_cotrain.compare.vary import make_arms, parse_seeds

    arms, numbers = make_arms(vary), parse_seeds(seeds)
    words = ["grn-cotrain", "compare", str(recipe), *(word for text in vary for word in ("--vary", text))]
    words += ["--seeds", seeds, "--out", str(out), *(word for text in set_ or () for word in ("--set", text))]
    from grn_cotrain.compare.run import compare as run_comparison

    comparison = run_comparison(
        recipe, arms, numbers, out, jobs=jobs, overrides=set_ or [], command=shlex.join(words), say=say
    )
    say("\n" + "\n".join(comparison.lines()))
    say(f"written: {out / 'compare.json'}, {out / 'compare.parquet'}")
    runs = [out / row["run"] for row in comparison.rows if row.get("run")]
    if runs:
        next_step("grn-cotrain", "report", *runs)
