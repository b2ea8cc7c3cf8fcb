"""Do predicted regulons distinguish stimulated cells from controls? Interferon regulators on Kang's PBMCs, through
decoupler.

``python -m experiments.studies.interferon RUN [--cells H5AD] [--out FILE] [--record NAME]``, with ``GRN_COTRAIN_DATA``
set. Half of these cells had interferon beta, so the activity of STAT1, STAT2, IRF9 and other interferon regulators must
be higher in them. Activities are univariate linear models of decoupler on log-normalised counts; each TF's shift is the
AUROC of stimulated against control cells (.5: none), and its rank is among all TFs of the same network.

Networks: what the run was trained on; that, rewired with all degrees kept; the same number of targets for each TF by
correlation alone; the run's predictions as ``grn-cotrain export edges --format decoupler`` writes them; only the new
edges of these (``--known drop``); those, rewired. A run trained on the very cells that are scored has seen which genes
move together in them, though not which cells are stimulated; ``--train-on-controls DIR`` trains a run that has seen
control cells only, and takes that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import anndata
import numpy as np
import pandas as pd
import typer
from scipy.stats import mannwhitneyu

from experiments.records import make_study_record, write_record
from grn_cotrain.commandline import run_app, say
from grn_cotrain.config import expand_environment, load_yaml, parse
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.rewire import rewired
from grn_cotrain.data.run_data import message_edges
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import MissingExtraError, UserError
from grn_cotrain.export.edge_file import export_edges
from grn_cotrain.files import write_json
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder

__all__ = ["REGULATORS", "activity_shift", "main", "networks", "read_cells", "shifts", "train_on_controls"]

REGULATORS = ("STAT1", "STAT2", "IRF9", "IRF1", "IRF7")
"""ISGF3 (STAT1, STAT2, IRF9), and two regulators that interferon induces."""

CELLS = "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad"
COLLECTRI = "grn_priors/collectri_human_from_omnipath.tsv.gz"
_RECIPE = Path(__file__).resolve().parents[1] / "configs" / "kang_collectri.yaml"
_LEAST_TARGETS = 5  # decoupler's default

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def read_cells(path: str | Path, *, condition: str = "condition", treated: str = "stim") -> anndata.AnnData:
    """Log-normalised cells with a boolean ``obs["treated"]``."""
    counts = load_counts(path)
    if condition not in counts.adata.obs or not (counts.adata.obs[condition] == treated).any():
        raise UserError(f"--cells '{path}': no cells with {condition} = {treated}; give Kang's interferon data")
    vocab = FeatureVocab.from_symbols(list(counts.adata.var_names))
    values_CG = MemoryStore.build(vocab, counts.adata.X, kind=counts.kind).normalised().copy()
    obs = pd.DataFrame({"treated": (counts.adata.obs[condition] == treated).to_numpy()}, index=counts.adata.obs_names)
    return anndata.AnnData(values_CG, obs=obs, var=pd.DataFrame(index=counts.adata.var_names))


def _net(symbols: np.ndarray, pairs_2E: np.ndarray, weight_E: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"source": symbols[pairs_2E[0]], "target": symbols[pairs_2E[1]], "weight": weight_E})


def _by_correlation(cells: CellStore, train_2E: np.ndarray, symbols: np.ndarray) -> pd.DataFrame:
    """For each TF as many targets as it has training edges, those of the largest correlation, with its sign."""
    sources, counts = np.unique(train_2E[0], return_counts=True)
    found_SG = correlations(Statistics(cells), sources)
    pairs, weights = [], []
    for source, count, r_G in zip(sources, counts, found_SG, strict=True):
        r_G[source] = 0
        best = np.argsort(-np.abs(r_G), kind="stable")[:count]
        pairs.append(np.stack([np.full(count, source), best]))
        weights.append(r_G[best])
    pairs_2E, weight_E = np.concatenate(pairs, axis=1), np.concatenate(weights)
    return _net(symbols, pairs_2E[:, weight_E != 0], weight_E[weight_E != 0])  # constant genes correlate with nothing


def _exported(run: Path, prep: Path, *, known: Literal["keep", "drop", "only"]) -> pd.DataFrame:
    """Output of ``grn-cotrain export edges --format decoupler --rank-by specific``, read back as a user would.

    Activities are read from each TF's own list, and a list of popular targets is the same for every TF.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.csv"
        export_edges(run, "decoupler", file, known=known, rank_by="specific", prep=prep, say=lambda line: None)
        return pd.read_csv(file)


