"""Inputs of each step: cells, supervised pairs and message edges, as functions of (seed, step) and of the stream."""

from __future__ import annotations

import torch

from grn_cotrain.data.negatives import LinkSampler
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.group import Group
from grn_cotrain.train.pooling import MicroBatch
from grn_cotrain.train.schedule import Schedule
from grn_cotrain.train.seeds import Purpose, numpy_generator, step_seed, torch_generator
from grn_cotrain.train.step import StepInputs

__all__ = ["StepSource"]


class StepSource:
    """Inputs of every step of a run.

    Each process of the group makes its own micro-batches of the same global step: the stream passes over those of the
    others, so that all streams stand at the same cell.

    Parameters
    ----------
    recipe, data, model, schedule
        The run.
    tokenizer
        Tokens of the cells of ``data``.
    group
        The processes that share a step.
    device
        Where inputs go.

    Attributes
    ----------
    stream
        The training cells; its position is part of a checkpoint.
    graph
        All message edges, on ``device``.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: RunData,
        model: CoTrainNetwork,
        schedule: Schedule,
        tokenizer: Tokenizer,
        *,
        group: Group,
        device: torch.device,
    ) -> None:
        self.recipe, self.data, self.model = recipe, data, model
        self.schedule, self.group, self.device = schedule, group, device
        self.graph = model.graph.to(device)
        self.stream = CellStream(
            tokenizer,
            data.cell_split.train_C,
            tokens_per_batch=recipe.train.tokens_per_batch,
            cells_per_batch=recipe.train.cells_per_batch,
            seed=recipe.seed,
            rank=group.rank,
            world=group.size,
        )
        self._sampler = self.link_sampler() if schedule.trains_links else None

    def link_sampler(self) -> LinkSampler:
        """Sampler of the supervision that the first link objective asks for."""
        config = self.model.objective(self.schedule.link_objectives[0]).config
        return LinkSampler(
            self.data.split,
            mode=config.mode,
            positives_per_step=config.positives_per_step,
            negatives_per_positive=config.negatives_per_positive,
            source_share=config.source_share,
        )

    def inputs(self, step: int, active: frozenset[str]) -> StepInputs:
        """Draw what this process reads in ``step``; moves the stream on by a whole step."""
        seed, device = self.recipe.seed, self.device
        links, graph = None, self.graph
        if self._sampler is not None and active & frozenset(self.schedule.link_objectives):
            links = self._sampler.draw(numpy_generator(seed, step, Purpose.SUPERVISION))
            graph = self.message_graph(links.drop_2M)
            links = links.to(device)
        count = self.recipe.train.accumulate if active & frozenset(self.schedule.cell_objectives) else 0
        return StepInputs(
            graph=graph,
            cells=self._micro_batches(step, count),
            links=links,
            table_generator=torch_generator(seed, step, Purpose.TABLE, device=device),
            num_micro_batches=count,
            reseed=lambda number: self.seed_dropout(step, number),
        )

    def _micro_batches(self, step: int, count: int) -> list[MicroBatch]:
        mine = range(self.group.rank, count, self.group.size)
        return [
            MicroBatch(
                index,
                cells.pack().to(self.device),
                torch_generator(self.recipe.seed, step, Purpose.CELLS, index, device=self.device),
            )
            for index, cells in zip(mine, self.stream.share(count), strict=True)
        ]

    def seed_dropout(self, step: int, number: int | None) -> None:
        """Seed dropout for micro-batch ``number`` of ``step``, or for what is computed once a step (None)."""
        purpose = Purpose.STEP_DROPOUT if number is None else Purpose.DROPOUT
        torch.manual_seed(step_seed(self.recipe.seed, step, purpose, number or 0))

    def message_graph(self, supervised_2M: torch.Tensor) -> MessageGraph:
        """All message edges but those of the supervised pairs (and, in control graphs, their stand-ins)."""
        dropped = self.data.messages.dropped_by(supervised_2M.cpu().numpy())
        return self.graph.without(torch.from_numpy(dropped).to(self.device))
