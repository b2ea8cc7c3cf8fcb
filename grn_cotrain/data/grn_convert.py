"""A network in other libraries' clothes: networkx, GraphML, torch-geometric, DGL, AnnData ``varp``.

Every converter is reached through a method of :class:`~grn_cotrain.data.grn.GRN`; the libraries are imported when used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import MissingExtraError, UserError
from grn_cotrain.files import atomic_file

if TYPE_CHECKING:
    import anndata
    import networkx

__all__ = [
    "frame_from_networkx",
    "frame_from_varp",
    "to_adata_varp",
    "to_dgl",
    "to_graphml",
    "to_networkx",
    "to_pyg",
    "write_graphml",
]


class Network(Protocol):
    """The part of a :class:`~grn_cotrain.data.grn.GRN` that converters read."""

    @property
    def vocab(self) -> FeatureVocab: ...
    @property
    def edges(self) -> pd.DataFrame: ...
    @property
    def num_genes(self) -> int: ...
    @property
    def pairs_2E(self) -> np.ndarray: ...
    @property
    def weight_E(self) -> np.ndarray: ...
    @property
    def sign_E(self) -> np.ndarray: ...


def to_networkx(grn: Network) -> networkx.DiGraph:
    """Symbols as nodes; ``weight, sign, evidence`` on edges."""
    import networkx

    return networkx.from_pandas_edgelist(
        grn.edges, "source", "target", edge_attr=["weight", "sign", "evidence"], create_using=networkx.DiGraph
    )


def frame_from_networkx(graph: networkx.Graph) -> pd.DataFrame:
    """Edges of a directed graph; missing attributes take the defaults of a plain edge."""
    if not graph.is_directed():
        raise UserError("networkx graph: is undirected; give a DiGraph (TF -> target), or graph.to_directed()")
    rows = [
        (str(a), str(b), data.get("weight", 1.0), data.get("sign", 0), data.get("evidence", ""))
        for a, b, data in graph.edges(data=True)
    ]
    return pd.DataFrame(rows, columns=["source", "target", "weight", "sign", "evidence"])


def to_graphml(grn: Network, path: str | Path) -> None:
    """Directed graph of symbols, written atomically."""
    write_graphml(to_networkx(grn), path)


def write_graphml(graph: networkx.DiGraph, path: str | Path) -> None:
    """Write a graph with ``weight`` and ``sign`` as plain Python numbers: GraphML writers know no numpy types."""
    import networkx

    for _, _, data in graph.edges(data=True):
        data["weight"], data["sign"] = float(data["weight"]), int(data["sign"])
    with atomic_file(path) as temporary:
        networkx.write_graphml(graph, temporary)


def to_pyg(grn: Network) -> Any:
    """``Data(edge_index, edge_weight, edge_sign, node_names, num_nodes)``."""
    import torch
    from torch_geometric.data import Data

    return Data(
        edge_index=torch.from_numpy(grn.pairs_2E.copy()),
        edge_weight=torch.from_numpy(grn.weight_E.copy()),
        edge_sign=torch.from_numpy(grn.sign_E.copy()),
        node_names=list(grn.vocab.symbols),
        num_nodes=grn.num_genes,
    )


def to_dgl(grn: Network) -> Any:
    """``DGLGraph`` with edata ``weight`` and ``sign``."""
    import torch

    try:
        import dgl
    except ImportError:
        raise MissingExtraError("GRN.to_dgl: dgl is not installed; run `make setup-ci`") from None
    source_E, target_E = (torch.from_numpy(row.copy()) for row in grn.pairs_2E)
    graph = dgl.graph((source_E, target_E), num_nodes=grn.num_genes)
    graph.edata["weight"] = torch.from_numpy(grn.weight_E.copy())
    graph.edata["sign"] = torch.from_numpy(grn.sign_E.copy())
    return graph


def to_adata_varp(grn: Network, adata: anndata.AnnData, key_added: str) -> None:
    """Write two sparse gene x gene matrices; genes of the network that ``adata`` lacks are an error."""
    position = pd.Index(adata.var_names).get_indexer(np.asarray(grn.vocab.symbols, dtype=object))
    used = np.unique(grn.pairs_2E)
    missing = [grn.vocab.symbols[i] for i in used if position[i] < 0]
    if missing:
        raise UserError(
            f"adata: {len(missing):,} genes of the network are not among its var_names, first {missing[0]}; "
            "give the AnnData that the vocabulary was made from"
        )
    rows, columns = position[grn.pairs_2E]
    shape = (adata.n_vars, adata.n_vars)
    # Signs of 0 are stored entries, so both matrices have the edges as their pattern.
    adata.varp[key_added] = sparse.csr_matrix((grn.weight_E, (rows, columns)), shape=shape)
    adata.varp[f"{key_added}_sign"] = sparse.csr_matrix((grn.sign_E.astype(np.float32), (rows, columns)), shape=shape)


def frame_from_varp(adata: anndata.AnnData, key: str) -> pd.DataFrame:
    """Edges of ``adata.varp[key]``; signs from ``key_sign`` where it is there, else from negative weights."""
    if key not in adata.varp:
        raise UserError(f"adata.varp['{key}']: no such key; choose from {', '.join(adata.varp) or 'none'}")
    weights = sparse.coo_matrix(_checked(adata.varp[key], key))
    names = np.asarray(adata.var_names, dtype=object)
    frame = pd.DataFrame({"source": names[weights.row], "target": names[weights.col], "weight": np.abs(weights.data)})
    if f"{key}_sign" in adata.varp:
        signs = sparse.csr_matrix(_checked(adata.varp[f"{key}_sign"], f"{key}_sign"))
        frame["sign"] = np.sign(np.asarray(signs[weights.row, weights.col]).ravel()).astype(np.int8)
    elif (weights.data < 0).any():
        frame["sign"] = np.sign(weights.data).astype(np.int8)
    return frame


def _checked(matrix: Any, key: str) -> Any:
    """The matrix, whose row pointers and indices are in range: a wrong one would be read as another place in memory."""
    if sparse.issparse(matrix) and matrix.format in ("csr", "csc"):
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise UserError(f"adata.varp['{key}']: is damaged ({error}); write the file again") from None
    return matrix
