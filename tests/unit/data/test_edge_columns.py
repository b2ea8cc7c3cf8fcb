"""Which column is which: known names in any order and writing, unknown ones refused by name, the rest said."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.io.columns import end_of, find_ends
from grn_cotrain.data.io.edges import load_edges, load_pairs
from grn_cotrain.errors import UserError

SOURCES = (
    *(
        "source",
        "TF",
        "tf",
        "Regulator",
        "reg",
        "regulator_symbol",
        "tf_gene",
        "source_genesymbol",
        "TF_name",
        "tf.name",
    ),
    *("gene1", "Gene1", "geneA", "Regulatory gene", "transcription factor", "TranscriptionFactor", "from", "TF_symbol"),
    *("sourceGene", "regulator gene name", "upstream", "TFs", "RegulatorSymbol", "source_name"),
)
TARGETS = (
    *("target", "Target", "TG", "target_gene", "targetGene", "gene_symbol", "gene", "Gene", "gene2", "geneB", "to"),
    *("target_genesymbol", "Target gene", "target.symbol", "regulated", "downstream", "TARGETS", "gene_name", "tgt"),
)
NEITHER = (
    *("zscore", "corr", "pvalue", "-logp", "p", "tf_family", "source_organism", "target_type", "references", "sources"),
    *("weight", "importance", "mode", "sign", "confidence", "label", "network", "cell", "set", "", "peak_id", "NES"),
)


def write(tmp_path: Path, text: str, name: str = "edges.tsv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def pairs(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(frame[["source", "target"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("name", SOURCES)
def test_names_of_tfs(name: str) -> None:
    assert end_of(name) == "source"


@pytest.mark.parametrize("name", TARGETS)
def test_names_of_targets(name: str) -> None:
    assert end_of(name) == "target"


@pytest.mark.parametrize("name", NEITHER)
def test_other_columns_are_no_ends(name: str) -> None:
    assert end_of(name) is None


@settings(deadline=None, max_examples=60)
@given(
    source=st.sampled_from(SOURCES),
    target=st.sampled_from(TARGETS),
    order=st.permutations(["source", "target", "weight", "note"]),
    delimiter=st.sampled_from("\t,;"),
    header=st.booleans(),
)
def test_any_order_of_columns_gives_the_same_edges(tmp_path_factory, source, target, order, delimiter, header) -> None:
    """Without a header, ends keep the order in which they stand."""
    rows = [("STAT1", "IRF1", "0.5", "a note"), ("SPI1", "LYZ", "0.25", "b note"), ("STAT1", "B2M", "2", "c note")]
    place = {"source": 0, "target": 1, "weight": 2, "note": 3}
    names = {"source": source, "target": target, "weight": "weight", "note": "remark"}
    if not header:
        order = [name for name in order if name != "note"]
        order = (
            [*sorted(order, key=lambda name: name == "weight")]
            if order.index("source") < order.index("target")
            else [
                "source",
                "target",
                "weight",
            ]
        )
    lines = [delimiter.join(names[name] for name in order)] if header else []
    lines += [delimiter.join(row[place[name]] for name in order) for row in rows]
    path = tmp_path_factory.mktemp("edges") / "edges.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    edges = load_edges(path)
    assert pairs(edges.frame) == [("STAT1", "IRF1"), ("SPI1", "LYZ"), ("STAT1", "B2M")]
    assert edges.frame["weight"].tolist() == [0.5, 0.25, 2.0]
    assert any("remark" in note for note in edges.notes) == header


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target\treg\tzscore\tcorr\nNOC2L\tCIART\t4.2\t0.15\n", [("CIART", "NOC2L")]),
        (
            "regulator_symbol\tregulator_id\ttarget_symbol\ttarget_id\nSTAT1\t6772\tIRF1\t3659\n",
            [("STAT1", "IRF1")],
        ),
        ("target_id\ttarget_symbol\tregulator_id\tregulator_symbol\n1\tIRF1\t2\tSTAT1\n", [("STAT1", "IRF1")]),
        ("target_gene\ttf_gene\tscore\nIRF1\tSTAT1\t0.5\n", [("STAT1", "IRF1")]),
        ("TG,TF\nIRF1,STAT1\n", [("STAT1", "IRF1")]),
        ("Gene2\tGene1\nIRF1\tSTAT1\n", [("STAT1", "IRF1")]),
        # The columns called source and target hold accessions here, those beside them symbols.
        (
            "source,target,source_genesymbol,target_genesymbol\nP42224,P10914,STAT1,IRF1\n",
            [("STAT1", "IRF1")],
        ),
        ("tf\tgene\tgene_id\nSTAT1\tIRF1\tENSG00000125347\n", [("STAT1", "IRF1")]),
        ("TF_ensembl\ttarget_ensembl\nENSG00000115415\tENSG00000125347\n", [("ENSG00000115415", "ENSG00000125347")]),
    ],
)
def test_symbols_win_and_nothing_is_reversed(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(load_edges(write(tmp_path, text)).frame) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("target\tdriver\tzscore\nIRF1\tSTAT1\t4\n", ("'target' is the target", "driver", "tsv:source=COLUMN")),
        ("driver\ttarget\nSTAT1\tIRF1\nSPI1\tLYZ\n", ("'target' is the target", "driver", "which is the source")),
        ("TF\tpassenger\timportance\nSTAT1\tIRF1\t4\n", ("'TF' is the source", "passenger", "which is the target")),
        ("driver\tpassenger\timportance\nSTAT1\tIRF1\t4\n", ("driver, passenger, importance",)),
        ("driver gene\tpassenger gene\nSTAT1\tIRF1\nSPI1\tLYZ\n", ("driver gene, passenger gene",)),
        ("tf\ttarget\ttarget_gene\nSTAT1\tIRF1\tLYZ\n", ("'target' and 'target_gene' could both be the target",)),
    ],
)
def test_what_no_name_tells_is_asked_for_by_name(tmp_path: Path, text: str, named: tuple[str, ...]) -> None:
    path = write(tmp_path, text)
    for read in (load_edges, load_pairs):
        with pytest.raises(UserError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        for words in (*named, str(path)):
            assert words in str(caught.value)


def test_the_option_says_which_is_which(tmp_path: Path) -> None:
    path = write(tmp_path, "driver\tpassenger\tstrength of it\nSTAT1\tIRF1\t4\n")
    for format in (
        "tsv:source=driver,target=passenger",
        "auto:source=driver,target=passenger",
        "tsv:source=1,target=2",
    ):
        assert pairs(load_edges(path, format).frame) == [("STAT1", "IRF1")]
    reverse = load_edges(path, "tsv:source=passenger,target=driver,weight=strength of it")
    assert (pairs(reverse.frame), reverse.frame["weight"].tolist()) == ([("IRF1", "STAT1")], [4.0])
    assert pairs(load_pairs(path, "tsv:target=driver,source=passenger").frame) == [("IRF1", "STAT1")]
    with pytest.raises(UserError, match=r"source=diver': the table has no such column \(columns: driver, passenger"):
        load_edges(path, "tsv:source=diver,target=passenger")
    with pytest.raises(UserError, match="weight=size': no such column apart from the ends"):
        load_edges(path, "tsv:source=driver,target=passenger,weight=size")
    with pytest.raises(UserError, match="unknown option"):
        load_edges(path, "beeline:source=driver")


def test_find_ends_of_a_frame() -> None:
    frame = pd.DataFrame({"gene": ["IRF1"], "TF": ["STAT1"]})
    ends = find_ends(frame)
    assert (ends.source, ends.target) == ("TF", "gene")


@pytest.mark.parametrize(
    ("header", "row", "weight", "sign", "unused"),
    [
        ("TF\ttarget\timportance", "STAT1\tIRF1\t219.4", 219.4, 0, None),
        (
            "source\ttarget\tcoef_mean\tcoef_abs\tp\t-logp",
            "STAT1\tIRF1\t-0.3\t0.3\t0.01\t2",
            0.3,
            -1,
            "coef_abs, p, -logp",
        ),
        ("source\ttarget\tcombined_score", "STAT1\tIRF1\t870", 870, 0, None),
        ("source\ttarget\tNES\tcorrelation", "STAT1\tIRF1\t3.1\t-0.2", 1, 0, "NES, correlation"),
        ("source\ttarget\tconfidence", "STAT1\tIRF1\tHigh", 1, 0, "confidence"),
        ("source\ttarget\tconfidence", "STAT1\tIRF1\t0.7", 0.7, 0, None),
        ("tf\ttarget\tmor\tlikelihood", "STAT1\tIRF1\t-1\t0.4", 0.4, -1, None),
        ("tf\ttarget\tmor", "STAT1\tIRF1\t-0.5", 0.5, -1, None),
        ("Gene1\tGene2\tEdgeWeight", "STAT1\tIRF1\t0.25", 0.25, 0, None),
        ("source\ttarget\tweight\tscore", "STAT1\tIRF1\t2\t9", 2, 0, "score"),
        ("source\ttarget\tscore", "STAT1\tIRF1\t-2", 1, 0, "score"),
        ("source\ttarget\teffect", "STAT1\tIRF1\tinhibition", 1, -1, None),
        ("source\ttarget\ttype", "STAT1\tIRF1\tphysical", 1, 0, "type"),
    ],
)
def test_weights_and_signs_by_their_names(tmp_path, header, row, weight, sign, unused) -> None:
    edges = load_edges(write(tmp_path, f"{header}\n{row}\n"))
    assert edges.frame[["weight", "sign"]].iloc[0].tolist() == pytest.approx([weight, sign])
    said = [note for note in edges.notes if note.startswith("columns not used")]
    assert said == ([] if unused is None else [f"columns not used: {unused}"])


def test_dorothea_by_decoupler_in_both_languages(tmp_path: Path) -> None:
    rows = "STAT1,A,IRF1,1\nSTAT1,B,B2M,0.5\nSPI1,C,LYZ,-0.333\nGATA1,D,KLF1,0.25\n"
    for mode in ("mor", "weight"):
        for first in ("source", "tf"):
            edges = load_edges(write(tmp_path, f"{first},confidence,target,{mode}\n{rows}", "d.csv"))
            assert edges.format == "dorothea"
            assert pairs(edges.frame) == [("STAT1", "IRF1"), ("STAT1", "B2M"), ("SPI1", "LYZ")]
            assert edges.frame["sign"].tolist() == [1, 1, -1]
            assert edges.frame["weight"].tolist() == pytest.approx([1, 0.5, 0.333])
            assert any(note.startswith("levels ABC: 3 of 4 rows kept") for note in edges.notes)


def test_a_scenic_regulon_is_its_tf_with_a_sign(tmp_path: Path) -> None:
    edges = load_edges(write(tmp_path, "regulon\tgene\tweight\nSTAT1(+)\tIRF1\t2\nMYC(-)\tLYZ\t1\n"))
    assert pairs(edges.frame) == [("STAT1", "IRF1"), ("MYC", "LYZ")]
    assert edges.frame["sign"].tolist() == [1, -1]
