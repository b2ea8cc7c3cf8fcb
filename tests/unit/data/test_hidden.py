"""What imported splits hold out is derived from their pairs, and controls use a prior for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls.pair_evidence import degree_logits
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.hidden import hidden_genes
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.split_published import published_split
from grn_cotrain.data.splits import make_split
from grn_cotrain.metrics.links import auroc
from tests.cases.networks import grn_of, random_grn, vocab_of


def undirected_hubs() -> GRN:
    """Twelve TFs that regulate each other both ways, and a few of 60 genes that most of them regulate."""
    rng = np.random.default_rng(0)
    chance_G = np.where(np.arange(60) < 12, 0.5, rng.choice([0.05, 0.6], 60, p=[0.8, 0.2]))
    adjacency = rng.random((60, 60)) < chance_G
    adjacency[12:] = False
    adjacency[:12, :12] |= adjacency[:12, :12].T.copy()
    np.fill_diagonal(adjacency, False)
    return grn_of(np.stack(np.nonzero(adjacency)), 60)


def as_files(split: EdgeSplit, folder: Path) -> EdgeSplit:
    """The split of a network, written as labelled files and read back."""
    paths = {}
    for part in ("train", "validation", "test"):
        pairs = split.pairs(part)  # type: ignore[arg-type]
        pairs_2M, labels_M = pairs.pairs_2M, pairs.labels_M
        if part == "train":
            held_M = (
                np.isin(pair_keys(pairs_2M, split.num_genes), pair_keys(split.all_positives(), split.num_genes))
                & ~labels_M
            )
            pairs_2M, labels_M = pairs_2M[:, ~held_M], labels_M[~held_M]
        frame = pd.DataFrame(
            {
                "TF": [f"GENE{i}" for i in pairs_2M[0]],
                "Target": [f"GENE{i}" for i in pairs_2M[1]],
                "Label": 1 * labels_M,
            }
        )
        paths[part] = folder / f"{part}.csv"
        frame.to_csv(paths[part], index=False)
    return published_split(*paths.values(), vocab=vocab_of(split.num_genes))


@pytest.mark.parametrize(
    ("train", "positive", "validation", "test", "expected"),
    [
        ([1, 2, 3], [1, 2], [3], [1, 4], [4]),  # named by no training pair
        ([1, 2, 3], [1, 2], [5], [1, 4], [4, 5]),  # of validation, too
        ([1, 2, 3, 4], [1, 2], [3], [1, 4], []),  # 4 has labelled negatives: its degree is 0
        ([1, 2, 3, 4], [1, 2], [1], [3, 4], [3, 4]),  # the whole side is held out, whatever negatives there are
        ([1, 2], [1], [], [], []),
    ],
)
def test_genes_without_a_training_pair_are_held_out(
    train: list[int], positive: list[int], validation: list[int], test: list[int], expected: list[int]
) -> None:
    given = (np.array(genes, dtype=np.int64) for genes in (train, positive, validation, test))
    assert hidden_genes(*given).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "undirected"),
    [("unseen-tf", False), ("unseen-tf", True), ("unseen-target", False), ("unseen-both", False)],
)
def test_an_imported_split_holds_out_what_the_split_that_it_was_made_of_holds_out(
    kind: str, undirected: bool, tmp_path: Path
) -> None:
    own = make_split(random_grn(undirected=undirected), kind)[0]  # type: ignore[arg-type]
    imported = as_files(own, tmp_path)
    assert imported.held_out == own.held_out
    named = {0: own.pairs("test").pairs_2M[0], 1: own.pairs("test").pairs_2M[1]}
    np.testing.assert_array_equal(
        np.intersect1d(imported.hidden_sources_S, named[0]), np.intersect1d(own.hidden_sources_S, named[0])
    )
    np.testing.assert_array_equal(
        np.intersect1d(imported.hidden_targets_N, named[1]), np.intersect1d(own.hidden_targets_N, named[1])
    )
    assert_no_leak(imported, imported.train_2E)


def test_a_held_out_target_has_the_prior_and_not_degree_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On an undirected network the held-out TFs are held-out targets too, and among the seen targets degree tells."""
    own = make_split(undirected_hubs(), "unseen-tf")[0]
    imported = as_files(own, tmp_path)
    pairs = own.pairs("test")
    before = replace(imported, hidden_sources_S=np.arange(0), hidden_targets_N=np.arange(0))
    found = {
        name: auroc(CONTROLS.build("target_degree").fit(split, None).score(pairs.pairs_2M), pairs.labels_M)
        for name, split in (("own", own), ("imported", imported), ("before", before))
    }
    assert found == pytest.approx({"own": 0.8051, "imported": 0.8051, "before": 0.6752}, abs=1e-4)
    before.save(tmp_path / "splits")
    with caplog.at_level("WARNING"):
        EdgeSplit.load(tmp_path / "splits", "published")
    told = [record.getMessage() for record in caplog.records if "held out of training but not marked" in record.message]
    assert [line.split(":")[1].split(" are")[0] for line in told] == [" 6 TFs", " 6 targets"]


def test_labelled_negatives_of_a_held_out_side_are_not_read(tmp_path: Path) -> None:
    """TFs 0 to 2; targets 10 to 15 train, 16 to 19 are tested; the training file labels negatives of 16 and 17 too."""
    rows = {
        "train": [(s, t, int((s + t) % 2 == 0)) for s in (0, 1, 2) for t in range(10, 16)] + [(0, 16, 0), (1, 17, 0)],
        "test": [(s, t, int((s + t) % 2 == 0)) for s in (1, 2) for t in range(16, 20) if (s, t) != (1, 17)],
    }
    paths = {}
    for part, lines in rows.items():
        paths[part] = tmp_path / f"{part}.csv"
        paths[part].write_text("TF,Target,Label\n" + "".join(f"GENE{s},GENE{t},{y}\n" for s, t, y in lines))
    split = published_split(paths["train"], None, paths["test"], vocab=vocab_of(20))
    assert split.held_out == "target"
    assert split.hidden_targets_N.tolist() == [16, 17, 18, 19]
    assert split.hidden_sources_S.tolist() == []
    assert not np.isin(split.train_targets_N, split.hidden_targets_N).any()
    table = EdgeTable.of(split)
    assert not table.known_SG[:, 16:].any()
    assert (table.target_rate_G[16:] == table.target_rate_G[0]).all()  # gene 0 is no target anywhere: the prior
    assert len(set(degree_logits(split)[1][16:])) == 1
