"""How often does the check on validation pairs withhold probabilities, and is it right on test pairs?

``python -m experiments.studies.withheld PREP --out DIR [--seeds 0,1,2,3,4] [--record]``, with PREP prepared from Kang's
cells and CollecTRI.

Scores of controls stand for those of a model: the default decoder starts from such a score, and calibration reads
scores alone. For each split and score, an isotonic calibration is fitted on validation pairs and checked there, across
folds that hold out genes. Three calibrations show when the check fails: the one that a run keeps, one for half of the
prevalence, and one for twice the prevalence. Test pairs are looked at after the decision, with the same interval.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from experiments.records import make_study_record, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.splits import SplitKind, make_split
from grn_cotrain.files import read_json, write_json
from grn_cotrain.metrics.calibration_check import CalibrationCheck, check_calibration, check_diagonal
from grn_cotrain.metrics.platt import KINDS, Calibration

__all__ = ["FACTORS", "SCORES", "SPLITS", "main", "measure"]

SPLITS: tuple[SplitKind, ...] = ("unseen-target", "unseen-tf", "unseen-both", "random")
SCORES = "target_degree,kernel_ridge"
FACTORS = (0.5, 1.0, 2.0)
"""Prevalence that a calibration is for, over the one that it should be for."""

_HEADER = ["split", "score", "calibration", "checked", "withheld", "fail on test", "both", "fail, not withheld"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def measure(split: EdgeSplit, prep: Prep) -> list[dict[str, Any]]:
    """One row for each score, kind of pair and factor: whether validation withholds it, and whether test pairs do."""
    validation, test = split.pairs("validation"), split.pairs("test")
    rows: list[dict[str, Any]] = []
    for scorer in parse_controls(SCORES):
        scorer.fit(split, prep.cells)
        score_M, other_M = scorer.score(validation.pairs_2M), scorer.score(test.pairs_2M)
        calibration = Calibration.fit(score_M, validation, split)
        for kind, scaling in {} if calibration is None else calibration.by_kind.items():
            assert calibration is not None
            mine_M, there_M = (
                calibration.kinds_of(pairs.pairs_2M) == KINDS.index(kind) for pairs in (validation, test)
            )
            side = 0 if kind == "unseen TF" else 1
            for factor in FACTORS:
                found = check_calibration(
                    score_M[mine_M], validation.labels_M[mine_M], validation.pairs_2M[side, mine_M],
                    prevalence=min(0.99, factor * scaling.prevalence),
                )  # fmt: skip
                promised_M = np.minimum(1.0, factor * calibration.probability(other_M, test.pairs_2M)[there_M])
                later = check_diagonal(promised_M, test.labels_M[there_M], test.pairs_2M[side, there_M])
                rows.append({
                    "score": scorer.name, "kind": kind, "factor": factor, "edges": int(validation.labels_M.sum()),
                    "validation": _plain(found), "test": _plain(later),
                })  # fmt: skip
    return rows


def _plain(check: CalibrationCheck | None) -> dict[str, Any] | None:
    return None if check is None else asdict(check)


@app.command()
def study(
    prep: Annotated[Path, typer.Argument(metavar="PREP", help="Prepared folder with a network.")],
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    seeds: Annotated[str, typer.Option(help="Seeds of the splits.")] = "0,1,2,3,4",
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Run the study."""
    opened, rows = Prep.open(prep), []
    for kind in SPLITS:
        for seed in parse_seeds(seeds):
            file = out / f"{kind}-{seed}.json"
            if not file.is_file():
                out.mkdir(parents=True, exist_ok=True)
                write_json(file, measure(make_split(opened.grn, kind, seed=seed)[0], opened))
            rows += [{"split": kind, "seed": seed, **row} for row in read_json(file, what="result of the study")]
            say(f"{file.stem} is done")
    table = _table(rows)
    for line in [_HEADER, *table]:
        say("  ".join(line))
    body = {"header": _HEADER, "table": table, "rows": rows, "notes": _NOTES}
    write_json(out / "study.json", body)
    if record:
        say(f"recorded: {write_record(make_study_record('withheld', body))}")


_NOTES = [
    "A calibration of factor 1 is the one that a run keeps; those of 0.5 and 2 are for another prevalence on purpose.",
    "Test pairs are looked at after the decision. Their interval has genes of the held-out side as its unit; where TFs"
    " and targets are both held out, targets alone, so that it is too narrow there.",
]


def _table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Counts over seeds."""
    found = []
    for split in SPLITS:
        for score in SCORES.split(","):
            for factor in FACTORS:
                mine = [
                    row for row in rows
                    if (row["split"], row["score"], row["factor"]) == (split, score, factor) and row["validation"]
                ]  # fmt: skip
                withheld = np.array([row["validation"]["num_failed"] > 0 for row in mine], dtype=bool)
                fails = np.array([row["test"]["num_failed"] > 0 for row in mine], dtype=bool)
                numbers = (len(mine), withheld.sum(), fails.sum(), (withheld & fails).sum(), (fails & ~withheld).sum())
                found.append([split, score, f"prevalence x {factor:g}", *(str(int(number)) for number in numbers)])
    return found


def main() -> None:
    """Entry point."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
