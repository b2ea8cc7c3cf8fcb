"""Figures that anyone can reproduce on the published files: two vectors of biases reach the best published scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from grn_cotrain.controls import CONTROLS
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.leakage import audit
from grn_cotrain.data.split_published import published_split
from grn_cotrain.data.splits import make_split
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.metrics.links import auroc, average_precision

pytestmark = pytest.mark.real

# cell, genes, then AUROC and AUPRC of degree product and of additive logistic regression (C = 1).
FIGURES = [
    ("hESC", 500, 0.879, 0.583, 0.883, 0.617),
    ("hESC", 1000, 0.882, 0.591, 0.886, 0.621),
    ("hHEP", 500, 0.898, 0.826, 0.900, 0.840),
    ("hHEP", 1000, 0.903, 0.836, 0.904, 0.848),
    ("mESC", 500, 0.923, 0.849, 0.922, 0.856),
    ("mESC", 1000, 0.928, 0.856, 0.927, 0.863),
    ("mHSC-E", 500, 0.911, 0.929, 0.921, 0.940),
    ("mHSC-E", 1000, 0.930, 0.941, 0.938, 0.952),
]
TOLERANCE = 0.005


def gene_table(real_data: Path, network: str, cell: str, size: int) -> pd.DataFrame:
    genes = pd.read_csv(real_data / "beeline_genelink" / "networks" / "genes.tsv.gz", sep="\t", keep_default_na=False)
    chosen = (genes["network"] == network) & (genes["cell"] == cell) & (genes["set"] == f"TFs+{size}")
    return genes[chosen].sort_values("index")


def read_split(real_data: Path, cell: str, size: int) -> EdgeSplit:
    """The scRegNet files; hESC validates on GENELink's own file, elsewhere the tenth taken from train is given back."""
    folder = real_data / "beeline_genelink" / "splits"
    train, test = (folder / f"scregnet__{cell}__TFs+{size}__{part}_set.tsv.gz" for part in ("Train", "Test"))
    own = folder / f"genelink_demo_specific__{cell}__{size}__Validation_set.tsv.gz"
    vocab = FeatureVocab.from_symbols(
        gene_table(real_data, "specific_chipseq", cell, size)["gene"], species="mouse" if cell[0] == "m" else "human"
    )
    split = published_split(
        train,
        own if cell == "hESC" else None,
        test,
        vocab=vocab,
        index=f"genes.tsv.gz:specific_chipseq/{cell}/TFs+{size}",
    )
    if cell == "hESC":
        return split
    assert split.train_negatives_2N is not None
    assert split.validation_negatives_2N is not None
    return dataclasses.replace(
        split,
        train_2E=np.concatenate([split.train_2E, split.validation_2E], axis=1),
        train_negatives_2N=np.concatenate([split.train_negatives_2N, split.validation_negatives_2N], axis=1),
        validation_2E=split.validation_2E[:, :0],
        validation_negatives_2N=split.validation_negatives_2N[:, :0],
    )


@pytest.mark.parametrize(("cell", "size", *(f"figure{i}" for i in range(4))), FIGURES)
def test_biases_alone_reach_the_published_scores(
    real_data: Path, cell: str, size: int, figure0: float, figure1: float, figure2: float, figure3: float
) -> None:
    split = read_split(real_data, cell, size)
    test = split.pairs("test")
    found = []
    for name, options in (("degree_product", {}), ("additive_logistic", {"C": 1.0})):
        scores = CONTROLS.build(name, options).fit(split, None).score(test.pairs_2M)
        found += [auroc(scores, test.labels_M), average_precision(scores, test.labels_M)]
    print(f"{cell} {size}: " + " ".join(f"{value:.4f}" for value in found))
    assert found == pytest.approx([figure0, figure1, figure2, figure3], abs=TOLERANCE)


def test_C_3_and_C_tuned_on_genelinks_validation(real_data: Path) -> None:
    split = read_split(real_data, "hESC", 500)
    test = split.pairs("test")
    for options in ({"C": 3.0}, {}):
        control = CONTROLS.build("additive_logistic", options).fit(split, None)
        scores = control.score(test.pairs_2M)
        found = auroc(scores, test.labels_M), average_precision(scores, test.labels_M)
        print(f"hESC 500, C={control.C}: {found[0]:.4f} {found[1]:.4f}")
        if options:
            assert found == pytest.approx((0.885, 0.621), abs=TOLERANCE)
        else:
            assert found[0] > 0.88


