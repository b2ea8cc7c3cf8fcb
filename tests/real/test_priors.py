"""Real matrices and published networks: the counts that the literature's files must give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.counts import prepare_counts
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.vocab import FeatureVocab, is_spike_in
from grn_cotrain.errors import UserError

pytestmark = pytest.mark.real

KANG = "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad"
HESC = "beeline_genelink/expression/hESC_TFs+500.h5ad"
COLLECTRI = "grn_priors/collectri_human_from_omnipath.tsv.gz"


@pytest.fixture(scope="module")
def kang(real_data: Path) -> CountsFile:
    return load_counts(real_data / KANG)


@pytest.fixture(scope="module")
def vocab(kang: CountsFile) -> FeatureVocab:
    return FeatureVocab.from_symbols(kang.adata.var_names)


@pytest.fixture(scope="module")
def collectri(real_data: Path, vocab: FeatureVocab) -> GRN:
    return GRN.from_file(real_data / COLLECTRI, vocab)


def test_collectri_on_kang(collectri: GRN, real_data: Path, vocab: FeatureVocab) -> None:
    assert vocab.species == "human"
    assert collectri.num_edges == 12_893
    assert len(set(map(tuple, collectri.pairs_2E.T.tolist()))) == 12_893
    assert not (collectri.pairs_2E[0] == collectri.pairs_2E[1]).any()
    # One pair, IRF9 -> IL27, has a consensus of both signs: it counts as known, and carries none.
    assert collectri.report.conflicting_signs == ["IRF9->IL27"]
    assert int((collectri.sign_E != 0).sum()) + len(collectri.report.conflicting_signs) == 12_632
    assert GRN.from_file(real_data / COLLECTRI, vocab, format="collectri:signed").num_edges == 12_632
    assert not any(name.startswith("COMPLEX") for name in collectri.edges["source"])
    assert len(collectri.report.complexes) == 33


def test_every_row_of_collectri_is_accounted_for(collectri: GRN, real_data: Path) -> None:
    edges = load_edges(real_data / COLLECTRI)
    assert edges.counts["complex_rows"] == 22_758
    assert edges.counts["rows"] == 41_428
    assert edges.counts["rows"] == len(edges.frame) + edges.counts["duplicates"] + edges.counts["nameless"]
    report = collectri.report
    loops = len(report.self_loops)
    assert report.num_given == report.num_edges + report.duplicates + report.outside_edges + loops
    assert (report.num_given, report.duplicates) == (len(edges.frame) + 530, 530)


def test_collectri_members_of_complexes(real_data: Path, vocab: FeatureVocab, collectri: GRN) -> None:
    expanded = GRN.from_file(real_data / COLLECTRI, vocab, format="collectri:expand")
    plain = set(map(tuple, collectri.pairs_2E.T.tolist()))
    assert plain < set(map(tuple, expanded.pairs_2E.T.tolist()))
    assert any("expanded" in note for note in expanded.report.notes)


def test_dorothea_on_kang(real_data: Path, vocab: FeatureVocab) -> None:
    grn = GRN.from_file(real_data / "grn_priors/dorothea_hs.tsv.gz", vocab)
    # 5,759 as written; one more since case does not matter: the file says C12ORF5, the data C12orf5.
    assert grn.report.renamed == [("C12ORF5", "C12orf5")]
    as_written = ~grn.edges["target"].eq("C12orf5")
    assert int(as_written.sum()) == 5_759
    assert grn.num_edges == 5_760
    assert set(grn.edges["evidence"]) == {"A", "B", "C"}
    assert (grn.sign_E != 0).all()


def test_trrust_on_kang(real_data: Path, vocab: FeatureVocab) -> None:
    grn = GRN.from_file(real_data / "grn_priors/trrust_v2_human.tsv.gz", vocab)
    assert grn.num_edges == 3_160
    assert grn.report.unknown_sources  # TFs with no gene in the data, by name
    assert "AR" in grn.report.unknown_sources


@pytest.mark.parametrize("prior", ["trrust_v2_mouse", "dorothea_mm"])
def test_mouse_priors_are_refused_on_human_cells(real_data: Path, vocab: FeatureVocab, prior: str) -> None:
    with pytest.raises(UserError, match=r"look like mouse .* vocabulary is human"):
        GRN.from_file(real_data / f"grn_priors/{prior}.tsv.gz", vocab)


def test_accessions_are_not_taken_for_symbols(real_data: Path, tmp_path: Path) -> None:
    """``source`` and ``target`` of OmniPath mix symbols and accessions: read as symbols, a quarter would vanish."""
    frame = load_edges(real_data / COLLECTRI, "tsv").frame
    assert ("MYC", "TERT") in set(frame[["source", "target"]].itertuples(index=False, name=None))
    table = pd.read_csv(real_data / COLLECTRI, sep="\t", dtype=str, keep_default_na=False)
    table[["source", "target"]].to_csv(tmp_path / "accessions.tsv", sep="\t", index=False)
    with pytest.raises(UserError, match="UniProt accessions"):
        load_edges(tmp_path / "accessions.tsv")


@pytest.mark.parametrize(
    ("selector", "num_edges"),
    [
        ("specific_chipseq/hESC/TFs+500", 4_545),
        ("nonspecific_chipseq/hESC/TFs+500", 3_441),
        ("string/hESC/TFs+500", 4_257),
    ],
)
def test_beeline_networks_lie_wholly_in_their_cells(
    real_data: Path, tmp_path: Path, selector: str, num_edges: int
) -> None:
    networks = real_data / "beeline_genelink/networks/edges.tsv.gz"
    prep = prepare_counts(real_data / HESC, tmp_path / "prep", grn=f"{networks}:{selector}")
    assert prep.grn.num_edges + len(prep.grn.report.self_loops) == num_edges
    assert prep.grn.report.outside_edges == 0


@pytest.mark.parametrize(
    ("file", "shape", "kind"),
    [
        (KANG, (2_000, 9_015), "counts"),
        (HESC, (758, 910), "log"),
        ("pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad", (2_638, 2_000), "counts"),
        ("sc_mixology_celllines/sc_mixology_5batches.h5ad", (1_021, 11_505), "counts"),
        ("beeline_genelink/beeline_GSD/ExpressionData.csv.gz", (2_000, 19), "log"),
        ("papalexi_eccite_lowmoi/papalexi_lowmoi.h5ad", (20_729, 299), "counts"),
    ],
)
def test_matrices_are_read(real_data: Path, file: str, shape: tuple[int, int], kind: str) -> None:
    counts = load_counts(real_data / file)
    assert (counts.adata.shape, counts.kind) == (shape, kind)


def test_mixology_knows_its_ensembl_ids(real_data: Path) -> None:
    counts = load_counts(real_data / "sc_mixology_celllines/sc_mixology_5batches.h5ad")
    vocab = FeatureVocab.from_symbols(counts.adata.var_names, counts.adata.var["gene_ids"])
    assert vocab.species == "human"
    assert vocab.index("ENSG00000124126.13") == vocab.index("prex1") == 0


def test_hesc_spike_ins_are_nodes_but_never_tokens(real_data: Path, tmp_path: Path) -> None:
    prep = prepare_counts(real_data / HESC, tmp_path / "prep")
    spikes = [name for name in prep.vocab.symbols if is_spike_in(name)]
    assert len(spikes) == 28
    assert int((~np.array(prep.vocab.is_token)).sum()) == 28
    assert prep.vocab.is_token[prep.vocab.index("ERCC6L")]
    assert prep.kind == "log"


def test_kang_prepared_with_variable_genes_tfs_and_targets(real_data: Path, tmp_path: Path, kang: CountsFile) -> None:
    out = tmp_path / "prep"
    options = {"grn": real_data / COLLECTRI, "tf_list": real_data / "tf_lists/lambert2018.txt"}
    prepare_counts(real_data / KANG, out, genes="hvg:2000+tf+targets", **options)
    prep = Prep.open(out)
    assert prep.grn.num_edges == 12_893  # none lost to the selection
    assert 2_000 < prep.cells.num_features < 9_015
    totals = np.asarray(kang.adata.X.sum(axis=1)).ravel()
    assert np.allclose(prep.cells.size_factor_C, totals)
    assert prep.tf_index.size > prep.grn.source_index.size
