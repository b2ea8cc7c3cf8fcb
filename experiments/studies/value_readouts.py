"""Do gradients and perturbations of predicted values show regulation? A published claim (Qi et al. 2026) and controls.

``python -m experiments.studies.value_readouts --out DIR [--seeds 0,1,2] [--cells 10] [--record]`` with
``GRN_COTRAIN_DATA`` set. Masked-value networks that have seen no edge (``mlm_only``, no messages) are trained on human
embryonic stem cells and on Kang's PBMCs (genes that a twentieth of the cells express). Each network of edges is split
by targets and by TFs. Rows: both read-outs, boosted trees on them (the translator) fitted to training pairs of the same
network, and the translator that was fitted to another network. The same for the untrained encoder, and for the
correlation, means and detection of a pair's two genes (co-expression), which need no encoder. Features enter as
percentiles of their own data set, so that a translator can be carried over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

import anndata
import numpy as np
import typer

from experiments.records import make_study_record, write_record
from experiments.studies.bars import NETWORKS
from grn_cotrain.apply import OpenRun
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.pairing import mean_with_interval, verdict
from grn_cotrain.compare.vary import Arm, parse_seeds, recipe_of
from grn_cotrain.config import expand_environment
from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.evaluate.bootstrap import SeedResult
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.evaluate.run import evaluate_cells
from grn_cotrain.evaluate.value_readouts import FEATURES, ValueScores, read_values
from grn_cotrain.evaluate.value_scorer import SCORES, PairFeaturesOf, fit_translator, with_random_head
from grn_cotrain.jobs.value_readouts import ValueReadOutConfig
from grn_cotrain.metrics.links import per_tf
from grn_cotrain.present import number
from grn_cotrain.present.metrics import metric
from grn_cotrain.progress import counted
from grn_cotrain.train.build import build_model
from grn_cotrain.train.run import train

__all__ = ["main"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# Network -> its cells, and the network whose translator is carried over to it.
_NETWORKS = {
    "hesc-string": ("hesc", "collectri"),
    "hesc-specific": ("hesc", "hesc-string"),
    "collectri": ("kang", "hesc-string"),
}
_TEMPLATES = {"hesc": "hesc_string.yaml", "kang": "kang_collectri.yaml"}
_TIMES_CELLS = {"hesc": 1, "kang": 3}  # a sparse cell shows few pairs, and is quick to read
_SPLITS = {"unseen-target": "unseen-target-seed0", "unseen-tf": "unseen-tf-visible-seed0-fold0"}
_CONTROLS = "random,target_degree,degree_product,pearson,boosting_gene"
_METRICS = ("macro_auroc", "macro_ap")
_LEAST_DETECTED = 0.05  # Kang's cells are sparse: a pair of genes that few cells show cannot be read


@dataclass(frozen=True)
class Source:
    """Features of pairs of one data set, as percentiles among its candidate pairs; no label is read."""

    features: PairFeaturesOf
    reference_QF: np.ndarray

    @classmethod
    def of(cls, features: PairFeaturesOf, split: EdgeSplit) -> Self:
        """Percentiles from at most 20,000 training candidates."""
        pairs_2P = split.pairs("train").pairs_2M
        chosen = np.random.default_rng(7).choice(pairs_2P.shape[1], min(20_000, pairs_2P.shape[1]), replace=False)
        return cls(features, np.sort(features(pairs_2P[:, chosen]), axis=0))

    def __call__(self, pairs_2P: np.ndarray) -> np.ndarray:
        """float64 ``[P, F]`` in [0, 1]."""
        raw_PF = self.features(pairs_2P)
        ranks = [np.searchsorted(self.reference_QF[:, f], raw_PF[:, f]) for f in range(raw_PF.shape[1])]
        return np.stack(ranks, axis=1) / len(self.reference_QF)


class CoExpression:
    """Pearson correlation of a pair, its absolute value, and means and detection of both genes: ``[P, 6]``."""

    def __init__(self, cells: CellStore, sources_S: np.ndarray) -> None:
        statistics = Statistics(cells)
        moments = statistics[Moments()]
        self.sources_S, self.found_SG = sources_S, correlations(statistics, sources_S)
        self.gene_2G = np.stack([moments.mean_G, moments.detected_G])

    def __call__(self, pairs_2P: np.ndarray) -> np.ndarray:
        """Features of pairs whose sources are among those that were given."""
        r_P = self.found_SG[np.searchsorted(self.sources_S, pairs_2P[0]), pairs_2P[1]]
        return np.stack([r_P, np.abs(r_P), *self.gene_2G[:, pairs_2P[0]], *self.gene_2G[:, pairs_2P[1]]], axis=1)


class Read:
    """Scores pairs by one feature."""

    def __init__(self, name: str, scores: ValueScores, feature: str) -> None:
        self.name, self.scores, self.place = name, scores, FEATURES.index(feature)

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Nothing to fit."""
        del split, cells
        return self

    def score(self, pairs_2P: np.ndarray) -> np.ndarray:
        """The feature."""
        return self.scores.features(pairs_2P)[:, self.place]


