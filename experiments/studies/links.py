"""The table of links: networks x splits x arms, each compared with the controls of its split.

``python -m experiments.studies.links --quick|--core|--all --out DIR [--record]`` with ``GRN_COTRAIN_DATA`` set.
``--quick`` takes about five minutes, ``--core`` hours and ``--all`` days on two cores; the first line states the number
of runs, and each finished network the time that is left. A second call with the same folder resumes: finished runs and
controls are kept. Every part is a grid of ``grn-cotrain compare`` in a folder of its own, so its tables, runs and
controls can be opened one by one.

Controls and models read the same features: those of the network's own cells. Genes whose symbol the annotation does not
know are not candidates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from experiments.records import RECORDS, make_study_record, write_record
from experiments.studies.bars import NETWORKS
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.run import compare
from grn_cotrain.compare.table import Comparison, change, label_of
from grn_cotrain.compare.vary import make_arms
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file
from grn_cotrain.present import Cell, figure, metric, number

__all__ = ["TIERS", "Part", "Tier", "app", "overrides", "parts", "rows_of"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# By the start of the network's name; all others are on Kang's cells.
_TEMPLATES = {"hesc": _CONFIGS / "hesc_string.yaml"}
_KANG = _CONFIGS / "kang_collectri.yaml"
_SPLITS = {"unseen-target": "unseen-target-seed{seed}", "unseen-tf": "unseen-tf-visible-seed{seed}-fold0"}
_METRICS = (metric("macro_auroc").heading, metric("macro_ap").heading)
_HEADER = ["network", "split", "arm", "runs", "TFs", "prevalence", *_METRICS, "minus best control", "min"]


@dataclass(frozen=True)
class Tier:
    """Size of the study.

    Attributes
    ----------
    networks, kinds, split_seeds, seeds
        Networks of :data:`~experiments.studies.bars.NETWORKS`, kinds and seeds of splits, and seeds of the models.
    vary
        Keys of the recipe that vary, as ``grn-cotrain compare --vary`` takes them.
    changes
        Further changes of the recipes, ``a.b=c``.
    """

    networks: tuple[str, ...]
    kinds: tuple[str, ...]
    split_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    vary: tuple[str, ...]
    changes: tuple[str, ...]


_ARMS = ("train.schedule.name=joint,link_only", "graph.messages=true,rewired")
TIERS: Mapping[str, Tier] = {
    "quick": Tier(
        ("hesc-string", "collectri"), ("unseen-target",), (0,), (0,), ("train.schedule.name=joint,link_only",),
        ("train.max_steps=10", "train.validate_every=5", "train.warmup_steps=2", "train.tokens_per_batch=4096",
         "prep.genes=tf+targets", "evaluate.bootstrap=200",
         "evaluate.controls=random,target_degree,kernel_ridge,boosting_all"),
    ),
    "core": Tier(
        tuple(NETWORKS), tuple(_SPLITS), (0,), (0, 1, 2), _ARMS,
        ("train.max_steps=100", "train.validate_every=25", "train.tokens_per_batch=4096"),
    ),
    "all": Tier(
        tuple(NETWORKS), tuple(_SPLITS), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4),
        ("train.schedule.name=joint,link_only,pretrain_then_link,mlm_only", "graph.messages=true,rewired"), (),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One network, kind of split and seed of the split."""

    network: str
    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Folder of its grid."""
        return f"{self.network}-{self.kind}-{self.seed}"

    @property
    def template(self) -> Path:
        """Recipe of its cells."""
        return _TEMPLATES.get(self.network.partition("-")[0], _KANG)


def parts(tier: Tier) -> list[Part]:
    """Every part, the first seed of all networks first."""
    return [Part(network, kind, seed) for seed in tier.split_seeds for network in tier.networks for kind in tier.kinds]


def overrides(part: Part, tier: Tier, out: Path) -> list[str]:
    """Changes that turn the template into the recipe of a part: its network and its one split."""
    _, edges, edge_format = NETWORKS[part.network]
    data = "${GRN_COTRAIN_DATA}"
    return [
        f"name={part.name}",
        f"prep.grn='{data}/{edges}'",
        f"prep.grn_format='{edge_format}'",
        f"prep.current_symbols='{data}/gene_annotation/hg38_genes.tsv.gz'",
        f"prep.splits=[{{kind: {part.kind}, seed: {part.seed}}}]",
        f"data.prep={out / part.name / 'prep'}",
        f"data.split={_SPLITS[part.kind].format(seed=part.seed)}",
        *tier.changes,
    ]


def rows_of(part: Part, found: Comparison) -> Iterator[dict[str, Any]]:
    """Rows of a part: its arms, then the best control."""
    for row in found.rows:
        first = row["macro_auroc"]
        minutes = row.get("train_seconds", {}).get("mean")
        yield {
            "network": part.network,
            "split": f"{part.kind}, seed {part.seed}",
            "arm": label_of(row),
            "runs": str(len(row["seeds"])),
            "TFs": str(found.num_tfs),
            "prevalence": number(found.prevalence, 4),
            _METRICS[0]: _text(figure(first["mean"], first.get("low"), first.get("high"))),
            _METRICS[1]: number(row["macro_ap"]["mean"], 3),
            "minus best control": _text(change(row["against_control"])),
            "min": "-" if minutes is None else number(minutes / 60, 1),
        }


def _text(cell: Cell) -> str:
    return f"{cell.text} {cell.bounds}".strip() + (" *" if cell.star else "")


def _left(done: int, all_parts: int, seconds: float) -> str:
    left = seconds / done * (all_parts - done)
    return f"{done} of {all_parts} networks and splits; about {left / 3600:.1f} hours left"


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder of the grids; a second call resumes it.")],
    quick: Annotated[bool, typer.Option("--quick", help="Two networks, one seed, ten steps: five minutes.")] = False,
    core: Annotated[bool, typer.Option("--core", help="All networks and splits, three seeds: hours.")] = False,
    full: Annotated[bool, typer.Option("--all", help="Five seeds of splits and models, all arms: days.")] = False,
    jobs: Annotated[int, typer.Option(help="Number of runs at a time.")] = 1,
    record: Annotated[bool, typer.Option("--record", help="Write the record that RESULTS.md prints.")] = False,
) -> None:
    """Train and compare; print one table."""
    chosen = [name for name, given in (("quick", quick), ("core", core), ("all", full)) if given]
    if len(chosen) != 1:
        raise UserError(f"--quick, --core, --all: got {len(chosen)} of them; give one")
    tier = TIERS[chosen[0]]
    arms, todo = make_arms(tier.vary), parts(tier)
    say(f"{len(todo)} networks and splits x {len(arms)} arms x {len(tier.seeds)} seeds: "
        f"{len(todo) * len(arms) * len(tier.seeds)} runs")  # fmt: skip
    rows, started = list[dict[str, Any]](), time.monotonic()
    out = out.resolve()
    for done, part in enumerate(todo):
        say(f"{part.name}")
        changes = overrides(part, tier, out)
        found = compare(part.template, arms, tier.seeds, out / part.name, jobs=jobs, overrides=changes, say=say)
        rows += rows_of(part, found)
        for line in found.lines():
            say(line)
        say(_left(done + 1, len(todo), time.monotonic() - started))
    frame = pd.DataFrame(rows, columns=_HEADER)
    with atomic_file(out / "links.tsv") as temporary:
        frame.to_csv(temporary, sep="\t", index=False)
    say(frame.to_string(index=False))
    if record:
        body = {"header": _HEADER, "table": frame.to_numpy().tolist(), "rows": rows, "notes": [_NOTE]}
        say(f"recorded: {write_record(make_study_record(f'links_{chosen[0]}', body), RECORDS)}")


_NOTE = (
    "Means over the seeds of the models. Differences are of macro AUROC, paired over TFs, with 95 % intervals; a star"
    " marks a gain of at least three seeds whose interval is above zero."
)


if __name__ == "__main__":
    raise SystemExit(run_app(app))