def networks(run: Path, *, prep: Path | None = None, num_rewired: int = 3) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Name, and decoupler networks (several for rewired ones), of the run and its controls."""
    recipe = RunFolder.open(run).recipe()
    opened = Prep.open(prep or recipe.data.prep)
    split, symbols = opened.split(recipe.data.split), np.asarray(opened.vocab.symbols, dtype=object)
    messages = message_edges("true", split, opened.grn, seed=0)
    sign_E = np.where(messages.sign_E == 0, 1, messages.sign_E)
    yield "training network", [_net(symbols, split.train_2E, sign_E)]
    yield (
        "training network, rewired",
        [_net(symbols, rewired(split.train_2E, seed), sign_E) for seed in range(num_rewired)],
    )
    yield "correlation alone", [_by_correlation(opened.cells, split.train_2E, symbols)]
    yield "predicted", [_exported(run, opened.folder, known="keep")]
    new = _exported(run, opened.folder, known="drop")
    yield "predicted, new edges only", [new]
    pairs_2E = np.stack([[opened.vocab.index(name) for name in new[end]] for end in ("source", "target")])
    weight_E = new["weight"].to_numpy()
    yield (
        "new edges only, rewired",
        [_net(symbols, rewired(pairs_2E, seed), weight_E) for seed in range(num_rewired)],
    )


def activity_shift(cells: anndata.AnnData, net: pd.DataFrame) -> pd.DataFrame:
    """Shift of each TF's activity between treated and other cells.

    Returns
    -------
    DataFrame
        By TF: ``targets`` in the network, ``auroc`` of treated against other cells, ``cohens_d``, ``p`` (two-sided
        Mann-Whitney) and ``rank`` by AUROC, 1 the most raised. TFs with fewer than five targets among the cells' genes
        have no activity.

    Raises
    ------
    MissingExtraError
        decoupler is not installed.
    """
    try:
        import decoupler as dc
    except ImportError:
        raise MissingExtraError(
            "study interferon: decoupler is not installed; run `make setup-ci`, or pip install 'grn-cotrain[prior]'"
        ) from None

    scored = cells.copy()
    dc.mt.ulm(scored, net, tmin=_LEAST_TARGETS)
    scores = dc.pp.get_obsm(scored, "score_ulm").to_df()
    treated, others = scores[cells.obs["treated"]], scores[~cells.obs["treated"]]
    test = mannwhitneyu(treated, others, axis=0)
    spread = np.sqrt((treated.var(ddof=1) + others.var(ddof=1)) / 2)
    frame = pd.DataFrame(
        {
            "targets": net["source"].value_counts().reindex(scores.columns),
            "auroc": test.statistic / (len(treated) * len(others)),
            "cohens_d": (treated.mean() - others.mean()) / spread,
            "p": test.pvalue,
        },
        index=scores.columns,
    )
    return frame.assign(rank=frame["auroc"].rank(ascending=False, method="min").astype(int))


def shifts(run: Path, cells: anndata.AnnData, *, prep: Path | None = None, num_rewired: int = 3) -> pd.DataFrame:
    """One row a network and regulator: mean over the rewired copies where there are several."""
    rows = []
    for name, nets in networks(run, prep=prep, num_rewired=num_rewired):
        found = [activity_shift(cells, net) for net in nets]
        for tf in REGULATORS:
            each = [frame.loc[tf] for frame in found if tf in frame.index]
            values: dict[str, Any] = {"network": name, "edges": len(nets[0]), "num_tfs": len(found[0]), "tf": tf}
            for column in ("targets", "auroc", "cohens_d", "p", "rank"):
                values[column] = float(np.mean([row[column] for row in each])) if each else None
            values["median_auroc"] = float(np.mean([frame["auroc"].median() for frame in found]))
            rows.append(values)
    return pd.DataFrame(rows)


# Activities are read from targets that have been seen; there similarities to a TF's targets serve better than trees.
_SIMILARITIES = ("kernel_ridge", "target_knn", "double_knn")


def train_on_controls(
    data: Path,
    out: Path,
    *,
    genes: str = "all",
    max_steps: int = 60,
    grn: Path | None = None,
    evidence: tuple[str, ...] = _SIMILARITIES,
) -> Path:
    """Train a run, links alone, on the control cells of Kang's data.

    Parameters
    ----------
    data
        Folder of real data sets.
    out
        Folder for the cells, the prepared folder and the run.
    genes, max_steps
        Genes to keep, as ``grn-prep counts`` has them, and steps: fewer of both make a quicker, worse run.
    grn
        Network; default: CollecTRI's edges with a consensus sign.
    evidence
        Channels of evidence of the decoder.

    Returns
    -------
    Path
        The run folder.
    """
    from data_prep.counts import prepare_counts
    from data_prep.splits import prepare_splits
    from grn_cotrain.train.run import train

    cells = anndata.read_h5ad(data / CELLS)
    out.mkdir(parents=True, exist_ok=True)
    cells[cells.obs["condition"] == "ctrl"].copy().write_h5ad(out / "controls.h5ad")
    network, form = (data / COLLECTRI, "collectri:signed") if grn is None else (grn, "auto")
    prepare_counts(out / "controls.h5ad", out / "prep", genes=genes, grn=network, grn_format=form)
    prepare_splits(out / "prep", "unseen-target", seed=0)
    recipe = load_yaml(_RECIPE)
    del recipe["prep"]
    recipe["name"] = "kang_controls"
    recipe["data"]["prep"] = str(out / "prep")
    recipe["model"]["link_decoder"]["evidence"] = list(evidence)
    recipe["train"] |= {"schedule": {"name": "link_only"}, "max_steps": max_steps, "validate_every": max_steps // 2}
    return train(parse(Recipe, recipe), out / "run").folder


def print_table(table: pd.DataFrame) -> None:
    """AUROC and rank of each regulator, a row a network."""
    say(f"{'network':26s} {'edges':>6s} {'TFs':>4s} {'median':>7s}  " + "  ".join(f"{tf:>11s}" for tf in REGULATORS))
    for name, part in table.groupby("network", sort=False):
        first = part.iloc[0]
        cells = [f"{_cell(auroc, rank):>11s}" for auroc, rank in zip(part["auroc"], part["rank"], strict=True)]
        say(f"{name:26s} {first.edges:6,} {first.num_tfs:4} {first.median_auroc:7.3f}  " + "  ".join(cells))
    say("AUROC of stimulated against control cells, and the rank among the network's TFs; median: over all its TFs")


@app.command()
def study(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run folder.")] = None,
    cells: Annotated[Path | None, typer.Option(help="H5ad with obs['condition']; default: Kang's 2,000 PBMCs.")] = None,
    prep: Annotated[Path | None, typer.Option(help="The run's prepared folder, where it has moved.")] = None,
    train_on_controls_in: Annotated[
        Path | None, typer.Option("--train-on-controls", metavar="DIR", help="Train a run on control cells here.")
    ] = None,
    rewirings: Annotated[int, typer.Option(help="Rewired copies.")] = 3,
    out: Annotated[Path | None, typer.Option(help="JSON to write")] = None,
    record: Annotated[str | None, typer.Option(metavar="NAME", help="Keep as a run record of this name.")] = None,
) -> None:
    """Print the shift of the interferon regulators under each network."""
    if (run is None) == (train_on_controls_in is None):
        raise UserError("RUN: give a run folder, or --train-on-controls DIR")
    if rewirings < 1:
        raise UserError(f"--rewirings {rewirings}: give 1 or more")
    data = Path(expand_environment("${GRN_COTRAIN_DATA}"))
    if train_on_controls_in is not None:
        run = train_on_controls(data, train_on_controls_in)
    assert run is not None
    table = shifts(run, read_cells(cells or data / CELLS), prep=prep, num_rewired=rewirings)
    print_table(table)
    if out is not None:
        write_json(out, {"run": str(run), "rows": _rows(table)})
    if record is not None:
        header = ["network", "edges", *REGULATORS]
        shown = [
            [str(name), f"{part.iloc[0].edges:,}", *map(_cell, part["auroc"], part["rank"])]
            for name, part in table.groupby("network", sort=False)
        ]
        notes = [
            "AUROC of activity (decoupler, univariate linear model), stimulated against control cells; in brackets the"
            f" rank among the network's TFs; rewired networks: mean of {rewirings}",
            "trained on control cells only"
            if train_on_controls_in is not None
            else "trained on these cells, stimulated ones included, without their labels",
        ]
        body = {"header": header, "table": shown, "rows": _rows(table), "notes": notes}
        say(f"record: {write_record(make_study_record(record, body))}")


def _cell(auroc: float, rank: float) -> str:
    return "-" if pd.isna(auroc) else f"{auroc:.3f} ({rank:.0f})"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Plain JSON values; a TF without an activity has nulls."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")
    ]


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
