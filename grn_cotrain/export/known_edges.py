"""Facts about a pair: its part of the split, its sign, its evidence; and the sign that the cells show.

Dimension letters: C cells, E edges, G genes, M pairs, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from grn_cotrain.apply import OpenRun
from grn_cotrain.controls.pair_rows import score_by_rows
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["PARTS", "KnownEdges", "known_edges", "pair_correlations"]

PARTS = ("", "train", "validation", "test", "withheld")
"""Values of ``known``: no edge of the network; its part of the split; in the network, but in no part."""


@dataclass(frozen=True)
class KnownEdges:
    """The network behind a run, by pair.

    Attributes
    ----------
    origin
        ``split``: every part is known. ``graph``: only the training edges are, from the model's own graph. ``none``:
        nothing is, since the model passed its messages on a control graph.
    keys_E
        int64, sorted: :func:`~grn_cotrain.data.pairs.pair_keys` of the known edges.
    part_E
        uint8 positions in :data:`PARTS`.
    sign_E
        int8; training edges only, 0 elsewhere: the sign of a held-out edge is as unknown to a model as the edge.
    evidence_E
        Text of the network, or empty.
    sources_S
        Gene indices of the TFs that the split has (training, validation and test), or the model's graph.
    cells
        The run's cells, or None if the prepared folder is not available.
    """

    origin: Literal["split", "graph", "none"]
    num_genes: int
    keys_E: np.ndarray
    part_E: np.ndarray
    sign_E: np.ndarray
    evidence_E: np.ndarray
    sources_S: np.ndarray
    cells: CellStore | None

    @property
    def train_sources(self) -> np.ndarray:
        """Source of each training edge that is known here."""
        return self.keys_E[self.part_E == PARTS.index("train")] // self.num_genes

    def at(self, keys_M: np.ndarray) -> np.ndarray:
        """Position of each pair among the known edges, -1 for the others: int64 ``[M]``."""
        if not self.keys_E.size:
            return np.full(keys_M.shape, -1)
        at_M = np.searchsorted(self.keys_E, keys_M).clip(max=self.keys_E.size - 1)
        return np.where(self.keys_E[at_M] == keys_M, at_M, -1)

    def new(self, sources_S: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
        """Pairs that are neither known nor a gene with itself, bool ``[S, N]``."""
        at_SN = self.at(sources_S[:, None] * np.int64(self.num_genes) + targets_N[None, :])
        return (at_SN < 0) & (sources_S[:, None] != targets_N[None, :])


def known_edges(run: OpenRun) -> tuple[KnownEdges, list[str]]:
    """Read the run's prepared folder or, where it is gone, the model's own graph.

    Returns
    -------
    known edges, notes
        The notes list what is missing without the prepared folder.

    Raises
    ------
    UserError
        A prepared folder was named and is not the one that the run was trained on.
    """
    try:
        opened, split = _open(run.folder.require_prep(run.prep), run.meta)
    except UserError as error:
        if run.prep is not None:
            raise
        return _from_graph(run, str(error))
    return _from_split(opened, split), []


def _open(prep: Prep, meta: dict[str, Any]) -> tuple[Prep, EdgeSplit]:
    split = prep.split(meta["split"])
    if split.content_hash != meta["split_hash"]:
        raise UserError(
            f"prepared folder '{prep.folder}': its split '{split.name}' ({split.content_hash}) is not the one that the"
            f" model was trained on ({meta['split_hash']}); give the run's own folder as --prep"
        )
    return prep, split


def _from_split(prep: Prep, split: EdgeSplit) -> KnownEdges:
    num_genes = split.num_genes
    grn_keys_E = pair_keys(prep.grn.pairs_2E, num_genes)
    parts = {name: pair_keys(getattr(split, f"{name}_2E"), num_genes) for name in PARTS[1:]}
    keys_E = np.unique(np.concatenate([grn_keys_E, *parts.values()]))
    # Published and transferred splits bring edges of their own: what only the network holds is in no part.
    part_E = np.full(keys_E.size, PARTS.index("withheld"), dtype=np.uint8)
    for name, part_keys in parts.items():
        part_E[np.searchsorted(keys_E, part_keys)] = PARTS.index(name)
    sign_E = np.zeros(keys_E.size, dtype=np.int8)
    evidence_E = np.full(keys_E.size, "", dtype=object)
    at_E = np.searchsorted(keys_E, grn_keys_E)
    sign_E[at_E] = prep.grn.sign_E
    evidence_E[at_E] = prep.grn.edges["evidence"].to_numpy(dtype=object)
    sign_E[part_E != PARTS.index("train")] = 0
    sources_S = np.unique(np.concatenate([split.train_2E[0], split.validation_sources_S, split.test_sources_S]))
    return KnownEdges("split", num_genes, keys_E, part_E, sign_E, evidence_E, sources_S, prep.cells)


def _from_graph(run: OpenRun, why: str) -> tuple[KnownEdges, list[str]]:
    """Take the messages of a model on the true graph as training edges; a control graph does not show the network."""
    inputs, num_genes = run.model.inputs, run.model.nodes.num_genes
    messages = run.recipe.graph.messages
    sources = [] if inputs.evidence is None else [np.asarray(inputs.evidence.sources_S, dtype=np.int64)]
    sources_S = np.unique(np.concatenate([inputs.message_2E[0].astype(np.int64), *sources]))
    note = f"without the run's prepared folder ({why})"
    if messages == "true":
        keys_E = pair_keys(inputs.message_2E, num_genes)
        order_E = np.argsort(keys_E)
        part_E = np.full(keys_E.size, PARTS.index("train"), dtype=np.uint8)
        sign_E, evidence_E = inputs.sign_E[order_E].astype(np.int8), np.full(keys_E.size, "", dtype=object)
        known = KnownEdges("graph", num_genes, keys_E[order_E], part_E, sign_E, evidence_E, sources_S, None)
        return known, [f"{note} validation and test edges count as new, and new edges have no sign"]
    empty = np.zeros(0, dtype=np.int64)
    known = KnownEdges(
        "none", num_genes, empty, empty.astype(np.uint8), empty.astype(np.int8), empty.astype(object), sources_S, None
    )
    return known, [f"{note} no edge is known and none has a sign: the model's own graph is {messages}"]


def pair_correlations(cells: CellStore, pairs_2M: np.ndarray) -> tuple[np.ndarray, int]:
    """Pearson correlation of each pair over normalised expression, and the number of cells it is over.

    Returns
    -------
    float64 ``[M]``, int
    """
    genes_G, index_2M = np.unique(pairs_2M, return_inverse=True)
    statistics = Statistics(cells.genes())  # zeros of other cells are not measurements
    found_M = score_by_rows(
        index_2M.reshape(2, -1), lambda sources_S: correlations(statistics, genes_G[sources_S], genes_G)
    )
    return found_M, statistics.num_cells
