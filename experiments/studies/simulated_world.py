"""Does joint training help where the truth is known? Two simulated worlds, two kinds of unseen genes, an oracle above.

``python -m experiments.studies.simulated_world --out DIR [--seeds 0,1,2] [--jobs 2] [--record]``

In the first world expression carries regulation, in the second it does not (same network statistics). The question, in
EVALUATION.md's sense of "beats": does ``joint`` beat ``link_only`` and the best control on unseen TFs and unseen
targets of the first world, and show no gain in the second? The simulator's defaults were committed before the first
joint run (docs/decisions/0002-simulated-world.md). The recipe is ``configs/demo_sim.yaml``, the same for all arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.records import make_record, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.run import compare
from grn_cotrain.compare.table import METRICS, Comparison, change
from grn_cotrain.compare.vary import make_arms, parse_seeds
from grn_cotrain.data.edge_split import SplitKind
from grn_cotrain.data.prep import Prep
from grn_cotrain.files import write_json
from grn_cotrain.present import number

__all__ = ["SPLITS", "WORLDS", "main", "run_study"]

WORLDS = {"signal": True, "no signal": False}
SPLITS: dict[SplitKind, str] = {"unseen-tf": "unseen-tf-visible-seed0-fold0", "unseen-target": "unseen-target-seed0"}
_RECIPE = Path(__file__).resolve().parents[1] / "configs" / "demo_sim.yaml"
_ARMS = ["train.schedule.name=joint,link_only"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def run_study(out: Path, seeds: Sequence[int], *, jobs: int = 1, overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Compare the arms in every world and on every split; one record each, oracle included."""
    findings = []
    for world, signal in WORLDS.items():
        prep = _world(out / "worlds" / world.replace(" ", "_"), signal)
        for kind, split in SPLITS.items():
            say(f"{world}: {kind}")
            folder = out / f"{world.replace(' ', '_')}-{kind}"
            table = compare(
                _RECIPE,
                make_arms(_ARMS),
                seeds,
                folder,
                jobs=jobs,
                overrides=[f"data.prep={prep.folder}", f"data.split={split}", *overrides],
                say=say,
            )
            findings.append(
                {
                    "world": world,
                    "kind": kind,
                    "folder": str(folder),
                    "oracle": _oracle(prep, split),
                    **table.to_dict(),
                }
            )
            say("\n".join(_lines(findings[-1], table)))
    return findings


def _world(folder: Path, signal: bool) -> Prep:
    from data_prep.simulate import simulate
    from data_prep.splits import prepare_splits

    if not (folder / "prep.json").is_file():
        simulate(folder, signal=signal)
        for kind in SPLITS:
            prepare_splits(folder, kind, seed=0)
    return Prep.open(folder)


def _oracle(prep: Prep, split: str) -> dict[str, float]:
    """Ceiling: the same metrics of a scorer that is given the true dynamics."""
    from data_prep.simulate_oracle import OracleScorer
    from grn_cotrain.evaluate.links import evaluate_links

    table = evaluate_links(prep.split(split), [OracleScorer(prep.folder)], prep.cells, bootstrap=0)
    rows = {metric: table.row(OracleScorer.name, metric) for metric in METRICS}
    return {metric: float(table.frame["value"].iloc[row]) for metric, row in rows.items()}


def _lines(finding: dict[str, Any], table: Comparison) -> list[str]:
    joint, link_only = finding["rows"][:2]
    return [
        *table.lines(),
        f"oracle (true dynamics): macro AUROC {number(finding['oracle'][METRICS[0]])}",
        f"joint against the best control: {change(joint['against_control']).line}",
        f"link_only against joint: {change(link_only['against_first']).line}",
        "",
    ]


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    seeds: Annotated[str, typer.Option(help="At least 3 for a claim.")] = "0,1,2",
    jobs: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change one key for all arms.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Run the study."""
    findings = run_study(out, parse_seeds(seeds), jobs=jobs, overrides=set_ or [])
    write_json(out / "study.json", findings)
    if not record:
        return
    for finding in findings:
        name = f"sim_{finding['world'].replace(' ', '_')}_{finding['kind'].replace('-', '_')}"
        kept = make_record(Path(finding["folder"]), name)
        ceiling = number(finding["oracle"][METRICS[0]])
        kept["body"].setdefault("notes", []).append(f"ceiling, an oracle with the true dynamics: macro AUROC {ceiling}")
        say(f"recorded: {write_record(kept)}")


def main() -> None:
    """Entry point."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
