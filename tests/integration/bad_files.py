"""Files that users bring and should not: makers for the tables of bad input."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd

__all__ = [
    "GENES",
    "NUM_CELLS",
    "NUM_GENES",
    "cells",
    "cut",
    "damaged_zarr",
    "edges",
    "gzipped",
    "h5mu",
    "loom",
    "mtx",
    "prepared",
    "text",
]

NUM_CELLS, NUM_GENES = 20, 40
GENES = [f"GENE{i}" for i in range(NUM_GENES - 2)] + ["HLA-A", "HLA-B"]


def matrix() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, (NUM_CELLS, NUM_GENES)).astype(np.float32)


def adata(**changes: Any) -> anndata.AnnData:
    """Twenty cells of forty genes, changed by ``set``, ``transform``, ``rows``, ``columns``, ``barcodes``, ..."""
    X = matrix()
    for place, value in changes.pop("set", ()):
        X[place] = value
    data = anndata.AnnData(
        changes.pop("transform", lambda x: x)(X),
        obs=pd.DataFrame(changes.pop("obs", {}), index=changes.pop("barcodes", [f"c{i}" for i in range(NUM_CELLS)])),
        var=pd.DataFrame(changes.pop("var", {}), index=changes.pop("genes", GENES)),
        layers={"counts": X},
    )
    data = data[changes.pop("rows", slice(None)), changes.pop("columns", slice(None))].copy()
    assert not changes, f"unknown change: {changes}"
    return data


def cells(folder: Path, name: str = "cells.h5ad", **changes: Any) -> Path:
    """An h5ad of :func:`adata`."""
    adata(**changes).write_h5ad(folder / name)
    return folder / name


def edges(folder: Path, pairs: list[tuple[str, str]] | None = None, name: str = "edges.tsv") -> Path:
    """An edge list; by default six TFs with twenty targets each."""
    pairs = pairs if pairs is not None else [(f"GENE{a}", f"GENE{b}") for a in range(6) for b in range(6, 26)]
    (folder / name).write_text("source\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in pairs))
    return folder / name


def text(folder: Path, content: str | bytes, name: str) -> Path:
    """A file of this content."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def cut(path: Path) -> Path:
    """The first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def gzipped(path: Path) -> Path:
    """The same, gzipped."""
    out = path.with_name(f"{path.name}.gz")
    out.write_bytes(gzip.compress(path.read_bytes()))
    return out


def h5mu(folder: Path, *names: str) -> Path:
    """An h5mu whose modalities have these names."""
    import mudata

    parts = {name: adata(genes=[f"{name}{i}" for i in range(NUM_GENES)]) for name in names}
    mudata.MuData(parts).write_h5mu(folder / "cells.h5mu")
    return folder / "cells.h5mu"


def loom(folder: Path, genes: str = "Gene") -> Path:
    """A loom file, by its layout."""
    with h5py.File(folder / "cells.loom", "w") as file:
        file["matrix"] = matrix().T
        file[f"row_attrs/{genes}"] = np.array(GENES, dtype=object)
        file["col_attrs/CellID"] = np.array([f"c{i}" for i in range(NUM_CELLS)], dtype=object)
    return folder / "cells.loom"


def mtx(folder: Path, values: np.ndarray | None = None, barcodes: int = NUM_CELLS) -> Path:
    """A Matrix Market folder."""
    from scipy.io import mmwrite
    from scipy.sparse import coo_matrix

    place = folder / "mtx"
    place.mkdir()
    mmwrite(place / "matrix.mtx", coo_matrix((matrix() if values is None else values).T))
    (place / "features.tsv").write_text("".join(f"{name}\t{name}\tGene Expression\n" for name in GENES))
    (place / "barcodes.tsv").write_text("".join(f"c{i}\n" for i in range(barcodes)))
    return place


def damaged_zarr(folder: Path) -> Path:
    """A zarr store that lost a part of its values, which zarr reads as zeros."""
    from scipy.sparse import csr_matrix

    data = adata()
    data.X = csr_matrix(data.X)
    data.write_zarr(folder / "cells.zarr")
    next(path for path in (folder / "cells.zarr" / "X" / "data").rglob("*") if path.name == "0").unlink()
    return folder / "cells.zarr"


def prepared(folder: Path) -> Path:
    """A prepared folder with a network."""
    from data_prep.cli import app
    from grn_cotrain.commandline import run_app

    arguments = [
        "counts",
        str(cells(folder, "own.h5ad")),
        "--out",
        f"{folder}/prep",
        "--grn",
        str(edges(folder, name="own.tsv")),
    ]
    assert run_app(app, arguments) == 0
    return folder / "prep"
