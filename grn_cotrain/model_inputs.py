"""What only the data know of a model: arrays that start its parts, its nodes and its message edges.

Dimension letters: G nodes (genes first), E edges, F columns of inductive features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.data.assay_kinds import MODALITIES, modality_of
from grn_cotrain.data.covariates import Categories
from grn_cotrain.data.nodes import Nodes
from grn_cotrain.data.relations import RelationEdges
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.recipe import ModelConfig

__all__ = ["ModelInputs", "assays_read", "message_graph", "unread_assays"]


@dataclass(frozen=True)
class ModelInputs:
    """What only the data know: arrays that initialise the table and the decoder, and the message edges.

    Attributes
    ----------
    vocab
        Features, genes first.
    init_GD
        Starting rows of the table (PCA or factor-analysis loadings), or None for random rows.
    features
        Inductive features by source name, float32 ``[G, F]`` each.
    evidence
        Closed-form evidence for decoders that use it, or None.
    message_2E, sign_E
        All training message edges of regulation (gene indices) and their signs (-1, 0, 1).
    weight_E
        float32 weights of the message edges relative to the mean weight of the training edges; None: all are 1.
    bidirectional
        Whether messages also pass from target to source.
    known_G
        bool, False for nodes that no training step touches; None: all are known.
    covariates
        Categories of ``tokens.covariates``, as training cells have them; saved with the model.
    nodes
        Which features have a row in the table; None: those of ``model.table.nodes`` that an edge names, and all genes.
    others
        Message edges of other relations (indices of features), with weights relative to the mean of their relation.
    """

    vocab: FeatureVocab
    init_GD: np.ndarray | None
    features: Mapping[str, np.ndarray]
    evidence: PairEvidence | None
    message_2E: np.ndarray
    sign_E: np.ndarray
    bidirectional: bool = True
    known_G: np.ndarray | None = None
    covariates: Categories = field(default_factory=dict)
    weight_E: np.ndarray | None = None
    nodes: Nodes | None = None
    others: RelationEdges = field(default_factory=RelationEdges.none)


def message_graph(inputs: ModelInputs, nodes: Nodes) -> MessageGraph:
    """Edges of regulation, then those of the other relations, over nodes."""
    pairs_2E, sign_E, weight_E, relation_E = inputs.message_2E, inputs.sign_E, inputs.weight_E, None
    others = inputs.others
    if others.num_edges:
        ones_E = np.ones(pairs_2E.shape[1], dtype=np.float32) if weight_E is None else weight_E
        pairs_2E = np.concatenate([pairs_2E, nodes.pairs(others.pairs_2E)], axis=1)
        relation_E = torch.from_numpy(np.concatenate([np.zeros(len(ones_E), dtype=np.int64), 1 + others.relation_E]))
        sign_E = np.concatenate([sign_E, others.sign_E])
        weight_E = np.concatenate([ones_E, others.weight_E])
    return MessageGraph.build(
        torch.tensor(pairs_2E, dtype=torch.long),
        nodes.num_nodes,
        sign_E=torch.tensor(sign_E, dtype=torch.long),
        weight_E=None if weight_E is None else torch.tensor(weight_E, dtype=torch.float32),
        relation_E=relation_E,
        num_kinds=1 + len(others.names),
        bidirectional=inputs.bidirectional,
    )


def assays_read(config: ModelConfig, vocab: FeatureVocab) -> dict[str, tuple[str, ...]]:
    """Spaces whose features each encoder reads, by its name.

    Raises
    ------
    UserError
        An assay that the data do not have.
    """
    present = tuple(name for name in MODALITIES if name in vocab.modality)
    space_of = {modality_of(name).assay: name for name in present}
    read: dict[str, tuple[str, ...]] = {}
    for name, spec in config.encoder_specs.items():
        for assay in spec.reads or ():
            if assay not in space_of:
                raise UserError(
                    f"{spec.path}.reads: the data have no assay '{assay}'{did_you_mean(assay, space_of)}; they have"
                    f" {', '.join(space_of)}"
                )
        read[name] = present if spec.reads is None else tuple(space_of[assay] for assay in spec.reads)
    return read


def unread_assays(read: Mapping[str, Sequence[str]], vocab: FeatureVocab) -> list[str]:
    """Assays of the data that no encoder reads, given what :func:`assays_read` returned."""
    present = [name for name in MODALITIES if name in vocab.modality]
    taken = {space for spaces in read.values() for space in spaces}
    return [modality_of(space).assay for space in present if space not in taken]
