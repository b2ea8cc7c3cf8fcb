"""Motifs: the formats that are read, and the similarity with its known values."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.motifs import motif_similarity, read_motifs
from grn_cotrain.errors import UserError

_JASPAR = """>MA0001.1 STAT1
A [ 8 0 0 0 ]
C [ 0 8 0 0 ]
G [ 0 0 8 0 ]
T [ 0 0 0 8 ]
>MA0002.1 MAX::MYC
8 8
0 0
0 0
0 0
"""
_MEME = """MEME version 4

ALPHABET= ACGT

MOTIF MA0003.1 GATA1
letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0
 0.5 0.5 0.0 0.0
 0.0 0.0 1.0 0.0
URL http://example.org
"""


def exact(text: str) -> np.ndarray:
    return np.eye(4)[["ACGT".index(letter) for letter in text]]


def test_jaspar_and_meme_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "some.jaspar").write_text(_JASPAR)
    motifs = read_motifs(tmp_path / "some.jaspar")
    assert set(motifs) == {"STAT1", "MAX", "MYC"}
    np.testing.assert_array_equal(motifs["STAT1"][0], exact("ACGT"))
    (tmp_path / "some.meme").write_text(_MEME)
    np.testing.assert_array_equal(read_motifs(tmp_path / "some.meme")["GATA1"][0], [[0.5, 0.5, 0, 0], [0, 0, 1, 0]])


def test_files_without_a_header_are_named_by_the_table_next_to_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("MA0009.1.pfm", "4 0\n0 4\n0 0\n0 0\n")
        archive.writestr("MA0009.2.pfm", "0 4\n4 0\n0 0\n0 0\n")
        archive.writestr("motif_to_gene.txt", "MA0009.1\tMZF1\nMA0009.2\tMZF1(var.2)\n")
    motifs = read_motifs(tmp_path / "all.zip")
    assert [len(found) for found in motifs.values()] == [2]
    np.testing.assert_array_equal(motifs["MZF1"][0], exact("AC"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no matrix"),
        ("1 2\n3 4\n5 6\n", r"3 rows of 2, 2, 2 numbers; give four rows"),
        ("1 2\n3 4\n5 6\n7\n", r"4 rows of 2, 2, 2, 1 numbers"),
        ("1 0\n0 0\n0 0\n0 0\n", "a position has negative or no counts"),
        ("1 -1\n0 3\n0 0\n0 0\n", "a position has negative or no counts"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.pfm").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_motifs(tmp_path / "bad.pfm")
    assert "\n" not in str(caught.value)


def test_similarity_is_that_of_the_best_alignment_on_both_strands() -> None:
    names, similarity = motif_similarity(
        {
            "A": [exact("AACC")],
            "opposite": [exact("GGTT")],
            "part": [exact("AC")],
            "two": [exact("TTTT"), exact("AACC")],
        }
    )
    at = {name: i for i, name in enumerate(names)}
    assert similarity[at["A"], at["opposite"]] == pytest.approx(1)
    assert similarity[at["A"], at["two"]] == pytest.approx(1)
    # Two of four positions match: 2 x .75 / sqrt(4 x .75 x 2 x .75).
    assert similarity[at["A"], at["part"]] == pytest.approx(2 / np.sqrt(8))
    np.testing.assert_array_equal(similarity, similarity.T)
    np.testing.assert_array_equal(np.diag(similarity), 1)
