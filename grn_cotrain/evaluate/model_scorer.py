"""A trained model as a link scorer, so that it stands in one table with its controls.

Dimension letters: M pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import torch

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError
from grn_cotrain.metrics.platt import PLATT_FILE, Calibration
from grn_cotrain.recipe import Recipe

__all__ = ["ModelScorer", "arm_name"]


_SHARE = "validation/links/learned_share"


def _share_note(name: str, share: float) -> str:
    """How much of the learned part scores, and why."""
    if share == 0:
        return (
            f"{name}: the validation pairs show no gain of the learned part over the evidence that it starts from, so"
            " the evidence alone scores"
        )
    return f"{name}: the learned part counts by {share:g}, as validation pairs chose"


def arm_name(recipe: Recipe) -> str:
    """Name of a run's arm, in one word: its schedule, then what departs from the full model, joined by ``+``."""
    parts: list[str] = [recipe.train.schedule.name]
    messages = {"rewired": "rewired", "random": "random_graph", "none": "no_graph"}
    for name in (
        messages.get(recipe.graph.messages),
        None if recipe.data.expression == "true" else recipe.data.expression,
        {"frozen_pca": "frozen_pca", "random": "random_table"}.get(recipe.model.table.mode),
    ):
        if name is not None:
            parts.append(name)
    return "+".join(parts)


class ModelScorer:
    """Scores pairs by the link decoder over all training message edges.

    Parameters
    ----------
    run
        A run folder with a model.

    Attributes
    ----------
    name, kind
        Arm of the run; ``model`` for a joint run on the true network, else ``ablation``. A model that never saw a link
        loss is scored by a decoder fitted afterwards on frozen embeddings, and its name holds ``probe``.
    notes
        How much of the learned part of the decoder scores, where validation pairs chose that.
    calibration
        Isotonic calibration on validation pairs, by kind of pair, or None if there was no validation.
    probability
        ``probability(scores_M, pairs_2M)``: its probabilities, NaN for a kind of pair without validation pairs.
    """

    def __init__(self, run: str | Path | OpenRun) -> None:
        opened = OpenRun.of(run, side="links")
        self.model, self.config = opened.model, opened.config
        arm = arm_name(opened.recipe)
        self.kind = "model" if arm == "joint" else "ablation"
        self.name = f"{arm} probe" if self.config["meta"]["links"] == "probe" else arm
        share = (self.config["meta"].get("validation") or {}).get(_SHARE)
        self.notes: tuple[str, ...] = ()
        if share is not None:
            self.notes = (_share_note(self.name, float(share)),)
        platt = opened.model_folder / PLATT_FILE
        self.calibration = Calibration.load(platt) if platt.is_file() else None
        self.probability: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = (
            None if self.calibration is None else self.calibration.probability
        )

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Refuse a split that the model was not trained on; there is nothing else to fit."""
        del cells
        meta = self.config["meta"]
        if split.content_hash != meta["split_hash"]:
            raise UserError(
                f"split '{split.name}': the model was trained on split '{meta['split']}' ({meta['split_hash']});"
                " here its training pairs may be test pairs: evaluate on its own split, or train on this one"
            )
        return self

    @torch.no_grad()
    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Logits, float64 ``[M]``."""
        return self.model.link_logits(self.model.encode_graph(), pairs_2M)
