"""Small matrices of 20 cells x 12 genes for the tests of readers, and how to write them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.io import mmwrite

from grn_cotrain.data.io.counts import CountsFile, load_counts

GENES = ["STAT1", "IRF1", "CD3D", "MS4A1", "LYZ", "NKG7", "GNLY", "PPBP", "HLA-A", "B2M", "ACTB", "CST3"]
IDS = [f"ENSG{i:011d}" for i in range(12)]
CELLS = ["AAACCTGAGAGC" + "".join("ACGT"[i // 4**k % 4] for k in range(4)) + "-1" for i in range(20)]
COUNTS = np.random.default_rng(0).poisson(2, (20, 12))
NUMBERS = [str(i) for i in range(12)]

GENE_ROWS: list[list[Any]] = [["gene", *CELLS], *([name, *COUNTS[:, i]] for i, name in enumerate(GENES))]
CELL_ROWS: list[list[Any]] = [["", *GENES], *([name, *COUNTS[i]] for i, name in enumerate(CELLS))]


def holds_the_counts(counts: CountsFile, genes: Sequence[str] = GENES) -> bool:
    """Whether a file was read as these cells, genes and values, and nothing else."""
    return list(counts.adata.var_names) == list(genes) and np.array_equal(counts.adata.X.toarray(), COUNTS)


def adata(var: pd.DataFrame | None = None, cells: Sequence[str] = CELLS) -> anndata.AnnData:
    var = pd.DataFrame(index=GENES) if var is None else var
    return anndata.AnnData(COUNTS.astype(np.float32), obs=pd.DataFrame(index=list(cells)), var=var)


def h5ad(folder: Path, var: pd.DataFrame | None = None) -> Path:
    path = folder / "cells.h5ad"
    adata(var).write_h5ad(path)
    return path


def text(folder: Path, rows: Iterable[Iterable[Any]], *, sep: str = ",", before: str = "", name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(before + "".join(sep.join(map(str, row)) + "\n" for row in rows))
    return path


FEATURES = "".join(f"{known}\t{name}\n" for known, name in zip(IDS, GENES, strict=True))
BARCODES = "".join(f"{name}\n" for name in CELLS)
TENX = ("matrix.mtx", "features.tsv", "barcodes.tsv")


def mtx(
    folder: Path,
    *,
    features: str = FEATURES,
    barcodes: str = BARCODES,
    cells_are_rows: bool = False,
    names: tuple[str, str, str] = TENX,
    zipped: bool = False,
) -> Path:
    place = folder / "mtx"
    place.mkdir()
    mmwrite(place / "made.mtx", sparse.coo_matrix(COUNTS if cells_are_rows else COUNTS.T))
    contents = ((place / "made.mtx").read_bytes(), features.encode(), barcodes.encode())
    (place / "made.mtx").unlink()
    for name, content in zip(names, contents, strict=True):
        file = place / (f"{name}.gz" if zipped else name)
        file.write_bytes(gzip.compress(content) if zipped else content)
    return place


def notes_of(path: Path, **options: Any) -> str:
    """What reading says; the values are checked on the way."""
    counts = load_counts(path, **options)
    assert holds_the_counts(counts)
    return " | ".join(counts.notes)
