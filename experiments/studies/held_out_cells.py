"""Does an embedding of cells carry over to cells that no training saw, where PCA must be fitted again?

``python -m experiments.studies.held_out_cells --out DIR [--cases NAME,NAME] [--seeds 0,1,2]
[--record]``, with ``GRN_COTRAIN_DATA`` set. A case trains on some cells of a data set and embeds the others: a
protocol (mixology, Drop-seq), a donor (bone marrow, s1d2), or another data set (Kang, then pbmc3k; pbmc3k, then Kang).
Two measures, by the labels of the held-out cells: the commonest label among the 15 nearest other held-out cells
(``neighbours``), and among the 15 nearest training cells (``transfer``, which is how labels are carried over). Controls
of the same cells: PCA (50 components) of the training cells applied to the new ones, PCA refitted on the new cells (no
transfer), and log counts (500 variable genes of the training cells). Differences are paired over held-out cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import anndata
import h5py
import numpy as np
import typer
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier

from experiments.records import make_study_record, write_record
from experiments.studies.cells import recipe_of
from grn_cotrain.apply import OpenRun
from grn_cotrain.card.cell_measures import knn_accuracy_C, nearest_CK
from grn_cotrain.commandline import run_app, say
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.config import expand_environment
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.store import CellStore
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.evaluate.linear_probe import expression_features
from grn_cotrain.export.cells import cell_embeddings
from grn_cotrain.files import read_json, write_json
from grn_cotrain.jobs.embed import EmbedOptions
from grn_cotrain.present import number
from grn_cotrain.train.run import train

__all__ = ["CASES", "held_out_table", "main"]

_RECORD = "held_out_cells"
_NEIGHBOURS = 15
_REPLICATES = 1000
_READ = EmbedOptions(min_mapped=0.05)
_HEADER = ["held out", "embedding", "seeds", "neighbours", "minus PCA refitted", "transfer", "minus PCA of training"]
_TITLES = {
    "embedding": "model, as it is",
    "pca": "PCA of training cells, applied",
    "hvg": "log counts, 500 variable genes",
    "refitted": "PCA refitted on the held-out cells",
}

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Case:
    """Cells to train on, and cells to hold out.

    Attributes
    ----------
    counts
        File of the training cells, and of the held-out ones where ``other`` is empty.
    label
        Column of the held-out cells.
    group
        Column and value of the held-out cells; empty: all cells of ``other``.
    other
        Another file. Its labels are not those of the training cells, so nothing is transferred.
    genes
        Choice of genes.
    """

    counts: str
    label: str
    group: tuple[str, str] | None = None
    other: str = ""
    genes: str = "all"


_KANG = "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad"
_PBMC3K = "pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad"
CASES: Mapping[str, Case] = {
    "mixology": Case(
        "sc_mixology_celllines/sc_mixology_5batches.h5ad", "cell_line", ("batch", "sc_dropseq"), genes="hvg:3000+tf"
    ),
    "bmmc": Case("bmmc_cite_neurips2021_mini/bmmc_cite_mini.h5mu", "cell_type", ("batch", "s1d2")),
    "kang-pbmc3k": Case(_KANG, "cell_type", other=_PBMC3K),
    "pbmc3k-kang": Case(_PBMC3K, "condition", other=_KANG),
}


def parts_of(case: Case, data: Path, folder: Path) -> tuple[Path, Path]:
    """Files of the training cells and of the held-out cells, written once."""
    files = folder / "training.h5ad", folder / "held_out.h5ad"
    if not all(file.is_file() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        whole = _read(data / case.counts)
        if case.group is None:
            parts = whole, _read(data / case.other)
        else:
            column, value = case.group
            held_C = (whole.obs[column].astype(str) == value).to_numpy()
            parts = whole[~held_C].copy(), whole[held_C].copy()
        for part, file in zip(parts, files, strict=True):
            part.write_h5ad(file)
    return files


def _read(file: Path) -> anndata.AnnData:
    if file.suffix == ".h5ad":
        return anndata.read_h5ad(file)
    with h5py.File(file) as whole:
        genes: anndata.AnnData = anndata.io.read_elem(whole["mod/rna"])
    return genes


def measured(run: Path, case: Case, files: tuple[Path, Path]) -> dict[str, Any]:
    """Accuracies of the model and of the controls, and the differences that matter."""
    opened = OpenRun(run, side="cells")
    stores: list[CellStore] = [opened.apply_to(file, _READ).cells for file in files]
    values = [cell_embeddings(opened, opened.read(file, _READ), _READ).values_CD for file in files]
    seen_C, new_C = (np.isfinite(part_CD).all(axis=1) for part_CD in values)
    stores = [store.take(np.flatnonzero(has_C)) for store, has_C in zip(stores, (seen_C, new_C), strict=True)]
    features: dict[str, Sequence[np.ndarray]] = {"embedding": (values[0][seen_C], values[1][new_C])}
    both = _joined(*stores)
    fit_C = np.arange(stores[0].num_cells)
    for name, found_CD in expression_features(both, fit_C).items():
        features[name] = found_CD[: len(fit_C)], found_CD[len(fit_C) :]
    refitted_CD = expression_features(stores[1], np.arange(stores[1].num_cells))["pca"]
    truth_C = stores[1].obs[case.label].astype(str).to_numpy()
    near = {name: part[1] for name, part in features.items()} | {"refitted": refitted_CD}
    neighbours = {name: knn_accuracy_C(nearest_CK(values_CD, _NEIGHBOURS), truth_C) for name, values_CD in near.items()}
    transfer: dict[str, np.ndarray] = {}
    if case.group is not None:
        labels_C = stores[0].obs[case.label].astype(str).to_numpy()
        for name, (old_CD, new_CD) in features.items():
            found = KNeighborsClassifier(_NEIGHBOURS).fit(old_CD, labels_C).predict(new_CD)
            transfer[name] = found == truth_C
    draws_BC = cell_draws(len(truth_C), _REPLICATES, 0)
    return {
        "num_training": len(fit_C),
        "num_held_out": len(truth_C),
        "neighbours": {name: float(right_C.mean()) for name, right_C in neighbours.items()},
        "transfer": {name: float(right_C.mean()) for name, right_C in transfer.items()},
        "minus_refitted": _difference(neighbours["embedding"], neighbours["refitted"], draws_BC),
        "minus_pca": _difference(transfer["embedding"], transfer["pca"], draws_BC) if transfer else None,
    }


def _joined(one: CellStore, other: CellStore) -> CellStore:
    """Cells of two stores of one vocabulary, one after the other."""
    parts = [store.rows(np.arange(store.num_cells))["rna"] for store in (one, other)]
    depth_C = np.concatenate([store.assays["rna"].size_factor_C for store in (one, other)])
    return MemoryStore.build(one.vocab, sparse.vstack(parts, format="csr"), kind="counts", size_factor_C=depth_C)


def _difference(one_C: np.ndarray, other_C: np.ndarray, draws_BC: np.ndarray) -> dict[str, float]:
    """Mean of the paired difference with its 95 % interval over cells."""
    gap_C = one_C.astype(float) - other_C
    low, high = np.quantile(draws_BC @ gap_C / draws_BC.sum(axis=1), [0.025, 0.975])  # draws are counts
    return {"value": float(gap_C.mean()), "low": float(low), "high": float(high)}


def held_out_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """Rows of text by case: means over seeds; the interval is that of the first seed, over cells."""
    lines = []
    for case, rows in found.items():
        for name, title in _TITLES.items():
            near = number(mean(row["neighbours"][name] for row in rows))
            moved = [row["transfer"][name] for row in rows if name in row["transfer"]]
            gaps = ["-", "-"]
            if name == "embedding":
                gaps = [_interval(rows, "minus_refitted"), _interval(rows, "minus_pca")]
            seeds = str(len(rows)) if name == "embedding" else ""
            lines.append([case, title, seeds, near, gaps[0], number(mean(moved)) if moved else "-", gaps[1]])
    return lines


def _interval(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    gaps = [row[key] for row in rows if row[key] is not None]
    if not gaps:
        return "-"
    low, high = (number(gaps[0][end], sign=True) for end in ("low", "high"))
    return f"{number(mean(gap['value'] for gap in gaps), sign=True)} [{low}, {high}]"


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder; a second call continues where the first one stopped.")],
    cases: Annotated[str, typer.Option(help="Names of cases, separated by commas.")] = ",".join(CASES),
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0,1,2",
    steps: Annotated[int, typer.Option(help="Training steps; a run ends after five minutes in any case.")] = 100,
    record: Annotated[bool, typer.Option("--record", help="Keep a run record.")] = False,
) -> None:
    """Train on some cells and judge the embedding of the others."""
    data, out = Path(expand_environment("${GRN_COTRAIN_DATA}")), out.resolve()
    for seed in parse_seeds(seeds):
        for name in map(str.strip, cases.split(",")):
            case, file = CASES[name], out / "rows" / f"{name}_{seed}_{steps}.json"
            if file.is_file():
                continue
            files = parts_of(case, data, out / "parts" / name)
            recipe = recipe_of(data, out, "pbmc3k", "A+B", seed, steps)  # its files are replaced by those of the case
            assert recipe.prep is not None
            prep = replace(recipe.prep, counts=(str(files[0]),), genes=case.genes)
            place = replace(recipe.data, prep=str(out / "worlds" / name))
            folder = out / "runs" / file.stem
            train(replace(recipe, name=name, prep=prep, data=place), folder, resume=folder.is_dir())
            write_json(file, {"case": name, "seed": seed, "steps": steps, **measured(folder, case, files)})
            say(f"{file.stem}: done")
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in CASES}
    for file in sorted((out / "rows").glob("*.json")):
        row = read_json(file)
        found[row["case"]].append(row)
    found = {name: rows for name, rows in found.items() if rows}
    body = {
        "header": _HEADER,
        "table": held_out_table(found),
        "rows": [row for rows in found.values() for row in rows],
        "notes": [
            f"width 32, {steps} steps, one thread; labels train nothing and choose nothing",
            "intervals: bootstrap over held-out cells, of the first seed",
        ],
    }
    write_json(out / "study.json", body)
    for line in [_HEADER, *held_out_table(found)]:
        say("  ".join(line))
    if record:
        say(f"record: {write_record(make_study_record(_RECORD, body))}")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