def string_network(real_data: Path) -> GRN:
    edges = pd.read_csv(real_data / "beeline_genelink" / "networks" / "edges.tsv.gz", sep="\t", keep_default_na=False)
    chosen = (edges["network"] == "string") & (edges["cell"] == "hESC") & (edges["set"] == "TFs+500")
    frame = edges[chosen].rename(columns={"TF": "source", "Target": "target"})[["source", "target"]]
    return GRN.from_frame(frame, FeatureVocab.from_symbols(gene_table(real_data, "string", "hESC", 500)["gene"]))


def careless_split(grn: GRN, seed: int) -> EdgeSplit:
    """A third of each TF's targets is tested; the reversed copies of these edges stay in training."""
    rng = np.random.default_rng(seed)
    test_E = np.zeros(grn.num_edges, dtype=bool)
    for source in grn.source_index:
        mine = rng.permutation(np.flatnonzero(grn.pairs_2E[0] == source))
        test_E[mine[: round(len(mine) / 3)]] = True
    like = make_split(grn, "random")[0]
    none = like.validation_2E[:, :0]
    return dataclasses.replace(
        like,
        name="careless",
        train_2E=grn.pairs_2E[:, ~test_E],
        test_2E=grn.pairs_2E[:, test_E],
        validation_2E=none,
        withheld_2E=none,
    )


def graph_features(split: EdgeSplit, pairs_2M: np.ndarray) -> np.ndarray:
    """log common neighbours, reversed edge, log degrees: ``[M, 4]``, from training edges alone."""
    columns = [CONTROLS.build(name).fit(split, None).score(pairs_2M) for name in ("common_neighbours", "reversed_edge")]
    into = CONTROLS.build("target_degree").fit(split, None).score(pairs_2M)
    out = CONTROLS.build("degree_product").fit(split, None).score(pairs_2M) / (into + 0.5)
    return np.stack([np.log1p(columns[0]), columns[1], np.log1p(into), np.log1p(out)], axis=1)


@pytest.mark.slow
def test_three_graph_features_reach_the_best_printed_model_on_string(real_data: Path) -> None:
    """Common neighbours + reversed edge + degree: .97 / .77 on a careless split of hESC STRING, without expression.

    The average precision depends on how many negatives are tested, which the figure leaves open: at the network's
    density (.0136) it is .75-.76, at the density that BEELINE prints (.024) .80.
    """
    grn = string_network(real_data)
    found = []
    for seed in range(3):
        split = careless_split(grn, seed)
        assert not audit(split).ok  # the audit sees what makes it so easy
        train, test = split.pairs("train"), split.pairs("test")
        model = LogisticRegression(max_iter=500).fit(graph_features(split, train.pairs_2M), train.labels_M)
        scores = model.decision_function(graph_features(split, test.pairs_2M))
        rng = np.random.default_rng(seed)
        values = [auroc(scores, test.labels_M)]
        for density in (grn.num_edges / (len(grn.source_index) * grn.num_genes), 0.024):
            num_negatives = round(test.labels_M.sum() * (1 / density - 1))
            chosen = np.append(
                np.flatnonzero(test.labels_M), rng.permutation(np.flatnonzero(~test.labels_M))[:num_negatives]
            )
            values.append(average_precision(scores[chosen], test.labels_M[chosen]))
        found.append(values)
    mean = np.mean(found, axis=0)
    print(f"hESC STRING, careless: AUROC {mean[0]:.4f}, AUPRC {mean[1]:.4f} at its density, {mean[2]:.4f} at .024")
    assert mean[0] == pytest.approx(0.97, abs=TOLERANCE)
    assert mean[1] < 0.77 < mean[2]


def test_reversed_edges_tell_a_careless_split_from_a_guarded_one(real_data: Path) -> None:
    grn = string_network(real_data)
    values = {}
    for split in (careless_split(grn, 0), make_split(grn, "random")[0]):
        test = split.pairs("test")
        scores = CONTROLS.build("reversed_edge").fit(split, None).score(test.pairs_2M)
        values[split.name] = auroc(scores, test.labels_M)
    print(values)
    assert values["careless"] > 0.75
    assert values["random-seed0"] == pytest.approx(0.5, abs=0.01)
