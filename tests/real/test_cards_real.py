"""Cards of loadings of real cells: chromosomes near chance, interferon genes found, places of genes right."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.card.gene_sets import read_chromosomes, read_pathways
from grn_cotrain.card.probes import Probe, ProbeResult, probe_features, run_probe
from grn_cotrain.card.probes.chromosome import chromosome_probe
from grn_cotrain.card.probes.pathways import pathway_probe
from grn_cotrain.card.vectors import nearest
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from tests.unit.card.toy import toy_inputs

pytestmark = pytest.mark.real

INTERFERON = (
    "ISG15 ISG20 IFIT1 IFIT2 IFIT3 IFIT5 IFI6 IFI35 IFI44 IFI44L MX1 MX2 OAS1 OAS2 OAS3 OASL RSAD2 STAT1 IRF7 LY6E"
)
RIBOSOMAL = (
    "RPL3 RPL5 RPL7 RPL8 RPL10 RPL13 RPL18 RPL19 RPL30 RPL32 RPS3 RPS6 RPS8 RPS9 RPS12 RPS14 RPS18 RPS23 RPS27 RPSA"
)
T_CELL = "CD3D CD3E CD3G CD2 CD7 CD27 CD28 CD5 CD6 LCK LAT ITK TRAT1 IL7R CCR7 SELL LEF1 TCF7 GIMAP5 GIMAP7"


def quiet(text: str) -> None:
    del text


@pytest.fixture(scope="module")
def kang(real_data: Path) -> MemoryStore:
    """2,000 PBMCs, half of them stimulated with interferon beta."""
    adata = anndata.read_h5ad(real_data / "kang_ifnb_harmony" / "kang_ifnb_2000cells_counts.h5ad")
    return MemoryStore.build(FeatureVocab.from_symbols(adata.var_names, species="human"), adata.X, kind="counts")


def test_genes_lie_where_they_do(real_data: Path, kang: MemoryStore) -> None:
    said: list[str] = []
    places = read_chromosomes(real_data / "gene_annotation" / "hg38_genes.tsv.gz", kang.vocab, say=said.append)
    for gene, chromosome in (
        ("STAT1", "chr2"),
        ("TP53", "chr17"),
        ("CD3D", "chr11"),
        ("LYZ", "chr12"),
        ("XIST", "chrX"),
    ):
        assert places[kang.vocab.index(gene)] == chromosome
    assert "8,120 of 9,015" in said[0]
    table = pd.read_csv(real_data / "gene_annotation" / "hg38_genes.tsv.gz", sep="\t")
    table = table[~table["chrom"].str.contains("_") & table["gene"].isin(kang.vocab.symbols)]
    assert len(places) >= table.groupby("gene")["chrom"].nunique().eq(1).sum()


@pytest.mark.slow
def test_loadings_of_stimulated_cells(real_data: Path, kang: MemoryStore, tmp_path: Path) -> None:
    loadings = gene_loadings(Statistics(kang), rank=32)
    mean = np.asarray(kang.normalised().mean(axis=0)).ravel()
    noise = np.random.default_rng(0).standard_normal(loadings.shape)
    inputs = toy_inputs(loadings, vocab=kang.vocab, expression_G=mean, loadings_GR=noise)
    features = probe_features(inputs)

    index, _ = nearest(loadings, 10, np.array([kang.vocab.index("ISG15")]))
    assert {"IFIT1", "IFIT3", "LY6E"} <= {kang.vocab.symbols[i] for i in index[0]}

    gmt = tmp_path / "sets.gmt"
    sets = {"interferon": INTERFERON, "ribosome": RIBOSOMAL, "t_cells": T_CELL}
    gmt.write_text("".join(f"{name}\tx\t{chr(9).join(genes.split())}\n" for name, genes in sets.items()))
    probe = pathway_probe(inputs, read_pathways(gmt, kang.vocab, say=quiet))
    assert isinstance(probe, Probe)
    found = run_probe(probe, features, replicates=50)
    assert isinstance(found, ProbeResult)
    auroc = {task.task: task.auroc for task in found.per_task}
    assert auroc["interferon"] > 0.95
    assert auroc["t_cells"] > 0.9
    assert not found.beats_controls  # three sets support no claim

    places = read_chromosomes(real_data / "gene_annotation" / "hg38_genes.tsv.gz", kang.vocab, say=quiet)
    control = chromosome_probe(inputs, places)
    assert isinstance(control, Probe)
    assert len(control.tasks) == 23
    result = run_probe(control, features, replicates=50)
    assert isinstance(result, ProbeResult)
    assert 0.47 < result.scores[0].auroc.value < 0.56
