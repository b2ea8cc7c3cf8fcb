"""The published files as they are: counts, prevalence, and what the audit notes about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.split_published import published_split, read_gene_index
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

pytestmark = pytest.mark.real

# source, cell, size: labelled pairs and positives of train (before a validation share) and test; reversed test edges.
SCREGNET = {
    ("hESC", 500): (20677, 3030, 7142, 1061, 7),
    ("hESC", 1000): (32065, 4729, 11047, 1641, 5),
    ("hHEP", 500): (19002, 6641, 6563, 2300, 18),
    ("hHEP", 1000): (30026, 10410, 10348, 3593, 24),
    ("mESC", 500): (65897, 19805, 22736, 6852, 167),
    ("mESC", 1000): (96460, 28634, 33229, 9888, 164),
    ("mHSC-E", 500): (13632, 7731, 4718, 2672, 36),
    ("mHSC-E", 1000): (26565, 14707, 9164, 5071, 60),
}
GENELINK = {
    ("hESC", 500): (20677, 3030, 3087, 454, 7142, 1061),
    ("hESC", 1000): (32065, 4729, 4794, 714, 11047, 1641),
    ("mESC", 500): (65895, 19803, 9839, 2956, 22738, 6854),
    ("mESC", 1000): (96460, 28634, 14402, 4273, 33229, 9888),
}


def scregnet(folder: Path, cell: str, size: int, part: str) -> Path:
    return folder / "splits" / f"scregnet__{cell}__TFs+{size}__{part}_set.tsv.gz"


def genelink(folder: Path, cell: str, size: int, part: str) -> Path:
    return folder / "splits" / f"genelink_demo_specific__{cell}__{size}__{part}_set.tsv.gz"


def index_of(cell: str, size: int) -> str:
    return f"genes.tsv.gz:specific_chipseq/{cell}/TFs+{size}"


def vocab_of(folder: Path, cell: str, size: int) -> FeatureVocab:
    genes = read_gene_index(index_of(cell, size), beside=folder / "splits" / "any")
    symbols = tuple(genes[i] for i in sorted(genes))
    number = len(symbols)
    return FeatureVocab(symbols, ("",) * number, ("gene",) * number, (True,) * number, "unknown")


@pytest.fixture
def folder(real_data: Path) -> Path:
    return real_data / "beeline_genelink"


def read(folder: Path, cell: str, size: int, train: Path, validation: Path | None, test: Path) -> EdgeSplit:
    return published_split(train, validation, test, vocab=vocab_of(folder, cell, size), index=index_of(cell, size))


@pytest.mark.parametrize(("cell", "size"), SCREGNET)
def test_scregnet_files(folder: Path, cell: str, size: int) -> None:
    train_pairs, train_positives, test_pairs, test_positives, num_reversed = SCREGNET[cell, size]
    train, test = (scregnet(folder, cell, size, part) for part in ("Train", "Test"))
    split = read(folder, cell, size, train, None, test)
    assert split.counts("test") == (test_positives, test_pairs)
    both = [sum(c) for c in zip(split.counts("train"), split.counts("validation"), strict=True)]
    assert both == [train_positives, train_pairs]
    assert split.counts("validation")[1] == pytest.approx(0.1 * train_pairs, abs=1)
    assert split.prevalence("test") == pytest.approx(train_positives / train_pairs, abs=0.003)
    report = assert_no_leak(split, split.train_2E)
    notes = [f for f in report.findings if f.name == "reversed-edge" and "test" in f.meaning]
    # A reversed edge may lie in the validation share instead of in train.
    assert sum(f.count for f in notes) == pytest.approx(num_reversed, abs=0)
    # Every test TF has labelled training pairs, and nearly every one positives: no generalisation to unseen TFs here.
    assert np.isin(split.test_sources_S, split.train_sources_S).all()
    # Nor to unseen targets: no gene is held out, so controls stay what they are.
    assert (split.hidden_sources_S.size, split.hidden_targets_N.size, split.held_out) == (0, 0, "none")
    trained = np.concatenate([split.train_2E[0], split.validation_2E[0]])
    assert np.isin(split.test_2E[0], trained).mean() > 0.998


@pytest.mark.parametrize(("cell", "size"), GENELINK)
def test_genelink_files_have_their_own_validation(folder: Path, cell: str, size: int) -> None:
    expected = GENELINK[cell, size]
    files = [genelink(folder, cell, size, part) for part in ("Train", "Validation", "Test")]
    split = read(folder, cell, size, *files)
    found = [n for part in ("train", "validation", "test") for n in split.counts(part)[::-1]]  # type: ignore[arg-type]
    assert tuple(found) == expected
    assert_no_leak(split, split.train_2E)


@pytest.mark.parametrize("size", [500, 1000])
def test_on_hesc_the_two_families_are_one_split(folder: Path, size: int) -> None:
    validation = genelink(folder, "hESC", size, "Validation")
    first, second = (
        read(
            folder,
            "hESC",
            size,
            source(folder, "hESC", size, "Train"),
            validation,
            source(folder, "hESC", size, "Test"),
        )
        for source in (scregnet, genelink)
    )
    assert first.content_hash == second.content_hash
    assert first.prevalence("test") == pytest.approx(0.1486, abs=1e-4)


def test_on_mesc_they_must_not_be_mixed(folder: Path) -> None:
    with pytest.raises(UserError, match="15310 of 22736 pairs are in train too"):
        read(
            folder, "mESC", 500,
            genelink(folder, "mESC", 500, "Train"), None, scregnet(folder, "mESC", 500, "Test"),
        )  # fmt: skip
    with pytest.raises(UserError, match="2232 of 22736 pairs are in validation too"):
        read(
            folder, "mESC", 500,
            scregnet(folder, "mESC", 500, "Train"),
            genelink(folder, "mESC", 500, "Validation"),
            scregnet(folder, "mESC", 500, "Test"),
        )  # fmt: skip


def test_an_index_of_the_wrong_size_is_noticed(folder: Path) -> None:
    with pytest.raises(UserError, match="which the index table does not"):
        published_split(
            scregnet(folder, "hESC", 1000, "Train"), None, scregnet(folder, "hESC", 1000, "Test"),
            vocab=vocab_of(folder, "hESC", 500), index=index_of("hESC", 500),
        )  # fmt: skip
