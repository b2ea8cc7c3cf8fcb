"""Attention as a link scorer, so that it stands in one table with the supervised model and the controls.

Dimension letters: M pairs, S sources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import AppliedModel
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import (
    AttentionScores,
    CellGroup,
    cell_groups,
    read_attention,
)
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.recipe import Recipe

__all__ = ["READ_OUT", "AttentionReadOut", "AttentionScorer", "attention_scorers", "check_split", "split_sources"]

READ_OUT = "read-out"
"""Kind of rows that are read out of a trained encoder. Those of an untrained encoder are controls."""

InitialModel = Callable[[Recipe, RunData], CoTrainNetwork]
"""Builds the model of a run as it was before training."""


def split_sources(split: EdgeSplit) -> np.ndarray:
    """Every gene that a split names as a source, in whatever part: int64 ``[S]``, sorted."""
    parts = [getattr(split, f"{part}_2E")[0] for part in ("train", "validation", "test")]
    parts += [one[0] for part in ("train", "validation", "test") if (one := split.negatives(part)) is not None]
    parts += [split.train_sources_S, split.validation_sources_S, split.test_sources_S]
    return np.unique(np.concatenate(parts))


def check_split(split: EdgeSplit, split_hash: str, name: str) -> None:
    """Refuse a split that the model was not trained on: there, its training pairs may be test pairs.

    The encoder is not fitted to links, but the table that it reads is, and messages pass along training edges.
    """
    if split.content_hash != split_hash:
        raise UserError(
            f"split '{split.name}': the model that is read was trained on split '{name}' ({split_hash});"
            " here its training pairs may be test pairs: evaluate on its own split, or train on this one"
        )


class AttentionReadOut:
    """The attention of one model over one group of cells, read once however many scorers ask for it.

    Parameters
    ----------
    model
        In evaluation mode.
    cells
        As the run reads them, over the model's vocabulary.
    group
        Cells to read, from :func:`~grn_cotrain.evaluate.attention.cell_groups`.
    config
        How to read.
    centrality
        See :func:`~grn_cotrain.evaluate.attention.read_attention`.
    """

    def __init__(
        self,
        model: AppliedModel,
        cells: CellStore,
        group: CellGroup,
        config: AttentionConfig | None = None,
        *,
        centrality: bool = False,
    ) -> None:
        self.model, self.cells, self.group = model, cells, group
        self.config = config or AttentionConfig()
        self.centrality = centrality
        self._found: AttentionScores | None = None

    def scores(self, sources: np.ndarray) -> AttentionScores:
        """Scores for these sources at least."""
        wanted_S = np.unique(sources)
        if self._found is None or not np.isin(wanted_S, self._found.sources_S).all():
            (self._found,) = read_attention(
                self.model, self.cells, wanted_S, [self.group], self.config, centrality=self.centrality
            )
        return self._found


class AttentionScorer:
    """Scores pairs by who reads whom, without ever seeing an edge itself.

    A pair that no cell shows gets the expected weight, see
    :meth:`~grn_cotrain.evaluate.attention.AttentionScores.score`.

    Parameters
    ----------
    read_out
        Shared by the raw and the corrected scorer of a model.
    split_hash, split_name
        Hash and name of the split that the model was trained on; None for an untrained encoder.
    corrected
        Subtract what popularity alone would give the pair.
    name, kind
        For the table; default: ``attention`` or ``attention corrected``, a ``read-out``.

    Attributes
    ----------
    notes
        After :meth:`score`: cells that were read, and pairs that none of them shows.
    """

    def __init__(
        self,
        read_out: AttentionReadOut,
        split_hash: str | None,
        split_name: str = "",
        *,
        corrected: bool = False,
        name: str | None = None,
        kind: str = READ_OUT,
    ) -> None:
        self.read_out, self.corrected, self.kind = read_out, corrected, kind
        self.name = name or ("attention corrected" if corrected else "attention")
        self.split_hash, self.split_name = split_hash, split_name
        self.notes: tuple[str, ...] = ()
        self.num_unseen = 0
        self.sources_S: np.ndarray | None = None

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Refuse a split that the model was not trained on; there is nothing else to fit."""
        del cells  # the run's own cells are read, whatever the table's controls read
        if self.split_hash is not None:
            check_split(split, self.split_hash, self.split_name)
        self.sources_S = split_sources(split)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Mean attention weight, or what of it is not expected; float64 ``[M]``."""
        sources_S = np.unique(pairs_2M[0])
        if self.sources_S is not None:
            sources_S = np.union1d(self.sources_S, sources_S)
        scores = self.read_out.scores(sources_S)
        self.num_unseen = int((scores.count(pairs_2M) == 0).sum())
        self.notes = tuple(_notes(scores, self.num_unseen, pairs_2M.shape[1]))
        return scores.score(pairs_2M, corrected=self.corrected)


def _notes(scores: AttentionScores, num_unseen: int, num_pairs: int) -> list[str]:
    group, config = scores.group, scores.config
    layers = "all layers" if config.layers is None else f"layers {', '.join(map(str, config.layers))}"
    cells = f"{scores.num_cells:,} of {group.num_cells:,} cells ({group.name})"
    ranks = ", rank-normalised" if config.rank_normalised else ""
    notes = [
        f"attention: {config.direction.replace('_', ' ')}, {layers}{ranks}, {cells}; {num_unseen:,} of {num_pairs:,}"
        " pairs are in none of them together and have the expected weight"
    ]
    if scores.num_cut:
        notes.append(
            f"attention: {scores.num_cut:,} of {scores.num_cells:,} cells ({group.name}) hold more values than"
            " model.tokens.max_tokens, and lost their lowest"
        )
    return notes


def attention_scorers(
    run: OpenRun,
    data: RunData,
    config: AttentionConfig | None = None,
    *,
    initial: InitialModel | None = None,
) -> list[AttentionScorer]:
    """Rows of a run for the link table: attention raw and corrected and, as controls, that of the untrained encoder.

    Parameters
    ----------
    run, data
        The run and what it reads.
    config
        How to read; the same cells serve every row.
    initial
        Builds the model before training: tokens, their values and the starting rows of genes alone give attention some
        structure, and the difference is what training added. None: these controls are left out.
    """
    config = config or AttentionConfig()
    run.model.gene_encoder(config.encoder)  # reported before any work
    (group,), _ = cell_groups(data.cells, None, max_cells=config.max_cells, seed=config.seed)
    meta = run.meta
    trained = AttentionReadOut(run.model, data.cells, group, config)
    scorers = [
        AttentionScorer(trained, meta["split_hash"], meta["split"], corrected=corrected) for corrected in (False, True)
    ]
    if initial is not None:
        untrained = AttentionReadOut(initial(run.recipe, data).eval(), data.cells, group, config)
        scorers += [
            AttentionScorer(
                untrained,
                None,
                corrected=corrected,
                kind="control",
                name="untrained attention" + (" corrected" if corrected else ""),
            )
            for corrected in (False, True)
        ]
    return scorers
