"""CoTrainModel: one table of gene embeddings under a cell encoder, a graph encoder and a link decoder.

Dimension letters: G genes, V vocabulary (special tokens, then genes), T packed tokens, B cells, D width, M pairs,
S sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.covariates import Categories
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.nn.backends import get_backend
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, AttentionBias, CellStates
from grn_cotrain.nn.couplings import COUPLINGS
from grn_cotrain.nn.gene_embedding import GeneEmbedding
from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
from grn_cotrain.nn.link_decoders import LINK_DECODERS, PairEvidence
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.objectives import OBJECTIVES, GeneStates, Objective, ValuePredictor
from grn_cotrain.objectives.reading import views_read
from grn_cotrain.recipe import ModelConfig

__all__ = ["CoTrainModel", "ModelInputs"]


@dataclass(frozen=True)
class ModelInputs:
    """Inputs that come from the data: arrays that initialise the table and the decoder, and the message edges.

    Attributes
    ----------
    vocab
        Features, in table order.
    init_GD
        Starting rows of the table (PCA or factor-analysis loadings), or None for random rows.
    features
        Inductive features by source name, float32 ``[G, F]`` each.
    evidence
        Closed-form evidence for decoders that use it, or None.
    message_2E, sign_E
        All training message edges (gene indices) and their signs (-1, 0, 1).
    weight_E
        float32 weights of the message edges relative to the mean weight of the training edges; None: all are 1.
    bidirectional
        Whether messages also pass from target to source.
    known_G
        bool, False for genes that no training step touches; None: all are known.
    covariates
        Categories of ``tokens.covariates``, as training cells have them; saved with the model.
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


