"""Choices of a first run and their reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd

from grn_cotrain.data.edge_report import EdgeReport
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.start.choose import choose_genes, choose_split, choose_tokens, roles_of_columns


def network(num_tfs: int, num_targets: int) -> GRN:
    names = [f"G{i}" for i in range(num_tfs + num_targets)]
    vocab = FeatureVocab.from_symbols(names)
    rng = np.random.default_rng(0)
    rows = [
        (names[tf], names[num_tfs + target])
        for tf in range(num_tfs)
        for target in rng.permutation(num_targets)[: max(2, num_targets // 3)]
    ]
    frame = pd.DataFrame(rows, columns=["source", "target"]).assign(weight=np.float32(1), sign=0, evidence="")
    return GRN.from_symbols(frame, vocab, EdgeReport())


def test_unseen_targets_where_enough_tfs_are_tested() -> None:
    kind, split = choose_split(network(20, 60))
    assert (kind, split.value) == ("unseen-target", "unseen-target-seed0")
    assert split.why.startswith("20 TFs are tested on 14 targets without a known regulator")
    assert "unseen-tf: 4" in split.why
    assert "no claim" not in split.why


def test_few_tfs_are_told() -> None:
    _, split = choose_split(network(6, 40))
    assert "fewer than 10 TFs support no claim" in split.why


def test_genes_and_tokens() -> None:
    assert choose_genes(5000, 10).value == "all"
    chosen = choose_genes(9015, 2795)
    assert chosen.value == "hvg:2000+tf+targets"
    assert "2,795 genes of the network" in chosen.why
    assert choose_tokens([10, 20, 30]).value == "64"
    assert choose_tokens([265]).value == "512"
    assert choose_tokens([5000]).value == "1024"


def test_roles_of_columns() -> None:
    obs = pd.DataFrame(
        {
            "Donor_ID": ["a", "b", "c", "a"],
            "stim": ["x", "y", "x", "y"],
            "cell_type": ["T", "B", "T", "B"],
            "n_counts": [1.5, 2.5, 3.5, 4.5],
            "barcode": list("wxyz"),
            "phase": ["G1", "S", "G1", "S"],
            "constant": ["same"] * 4,
        }
    )
    found = roles_of_columns(obs)
    assert found["batch"] == ["Donor_ID (3)"]
    assert found["condition"] == ["stim (2)"]
    assert found["cell type"] == ["cell_type (2)"]
    assert "phase (2)" in found["other"]
    assert "constant (1)" not in str(found)
