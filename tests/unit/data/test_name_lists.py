"""Lists of names as people have them: one a line, quoted, with a header, or a column of a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from grn_cotrain.data.io.name_lists import read_names
from grn_cotrain.errors import UserError

TFS = ["STAT1", "SPI1", "GATA1"]


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "tfs.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "STAT1\nSPI1\nGATA1\n",
        "STAT1\nSPI1\nGATA1",
        '"x"\n"STAT1"\n"SPI1"\n"GATA1"\n',
        b"\xef\xbb\xbfSTAT1\r\nSPI1\r\nGATA1\r\n",
        "# from a paper\nSTAT1 # first\nSPI1\n\nGATA1\nSPI1\n",
        "TF\nSTAT1\nSPI1\nGATA1\n",
        "Gene symbol\nSTAT1\nSPI1\nGATA1\n",
        "'STAT1'\n'SPI1'\n'GATA1'\n",
        ",Ensembl ID,HGNC symbol,DBD,Is TF?\n0,ENSG00000115415,STAT1,STAT,Yes\n1,ENSG00000066336,SPI1,Ets,Yes\n"
        "2,ENSG00000102145,GATA1,GATA,Yes\n",
        "Species\tSymbol\tEnsembl\tFamily\nHomo\tSTAT1\tENSG00000115415\tSTAT\nHomo\tSPI1\tENSG00000066336\tETS\n"
        "Homo\tGATA1\tENSG00000102145\tGATA\n",
        '"","x"\n"1","STAT1"\n"2","SPI1"\n"3","GATA1"\n',
        "1\tSTAT1\n2\tSPI1\n3\tGATA1\n",
        "ENSG00000115415\tSTAT1\nENSG00000066336\tSPI1\nENSG00000102145\tGATA1\n",
        "TF;family\nSTAT1;STAT\nSPI1;ETS\nGATA1;GATA\n",
        '"x"\n"1" "STAT1"\n"2" "SPI1"\n"3" "GATA1"\n',
        '"tf" "family"\n"1" "STAT1" "STAT"\n"2" "SPI1" "ETS"\n"3" "GATA1" "GATA"\n',
        "x\n1 STAT1\n2 SPI1\n3 GATA1\n",
        "STAT1,SPI1,GATA1\n",
        "# one line\nSTAT1 SPI1 GATA1\n",
        "STAT1\tSPI1\tGATA1",
        '"STAT1", "SPI1", "GATA1"\n',
        "['STAT1', 'SPI1', 'GATA1']",
    ],
)
def test_every_layout_gives_the_names(tmp_path: Path, content: str | bytes) -> None:
    assert read_names(write(tmp_path, content)) == TFS


def test_a_header_is_said_and_rows_that_are_no_tfs_are_named(tmp_path: Path) -> None:
    notes: list[str] = []
    text = "Ensembl ID,HGNC symbol,Is TF?\nENSG00000115415,STAT1,Yes\nENSG00000115416,B2M,No\n"
    assert read_names(write(tmp_path, text), notes=notes) == ["STAT1"]
    assert notes == [
        "header: Ensembl ID, HGNC symbol, Is TF?; the names are column 'HGNC symbol'",
        "1 rows with 'no' in the column 'Is TF?' were left out: B2M",
    ]
    notes.clear()
    read_names(write(tmp_path, "x\nSTAT1\n"), notes=notes)
    assert notes == ["header: x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# nothing\n", "holds no names"),
        ("family\tspecies\nSTAT\tHomo\nETS\tHomo\n", r"no column is called a symbol \(first line: family, species\)"),
        ("HGNC symbol,Is TF?\nB2M,No\n", "holds no names"),
    ],
)
def test_lists_without_names_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_names(write(tmp_path, content), what="TF list")