class CoTrainModel(nn.Module):
    """Masked-value modelling and link prediction over one table.

    Parameters
    ----------
    config
        Parts and sizes.
    objectives
        Objective name -> its options, as in the recipe.
    inputs
        Arrays from the data.
    backend
        Name of the message-passing back end.
    seed
        Seeds every initial weight; the caller's random state is left as it was.

    Attributes
    ----------
    backend
        Name of the message-passing back end in use.
    meta
        Facts about the training (hashes of recipe and split, step, kind of values); empty for a new model.
        :meth:`save` and :meth:`load` keep it.
    """

    graph: MessageGraph

    def __init__(
        self,
        config: ModelConfig,
        objectives: Mapping[str, Mapping[str, Any]],
        inputs: ModelInputs,
        *,
        backend: str = "torch_geometric",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.vocab = inputs.vocab
        self.inputs = inputs
        self.backend = backend
        self.meta: dict[str, Any] = {}
        width, num_genes = config.width, inputs.vocab.num_features
        covariates = {name: len(inputs.covariates[name]) for name in config.tokens.covariates}
        self.graph = MessageGraph.build(
            torch.tensor(inputs.message_2E, dtype=torch.long),
            num_genes,
            sign_E=torch.tensor(inputs.sign_E, dtype=torch.long),
            weight_E=None if inputs.weight_E is None else torch.tensor(inputs.weight_E, dtype=torch.float32),
            bidirectional=inputs.bidirectional,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table = GeneEmbedding(
                num_genes,
                width,
                config=config.table,
                init_GD=inputs.init_GD,
                features=dict(inputs.features),
                known_G=inputs.known_G,
            )
            self.special_SD = nn.Parameter(torch.randn(NUM_SPECIAL, width))
            self.graph_encoder = GRAPH_ENCODERS.build(
                config.graph_encoder.name,
                config.graph_encoder.options,
                path="model.graph_encoder",
                width=width,
                num_relations=self.graph.num_relations,
                backend=get_backend(backend),
            )
            self.coupling = COUPLINGS.build(
                config.coupling.name, config.coupling.options, path="model.coupling", width=width
            )
            self.cell_encoder = CELL_ENCODERS.build(
                config.cell_encoder.name,
                config.cell_encoder.options,
                path="model.cell_encoder",
                width=width,
                num_bins=config.tokens.num_bins,
                num_modalities=len(MODALITIES),
                num_genes=num_genes,
                covariates=covariates,
            )
            self.link_decoder = LINK_DECODERS.build(
                config.link_decoder.name,
                config.link_decoder.options,
                path="model.link_decoder",
                width=width,
                num_genes=num_genes,
            )
            if inputs.evidence is not None:
                self.link_decoder.prepare(inputs.evidence)
            self.objectives = nn.ModuleDict(
                {
                    name: OBJECTIVES.build(
                        name,
                        options,
                        path=f"objectives.{name}",
                        width=width,
                        num_bins=config.tokens.num_bins,
                        num_genes=num_genes,
                        covariates=covariates,
                    )
                    for name, options in objectives.items()
                }
            )
        views_read(self.objectives)  # a view that nobody draws is refused here

    @classmethod
    def load(cls, path: str | Path, *, backend: str | None = None) -> CoTrainModel:
        """Load a trained model, in evaluation mode. Checksums are verified and nothing is unpickled.

        Parameters
        ----------
        path
            A run folder (its best model is taken) or a model folder.
        backend
            Message-passing back end; default: the one it was trained with.

        Raises
        ------
        UserError
            No model there; files missing, damaged, exchanged or written by a newer version.
        """
        from grn_cotrain.model_io import find_model, load_model

        return load_model(find_model(path), backend=backend)[0]

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a model folder that :meth:`load` reads: safetensors and JSON with checksums, whole or not at all.

        Weights, message graph, evidence, vocabulary, :attr:`backend` and :attr:`meta` are kept. A calibration of link
        probabilities (``platt.json``) belongs to the run's own weights and stays there.

        Parameters
        ----------
        path
            Folder to write.
        overwrite
            Replace a model folder that exists there. A folder with other content is refused in any case.

        Raises
        ------
        UserError
            ``path`` is a file, a folder with other content, or holds a model and ``overwrite`` is False.
        """
        from grn_cotrain.model_io import check_model_output, save_model

        check_model_output(path, overwrite=overwrite)
        save_model(path, self, backend=self.backend, meta=self.meta)

    def prepare(self, statistics: Statistics) -> None:
        """Give all parts the statistics of the training cells, once, before training; they are saved with the weights.

        Raises
        ------
        UserError
            The cells are not what a part can train on.
        """
        self.cell_encoder.prepare(statistics)
        for name in self.objectives:
            self.objective(name).prepare(statistics)

    def encode_graph(self, graph: MessageGraph | None = None, generator: torch.Generator | None = None) -> GeneStates:
        """Table rows and encoded genes; ``graph`` defaults to all training message edges, moved to where the model is.

        ``generator`` draws the id-dropout of the step, so that its micro-batches share one draw.
        """
        table_GD = self.table(generator=generator)
        used = self.graph if graph is None else graph
        if used.device != table_GD.device:  # a graph is not a module: it stays behind when the model moves
            used = used.to(table_GD.device)
        return GeneStates(table_GD, self.graph_encoder(table_GD, used))

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        """Encode packed cells over the coupled gene rows."""
        if batch.prompt_BD is not None and not self.cell_encoder.reads_prompt:
            raise UserError(
                f"model.cell_encoder '{self.config.cell_encoder.name}': reads no cell prompt; choose scgpt, or set"
                " objectives.generative.cell_prompt_weight: 0"
            )
        features_VD, bias = self._features(genes)
        return self.cell_encoder(batch, features_VD, bias)

    def _features(self, genes: GeneStates) -> tuple[Tensor, AttentionBias | None]:
        """Rows of special tokens and coupled genes, and the coupling's attention bias."""
        coupled = self.coupling(genes.table_GD, genes.graph_GD)
        special_SD = self.special_SD.to(coupled.features_GD.dtype)
        features_VD = torch.cat([special_SD, coupled.features_GD])
        bias = coupled.bias
        if bias is not None:  # special tokens neither give nor receive a bias
            query_SR = bias.query_VR.new_zeros(NUM_SPECIAL, bias.query_VR.shape[1])
            bias = AttentionBias(torch.cat([query_SR, bias.query_VR]), torch.cat([query_SR, bias.key_VR]))
        return features_VD, bias

    def cell_attention(
        self, batch: PackedTokens, genes: GeneStates, *, layers: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Who reads whom in each cell: see :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.attention`."""
        features_VD, bias = self._features(genes)
        return self.cell_encoder.attention(batch, features_VD, bias, layers=layers)

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """The batch with what the cell encoder must compute before anything is hidden."""
        return self.cell_encoder.prepare_batch(batch)

    def tokenizer(self, cells: CellStore, *, every_value: bool = False) -> Tokenizer:
        """Tokens of other cells as this model was trained to read them, with its own categories of covariates.

        ``every_value`` lifts the cap on a cell's tokens, so that no value is left out.
        """
        config = self.config.tokens
        if every_value:
            zeros = 0 if config.zeros_per_cell == "all" else config.zeros_per_cell
            config = replace(config, max_tokens=max(config.max_tokens, cells.num_features + 1 + zeros))
        weights_G = self.cell_encoder.keep_weights()
        # Cells of before the vocabulary was extended have the first of the model's features.
        keep_G = None if weights_G is None else weights_G[: cells.num_features].double().cpu().numpy()
        return Tokenizer(cells, config, self.inputs.covariates, keep_weight_G=keep_G)

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        """Rows of the shared table for vocabulary ids of genes (never special tokens)."""
        return genes.table_GD[feature_ids_T - NUM_SPECIAL]

    def objective(self, name: str) -> Objective:
        """The objective ``name`` of the recipe."""
        module = self.objectives[name]
        assert isinstance(module, Objective)
        return module

    def value_predictor(self) -> ValuePredictor | None:
        """The first objective of the recipe that predicts hidden values; None where none does."""
        return next((module for module in self.objectives.values() if isinstance(module, ValuePredictor)), None)

    @torch.no_grad()
    def link_logits(self, genes: GeneStates, pairs_2M: np.ndarray, *, block: int = 64) -> np.ndarray:
        """Float64 logits ``[M]`` of pairs, computed by blocks of ``block`` whole TF rows."""
        device = genes.graph_GD.device
        sources_S, row_M = np.unique(pairs_2M[0], return_inverse=True)
        order_M = np.argsort(row_M, kind="stable")
        starts_S = np.searchsorted(row_M[order_M], np.arange(len(sources_S) + 1))
        logits_M = np.empty(pairs_2M.shape[1])
        for first in range(0, len(sources_S), block):
            chunk_S = sources_S[first : first + block]
            rows_SG = self.link_decoder.block(genes.graph_GD, torch.from_numpy(chunk_S).to(device))
            picked_M = order_M[starts_S[first] : starts_S[first + len(chunk_S)]]
            logits_M[picked_M] = rows_SG.double().cpu().numpy()[row_M[picked_M] - first, pairs_2M[1, picked_M]]
        return logits_M
