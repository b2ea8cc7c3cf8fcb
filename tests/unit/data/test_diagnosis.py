"""Names that do not meet: each cause is said, with the option that mends it."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from data_prep.grn import prepare_grn
from grn_cotrain.data.diagnosis import diagnose, find_cause, respell
from grn_cotrain.data.gene_names import clean_name, make_name, name_kind
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError

SYMBOLS = ["STAT1", "IRF1", "CD3D", "MS4A1", "LYZ", "NKG7", "GNLY", "PPBP"]
IDS = [f"ENSG{i + 115415:011d}" for i in range(8)]
HGNC = "symbol\talias_symbol\tprev_symbol\tensembl_gene_id\n" + "".join(
    f"{name}\t{name}X|{name}Y\t{name}OLD\t{known}\n" for name, known in zip(SYMBOLS, IDS, strict=True)
)


@pytest.mark.parametrize(
    ("lost", "known", "expected"),
    [
        (IDS, SYMBOLS, "Ensembl ids (ENSG00000115415), the data holds symbols (STAT1): give --aliases"),
        (SYMBOLS, IDS, "symbols (STAT1), the data holds Ensembl ids (ENSG00000115415): give --aliases"),
        ([f"{name}.7" for name in IDS], SYMBOLS, "give --aliases"),
        (["HLA-A", "NKX2-5"], ["HLA.A", "NKX2.5"], "dots where the other side has dashes"),
        (["'STAT1'", '"IRF1"'], SYMBOLS, "stand in quotes"),
        (["0", "1", "2", "3"], SYMBOLS, "row numbers"),
        (["6772", "3659", "567"], SYMBOLS, "Entrez ids"),
        (SYMBOLS, ["0", "1", "2"], "the data holds numbers"),
        (["P42224", "P10914", "P61769"], SYMBOLS, "UniProt accessions"),
        (["NM_007315", "NM_002198.3"], SYMBOLS, "RefSeq"),
        (["ENST00000361099", "ENST00000324210.7"], SYMBOLS, "transcripts"),
        (["ENSDARG00000006026"], SYMBOLS, "another species"),
        (["HGNC:11362", "HGNC:6116"], SYMBOLS, "HGNC or MGI ids"),
        (["STAT1_RNA", "IRF1_RNA"], SYMBOLS, "something behind the name"),
        (["STAT1|6772", "IRF1|3659"], SYMBOLS, "something behind the name"),
        (["rna:STAT1", "rna:IRF1"], SYMBOLS, "something before the name"),
        (["chr1:100-200", "chr2:5-90"], SYMBOLS, "genomic intervals"),
        (["Sox17", "Xkr4", "Rp1", "Mrpl15", "Lypla1"], ["HLA-A", "HLA-B", "C1orf112", "HLA-C", "HLA-E"], "--orthologs"),
        (["FOO", "BAR"], SYMBOLS, "both sides hold symbols"),
    ],
)
def test_every_cause_is_said_with_its_remedy(lost, known, expected) -> None:
    text = diagnose(lost, known)
    assert expected in text
    assert "\n" not in text


def test_no_cause_is_made_up() -> None:
    assert find_cause(["FOO", "BAR"], SYMBOLS) == ""
    assert find_cause([], SYMBOLS) == ""


def test_names_are_respelled_only_where_one_fits_one() -> None:
    assert respell(["HLA-A", "7SK"], ["HLA.A", "X7SK", "B2M"]) == {"HLA-A": "HLA.A", "7SK": "X7SK"}
    assert respell(["HLA.A"], ["HLA-A"]) == {"HLA.A": "HLA-A"}
    assert respell(["A-B"], ["A.B", "A_B"]) == {"A-B": "A.B"}
    assert respell(["A-B", "A B"], ["A.B"]) == {}
    assert respell(["A-B"], ["A.B", "A B"]) == {}


@pytest.mark.parametrize(
    ("text", "name"), [('"STAT1"', "STAT1"), ("'IRF1' ", "IRF1"), ("'-x", "-x"), ("'=A1", "=A1"), ("3'UTR", "3'UTR")]
)
def test_quotes_are_taken_off(text, name) -> None:
    assert clean_name(text) == name


def test_kinds_and_spellings() -> None:
    assert [name_kind(name) for name in ("STAT1", "P42224", "6772", IDS[0])] == [
        *("symbols", "UniProt accessions", "numbers", "Ensembl ids")
    ]
    assert [make_name(name) for name in ("HLA-A", "7SK", "A1BG-AS1")] == ["HLA.A", "X7SK", "A1BG.AS1"]


def _cells(tmp_path, names) -> str:
    X = np.random.default_rng(0).poisson(3, (30, len(names))).astype(np.float32)
    anndata.AnnData(X, var=pd.DataFrame(index=names)).write_h5ad(tmp_path / "cells.h5ad")
    prepare_counts(tmp_path / "cells.h5ad", tmp_path / "prep")
    return str(tmp_path / "prep")


def _edges(prep: str) -> list[tuple[str, str]]:
    return list(Prep.open(prep).grn.edges[["source", "target"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("cells", "tfs", "targets"),
    [
        (IDS, SYMBOLS, SYMBOLS),
        ([f"{name}.4" for name in IDS], SYMBOLS, SYMBOLS),
        (SYMBOLS, [f"{name}.3" for name in IDS], SYMBOLS),
        (SYMBOLS, IDS, [f"{name}OLD" for name in SYMBOLS]),
        (SYMBOLS, SYMBOLS, IDS),
        ([f"{name}OLD" for name in SYMBOLS], IDS, SYMBOLS),
    ],
)
def test_a_table_with_both_bridges_ids_and_symbols(tmp_path, cells, tfs, targets) -> None:
    prep = _cells(tmp_path, cells)
    (tmp_path / "hgnc.tsv").write_text(HGNC)
    chosen = [(0, 1), (0, 2), (3, 4), (1, 5)]
    rows = "".join(f"{tfs[a]}\t{targets[b]}\n" for a, b in chosen)
    (tmp_path / "net.tsv").write_text("source\ttarget\n" + rows)
    with pytest.raises(UserError, match=r"aliases") as caught:
        prepare_grn(tmp_path / "net.tsv", prep)
    assert "\n" not in str(caught.value)
    prepare_grn(tmp_path / "net.tsv", prep, aliases=tmp_path / "hgnc.tsv")
    names = list(Prep.open(prep).vocab.symbols)
    assert sorted(_edges(prep)) == sorted((names[a], names[b]) for a, b in chosen)


def test_dots_for_dashes_are_found_and_said(tmp_path) -> None:
    prep = _cells(tmp_path, ["HLA.A", "HLA.DRB1", "RFX5", "NKX2.5", "A2M"])
    (tmp_path / "net.tsv").write_text("source\ttarget\nRFX5\tHLA-DRB1\nRFX5\tHLA-A\nNKX2-5\tA2M\n")
    grn = prepare_grn(tmp_path / "net.tsv", prep)
    assert sorted(_edges(prep)) == [("NKX2.5", "A2M"), ("RFX5", "HLA.A"), ("RFX5", "HLA.DRB1")]
    assert any("dots for dashes" in line and "HLA-A -> HLA.A" in line for line in grn.report.lines())


def test_most_tfs_lost_is_explained_even_where_an_edge_is_left(tmp_path) -> None:
    prep = _cells(tmp_path, SYMBOLS)
    (tmp_path / "net.tsv").write_text("source\ttarget\nSTAT1\tIRF1\n" + "".join(f"{i}\tLYZ\n" for i in IDS[1:4]))
    lines = " | ".join(prepare_grn(tmp_path / "net.tsv", prep).report.lines())
    assert "most TFs are not found" in lines
    assert "--aliases" in lines
    assert "3 TFs have no gene in the data" in lines


def test_rows_merged_by_the_reader_count_as_repeated(tmp_path) -> None:
    prep = _cells(tmp_path, SYMBOLS)
    rows = ["STAT1\tIRF1", "STAT1\tIRF1", "STAT1\tIRF1", "stat1\tIRF1", "STAT1\tLYZ", "LYZ\tLYZ", "NOPE\tLYZ"]
    (tmp_path / "net.tsv").write_text("source\ttarget\n" + "\n".join(rows) + "\n")
    report = prepare_grn(tmp_path / "net.tsv", prep).report
    assert (report.num_given, report.duplicates, report.num_edges) == (7, 3, 2)
    assert report.num_edges + report.duplicates + len(report.self_loops) + report.outside_edges == report.num_given
    assert "3 repeated edges were merged" in report.lines()
    with pytest.raises(UserError, match="3 repeated edges"):
        prepare_grn(tmp_path / "net.tsv", prep, on_duplicates="error")


def test_density_is_said_and_a_dense_network_is_warned_of(tmp_path) -> None:
    prep = _cells(tmp_path, SYMBOLS)
    (tmp_path / "net.tsv").write_text("source\ttarget\nSTAT1\tIRF1\nSTAT1\tLYZ\n")
    lines = prepare_grn(tmp_path / "net.tsv", prep).report.lines()
    assert "density: 28.57% of the 7 pairs of a TF and another gene are edges" in lines
    assert not any("WARNING" in line for line in lines)
    (tmp_path / "net.tsv").write_text("source\ttarget\n" + "".join(f"STAT1\t{name}\n" for name in SYMBOLS[1:]))
    lines = prepare_grn(tmp_path / "net.tsv", prep).report.lines()
    assert "density: 100.00% of the 7 pairs of a TF and another gene are edges" in lines
    assert any(line.startswith("WARNING: the network holds most of all pairs") for line in lines)


def test_an_option_that_a_command_lacks_is_not_named() -> None:
    for lost in (["ENSG00000115415"], ["FOO1"]):
        assert "--aliases" in diagnose(lost, ["STAT1", "IRF1"])
        assert "--aliases" not in diagnose(lost, ["STAT1", "IRF1"], aliases=False)
    assert "grn-prep counts --names" in diagnose(["STAT1"], ["0", "1"])
