"""Files that users bring: read as meant, refused in one line that names file and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from grn_cotrain.card.gene_sets import chromosomes_of, pathways_of, read_chromosomes, read_pathways
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

VOCAB = FeatureVocab.from_symbols(["STAT1", "IRF9", "Cd3d", "LYZ"], species="human")


def quiet(text: str) -> None:
    del text


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_gmt(tmp_path: Path) -> None:
    said: list[str] = []
    text = "# comment\nIFN\thttp://x\tSTAT1\tIRF9,1.0\tSTAT1\tNOVEL\r\n\nNONE\t\tABSENT\n"
    found = read_pathways(file(tmp_path, text), VOCAB, say=said.append)
    assert found == {"IFN": [0, 1], "NONE": []}
    assert "2 sets" in said[0]
    assert "2 unknown (NOVEL, ABSENT)" in said[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IFN\tdescription\n", "line 1 is not a GMT line"),
        ("IFN STAT1 IRF9\n", "line 1 is not a GMT line"),
        ("A\tx\tSTAT1\nA\tx\tLYZ\n", "line 2: the set 'A' occurs twice"),
        ("A\tx\tFOO\tBAR\n", "none of its genes is in the model's vocabulary (FOO, BAR)"),
        ("", "is empty"),
    ],
)
def test_bad_gmt(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_pathways(file(tmp_path, text), VOCAB, say=quiet)
    assert message in str(error.value)
    assert "given.txt" in str(error.value)


def test_annotation(tmp_path: Path) -> None:
    said: list[str] = []
    text = (
        "chrom\tgene\nchr1\tSTAT1\nchr2\tIRF9\nchr3\tIRF9\nchrUn_1\tLYZ\nchr6_x_alt\tSTAT1\nchr11\tCD3D\nchr5\tOTHER\n"
    )
    found = read_chromosomes(file(tmp_path, text), VOCAB, say=said.append)
    assert found == {0: "chr1", 2: "chr11"}
    assert "1 are on several and left out (IRF9)" in said[0]
    assert "2 rows of unplaced contigs" in said[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene,chromsome\nSTAT1,1\n", "no column 'chrom' (did you mean 'chromsome'?)"),
        ("x,chrom\nSTAT1,1\n", "no column 'gene'"),
        ("gene,chrom\nFOO,1\n", "none of its genes is in the model's vocabulary (FOO)"),
    ],
)
def test_bad_annotation(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_chromosomes(file(tmp_path, text), VOCAB, say=quiet)
    assert message in str(error.value)


def test_the_same_from_memory() -> None:
    assert pathways_of({"IFN": ["IRF9", "STAT1", "X"]}, VOCAB) == {"IFN": [0, 1]}
    assert chromosomes_of({"LYZ": "chr12", "X": "chr1"}, VOCAB) == {3: "chr12"}
    assert pathways_of(None, VOCAB) is None
    assert chromosomes_of(None, VOCAB) is None
