"""Tables of names: nothing is guessed, and every name that changes, stays or leaves is told."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.io.align import align_cells, align_measured
from grn_cotrain.data.io.counts import CountsFile, counts_from_anndata
from grn_cotrain.data.io.edge_formats import EdgeList
from grn_cotrain.data.io.edge_names import rename_edges
from grn_cotrain.data.io.names import AliasTable, OrthologTable
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

HGNC = (
    "hgnc_id\tsymbol\tstatus\talias_symbol\tprev_symbol\tensembl_gene_id\n"
    "1\tSEPTIN2\tApproved\tDIFF6|Pnutl3\tNEDD5|SEPT2\tENSG00000168385\n"
    '2\tSEPTIN6\tApproved\t"KIAA0128|SEP2|SEPT2"\tSEPT6\tENSG00000125354\n'
    "3\tKMT2A\tApproved\tALL-1|HRX\tMLL\tENSG00000118058\n"
    "4\tKMT2D\tApproved\tALR|MLL4\tMLL2\tENSG00000167548\n"
    "5\tKMT2B\tApproved\tMLL4|HRX2\tWBP7\tENSG00000272333\n"
    "6\tMARCHF1\tApproved\t\tMARCH1\t\n"
    "7\tOLDGENE~withdrawn\tSymbol Withdrawn\t\tGONE\t\n"
)
GENE_INFO = (
    "#tax_id\tGeneID\tSymbol\tLocusTag\tSynonyms\tdbXrefs\n"
    "9606\t1\tSEPTIN2\t-\tSEPT2|NEDD5\tMIM:601506|HGNC:HGNC:7729|Ensembl:ENSG00000168385\n"
    "9606\t2\tA1BG\t-\t-\tEnsembl:ENSG00000121410\n"
)
TWO = "alias\tsymbol\nSEPT2\tSEPTIN2\nMLL\tKMT2A\nMLL4\tKMT2B\nMLL4\tKMT2D\n"
JAX = (
    "DB Class Key\tCommon Organism Name\tNCBI Taxon ID\tSymbol\tEntrezGene ID\n"
    "1\tmouse, laboratory\t10090\tStat1\t1\n1\thuman\t9606\tSTAT1\t2\n"
    "2\tmouse, laboratory\t10090\tGapdh\t3\n2\thuman\t9606\tGAPDH\t4\n"
    "3\tmouse, laboratory\t10090\tGbp2\t5\n3\tmouse, laboratory\t10090\tGbp2b\t6\n3\thuman\t9606\tGBP1\t7\n"
    "4\tmouse, laboratory\t10090\tPou5f1\t8\n4\thuman\t9606\tPOU5F1\t9\n4\thuman\t9606\tPOU5F1B\t10\n"
    "5\tmouse, laboratory\t10090\tTrp53\t11\n5\thuman\t9606\tTP53\t12\n"
    "6\trat\t10116\tFoo\t13\n6\thuman\t9606\tFOO\t14\n"
)
BIOMART = (
    "Gene stable ID\tGene name\tMouse gene stable ID\tMouse gene name\tMouse homology type\n"
    "ENSG00000115415\tSTAT1\tENSMUSG00000026104\tStat1\tortholog_one2one\n"
    "ENSG00000141510\tTP53\tENSMUSG00000059552\tTrp53\tortholog_one2one\n"
    "ENSG00000000001\tLONELY\t\t\t\n"
)
COLUMNS = "human_symbol,mouse_symbol\nSTAT1,Stat1\nTP53,Trp53\nGAPDH,Gapdh\nGBP1,Gbp2\nGBP1,Gbp2b\n"
BARE = "STAT1\tStat1\nTP53\tTrp53\nGAPDH\tGapdh\nACTB\tActb\nIRF1\tIrf1\nHLA-A\tH2-K1\n"


def write(folder: Path, content: str) -> Path:
    (folder / "table.txt").write_text(content, encoding="utf-8")
    return folder / "table.txt"


def cells(genes: list[str], X: np.ndarray | None = None, ids: list[str] | None = None) -> anndata.AnnData:
    values = np.arange(1, 3 * len(genes) + 1).reshape(3, -1).astype(np.float32) if X is None else X
    data = anndata.AnnData(values, var=pd.DataFrame(index=genes))
    if ids is not None:
        data.var["gene_ids"] = ids
    return data


# -- aliases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [HGNC, GENE_INFO, TWO, TWO.partition("\n")[2]])
def test_alias_tables_of_every_layout(tmp_path, content) -> None:
    table = AliasTable.read(write(tmp_path, content))
    assert table.candidates("SEPT2") == ("SEPTIN2",)
    assert table.candidates("sept2") == ("SEPTIN2",)
    assert table.candidates("SEPTIN2") == ()
    assert table.canonical("NOBODY") == "NOBODY"


def test_a_former_symbol_outranks_an_alias_and_ids_are_names_too(tmp_path) -> None:
    table = AliasTable.read(write(tmp_path, HGNC))
    assert table.candidates("SEPT2") == ("SEPTIN2",)  # though an alias of SEPTIN6 as well
    assert table.candidates("MLL4") == ("KMT2D", "KMT2B")
    assert table.candidates("ENSG00000118058.21") == ("KMT2A",)
    assert table.candidates("GONE") == ()  # of a withdrawn entry


def test_what_is_ambiguous_or_taken_is_left_alone_by_name(tmp_path) -> None:
    table = AliasTable.read(write(tmp_path, HGNC))
    given = ["SEPT2", "MLL", "KMT2A", "MLL4", "NEDD5X", "MARCH1", "DIFF6X"]
    renamed = table.rename(given)
    assert renamed.names == ["SEPTIN2", "MLL", "KMT2A", "MLL4", "NEDD5X", "MARCHF1", "DIFF6X"]
    assert renamed.notes == [
        "2 genes took their current symbols: SEPT2 -> SEPTIN2, MARCH1 -> MARCHF1",
        "1 names are aliases of several genes and were left alone: MLL4",
        "1 aliases were left alone since their gene is in the data under another name: MLL",
    ]
    both = table.rename(["SEPT2", "NEDD5"])  # two would become one
    assert both.names == ["SEPT2", "NEDD5"]
    assert "2 aliases were left alone" in both.notes[0]


def test_aliases_reach_the_cells_and_the_report_says_why(tmp_path) -> None:
    table = AliasTable.read(write(tmp_path, HGNC))
    counts = counts_from_anndata(cells(["SEPT2", "ENSG00000118058", "IRF1"]), aliases=table)
    assert list(counts.adata.var_names) == ["SEPTIN2", "KMT2A", "IRF1"]
    assert list(counts.adata.var["gene_ids"]) == ["", "ENSG00000118058", ""]
    assert counts.report.renamed == [("SEPT2", "SEPTIN2"), ("ENSG00000118058", "KMT2A")]
    assert counts.report.reasons == ["alias", "alias"]


@pytest.mark.parametrize("trained_on", [["SEPT2", "IRF1"], ["SEPTIN2", "IRF1"], ["NEDD5", "IRF1"]])
def test_a_model_of_old_or_new_symbols_is_matched_alike(tmp_path, trained_on) -> None:
    table = AliasTable.read(write(tmp_path, HGNC))
    counts = counts_from_anndata(cells(["SEPT2", "IRF1"]), aliases=table)
    aligned, report, _ = align_cells(counts, FeatureVocab.from_symbols(trained_on, species="human"), min_mapped=1.0)
    assert np.array_equal(aligned.values_CG.toarray(), counts.adata.X.toarray())
    assert report.lost == []


def test_an_alias_table_of_the_other_species_is_refused(tmp_path) -> None:
    table = AliasTable.read(write(tmp_path, HGNC))
    mouse = ["Stat1", "Sept2", "Gapdh", "Actb", "Irf1", "Trp53"]
    with pytest.raises(UserError, match=r"aliases=.*is of human, but adata is of mouse"):
        counts_from_anndata(cells(mouse), aliases=table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,c\n1,2,3\n", "no columns of aliases and symbols"),
        ("alias\tsymbol\nA\tA\n", "holds no alias"),
        ("", "is empty"),
        ("symbol\nA\nB\n", "no columns of aliases and symbols"),
    ],
)
def test_bad_alias_tables(tmp_path, content, message) -> None:
    with pytest.raises(UserError, match=message):
        AliasTable.read(write(tmp_path, content))
    with pytest.raises(UserError, match="no such file"):
        AliasTable.read(tmp_path / "nowhere")


# -- orthologs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [JAX, BIOMART, COLUMNS, COLUMNS.replace(",", "\t"), BARE])
def test_ortholog_tables_of_every_layout(tmp_path, content) -> None:
    table = OrthologTable.read(write(tmp_path, content))
    assert table.convert(["Stat1", "Trp53"], source="mouse").names == ["STAT1", "TP53"]
    assert table.convert(["STAT1", "TP53"], source="human").names == ["Stat1", "Trp53"]
    assert table.convert(["STAT1", "TP53"]).names == ["Stat1", "Trp53"]  # told by the table


def test_ids_are_converted_too(tmp_path) -> None:
    table = OrthologTable.read(write(tmp_path, BIOMART))
    assert table.convert(["ENSMUSG00000026104.5", "ENSMUSG00000059552"], source="mouse").names == ["STAT1", "TP53"]


def test_only_one_to_one_by_default_and_sums_on_demand(tmp_path) -> None:
    table = OrthologTable.read(write(tmp_path, JAX))
    genes = ["Stat1", "Gbp2", "Gbp2b", "Pou5f1", "Nobody", "Trp53"]
    strict = table.convert(genes, source="mouse")
    assert strict.names == ["STAT1", None, None, None, None, "TP53"]
    assert strict.notes[0] == "orthologs: 2 of 6 mouse genes took their human names"
    assert "1 genes were left out, with no ortholog in the table: Nobody" in strict.notes
    assert "1 genes were left out, with several orthologs: Pou5f1" in strict.notes
    assert any("other genes share" in note and "Gbp2, Gbp2b" in note for note in strict.notes)
    assert table.convert(genes, source="mouse", policy="sum").names == ["STAT1", "GBP1", "GBP1", None, None, "TP53"]
    with pytest.raises(UserError, match=r"orthologs_policy='some': choose from one2one, sum"):
        table.convert(genes, policy="some")


def mouse_cells() -> anndata.AnnData:
    genes = ["Stat1", "Gbp2", "Gbp2b", "Gapdh", "Trp53", "Nobody"]
    X = np.array([[1, 2, 3, 4, 5, 6], [0, 1, 0, 1, 0, 1], [7, 0, 0, 0, 0, 0]], np.float32)
    return cells(genes, X)


def test_cells_become_the_other_species_by_name(tmp_path) -> None:
    table = OrthologTable.read(write(tmp_path, JAX))
    counts = counts_from_anndata(mouse_cells(), orthologs=table)
    assert list(counts.adata.var_names) == ["STAT1", "GAPDH", "TP53"]
    assert counts.adata.X.toarray().tolist() == [[1, 4, 5], [0, 1, 0], [7, 0, 0]]
    assert counts.species == "human"
    assert counts.report.lost == ["Gbp2", "Gbp2b", "Nobody"]
    assert counts.report.reasons == ["ortholog"] * 3
    summed = counts_from_anndata(mouse_cells(), orthologs=table, orthologs_policy="sum")
    assert list(summed.adata.var_names) == ["STAT1", "GBP1", "GAPDH", "TP53"]
    assert summed.adata.X.toarray()[:2].tolist() == [[1, 5, 4, 5], [0, 1, 1, 0]]
    assert summed.report.duplicated == ["Gbp2b"]
    logged = mouse_cells()
    logged.X = np.log1p(logged.X)
    with pytest.raises(UserError, match="on a log scale, which cannot be summed"):
        counts_from_anndata(logged, orthologs=table, orthologs_policy="sum")


def test_cells_of_the_wanted_species_stay(tmp_path) -> None:
    table = OrthologTable.read(write(tmp_path, JAX))
    human = cells(["STAT1", "TP53", "GAPDH"])
    counts = counts_from_anndata(human, orthologs=table, to_species="human")
    assert list(counts.adata.var_names) == list(human.var_names)
    assert counts.species == "human"
    assert counts.report.renamed == []
    assert "orthologs: the genes are human already" in counts.notes


def test_peaks_do_not_change_species(tmp_path) -> None:
    data = mouse_cells()
    data.var["feature_types"] = ["Gene Expression"] * 5 + ["Peaks"]
    counts = counts_from_anndata(data, orthologs=OrthologTable.read(write(tmp_path, JAX)))
    assert set(counts.adata.var["modality"]) == {"gene"}
    assert any("1 peaks were left out" in note for note in counts.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\tc\nx\ty\tz\n", "no columns of human and mouse genes"),
        ("AAA\tBBB\nCCC\tDDD\n", "the species of its columns are unknown"),
        ("human\tmouse\nSTAT1\t\n", "holds no pair"),
        ("Common Organism Name\tSymbol\nhuman\tA\n", "no column 'DB Class Key'"),
    ],
)
def test_bad_ortholog_tables(tmp_path, content, message) -> None:
    with pytest.raises(UserError, match=message):
        OrthologTable.read(write(tmp_path, content))


def test_a_species_that_nothing_tells_is_asked_for(tmp_path) -> None:
    table = OrthologTable.read(write(tmp_path, "human\tmouse\nABC\tABC\nDEF\tDEF\n"))
    with pytest.raises(UserError, match="name it with species"):
        table.convert(["ABC", "DEF"])
    assert table.convert(["abc"], source="mouse").names == ["ABC"]


# -- edges -----------------------------------------------------------------------------------------------------------


def edge_list(*pairs: tuple[str, str]) -> EdgeList:
    frame = pd.DataFrame(pairs, columns=["source", "target"]).assign(weight=1.0, sign=0, evidence="")
    return EdgeList(frame, "tsv", conflicts=[pairs[0]])


def test_edges_find_genes_by_alias_in_both_directions(tmp_path) -> None:
    table = AliasTable.read(write(tmp_path, HGNC))
    vocab = FeatureVocab.from_symbols(["SEPT2", "KMT2A", "IRF1"], species="human")
    edges, renamed = rename_edges(
        edge_list(("SEPTIN2", "IRF1"), ("MLL", "IRF1"), ("IRF1", "ODD")), vocab, aliases=table
    )
    assert edges.frame[["source", "target"]].to_numpy().tolist() == [
        ["SEPT2", "IRF1"],
        ["KMT2A", "IRF1"],
        ["IRF1", "ODD"],
    ]
    assert edges.conflicts == [("SEPT2", "IRF1")]
    assert renamed == [("SEPTIN2", "SEPT2"), ("MLL", "KMT2A")]
    assert edges.notes == ["2 genes were found by alias: SEPTIN2 -> SEPT2, MLL -> KMT2A"]


def test_edges_of_the_other_species_take_orthologs_or_leave(tmp_path) -> None:
    table = OrthologTable.read(write(tmp_path, JAX))
    vocab = FeatureVocab.from_symbols(["STAT1", "GAPDH", "TP53"], species="human")
    given = edge_list(("Stat1", "Gapdh"), ("Stat1", "Gbp2"), ("Trp53", "Stat1"))
    edges, renamed = rename_edges(given, vocab, orthologs=table)
    assert edges.frame[["source", "target"]].to_numpy().tolist() == [["STAT1", "GAPDH"], ["TP53", "STAT1"]]
    assert ("Trp53", "TP53") in renamed
    assert "1 edges have an end without an ortholog: Gbp2" in edges.notes
    same, renamed = rename_edges(edge_list(("STAT1", "GAPDH")), vocab, orthologs=table)
    assert renamed == []
    assert same.frame["source"].tolist() == ["STAT1"]
    with pytest.raises(UserError, match="no edge has an ortholog at both ends"):
        rename_edges(edge_list(("Gbp2", "Gbp2b"), ("Stat1", "Gbp2")), vocab, orthologs=table)


# -- alignment of features of several modalities -----------------------------------------------------------------------


def typed(names: list[str], types: list[str], ids: list[str] | None = None) -> CountsFile:
    data = cells(names, ids=ids)
    data.var["feature_types"] = types
    return counts_from_anndata(data)


def test_a_protein_never_becomes_the_gene_of_its_name() -> None:
    vocab = FeatureVocab.from_symbols(["CD4", "CD8A", "CD4"], modality=["gene", "gene", "protein"], species="human")
    aligned, report, notes = align_cells(typed(["CD8A", "CD4"], ["gene", "protein"]), vocab)
    assert aligned.values_CG.toarray().tolist() == [[0, 1, 2], [0, 3, 4], [0, 5, 6]]
    assert report.absent == ["CD4"]
    _, measured_G, *_ = align_measured(typed(["CD8A", "CD4"], ["gene", "protein"]), vocab)
    assert measured_G.tolist() == [False, True, True]
    _, measured_G, *_ = align_measured(typed(["CD8A", "CD4"], ["gene", "gene"]), vocab)
    assert measured_G.tolist() == [True, True, False]
    no_protein = FeatureVocab.from_symbols(["CD4", "CD8A"], species="human")
    aligned, report, notes = align_cells(typed(["CD8A", "CD4"], ["gene", "protein"]), no_protein)
    assert aligned.values_CG.toarray().tolist() == [[0, 1], [0, 3], [0, 5]]
    assert "1 proteins were left out, the vocabulary has none: CD4" in notes
    assert report.num_given == 1


def test_many_unknown_peaks_do_not_count_against_the_genes() -> None:
    names = ["STAT1", "IRF1", *(f"chr1-{i}-{i + 9}" for i in range(20))]
    vocab = FeatureVocab.from_symbols(
        ["STAT1", "IRF1", "chr1:3-12"], modality=["gene", "gene", "peak"], species="human"
    )
    aligned, report, _ = align_cells(typed(names, ["gene"] * 2 + ["peak"] * 20), vocab, min_mapped=1.0)
    assert (aligned.values_CG.toarray()[0] > 0).all()  # a peak is found under the other separator
    assert len(report.lost) == 19
    with pytest.raises(UserError, match="genes of the cells: only 0 of 2 are in the vocabulary"):
        align_cells(typed(["OTHER", "ODD"], ["gene"] * 2), FeatureVocab.from_symbols(["STAT1"], species="human"))
    with pytest.raises(UserError, match="holds peak features, the vocabulary gene"):
        align_cells(typed(["chr1-1-2"], ["peak"]), FeatureVocab.from_symbols(["STAT1"], species="human"))


def test_features_are_found_by_their_ids_where_names_fail() -> None:
    ids = ["ENSG00000115415", "ENSG00000125347"]
    vocab = FeatureVocab.from_symbols(["STAT1", "IRF1"], ids, species="human")
    aligned, report, _ = align_cells(typed(["OLD1", "OLD2"], ["gene"] * 2, [f"{i}.7" for i in ids[::-1]]), vocab)
    assert aligned.values_CG.toarray()[0].tolist() == [2, 1]
    assert report.reasons == ["Ensembl id"] * 2
