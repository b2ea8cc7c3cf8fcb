"""What do exported vectors of genes hold beyond degree and expression?

``python -m experiments.studies.gene_rows RUN [RUN ...] [--record]``, with runs of the same recipe and several seeds,
such as those of ``grn-cotrain compare``. Two tables, a row a kind of embedding, means over the runs of a split:

- *Rows*: the share of the variance of the vectors that training degree explains; the card's probe of regulon
  membership on held-out targets, and its difference from the best control, which is chosen in the controls' favour.
- *Shared regulation*: of two genes that both have held-out regulators, do they share one? Pairs are compared within
  strata of absolute correlation, of mean expression and of the product of their held-out in-degrees, so none of these
  can answer. The score is the cosine of the two vectors. Controls: correlation, PCA loadings, the model's inputs, and
  the training network alone. Intervals: bootstrap over genes, paired with the best control, of the first run.

Dimension letters: G genes, N tested genes, M pairs of genes, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer
from scipy.stats import rankdata

from experiments.records import make_study_record, write_record
from grn_cotrain.card.encoding import encoding_of
from grn_cotrain.card.inputs import CardInputs, read_inputs
from grn_cotrain.card.probes import NotRun, run_probe
from grn_cotrain.card.probes.features import TITLES, probe_features
from grn_cotrain.card.probes.regulons import regulon_probes
from grn_cotrain.card.vectors import nearest
from grn_cotrain.commandline import run_app, say
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import cell_draws
from grn_cotrain.present import number
from grn_cotrain.run_folder import RunFolder

__all__ = ["Shared", "main", "shared_regulation", "strata_of"]

_KINDS = ("static", "graph", "regulation")
_CONTROLS = ("pca", "inputs", "network")
_BINS = 3
_REPLICATES = 200
_MOST_GENES = 1500
_ROWS = ["split", "kind", "runs", "degree", "regulons, held out", "best control", "minus best control"]
_SHARED = ["split", "score", "runs", "pairs that share", "AUROC within strata", "minus best control"]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True, eq=False)
class Shared:
    """Pairs of genes with held-out regulators.

    Attributes
    ----------
    genes_N
        Rows of the card.
    pairs_2M
        Places in ``genes_N``, the first below the second.
    labels_M
        Whether they share a held-out regulator.
    stratum_M
        Stratum of each pair.
    """

    genes_N: np.ndarray
    pairs_2M: np.ndarray
    labels_M: np.ndarray
    stratum_M: np.ndarray

    def auroc(self, scores_M: np.ndarray, weight_N: np.ndarray | None = None) -> float:
        """Mean AUROC over strata, each weighted by its positives; ``weight_N`` resamples genes."""
        weight_M = np.ones(len(scores_M)) if weight_N is None else weight_N[self.pairs_2M].prod(axis=0).astype(float)
        total, positives = 0.0, 0.0
        order_M = np.lexsort((scores_M, self.stratum_M))
        bounds = np.flatnonzero(np.diff(self.stratum_M[order_M])) + 1
        for rows in np.split(order_M, bounds):
            true = weight_M[rows] * self.labels_M[rows]
            false = weight_M[rows] * ~self.labels_M[rows]
            if true.sum() > 0 and false.sum() > 0:
                _, tie = np.unique(scores_M[rows], return_inverse=True)
                true_T, false_T = np.bincount(tie, true), np.bincount(tie, false)
                below_T = np.cumsum(false_T) - false_T / 2
                total += float((true_T * below_T).sum() / false_T.sum())
                positives += float(true.sum())
        return total / positives if positives else float("nan")


def strata_of(columns: Sequence[np.ndarray], bins: int = _BINS) -> np.ndarray:
    """Number of the stratum of each pair, by ranks of each column in equal bins."""
    code_M = np.zeros(len(columns[0]), dtype=np.int64)
    for values_M in columns:
        bin_M = np.minimum((rankdata(values_M, method="average") - 1) * bins / len(values_M), bins - 1).astype(np.int64)
        code_M = code_M * bins + bin_M
    return code_M


def shared_regulation(inputs: CardInputs, correlation_GG: np.ndarray, rows_G: np.ndarray) -> Shared:
    """Pairs of the genes that have a held-out regulator, at most 1,500 genes.

    Parameters
    ----------
    inputs
        Genes and split.
    correlation_GG, rows_G
        Correlations of genes with genes, ``[N, N]``, and which rows of the card they are.
    """
    assert inputs.split is not None
    assert inputs.mean_expression_G is not None
    test_2E = inputs.positions(inputs.split.test_2E)
    tfs, place_E = np.unique(test_2E[0], return_inverse=True)
    held_NS = np.zeros((inputs.num_genes, len(tfs)), dtype=np.float32)
    held_NS[test_2E[1], place_E] = 1
    held_NS = held_NS[rows_G]
    first_M, second_M = np.triu_indices(len(rows_G), 1)
    degree_N, expression_N = held_NS.sum(axis=1), inputs.mean_expression_G[rows_G]
    columns = [
        np.abs(correlation_GG[first_M, second_M]),
        np.log(degree_N[first_M] * degree_N[second_M]),
        expression_N[first_M] + expression_N[second_M],
    ]
    labels_M = (held_NS @ held_NS.T)[first_M, second_M] > 0
    return Shared(rows_G, np.stack([first_M, second_M]), labels_M, strata_of(columns))


def tested_genes(inputs: CardInputs) -> np.ndarray:
    """Rows of the card with a held-out regulator; of more than 1,500 a sample."""
    assert inputs.split is not None
    rows_G = np.unique(inputs.positions(inputs.split.test_2E)[1])
    if len(rows_G) > _MOST_GENES:
        rows_G = np.sort(np.random.default_rng(5).choice(rows_G, _MOST_GENES, replace=False))
    return rows_G


def cosine(rows_ND: np.ndarray, shared: Shared) -> np.ndarray:
    """Cosine of the vectors of each pair, the mean vector taken out; 0 where one is empty."""
    centred_ND = rows_ND - rows_ND.mean(axis=0)
    size_N = np.linalg.norm(centred_ND, axis=1)
    unit_ND = centred_ND / np.where(size_N > 0, size_N, 1.0)[:, None]
    return np.asarray((unit_ND @ unit_ND.T)[shared.pairs_2M[0], shared.pairs_2M[1]])


def measured(run: Path) -> dict[str, Any]:
    """Numbers of one run: the rows of each kind, and shared regulation."""
    folder = RunFolder.open(run)
    recipe = folder.recipe()
    result: dict[str, Any] = {"split": f"{recipe.name}, {recipe.data.split}", "seed": recipe.seed, "kinds": {}}
    scores: dict[str, np.ndarray] = {}
    shared: Shared | None = None
    for kind in _KINDS:
        inputs = read_inputs(run, kind=kind, say=say)
        if inputs.split is None:
            raise UserError(f"RUN '{run}': {inputs.missing}; this study needs its split and cells")
        features = probe_features(inputs, seed=0)
        near = {"embedding": nearest(features["embedding"], 10)[0]}
        encoding = encoding_of(
            {"embedding": features["embedding"]},
            near,
            inputs.in_degree_G,
            inputs.out_degree_G,
            inputs.mean_expression_G,
            seed=0,
            replicates=20,
        )
        probe = regulon_probes(inputs, seed=0)[0]
        found = probe if isinstance(probe, NotRun) else run_probe(probe, features, replicates=_REPLICATES, seed=0)
        row: dict[str, Any] = {"degree": encoding.share["degree"].value}
        if not isinstance(found, NotRun):
            auroc = {score.features: score.auroc.value for score in found.scores}
            gap = found.difference
            row |= {"auroc": auroc, "best_control": found.best_control, "beats_controls": found.beats_controls}
            row |= {"minus_best": {"value": gap.value, "low": gap.low, "high": gap.high}}
        result["kinds"][kind] = row
        if shared is None:
            rows_G = tested_genes(inputs)
            correlation_NN = _correlations(folder, inputs, rows_G)
            shared = shared_regulation(inputs, correlation_NN, rows_G)
            scores = {"correlation": correlation_NN[shared.pairs_2M[0], shared.pairs_2M[1]]}
            scores |= {name: cosine(features[name][rows_G], shared) for name in _CONTROLS if name in features}
        scores[kind] = cosine(features["embedding"][shared.genes_N], shared)
    assert shared is not None
    result["shared"] = _compared(shared, scores)
    return result


def _correlations(folder: RunFolder, inputs: CardInputs, rows_G: np.ndarray) -> np.ndarray:
    data = folder.load_data()
    genes_N = inputs.feature_G[rows_G]
    return correlations(Statistics(data.cells, data.cell_split.train_C), genes_N)[:, genes_N]


def _compared(shared: Shared, scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """AUROC of every score, and the paired difference of each kind from the best control."""
    auroc = {name: shared.auroc(scores_M) for name, scores_M in scores.items()}
    best = max((name for name in scores if name not in _KINDS), key=lambda name: auroc[name])
    draws_BN = cell_draws(len(shared.genes_N), _REPLICATES, 0)
    names = [best, *(kind for kind in _KINDS if kind in scores)]
    drawn = {name: np.array([shared.auroc(scores[name], draw_N) for draw_N in draws_BN]) for name in names}
    gaps = {}
    for kind in names[1:]:
        low, high = np.nanquantile(drawn[kind] - drawn[best], [0.025, 0.975])
        gaps[kind] = {"value": auroc[kind] - auroc[best], "low": float(low), "high": float(high)}
    return {"auroc": auroc, "best_control": best, "minus_best": gaps, "positives": int(shared.labels_M.sum())}


def tables(found: Sequence[dict[str, Any]]) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of text of both tables, means over the runs of a split; intervals are those of the first run."""
    rows, shares = [], []
    for split in dict.fromkeys(one["split"] for one in found):
        mine = [one for one in found if one["split"] == split]
        for kind in _KINDS:
            own = [one["kinds"][kind] for one in mine]
            line = [split, kind, str(len(own)), number(mean(one["degree"] for one in own))]
            if "auroc" in own[0]:
                best = own[0]["best_control"]
                line.append(number(mean(one["auroc"]["embedding"] for one in own)))
                line.append(f"{TITLES.get(best, best)} {number(own[0]['auroc'][best])}")
                line.append(_gap([one["minus_best"] for one in own]))
            rows.append(line + ["-"] * (len(_ROWS) - len(line)))
        together = [one["shared"] for one in mine]
        for name in together[0]["auroc"]:
            gaps = [one["minus_best"][name] for one in together if name in one["minus_best"]]
            title = name if name in (*_KINDS, "correlation") else TITLES.get(name, name)
            value = number(mean(one["auroc"][name] for one in together))
            shared = f"{together[0]['positives']:,}"
            shares.append([split, title, str(len(together)), shared, value, _gap(gaps) if gaps else "-"])
    return rows, shares


def _gap(gaps: Sequence[dict[str, float]]) -> str:
    low, high = number(gaps[0]["low"], sign=True), number(gaps[0]["high"], sign=True)
    return f"{number(mean(one['value'] for one in gaps), sign=True)} [{low}, {high}]"


@app.command()
def study(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    record: Annotated[bool, typer.Option("--record", help="Keep a record of each table.")] = False,
) -> None:
    """Measure the vectors of each run and print both tables."""
    found = []
    for run in runs:
        found.append(measured(run))
        say(f"{run.name}: done")
    rows, shares = tables(found)
    for header, table in ((_ROWS, rows), (_SHARED, shares)):
        for line in [header, *table]:
            say("  ".join(line))
    if record:
        notes = ["intervals: bootstrap over genes (and TFs, for regulons), of the first run"]
        for file, header, table in (("gene_rows", _ROWS, rows), ("shared_regulation", _SHARED, shares)):
            body = {"header": header, "table": table, "rows": found, "notes": notes}
            say(f"record: {write_record(make_study_record(file, body))}")


def main() -> int:
    """Command line; returns the exit code."""
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(main())
