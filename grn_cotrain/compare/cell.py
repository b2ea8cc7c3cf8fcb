"""One cell of a comparison, in a process of its own: it trains, scores links and writes a file with the results."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from grn_cotrain.errors import UserError
from grn_cotrain.files import write_json

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe and write ``cell.json`` last of all: the file means that the cell is done."""
    parser = argparse.ArgumentParser(prog="python -m grn_cotrain.compare.cell", description=__doc__)
    parser.add_argument("recipe", type=Path, help="Resolved recipe.")
    parser.add_argument("out", type=Path, help="Folder of the cell.")
    options = parser.parse_args(arguments)
    try:
        _run(options.recipe, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(recipe_file: Path, out: Path) -> None:
    from grn_cotrain.evaluate.run import evaluate_run
    from grn_cotrain.recipe import load_recipe
    from grn_cotrain.train.run import peak_memory_mb, train

    recipe = load_recipe(recipe_file)
    start = time.perf_counter()
    run = train(recipe, out / "run", resume=True)
    trained = time.perf_counter()
    # Controls do not depend on the arm: the comparison scores them once.
    table = evaluate_run(run.folder, controls="none", out=run.folder)
    mine = table.frame[table.frame["kind"] != "control"]
    scorers = list(dict.fromkeys(zip(mine["scorer"], mine["kind"], strict=True)))
    if len(scorers) != 1:
        raise UserError(f"run '{run.folder}': {len(scorers)} scorers in its link table; it must hold the model's alone")
    write_json(
        out / "cell.json",
        {
            "scorer": scorers[0][0],
            "kind": scorers[0][1],
            "cells": run.record().get("cells"),
            "train_seconds": trained - start,
            "seconds": time.perf_counter() - start,
            "memory_mb": peak_memory_mb(),
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
