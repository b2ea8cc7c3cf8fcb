"""Which features of a vocabulary are nodes: they have a row in the shared table and may carry messages.

Dimension letters: F features of the vocabulary, N nodes, E edges.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.assays import Assay
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.store import CellStore, StoreBase
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["Nodes", "node_cells"]


@dataclass(frozen=True, eq=False)
class Nodes:
    """Rows of the shared table, in the order of the vocabulary, in which genes come first.

    Attributes
    ----------
    feature_N
        int64 index in the vocabulary of each node, ascending.
    num_features
        F.
    num_genes
        Leading nodes between which regulation is scored. Link decoders, evidence and splits know these alone.
    """

    feature_N: np.ndarray
    num_features: int
    num_genes: int

    def __post_init__(self) -> None:
        index_N = self.feature_N
        ascending = index_N.ndim == 1 and bool((np.diff(index_N) > 0).all())
        if not ascending or (index_N.size and not 0 <= index_N[0] <= index_N[-1] < self.num_features):
            raise UserError(f"nodes: not ascending indices of the {self.num_features:,} features")
        if not 0 <= self.num_genes <= index_N.size:
            raise UserError(f"nodes: {self.num_genes:,} genes among {index_N.size:,} nodes")

    @classmethod
    def of(cls, vocab: FeatureVocab, spaces: Collection[str] = ("gene",), linked: np.ndarray | None = None) -> Nodes:
        """The genes, and of other spaces the features that an edge names.

        Parameters
        ----------
        vocab
            Features.
        spaces
            Modalities that may be nodes; ``gene`` is one of them. In a vocabulary without genes every feature of the
            first modality stands for a gene.
        linked
            Indices of features that edges name, in any order and shape; None: every feature of the other spaces is a
            node too.

        Raises
        ------
        UserError
            A space that the vocabulary does not have; ``linked`` names a feature of a space that has no nodes.
        """
        strange_space = next((name for name in spaces if name not in vocab.modality and name != "gene"), None)
        if strange_space is not None:
            known = list(dict.fromkeys(vocab.modality))
            raise UserError(
                f"model.table.nodes: the data have no space '{strange_space}'{did_you_mean(strange_space, known)};"
                f" they have {', '.join(known)}"
            )
        modality_F = np.asarray(vocab.modality, dtype=object)
        is_gene_F = modality_F == "gene"
        if not is_gene_F.any():
            is_gene_F = modality_F == modality_F[0] if len(modality_F) else is_gene_F
        is_node_F = is_gene_F | np.isin(modality_F, list(spaces))
        if linked is not None:
            is_linked_F = np.zeros(len(modality_F), dtype=bool)
            is_linked_F[np.asarray(linked, dtype=np.int64).ravel()] = True
            strange = np.flatnonzero(is_linked_F & ~is_node_F)
            if strange.size:
                space = modality_F[strange[0]]
                raise UserError(
                    f"model.table.nodes: {', '.join(spaces)}, but {strange.size:,} features of space '{space}' have"
                    f" edges ({vocab.symbols[strange[0]]}); add {space} to model.table.nodes, or leave these relations"
                    " out with graph.relations"
                )
            is_node_F &= is_gene_F | is_linked_F
        feature_N = np.flatnonzero(is_node_F).astype(np.int64)
        return cls(feature_N, len(modality_F), int(np.flatnonzero(is_gene_F[feature_N]).max(initial=-1)) + 1)

    @classmethod
    def every(cls, num_features: int) -> Nodes:
        """Every feature is a node, and takes part in links: models of format 1."""
        return cls(np.arange(num_features, dtype=np.int64), num_features, num_features)

    @property
    def num_nodes(self) -> int:
        """N."""
        return int(self.feature_N.size)

    @cached_property
    def node_F(self) -> np.ndarray:
        """int64 ``[F]``: the node of each feature, -1 where it is not a node."""
        node_F = np.full(self.num_features, -1, dtype=np.int64)
        node_F[self.feature_N] = np.arange(self.num_nodes)
        return node_F

    @property
    def others_P(self) -> np.ndarray:
        """int64 features without a node, ascending."""
        return np.flatnonzero(self.node_F < 0)

    def pairs(self, pairs_2E: np.ndarray) -> np.ndarray:
        """Node indices of pairs of features.

        Raises
        ------
        UserError
            An end that is not a node.
        """
        node_2E = self.node_F[np.asarray(pairs_2E, dtype=np.int64)]
        if node_2E.size and node_2E.min() < 0:
            raise UserError(f"edges: {int((node_2E < 0).any(0).sum()):,} have an end without a row in the table")
        return node_2E

    def vocab(self, vocab: FeatureVocab) -> FeatureVocab:
        """The vocabulary of the nodes."""
        return vocab if self.num_nodes == len(vocab) else vocab.select(self.feature_N.tolist())


def node_cells(cells: CellStore, nodes: Nodes) -> CellStore:
    """The columns of nodes, of the same cells; depths are those of the whole assay."""
    if nodes.num_nodes == cells.num_features:
        return cells
    vocab = nodes.vocab(cells.vocab)
    spaces = {modality_of(space.name).assay: space for space in vocab.spaces}
    assays = {name: replace(cells.assays[name], space=space) for name, space in spaces.items()}
    if isinstance(cells, MemoryStore):
        return MemoryStore(vocab, cells.values_CG[:, nodes.feature_N], cells.obs, assays)
    columns = {name: nodes.feature_N[space.columns] - cells.assays[name].space.start for name, space in spaces.items()}
    return _Columns(cells, vocab, assays, columns)


class _Columns(StoreBase):
    """Some columns of a store, read through it."""

    def __init__(
        self, cells: CellStore, vocab: FeatureVocab, assays: dict[str, Assay], columns: dict[str, np.ndarray]
    ) -> None:
        self._cells, self._columns = cells, columns
        self.vocab, self.obs, self.assays = vocab, cells.obs, assays

    def rows(self, index_B: np.ndarray) -> dict[str, sparse.csr_matrix]:
        """See :class:`~grn_cotrain.data.store.CellStore`."""
        stored = self._cells.rows(index_B)
        return {name: stored[name][:, columns] for name, columns in self._columns.items()}

    def num_values(self, assay: str, *, tokens: bool = False) -> np.ndarray:
        """Stored values of the whole assay: an upper bound, which decides the size of blocks alone."""
        return self._cells.num_values(assay, tokens=tokens)

    def take(self, index_B: np.ndarray) -> MemoryStore:
        """The cells at ``index_B``, in memory."""
        values_BG = sparse.hstack(list(self.rows(index_B).values()), format="csr")
        assays = {name: assay.take(index_B) for name, assay in self.assays.items()}
        return MemoryStore(self.vocab, values_BG, self.obs.iloc[index_B], assays)

    def part(self, index_B: np.ndarray) -> _Columns:
        """The cells at ``index_B``, read through the store."""
        assays = {name: assay.take(index_B) for name, assay in self.assays.items()}
        return _Columns(self._cells.part(index_B), self.vocab, assays, self._columns)

    def only(self, assay: str) -> _Columns:
        """The cells that have an assay, with the nodes of this assay alone."""
        chosen = self.assays[assay]
        part = self._cells.only(assay)
        vocab = self.vocab.select(np.arange(chosen.space.start, chosen.space.stop))
        assays = {assay: replace(part.assays[assay], space=vocab.spaces[0])}
        return _Columns(part, vocab, assays, {assay: self._columns[assay]})

    def verify(self) -> None:
        """See :class:`~grn_cotrain.data.store.CellStore`."""
        self._cells.verify()

    @property
    def content_hash(self) -> str:
        """Hash of the whole store."""
        return self._cells.content_hash
