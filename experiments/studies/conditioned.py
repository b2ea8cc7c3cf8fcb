"""Does a network that is conditioned on groups of cells hold anything about these cells?

``python -m experiments.studies.conditioned RUN [--seeds 0,1,2] [--record NAME]``, with ``GRN_COTRAIN_DATA``
set and a run on Kang's cells with CollecTRI, such as that of ``python -m experiments.studies.links --quick --out DIR``.

- *Interferon*: Kang's stimulated cells against its control cells. The TFs of the network are ordered by how much more
  their edges act in stimulated cells, and the AUROC of five interferon regulators among all TFs is printed.
- *Interferon, new edges*: the same for the edges that the training network lacks.
- *Cell types*: pbmc3k. For each marker TF, the AUROC of the cell types in which it is known to work, among all types,
  with the same controls.

Controls stand in the same table: the TF's mean expression alone, the regulon's activity alone, co-expression in these
cells alone, the network without cells (it is the same in all groups, so it has 0.5), and the same conditioning after
labels of the cells were permuted. The groups are halves of the cells that are drawn with the seed, so the interval over
seeds states what the choice of the cells does; the run is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import anndata
import numpy as np
import pandas as pd
import typer
from scipy.stats import rankdata

from experiments.records import make_study_record, write_record
from experiments.studies.interferon import REGULATORS
from grn_cotrain.apply import OpenRun
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.config import expand_environment
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.group_networks import GroupNetworks, group_networks
from grn_cotrain.export.known_edges import KnownEdges, known_edges
from grn_cotrain.export.predicted_edges import PredictedEdges
from grn_cotrain.jobs.read import ReadOptions

__all__ = ["MARKERS", "auroc", "by_tf", "main"]

PBMC3K = "pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad"
_MONO, _T = ("CD14+ Mono", "FCGR3A+ Mono"), ("Naive CD4 T", "Memory CD4 T", "CD8 T")
MARKERS = {
    "SPI1": (*_MONO, "DC"),
    "CEBPA": _MONO,
    "CEBPB": _MONO,
    "CEBPD": _MONO,
    "MAFB": _MONO,
    "KLF4": _MONO,
    "PAX5": ("B",),
    "EBF1": ("B",),
    "POU2F2": ("B",),
    "POU2AF1": ("B",),
    "BCL6": ("B",),
    "IRF8": ("B", "DC"),
    "CIITA": ("B", "DC"),
    "GATA3": _T,
    "TCF7": _T,
    "LEF1": _T,
    "TBX21": ("NK", "CD8 T"),
    "EOMES": ("NK", "CD8 T"),
    "GATA1": ("Platelet",),
}
"""TFs of blood and the cell types in which they are known to work, from textbooks; chosen before any result."""

SCORERS = ("conditioned", "activity", "co_expression", "expression", "without_cells")
_NAMES = {
    "conditioned": "conditioned network",
    "activity": "regulon's activity alone",
    "co_expression": "co-expression in these cells alone",
    "expression": "TF's mean expression alone",
    "without_cells": "network without cells",
}
_LEAST = 5

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def auroc(value: np.ndarray, positive: np.ndarray) -> float:
    """Mann-Whitney AUROC with ties; NaN without one of the classes. Missing values rank lowest, as no evidence."""
    value = np.where(np.isnan(value), -np.inf, value)
    number = int(positive.sum())
    if not number or number == len(value):
        return float("nan")
    return float((rankdata(value)[positive].sum() - number * (number + 1) / 2) / (number * (len(value) - number)))


def by_tf(networks: GroupNetworks, cells: CellStore, labels: pd.Series) -> pd.DataFrame:
    """One row a group and TF, with every scorer: means over the TF's edges."""
    frame = networks.edges.frame.assign(size=networks.edges.frame["co_expression"].abs())
    found = frame.groupby(["group", "source"], as_index=False).agg(
        conditioned=("acts", "mean"), activity=("activity", "first"), co_expression=("size", "mean"),
        without_cells=("score", "mean"), edges=("acts", "size"), detected=("source_detected", "first"),
    )  # fmt: skip
    symbols = {symbol: place for place, symbol in enumerate(networks.edges.vocab.symbols)}
    means = {
        group: Statistics(cells, np.flatnonzero((labels == group).to_numpy()))[Moments()].mean_of_cells_G
        for group in found["group"].unique()
    }
    found["expression"] = [means[group][symbols[tf]] for group, tf in zip(found["group"], found["source"], strict=True)]
    found.loc[found["detected"].isna(), "expression"] = np.nan
    return found[found["edges"] >= _LEAST].reset_index(drop=True)


