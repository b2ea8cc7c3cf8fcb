"""New features and modalities for a trained model: appended, so that no old row moves.

Dimension letters: G old features, H extended features, D width, F columns of inductive features, N nodes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.config import to_dict
from grn_cotrain.data.nodes import Nodes
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.nn.feature_rows import FeatureRows
from grn_cotrain.nn.features import FEATURE_SOURCES, FeatureContext
from grn_cotrain.nn.node_table import NodeTable

__all__ = ["extend_model", "extended_tensor"]


def extend_model(
    model: CoTrainNetwork, vocab: FeatureVocab, *, cells: CellStore | None = None, seed: int = 0
) -> CoTrainNetwork:
    """The same model over more features. What it makes of cells without the new features does not change.

    How each part grows:

    - New genes get rows in the table: :meth:`~grn_cotrain.nn.node_table.NodeTable.grow_from`. Other new features, which
      have no edges, get rows in the encoder that reads them:
      :meth:`~grn_cotrain.nn.feature_rows.FeatureRows.grow_from`.
    - Tensors with ``G`` among the letters that end their name (``mean_G``): statistics of ``cells`` where these are
      given and the component prepares the tensor from cells; else the median of the old entries, for a new feature is a
      typical one. Whole numbers and flags: as in a new model.
    - Closed-form evidence of links: 0, and the average log-odds. The message graph gets no edges.
    - All other tensors do not change; one whose shape depends on the number of genes is refused.

    An option whose default depends on the number of features (``CellEncoder.pinned_options``) is written out at its old
    value. Where every feature is a token (``zeros_per_cell: all``), ``max_tokens`` grows to hold the new ones.

    Parameters
    ----------
    model
        Trained model; not changed.
    vocab
        Extended vocabulary: the old features first, in their order (``FeatureVocab.extend``).
    cells
        Cells over ``vocab`` for the statistics of the new features.
    seed
        Seed of the noise by which new rows differ.

    Returns
    -------
    CoTrainNetwork
        In evaluation mode.

    Raises
    ------
    UserError
        ``vocab`` does not begin with the old features or adds none; ``cells`` have another vocabulary; a component
        whose tensors do not define how they grow.
    """
    old = model.vocab
    kept, total = old.num_features, vocab.num_features
    if vocab.select(range(min(kept, total))).to_dict() != old.to_dict():
        raise UserError("vocabulary: does not begin with the model's own features; make it by model.vocab.extend(...)")
    if total == kept:
        raise UserError("features: the model has all of them already; name new ones")
    if cells is not None and cells.vocab.content_hash != vocab.content_hash:
        raise UserError("cells: have another vocabulary than the extended one; align them to it")
    config = model.config
    tokens = config.tokens
    if tokens.zeros_per_cell == "all":
        tokens = replace(tokens, max_tokens=max(tokens.max_tokens, 1 + sum(vocab.is_token)))
    config = config.with_options(
        {name: encoder.pinned_options() for name, encoder in model.encoders.items()}, tokens=tokens
    )
    inputs = model.inputs
    nodes = _extended_nodes(model.nodes, vocab)
    node_vocab = nodes.vocab(vocab)
    table = {name: array.shape[1] for name, array in getattr(model.table, "features", {}).items()}
    extended = CoTrainNetwork(
        config,
        {name: to_dict(module.config) for name, module in model.objectives.items()},
        ModelInputs(
            vocab=vocab,
            init_GD=np.zeros((nodes.num_nodes, config.width), np.float32),
            features={name: _features(name, width, node_vocab) for name, width in table.items()},
            evidence=None
            if inputs.evidence is None
            else inputs.evidence.extended(nodes.num_genes - model.nodes.num_genes),
            message_2E=inputs.message_2E,
            sign_E=inputs.sign_E,
            weight_E=inputs.weight_E,
            bidirectional=inputs.bidirectional,
            covariates=inputs.covariates,
            nodes=nodes,
            others=inputs.others,
        ),
        backend=model.backend,
        seed=seed,
    )
    prepared: dict[str, Tensor] = {}
    if cells is not None:
        fresh = {name: tensor.clone() for name, tensor in extended.state_dict().items()}
        extended.prepare(Statistics(cells))
        prepared = {n: t.clone() for n, t in extended.state_dict().items() if not torch.equal(t, fresh[n])}
    _grow(model, extended, kept, prepared, torch.Generator().manual_seed(seed))
    extended.meta = {**model.meta, "extended_from": old.content_hash, "num_features_before": kept}
    return extended.eval()


def _extended_nodes(old: Nodes, vocab: FeatureVocab) -> Nodes:
    """The old nodes, then the new genes."""
    new_genes = [i for i in range(old.num_features, len(vocab)) if vocab.modality[i] == "gene"]
    feature_N = np.concatenate([old.feature_N, np.asarray(new_genes, dtype=np.int64)])
    return Nodes(feature_N, len(vocab), len(feature_N) if new_genes else old.num_genes)


def _features(name: str, width: int, vocab: FeatureVocab) -> np.ndarray:
    """Features of a portable source; for others only their shape is read."""
    source = FEATURE_SOURCES.build(name)
    if source.portable:
        values_HF = source.features(FeatureContext(vocab=vocab))
        if values_HF.shape[1] == width:
            return values_HF
    return np.zeros((vocab.num_features, width), np.float32)


@torch.no_grad()
def _grow(
    model: CoTrainNetwork,
    extended: CoTrainNetwork,
    kept: int,
    prepared: dict[str, Tensor],
    generator: torch.Generator,
) -> None:
    """Fill ``extended``: tables by themselves, all other tensors by their names."""
    state = extended.state_dict()
    done: set[str] = set()
    others = dict(model.named_modules())
    for path, module in extended.named_modules():
        before = others.get(path)
        if isinstance(module, NodeTable) and isinstance(before, NodeTable):
            kept_N = extended.nodes.node_F[model.nodes.feature_N]
            module.grow_from(before, torch.from_numpy(kept_N), generator=generator)
        elif isinstance(module, FeatureRows) and isinstance(before, FeatureRows):
            module.grow_from(before, model.table.eval()(), generator=generator)
        else:
            continue
        done |= {f"{path}.{name}" for name in module.state_dict()}
    genes = model.nodes.num_genes
    filled = {
        name: extended_tensor(
            name, tensor, state[name], genes if name.startswith("link_decoder.") else kept, prepared.get(name)
        )
        for name, tensor in model.state_dict().items()
        if name not in done
    }
    filled |= {name: tensor for name, tensor in extended.state_dict().items() if name in done}
    extended.load_state_dict(filled)


def extended_tensor(name: str, old: Tensor, new: Tensor, kept: int, prepared: Tensor | None = None) -> Tensor:
    """``old`` with entries for the features past ``kept``, in the shape of ``new``.

    Parameters
    ----------
    name
        Its letters after the last ``_`` show which dimension is genes: ``mean_G``, ``bias_GD``.
    old, new
        Tensors of the old model, and of one built for all features.
    kept
        G.
    prepared
        The tensor with statistics of cells, or None.

    Raises
    ------
    UserError
        Shapes differ in another dimension than ``G``.
    """
    letters = name.rpartition(".")[2].rpartition("_")[2]
    if "G" not in letters or len(letters) != old.ndim or old.shape[letters.index("G")] != kept:
        # A tensor of a size that only use decides (a drawn projection) is the old one.
        if old.shape == new.shape or new.numel() == 0:
            return old.clone()
        raise UserError(
            f"extend: '{name}' has shape {tuple(old.shape)}, and {tuple(new.shape)} with the new features; its"
            " component does not define how it grows (name the dimension of genes by G)"
        )
    dim = letters.index("G")
    expected = [new.shape[dim] if index == dim else size for index, size in enumerate(old.shape)]
    if list(new.shape) != expected:
        raise UserError(f"extend: '{name}' has shape {tuple(old.shape)}, and {tuple(new.shape)} with the new features")
    count = new.shape[dim] - kept
    if prepared is not None:
        added = prepared.narrow(dim, kept, count)
    elif old.is_floating_point():
        added = old.median(dim, keepdim=True).values.expand(*(count if i == dim else -1 for i in range(old.ndim)))
    else:
        added = new.narrow(dim, kept, count)
    return torch.cat([old, added.to(old.dtype)], dim=dim)
