"""Facts about the genes of an embedding: vectors, names, degree, expression, regulons.

Dimension letters: G rows (genes), D width, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.export.gene_frame import GeneEmbeddings
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.export.known_edges import PARTS, known_edges
from grn_cotrain.jobs.genes import VARM_KEY
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    import anndata

__all__ = ["Embedded", "Network", "embedded"]


@dataclass(frozen=True, eq=False)
class Network:
    """Known edges as gene symbols: ``edges`` with ``source, target, part``; ``tfs``: sources of the run's split."""

    edges: pd.DataFrame
    tfs: frozenset[str]
    cells: CellStore | None

    @cached_property
    def expression(self) -> pd.Series | None:
        """Mean normalised value of each gene; None if the cells are gone."""
        if self.cells is None:
            return None
        mean_G = Statistics(self.cells)[Moments()].mean_of_cells_G
        expression = pd.Series(mean_G, index=self.cells.vocab.symbols)
        return expression[~expression.index.duplicated()]

    def degree(self) -> pd.Series:
        """Number of training edges of each gene, in and out: what the embedding could have learned it from."""
        train = self.edges[self.edges["part"] == "train"]
        return pd.concat([train["source"], train["target"]]).value_counts()


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embedding vectors with the names of their genes, and where to ask for more.

    Attributes
    ----------
    matrix_GD
        float32.
    names
        A name a row: symbols, for most.
    what
        ``graph embedding`` and the like, for titles.
    run
        Run folder, or None for vectors without one.
    adata
        Where they came from an AnnData: its ``var`` may colour genes.
    """

    matrix_GD: np.ndarray
    names: pd.Index
    what: str
    run: str | Path | None = None
    adata: anndata.AnnData | None = None

    def network(self, why: str) -> Network:
        """Edges, TFs and expression of the run; ``why`` names what needs them."""
        if self.run is None:
            raise UserError(f"{why}: needs a run; give the run folder instead of vectors, or a Series by gene as color")
        network = _network(*_stamp(self.run))
        if network is None:
            raise UserError(f"{why}: the edges of run '{self.run}' are unknown, its prepared folder is gone")
        return network


def _stamp(run: str | Path) -> tuple[str, int]:
    """Place of a run's model and time of its writing: what is read from it is kept until it changes."""
    config = RunFolder.open(run).require_model() / "config.json"
    return str(run), config.stat().st_mtime_ns


@lru_cache(maxsize=4)
def _vectors(run: str, stamp: int, kind: str) -> GeneEmbeddings:
    del stamp
    return gene_embeddings(run, kind=kind)


@lru_cache(maxsize=4)
def _network(run: str, stamp: int) -> Network | None:
    del stamp
    opened = OpenRun(run)
    known, _ = known_edges(opened)
    if known.origin == "none":
        return None
    symbols = np.asarray(opened.vocab.symbols, dtype=object)
    edges = pd.DataFrame(
        {
            "source": symbols[known.keys_E // known.num_genes],
            "target": symbols[known.keys_E % known.num_genes],
            "part": np.asarray(PARTS, dtype=object)[known.part_E],
        }
    )
    return Network(edges, frozenset(symbols[known.sources_S]), known.cells)


def embedded(source: Any, *, kind: str = "graph", key: str | None = None) -> Embedded:
    """Vectors of a run folder, :class:`GeneEmbeddings`, an AnnData (``varm[key]``) or a frame with one row a gene."""
    import anndata

    if isinstance(source, Embedded):
        return source
    if isinstance(source, (str, Path)):
        found = _vectors(*_stamp(source), kind)
        return Embedded(found.matrix(), pd.Index(found.names()), f"{found.kind} embedding", run=source)
    if isinstance(source, GeneEmbeddings):
        return Embedded(source.matrix(), pd.Index(source.names()), f"{source.kind} embedding")
    if isinstance(source, anndata.AnnData):
        name = key or VARM_KEY
        if name not in source.varm:
            held = list(source.varm)
            raise UserError(
                f"key '{name}': not in varm ({', '.join(held) or 'which is empty'}){did_you_mean(name, held)};"
                " make it with tl.embed_genes"
            )
        matrix_GD = np.asarray(source.varm[name], dtype=np.float32)
        kept = np.isfinite(matrix_GD).all(axis=1)  # genes that the model does not know
        return Embedded(matrix_GD[kept], source.var_names[kept], f"varm['{name}']", adata=source[:, kept])
    if isinstance(source, pd.DataFrame):
        numbers = source.select_dtypes("number")
        if numbers.shape[1] < 2 or not np.isfinite(numbers.to_numpy()).all():
            raise UserError("embeddings: the frame needs two or more columns of finite numbers, one row a gene")
        return Embedded(numbers.to_numpy(np.float32), source.index.astype(str), "embedding")
    raise UserError(
        f"embeddings: got {type(source).__name__}; give a run folder, GeneEmbeddings, an AnnData or a DataFrame by gene"
    )
