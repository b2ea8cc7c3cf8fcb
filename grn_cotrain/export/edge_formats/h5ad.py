"""Format ``h5ad``: gene x gene matrices in ``varp``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["H5adFormat"]


@EDGE_FORMATS.register("h5ad", paper="Virshup et al. 2024, Journal of Open Source Software 9, 4371 (anndata)")
class H5adFormat(EdgeFormat):
    """An AnnData over the model's genes, without cells: weights in ``varp[key]``, signs in ``varp[key + "_sign"]``.

    Rows are TFs, columns targets (as :meth:`~grn_cotrain.data.grn.GRN.from_adata_varp` reads them); ``uns[key]`` holds
    the table of edges with all columns, and where it comes from. ``adata.varp`` of one's own AnnData takes the matrices
    after ``adata = file[:, adata.var_names]``. With groups of cells there are such matrices for each group,
    ``varp[key + "_" + group]``, with the conditioned weights; edges that do not act in a group are not in its matrix.
    """

    suffix = "h5ad"
    grouped: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Places of the matrices.

        Attributes
        ----------
        key
            Name in ``varp`` and ``uns``.
        """

        key: str = "grn_cotrain"

        def __post_init__(self) -> None:
            if not self.key or "/" in self.key:
                raise UserError(f"key '{self.key}': no name of a matrix; give letters and digits, without /")

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        import anndata
        import numpy as np
        import pandas as pd
        from scipy import sparse

        vocab = edges.vocab
        var = pd.DataFrame(
            {"gene_ids": list(vocab.ids), "modality": list(vocab.modality)},
            index=pd.Index(np.asarray(vocab.symbols, dtype=object), name="symbol"),
        )
        sources = set(edges.frame["source"])
        var["is_tf"] = [symbol in sources for symbol in vocab.symbols]
        adata = anndata.AnnData(X=sparse.csr_matrix((0, vocab.num_features), dtype=np.float32), var=var)
        for name, network in edges.networks().items():
            key = f"{self.config.key}_{name.replace('/', '_')}" if name else self.config.key
            network.to_adata_varp(adata, key_added=key)
        adata.uns[self.config.key] = {
            **edges.provenance(),
            "edges": edges.frame.set_axis(edges.frame.index.astype(str)),
        }
        write_h5ad(adata, path, compression="gzip")
        return []
