"""Skip-gram neighbours of known genes among 2,000 blood cells."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from grn_cotrain.data import gene2vec as module
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.gene2vec import gene2vec
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab

pytestmark = pytest.mark.real

PROGRAMMES = {
    "interferon response": ("ISG15", ["IFIT1", "IFIT2", "IFIT3", "MX1", "OAS1", "ISG20", "LY6E", "IRF7", "CMPK2"]),
    "cytotoxic": ("NKG7", ["GNLY", "PRF1", "GZMB", "GZMH", "CST7", "CCL5", "KLRD1", "CTSW", "CLIC3"]),
    "B cell": ("CD79A", ["MS4A1", "CD79B", "TCL1A", "BLNK", "HVCN1", "CD19", "FCRLA", "VPREB3", "HLA-DQA1"]),
}


def test_genes_of_a_programme_are_neighbours(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRESENTATIONS", 400_000)  # a fifth of the default, for time
    adata = anndata.read_h5ad(real_data / "kang_ifnb_harmony" / "kang_ifnb_2000cells_counts.h5ad")
    detected = np.asarray((adata.X > 0).sum(axis=0)).ravel()
    named = [gene for first, others in PROGRAMMES.values() for gene in [first, *others]]
    chosen = np.isin(adata.var_names, named) | (detected >= np.sort(detected)[-1000])
    adata = adata[:, chosen]
    cells = MemoryStore.build(FeatureVocab.from_symbols(adata.var_names, species="human"), adata.X, kind="counts")
    vectors_GR = gene2vec(Statistics(cells), rank=32)
    unit_GR = vectors_GR / np.maximum(np.linalg.norm(vectors_GR, axis=1, keepdims=True), 1e-9)
    symbols = np.asarray(cells.vocab.symbols)
    for programme, (gene, members) in PROGRAMMES.items():
        cosine_G = unit_GR @ unit_GR[cells.vocab.index(gene)]
        nearest = set(symbols[np.argsort(-cosine_G)[1:11]])
        # Nine members of about a thousand genes: by chance one neighbour in ten lists of ten.
        assert len(nearest & set(members)) >= 4, f"{programme}: {sorted(nearest)}"