def _half(store: CellStore, labels: pd.Series, seed: int) -> tuple[CellStore, pd.Series]:
    """Half of the cells of each group."""
    rng = np.random.default_rng([seed, 5])
    chosen = np.sort(np.concatenate([
        rng.permutation(np.flatnonzero((labels == group).to_numpy()))[: max(15, int((labels == group).sum()) // 2)]
        for group in sorted(labels.dropna().unique())
    ]))  # fmt: skip
    return store.take(chosen), labels.iloc[chosen].reset_index(drop=True)


def _quiet(line: str) -> None:
    del line


def interferon(
    edges: PredictedEdges, known: KnownEdges, cells: CellStore, labels: pd.Series
) -> tuple[dict[str, float], dict[str, Any]]:
    """AUROC of the regulators among TFs by the difference of stimulated and control cells, and each one's rank."""
    networks = group_networks(edges, known, cells, labels, say=_quiet)
    wide = by_tf(networks, cells, labels).pivot(index="source", columns="group", values=list(SCORERS))
    there = wide.index.isin(REGULATORS)
    found, ranks = {}, {}
    for scorer in SCORERS:
        change = (wide[scorer, "stim"] - wide[scorer, "ctrl"]).fillna(0.0)
        found[scorer] = auroc(change.to_numpy(), there)
        ranks[scorer] = {tf: float(change.rank(ascending=False)[tf]) for tf in REGULATORS if tf in wide.index}
    acts = networks.edges.frame.groupby("group")["acts"].mean()
    return found, {
        "num_tfs": len(wide), "ranks": ranks, "mean_acts": acts.to_dict(), "groups": networks.provenance()
    }  # fmt: skip


def cell_types(
    edges: PredictedEdges, known: KnownEdges, cells: CellStore, labels: pd.Series, measured_G: np.ndarray
) -> tuple[dict[str, float], dict[str, Any]]:
    """Mean over marker TFs of the AUROC of their own cell types, and each TF's."""
    networks = group_networks(edges, known, cells, labels, measured_G=measured_G, say=_quiet)
    table = by_tf(networks, cells, labels)
    each: dict[str, dict[str, float]] = {scorer: {} for scorer in SCORERS}
    for tf, types in MARKERS.items():
        rows = table[table["source"] == tf]
        if rows.empty or not rows["group"].isin(types).any():
            continue
        for scorer in SCORERS:
            missing = scorer == "expression" and rows["expression"].isna().all()
            value = rows[scorer].to_numpy(np.float64)
            each[scorer][tf] = float("nan") if missing else auroc(value, rows["group"].isin(types).to_numpy())
    means = {scorer: float(np.nanmean(list(values.values()))) for scorer, values in each.items()}
    return means, {"tfs": each, "groups": networks.provenance()}


def _read(run: Path) -> tuple[OpenRun, KnownEdges, dict[str, PredictedEdges]]:
    opened = OpenRun.of(run, side="links")
    known, _ = known_edges(opened)
    if known.cells is None or known.origin != "split":
        raise UserError(f"RUN '{run}': its prepared folder is not found; train it again")
    kinds: dict[str, Any] = {"all edges": "keep", "new edges": "drop"}
    return opened, known, {
        name: predict_edges(opened, top_per_tf="training", known=kind, say=_quiet) for name, kind in kinds.items()
    }  # fmt: skip


@app.command()
def study(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run on Kang's cells and CollecTRI.")],
    seeds: Annotated[str, typer.Option(help="Seeds of the halves of cells.")] = "0,1,2,3,4",
    record: Annotated[str | None, typer.Option(metavar="NAME", help="Keep as a run record of this name.")] = None,
) -> None:
    """Print the checks and their controls."""
    data = Path(expand_environment("${GRN_COTRAIN_DATA}"))
    opened, known, networks = _read(run)
    assert known.cells is not None
    condition = known.cells.obs["condition"].astype(str).astype(object).reset_index(drop=True)
    applied = opened.apply_to(anndata.read_h5ad(data / PBMC3K), ReadOptions(min_mapped=0.2))
    types = applied.cells.obs["cell_type"].astype(str).astype(object).reset_index(drop=True)
    kang, pbmc = known.cells.genes(), applied.cells.genes()
    rows: list[dict[str, Any]] = []
    for seed in parse_seeds(seeds):
        for name, edges in networks.items():
            for shuffled in (False, True):
                for check in ("interferon", "cell types"):
                    whole, labels = (kang, condition) if check == "interferon" else (pbmc, types)
                    cells, kept = _half(whole, labels, seed)
                    if shuffled:
                        kept = pd.Series(np.random.default_rng([seed, 6]).permutation(kept.to_numpy()), dtype=object)
                    found, facts = (
                        interferon(edges, known, cells, kept)
                        if check == "interferon"
                        else cell_types(edges, known, cells, kept, applied.measured_G)
                    )
                    rows.append(
                        {"check": check, "edges": name, "permuted": shuffled, "seed": seed, "auroc": found, **facts}
                    )
        say(f"seed {seed} is done")
    table = _table(rows)
    _print(table, rows)
    if record is not None:
        body = {
            "header": list(table.columns),
            "table": table.to_numpy().tolist(),
            "rows": _plain(rows),
            "notes": _notes(rows),
        }
        say(f"record: {write_record(make_study_record(record, body))}")


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Mean over seeds with a t interval."""
    from scipy.stats import t

    found = []
    for check in ("interferon", "cell types"):
        for edges in ("all edges", "new edges"):
            for scorer in SCORERS:
                line = {"check": check, "edges": edges, "scorer": _NAMES[scorer]}
                for permuted, column in ((False, "AUROC"), (True, "labels permuted")):
                    values = np.array([
                        row["auroc"][scorer] for row in rows
                        if (row["check"], row["edges"], row["permuted"]) == (check, edges, permuted)
                    ])  # fmt: skip
                    half = (
                        t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
                        if len(values) > 1
                        else 0
                    )
                    line[column] = f"{values.mean():.3f} [{values.mean() - half:.3f}, {values.mean() + half:.3f}]"
                found.append(line)
    return pd.DataFrame(found)


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    """Facts that the table does not hold: ranks, and evidence of the groups."""
    notes = [
        "Interferon: AUROC of STAT1, STAT2, IRF9, IRF1 and IRF7 among all TFs with five edges, by the difference of"
        " stimulated and control cells. Cell types: mean over marker TFs of the AUROC of their own types among all.",
        "Mean over halves of the cells, one a seed, with a 95 % t interval; the run and its network are the same.",
    ]
    for edges in ("all edges", "new edges"):
        mine = [row for row in rows if row["check"] == "interferon" and row["edges"] == edges and not row["permuted"]]
        for scorer in SCORERS[:4]:
            ranks = {
                tf: np.mean([row["ranks"][scorer][tf] for row in mine])
                for tf in REGULATORS
                if all(tf in row["ranks"][scorer] for row in mine)
            }
            shown = ", ".join(f"{tf} {rank:.0f}" for tf, rank in ranks.items())
            notes.append(f"{edges}, mean rank of {mine[0]['num_tfs']} TFs by {_NAMES[scorer]}: {shown}")
        acts = [row["mean_acts"] for row in mine]
        shown = ", ".join(f"{group} {np.mean([one[group] for one in acts]):.3f}" for group in acts[0])
        notes.append(f"{edges}, mean probability that an edge acts: {shown}")
    types = [row for row in rows if (row["check"], row["edges"], row["permuted"]) == ("cell types", "all edges", False)]
    held = [tf for tf, value in types[0]["tfs"]["expression"].items() if not np.isnan(value)]
    shown = ", ".join(
        f"{_NAMES[scorer]} {np.mean([[row['tfs'][scorer][tf] for tf in held] for row in types]):.3f}"
        for scorer in SCORERS[:4]
    )
    notes.append(f"cell types, all edges, only the {len(held)} TFs that pbmc3k holds: {shown}")
    for scorer in ("conditioned", "expression"):
        shown = ", ".join(
            f"{tf} {np.mean([row['tfs'][scorer][tf] for row in types]):.2f}" for tf in types[0]["tfs"][scorer]
        )
        notes.append(f"cell types, all edges, {_NAMES[scorer]}: {shown} (nan: pbmc3k does not hold the TF)")
    return notes


def _print(table: pd.DataFrame, rows: list[dict[str, Any]]) -> None:
    for line in table.to_string(index=False).splitlines():
        say(line)
    for note in _notes(rows):
        say(note)
    for row in rows:
        if row["seed"] == rows[0]["seed"] and not row["permuted"] and row["edges"] == "all edges":
            for group in row["groups"]:
                say(
                    f"{row['check']}, {group['group']}, {group['num_cells']:,} cells: co-expression of training edges"
                    f" {group['auroc']:.3f} [{group['low']:.3f}, {group['high']:.3f}]; exponents"
                    f" {group['edge_shape']:.2f}, {group['tf_shape']:.2f}"
                )


def _plain(value: Any) -> Any:
    """JSON values, with null for what is missing."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return value


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