class Translator:
    """Trees on features of this data set, fitted to its own training pairs, or before to those of another one."""

    def __init__(self, name: str, source: Source, seed: int, model: Any = None) -> None:
        self.name, self.source, self.seed, self.model = name, source, seed, model

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Fit to training pairs, unless the translator comes from elsewhere."""
        del cells
        if self.model is None:
            pairs = split.pairs("train")
            self.model = fit_translator(self.source, pairs.pairs_2M, pairs.labels_M, seed=self.seed)
        return self

    def score(self, pairs_2P: np.ndarray) -> np.ndarray:
        """Log-odds."""
        return np.asarray(self.model.decision_function(self.source(pairs_2P)))


def prepare(data: Path, out: Path, network: str) -> Prep:
    """The prepared folder of a network with both splits; made once."""
    from data_prep.counts import prepare_counts
    from data_prep.splits import prepare_splits

    folder = out / "prep" / network
    if not (folder / "prep.json").is_file():
        cells_file, edges, edge_format = NETWORKS[network]
        file = data / cells_file
        if _NETWORKS[network][0] == "kang":
            cells = anndata.read_h5ad(file)
            detected_G = np.asarray((cells.X > 0).mean(axis=0)).ravel()
            file = out / "kang.h5ad"
            cells[:, detected_G >= _LEAST_DETECTED].copy().write_h5ad(file)
        prepare_counts(file, folder, genes="all", grn=str(data / edges), grn_format=edge_format)
        for kind in _SPLITS:
            prepare_splits(folder, kind, seed=0)
    return Prep.open(folder)


def masked_value_run(prep: Prep, cells: str, seed: int, steps: int, out: Path) -> OpenRun:
    """A network trained on masked values alone, which has seen no edge."""
    folder = out / f"{cells}-{steps}-{seed}"
    if not (folder / "run.json").is_file():
        changes = [
            f"name={cells}", "prep=null", f"data.prep={prep.folder}", f"data.split={_SPLITS['unseen-target']}",
            "graph.messages=none", "train.schedule.name=mlm_only", "model.link_decoder={name: bilinear}",
            f"train.max_steps={steps}", f"train.validate_every={max(1, steps // 4)}", "evaluate.probe_steps=1",
            "evaluate.bootstrap=200",
        ]  # fmt: skip
        recipe = recipe_of(_CONFIGS / _TEMPLATES[cells], Arm("", {}), overrides=changes, seed=seed)
        train(recipe, folder)
    return OpenRun(folder)


@dataclass(frozen=True)
class Readings:
    """Read-outs of the trained and the untrained encoder on one data set, by their label."""

    scores: Mapping[str, ValueScores]
    r2: float

    @classmethod
    def of(cls, run: OpenRun, preps: Sequence[Prep], config: ValueReadOutConfig) -> Self:
        """Read the pairs of every network of these cells."""
        data = run.load_data()
        sources = np.unique(np.concatenate([prep.grn.pairs_2E[0] for prep in preps]))
        targets = np.arange(data.vocab.num_genes)
        untrained = with_random_head(build_model(run.recipe, data), seed=run.recipe.seed).eval()
        found = {}
        for label, model in (("", run.model), ("untrained ", untrained)):
            with counted(f"reading {label or 'trained '}encoder", "cells", console=None, say=say) as progress:
                found[label] = read_values(model, data.cells, sources, targets, config, progress=progress)
        evaluate_cells(run)
        return cls(found, float(run.folder.record()["cells"]["r2"]))


def scorers(network: str, split: str, preps: Mapping[str, Prep], read: Mapping[str, Readings], seed: int) -> list[Any]:
    """Every row of a table but the controls."""
    cells, other = _NETWORKS[network]
    rows: list[Any] = []
    kinds = [*read[cells].scores, "co-expression "]
    sources = {
        (kind, name): Source.of(_features(kind, name, preps, read), preps[name].split(_SPLITS[split]))
        for kind in kinds
        for name in (network, other)
    }
    for kind in kinds:
        if kind in read[cells].scores:
            rows += [Read(f"{kind}{name}", read[cells].scores[kind], of) for name, of in SCORES.items()]
        mine, theirs = sources[kind, network], sources[kind, other]
        rows.append(Translator(f"{kind}translator", mine, seed))
        pairs = preps[other].split(_SPLITS[split]).pairs("train")
        carried = fit_translator(theirs, pairs.pairs_2M, pairs.labels_M, seed=seed)
        rows.append(Translator(f"{kind}translator of {other}", mine, seed, carried))
    return rows


def _features(kind: str, network: str, preps: Mapping[str, Prep], read: Mapping[str, Readings]) -> PairFeaturesOf:
    if kind == "co-expression ":
        return CoExpression(preps[network].cells, np.unique(preps[network].grn.pairs_2E[0]))
    return read[_NETWORKS[network][0]].scores[kind].inputs


def auroc_of_shown(row: Any, split: EdgeSplit, scores: ValueScores) -> float:
    """Macro AUROC of the test pairs that at least one cell shows; the others have no read-out of their own."""
    pairs = split.pairs("test")
    shown_P = scores.count(pairs.pairs_2M) > 0
    shown_2P = pairs.pairs_2M[:, shown_P]
    if not shown_P.any():
        return float("nan")
    return float(per_tf(row.score(shown_2P), pairs.labels_M[shown_P], shown_2P[0]).auroc_S.mean())


def summary(
    found: Mapping[tuple[str, str, str], Mapping[str, list[SeedResult]]],
    among_shown: Mapping[tuple[str, str, str], Sequence[float]],
) -> list[dict[str, Any]]:
    """One row a network, split and scorer: means over seeds, and the paired difference to the untrained encoder."""
    rows = []
    for (network, split, name), results in found.items():
        row: dict[str, Any] = {"network": network, "split": split, "scorer": name}
        for key in _METRICS:
            row |= {f"{key}_{part}": value for part, value in mean_with_interval(results[key]).items()}
            for against in ("untrained", "co-expression"):
                # A single read-out has the correlation as its peer, a translator that of co-expression.
                peer = "pearson" if name in SCORES and against == "co-expression" else f"{against} {name}"
                other = found.get((network, split, peer))
                is_peer = name.startswith(("untrained", "co-expression"))
                gap = None if other is None or is_peer else verdict(results[key], other[key])
                row[f"{key}_minus_{against}"] = gap
        row["auroc_of_shown"] = float(np.mean(among_shown[network, split, name]))
        rows.append(row | {"num_tfs": results[_METRICS[0]][0].num_tfs})
    return rows


def _cell(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "-"
    low, high = (number(answer[key], sign=True) for key in ("low", "high"))
    return f"{number(answer['difference'], sign=True)} [{low}, {high}]" + (" *" if answer["beats"] else "")


_HEADER = ["network", "split", "scorer", "TFs", *(metric(name).heading for name in _METRICS),
           "AUROC of shown pairs", "AUROC less untrained", "AUROC less co-expression"]  # fmt: skip


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; trained networks in it are kept.")],
    seeds: Annotated[str, typer.Option(help="Seeds of the networks.")] = "0,1,2",
    steps: Annotated[int, typer.Option(help="Number of training steps.")] = 200,
    cells: Annotated[int, typer.Option(help="Number of stem cells to read; three times as many of Kang's.")] = 10,
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Train, read and compare; print one table."""
    data, out = Path(expand_environment("${GRN_COTRAIN_DATA}")), out.resolve()
    preps = {network: prepare(data, out, network) for network in _NETWORKS}
    found: dict[tuple[str, str, str], dict[str, list[SeedResult]]] = {}
    among_shown: dict[tuple[str, str, str], list[float]] = {}
    readings = []
    for seed in parse_seeds(seeds):
        read = {}
        for name in _TEMPLATES:
            mine = [preps[network] for network, (of, _) in _NETWORKS.items() if of == name]
            config = ValueReadOutConfig(max_cells=cells * _TIMES_CELLS[name])
            read[name] = Readings.of(masked_value_run(mine[0], name, seed, steps, out), mine, config)
            share = number(float((read[name].scores[""].count_SG > 0).mean()), 2)
            readings.append(
                f"seed {seed}, {name}: R2 of held-out values {number(read[name].r2)}; share of pairs shown {share}"
            )
            say(readings[-1])
        for network, (kind, split) in product(_NETWORKS, _SPLITS.items()):
            rows = [*scorers(network, kind, preps, read, seed), *parse_controls(_CONTROLS)]
            edges = preps[network].split(split)
            table = evaluate_links(edges, rows, preps[network].cells, seed=0)
            for row in rows:
                among_shown.setdefault((network, kind, row.name), []).append(
                    auroc_of_shown(row, edges, read[_NETWORKS[network][0]].scores[""])
                )
                results = found.setdefault((network, kind, row.name), {name: [] for name in _METRICS})
                for name in _METRICS:
                    results[name].append(replace(table.result(row.name, name), seed=seed))
            printed = [f"{row.name} {number(table.result(row.name, _METRICS[0]).value)}" for row in rows]
            say(f"seed {seed}, {network}, {kind}: {', '.join(printed)}")
    rows_found = summary(found, among_shown)
    lines = [
        [
            row["network"], row["split"], row["scorer"], str(row["num_tfs"]),
            *(number(row[f"{name}_mean"]) for name in _METRICS), number(row["auroc_of_shown"]),
            *(_cell(row[f"macro_auroc_minus_{other}"]) for other in ("untrained", "co-expression")),
        ]
        for row in rows_found
    ]  # fmt: skip
    say(" | ".join(_HEADER))
    for line in lines:
        say(" | ".join(line))
    if record:
        notes = [
            f"Means over {len(parse_seeds(seeds))} seeds of networks that were trained for {steps:,} steps;"
            f" {cells} stem cells and {cells * _TIMES_CELLS['kang']} of Kang's were read. Differences are paired over"
            " TFs, with 95 % intervals; a star marks a gain of at least three seeds whose interval is above zero. Shown"
            " pairs are those that at least one of the cells shows.",
            *readings,
        ]
        body = {"header": _HEADER, "table": lines, "rows": rows_found, "notes": notes}
        say(f"recorded: {write_record(make_study_record('value_readouts', body))}")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
