"""TF families by symbol."""

from __future__ import annotations

import pytest

from grn_cotrain.data.families import symbol_stem, tf_family

TOGETHER = [
    ("STAT1", "STAT3", "Stat5b"),
    ("GATA1", "GATA6", "TRPS1"),
    ("FOXP3", "FOXA1", "FOXJ3", "Foxo1"),
    ("SOX2", "SOX17", "SRY"),
    ("NFKB1", "NFKB2", "RELA", "RELB", "REL"),
    ("NFATC1", "NFAT5"),
    ("FOS", "FOSL2", "FOSB", "JUN", "JUND", "BATF3", "ATF3"),
    ("CREB1", "CREM", "ATF1"),
    ("MYC", "MYCN", "MAX", "MXD1", "MNT"),
    ("SPI1", "SPIB"),
    ("ETS1", "FLI1", "ELK4", "GABPA", "ETV6"),
    ("TP53", "TP63", "Trp53"),
    ("E2F1", "E2F8", "TFDP1"),
    ("IRF1", "IRF9"),
    ("RUNX1", "RUNX3"),
    ("KLF2", "KLF12"),
    ("POU2F1", "POU5F1"),
    ("HOXA9", "HOXB13", "HOXC10"),
    ("HOXA1", "HOXB2"),
    ("CEBPA", "CEBPB", "DDIT3"),
    ("TFAP2A", "TFAP2C"),
    ("ZNF143", "ZFP90", "ZNF705A"),
    ("TBX21", "EOMES"),
    ("TCF7", "LEF1", "TCF7L2"),
    ("TCF3", "TCF12"),
    ("NKX2-1", "NKX2-5", "NKX3-1"),
    ("MEF2A", "MEF2C"),
    ("RXRA", "RXRB"),
    ("ZBTB7A", "ZBTB20"),
]
APART = [
    ("STAT1", "IRF1"),
    ("HOXA1", "HOXA13"),
    ("HOXB4", "HOXB2"),
    ("TCF3", "TCF7"),
    ("SPI1", "ETS1"),
    ("SP1", "SPI1"),
    ("SP1", "SP100"),
    ("ATF1", "ATF4"),
    ("BCL3", "BCL6"),
    ("BCL6", "BCL11A"),
    ("MAX", "MAZ"),
    ("MYB", "MYC"),
    ("NR3C1", "NR4A1"),
    ("RELA", "RELN"),
    ("AR", "ARRB1"),
    ("NFKB1", "NFKBIA"),
    ("MAF", "MAFIP"),
    ("TEF", "TEFM"),
]


@pytest.mark.parametrize("symbols", TOGETHER)
def test_relatives_are_together(symbols: tuple[str, ...]) -> None:
    assert len({tf_family(symbol) for symbol in symbols}) == 1


@pytest.mark.parametrize(("one", "other"), APART)
def test_strangers_are_apart(one: str, other: str) -> None:
    assert tf_family(one) != tf_family(other)


@pytest.mark.parametrize("symbol", ["CTCF", "E4F1", "REST", "GENE12", "ERCC-00002", "T", "7SK", "Xist"])
def test_everything_has_a_family_whatever_its_case(symbol: str) -> None:
    family = tf_family(symbol)
    assert family == tf_family(symbol.lower()) == tf_family(f" {symbol.upper()} ")
    assert family == family.upper() != ""


@pytest.mark.parametrize(
    ("symbol", "stem"),
    [
        ("CXCL10", "CXCL"),
        ("Cxcl9", "CXCL"),
        ("NDUFA4", "NDUFA"),
        ("HLA-DRA", "HLA"),
        ("HLA-DRB1", "HLA"),
        ("MT-ND4", "MT"),
        ("ACTB", "ACTB"),
        ("CD3E", "CD"),
        ("C1QA", "C1QA"),
        (" IL6 ", "IL"),
    ],
)
def test_stems_of_any_gene(symbol: str, stem: str) -> None:
    assert symbol_stem(symbol) == stem
