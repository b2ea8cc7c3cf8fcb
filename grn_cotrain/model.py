"""CoTrainNetwork: one table of nodes under cell encoders, a graph encoder and a link decoder.

Dimension letters: G nodes (genes first), V vocabulary (special tokens, then features), T packed tokens, B cells,
D width, M pairs, S sources, E edges, R relations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.nodes import Nodes
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.tokens import JointTokenizer, Tokenizer
from grn_cotrain.data.vocab import MODALITIES, NUM_SPECIAL
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.model_inputs import ModelInputs, assays_read, message_graph
from grn_cotrain.nn.backends import get_backend
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, AttentionBias, CellEncoder, CellStates
from grn_cotrain.nn.cell_skip import CellSkip
from grn_cotrain.nn.couplings import COUPLINGS
from grn_cotrain.nn.encoder_parts import TokenPart, joined_states, token_part, unpacked
from grn_cotrain.nn.feature_rows import FeatureRows
from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from grn_cotrain.nn.node_table import NodeTable
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.objectives import OBJECTIVES, GeneStates, Objective, ValuePredictor
from grn_cotrain.objectives.reading import views_read
from grn_cotrain.recipe import ModelConfig, TokenConfig
from grn_cotrain.recipe_model import ONE_ENCODER

__all__ = ["CoTrainNetwork", "ModelInputs"]


class CoTrainNetwork(nn.Module):
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
        Facts about the training (hashes of recipe and split, step, kind of values); empty for a new model. They are
        saved with it: see :mod:`grn_cotrain.model_io`.
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
        width, num_features = config.width, inputs.vocab.num_features
        covariates = {name: len(inputs.covariates[name]) for name in config.tokens.covariates}
        self.nodes = inputs.nodes or Nodes.of(inputs.vocab, config.table.nodes, inputs.others.pairs_2E)
        self.graph = message_graph(inputs, self.nodes)
        self.reads = assays_read(config, inputs.vocab)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table = NodeTable(
                self.nodes.num_nodes,
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
            encoders = {
                name: CELL_ENCODERS.build(
                    spec.component.name,
                    spec.component.options,
                    path=spec.path,
                    width=width,
                    num_bins=config.tokens.num_bins,
                    num_modalities=len(MODALITIES),
                    num_genes=num_features,
                    covariates=covariates,
                )
                for name, spec in config.encoder_specs.items()
            }
            if config.encoders is None:  # the name that the weights of one encoder always had
                self.cell_encoder = encoders[ONE_ENCODER]
            else:
                self.named_encoders = nn.ModuleDict(encoders)
            self.link_decoder = LINK_DECODERS.build(
                config.link_decoder.name,
                config.link_decoder.options,
                path="model.link_decoder",
                width=width,
                num_genes=self.nodes.num_genes,
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
                        num_genes=num_features,
                        covariates=covariates,
                    )
                    for name, options in objectives.items()
                }
            )
            self.feature_rows = nn.ModuleDict(
                {name: FeatureRows(self.nodes, self._own_features(name), width) for name in encoders}
            )
            skips = [name for name in encoders if config.cell_state != "encoder" and not encoders[name].owns_tokens()]
            keeps_depth = config.cell_state != "skip_without_depth"
            self.cell_skips = nn.ModuleDict(
                {name: CellSkip(width, self.vocab, self.reads[name], keeps_depth=keeps_depth) for name in skips}
            )
        views_read(self.objectives)  # a view that nobody draws is refused here

    @property
    def encoders(self) -> dict[str, CellEncoder]:
        """Cell encoders by name, in the recipe's order; the short form of a recipe has one, called ``cells``."""
        if self.config.encoders is None:
            return {ONE_ENCODER: self.cell_encoder}
        return dict(self.named_encoders.items())  # type: ignore[arg-type]

    def prepare(self, statistics: Statistics) -> None:
        """Give all parts the statistics of the training cells, once, before training; they are saved with the weights.

        Raises
        ------
        UserError
            The cells are not what a part can train on.
        """
        for name, encoder in self.encoders.items():
            encoder.prepare(statistics.reading([modality_of(space).assay for space in self.reads[name]]))
        for skip in self.cell_skips.values():
            assert isinstance(skip, CellSkip)
            skip.prepare(statistics)
        for name in self.objectives:
            self.objective(name).prepare(statistics)

    def encode_graph(self, graph: MessageGraph | None = None, generator: torch.Generator | None = None) -> GeneStates:
        """Table rows and encoded nodes; ``graph`` defaults to all training message edges, moved to where the model is.

        ``generator`` draws the id-dropout of the step, so that its micro-batches share one draw.
        """
        table_GD = self.table(generator=generator)
        used = self.graph if graph is None else graph
        if used.device != table_GD.device:  # a graph is not a module: it stays behind when the model moves
            used = used.to(table_GD.device)
        return GeneStates(table_GD, self.graph_encoder(table_GD, used), self.nodes.num_genes)

    def encode(self, name: str, tokens: PackedTokens, genes: GeneStates) -> CellStates:
        """Encode the tokens of one encoder over the coupled rows.

        ``model.cell_state`` decides whether the values are added to the states of the cells; an encoder that makes
        tokens of its own gives its states as they are.

        Parameters
        ----------
        name
            One of :attr:`encoders`.
        tokens
            Result of the encoder's :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.tokenise`.
        genes
            States of the nodes.
        """
        encoder, spec = self.encoders[name], self.config.encoder_specs[name]
        if getattr(tokens, "prompt_BD", None) is not None and not encoder.reads_prompt:
            raise UserError(
                f"{spec.path} '{spec.component.name}': reads no cell prompt; choose scgpt, or set"
                " objectives.generative.cell_prompt_weight: 0"
            )
        features_VD, bias = self._features(name, genes)
        states: CellStates = encoder(tokens, features_VD, bias)
        if name not in self.cell_skips:
            return states
        skip = self.cell_skips[name]
        assert isinstance(skip, CellSkip)
        return skip.added(states, tokens, features_VD)

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        """Encode packed cells of all assays: each encoder reads its own.

        See :func:`~grn_cotrain.nn.encoder_parts.joined_states` for what becomes of several.
        """
        encoders = self.encoders
        if self.config.encoders is None and not encoders[ONE_ENCODER].owns_tokens():
            return self.encode(ONE_ENCODER, batch, genes)
        joined = []
        for name, encoder in encoders.items():
            part = self.part_of(batch, name)
            if encoder.owns_tokens():
                codes = {modality_of(space).assay: MODALITIES.index(space) for space in self.reads[name]}
                tokens = encoder.tokenise(unpacked(part.tokens, codes))
                part = TokenPart(part.tokens, part.where_M, part.cells_P[tokens.cells_B])
            else:
                tokens = part.tokens
            joined.append((part, self.encode(name, tokens, genes)))
        return joined_states(batch, joined)

    def part_of(self, batch: PackedTokens, name: str) -> TokenPart:
        """The part of a batch of all assays that the encoder ``name`` reads."""
        return token_part(batch, [MODALITIES.index(space) for space in self.reads[name]])

    def _own_features(self, name: str) -> np.ndarray:
        """Features that an encoder reads and that have no row in the table."""
        other_P = self.nodes.others_P
        modality_F = np.asarray(self.vocab.modality, dtype=object)
        return other_P[np.isin(modality_F[other_P], self.reads[name])]

    def _features(self, name: str, genes: GeneStates) -> tuple[Tensor, AttentionBias | None]:
        """Rows of special tokens, coupled nodes and the encoder's own features, and the coupling's attention bias."""
        coupled = self.coupling(genes.table_GD, genes.graph_GD)
        rows = self._rows(name)
        features_VD = rows.joined(self.special_SD.to(coupled.features_GD.dtype), coupled.features_GD)
        bias = coupled.bias
        if bias is not None:  # special tokens, and features that are not nodes, neither give nor receive a bias
            rank = bias.query_VR.shape[1]
            none_SR = bias.query_VR.new_zeros(NUM_SPECIAL, rank)
            none_PR = bias.query_VR.new_zeros(len(rows.feature_P), rank)
            bias = AttentionBias(
                rows.joined(none_SR, bias.query_VR, rows_PX=none_PR), rows.joined(none_SR, bias.key_VR, rows_PX=none_PR)
            )
        return features_VD, bias

    def _rows(self, name: str) -> FeatureRows:
        rows = self.feature_rows[name]
        assert isinstance(rows, FeatureRows)
        return rows

    def cell_attention(
        self, batch: PackedTokens, genes: GeneStates, *, layers: Sequence[int] | None = None, encoder: str | None = None
    ) -> Iterator[Tensor]:
        """Who reads whom in each cell: see :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.attention`.

        Parameters
        ----------
        batch
            Tokens that the encoder reads, from :meth:`tokenizer` with the same ``encoder``.
        encoder
            Its name; default: :meth:`gene_encoder`.
        """
        name = self.gene_encoder(encoder)
        features_VD, bias = self._features(name, genes)
        return self.encoders[name].attention(batch, features_VD, bias, layers=layers)

    def gene_encoder(self, name: str | None = None) -> str:
        """Name of an encoder that reads genes; by default the only one.

        Raises
        ------
        UserError
            No such encoder, one that reads no genes, or several to choose from.
        """
        readers = [one for one, spaces in self.reads.items() if "gene" in spaces]
        if not readers:
            raise UserError(
                f"--encoder: no encoder of the model reads rna ({', '.join(self.encoders)}); train one that does"
            )
        if name is None and len(readers) > 1:
            raise UserError(f"--encoder: not given, and several encoders read rna ({', '.join(readers)}); name one")
        if name is None:
            return readers[0]
        if name not in self.encoders:
            known = ", ".join(readers)
            raise UserError(f"--encoder '{name}': no such encoder; choose from {known}{did_you_mean(name, readers)}")
        if name not in readers:
            raise UserError(f"--encoder '{name}': reads no genes; choose from {', '.join(readers)}")
        return name

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """The batch with what the cell encoders must compute before anything is hidden."""
        if self.config.encoders is None:
            return self.cell_encoder.prepare_batch(batch)
        ranks_T = None
        for name, encoder in self.encoders.items():
            part = self.part_of(batch, name)
            own = encoder.prepare_batch(part.tokens).ranks_T
            if own is not None:
                ranks_T = torch.zeros_like(batch.feature_ids_T) if ranks_T is None else ranks_T
                ranks_T[part.where_M] = own
        return batch if ranks_T is None else replace(batch, ranks_T=ranks_T)

    def tokenizer(self, cells: CellStore, *, every_value: bool = False, encoder: str | None = None) -> Tokenizer:
        """Tokens of other cells as this model was trained to read them, with its own categories of covariates.

        ``every_value`` lifts the cap on a cell's tokens, so that no value is left out. ``encoder`` names the one whose
        assays alone are read; default: all.
        """
        weights_G = self.keep_weights()
        # Cells of before the vocabulary was extended have the first of the model's features.
        keep_G = None if weights_G is None else weights_G[: cells.num_features].double().cpu().numpy()

        def of(config: TokenConfig, reads: Sequence[str] | None) -> Tokenizer:
            if every_value:
                zeros = 0 if config.zeros_per_cell == "all" else config.zeros_per_cell
                config = replace(config, max_tokens=max(config.max_tokens, cells.num_features + 1 + zeros))
            return Tokenizer(cells, config, self.inputs.covariates, keep_weight_G=keep_G, reads=reads)

        specs = self.config.encoder_specs
        if encoder is not None:
            specs = {encoder: specs[encoder]}
        if len(specs) == 1:
            (spec,) = specs.values()
            return of(spec.tokens, spec.reads)
        return JointTokenizer({name: of(spec.tokens, spec.reads) for name, spec in specs.items()})

    def keep_weights(self) -> Tensor | None:
        """Weights by which tokens of a cell over the cap are kept, from the encoders that define them; None if none
        does."""
        weights_F = None
        modality_F = np.asarray(self.vocab.modality, dtype=object)
        for name, encoder in self.encoders.items():
            own_F = encoder.keep_weights()
            if own_F is not None:
                read_F = torch.from_numpy(np.isin(modality_F, self.reads[name])).to(own_F.device)
                weights_F = torch.ones_like(own_F) if weights_F is None else weights_F
                weights_F = torch.where(read_F, own_F, weights_F)
        return weights_F

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        """Rows for vocabulary ids (never special tokens): of the table, or of the encoder that reads the feature."""
        first, *others = (self._rows(name) for name in self.encoders)
        rows_TD = first.gather(genes.table_GD, feature_ids_T)
        for rows in others:
            rows_TD = torch.where(rows.has(feature_ids_T)[:, None], rows.gather(genes.table_GD, feature_ids_T), rows_TD)
        return rows_TD

    def every_row(self, genes: GeneStates) -> Tensor:
        """Rows of all features, in the order of the vocabulary: nodes, and what encoders have of their own."""
        if self.nodes.num_nodes == self.nodes.num_features:
            return genes.table_GD
        ids_F = torch.arange(self.nodes.num_features, device=genes.table_GD.device) + NUM_SPECIAL
        return self.gene_rows(genes, ids_F)

    def objective(self, name: str) -> Objective:
        """The objective ``name`` of the recipe."""
        module = self.objectives[name]
        assert isinstance(module, Objective)
        return module

    def value_predictor(self) -> ValuePredictor | None:
        """The first objective of the recipe that predicts hidden values; None if none does."""
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
            rows_SG = self.link_decoder.block(genes.linked_GD, torch.from_numpy(chunk_S).to(device))
            picked_M = order_M[starts_S[first] : starts_S[first + len(chunk_S)]]
            logits_M[picked_M] = rows_SG.double().cpu().numpy()[row_M[picked_M] - first, pairs_2M[1, picked_M]]
        return logits_M
