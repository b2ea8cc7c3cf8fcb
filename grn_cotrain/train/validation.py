"""Validation: link metrics on validation pairs, masked-value loss on validation cells. Test pairs are never read here.

Dimension letters: M pairs, C cells.
"""

from __future__ import annotations

import numpy as np
import torch

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.edge_split import EdgeSplit, LabelledPairs
from grn_cotrain.data.streams import one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.metrics.links import auroc, average_precision, per_tf
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.objectives.reading import cell_losses
from grn_cotrain.train.learned_share import choose_share
from grn_cotrain.train.schedule import Schedule
from grn_cotrain.train.seeds import Purpose, torch_generator
from grn_cotrain.train.tally import Tally

__all__ = ["Validator"]

_MAX_CELLS = 128
_MAX_PAIRS = 1_000_000


class Validator:
    """Computes the numbers that pick the checkpoint.

    Links: macro per-TF AUROC and AP on the validation candidates (all of them up to a million pairs, then all positives
    and a seeded sample of the rest); pooled AUROC selects where no TF has enough validation positives. Cells: the
    objectives' losses on up to 128 validation cells, with the same masks at every call.
    """

    def __init__(
        self,
        split: EdgeSplit,
        tokenizer: Tokenizer,
        validation_C: np.ndarray,
        schedule: Schedule,
        *,
        tokens_per_batch: int,
        seed: int,
        select_on: str = "auto",
    ) -> None:
        self.seed = seed
        self.schedule = schedule
        self.batches: list[PackedTokens] = []
        if schedule.trains_cells:
            rows_C = validation_C[:_MAX_CELLS]
            self.batches = [batch.pack() for batch in one_pass(tokenizer, rows_C, tokens_per_batch=tokens_per_batch)]
        self.pairs: LabelledPairs | None = None
        self.sampled = 1.0  # share of the negative candidates that are among the pairs
        if split.validation_2E.shape[1]:
            every = split.pairs("validation")
            self.pairs = _sampled(every, seed)
            self.sampled = float((~self.pairs.labels_M).sum() / max(1, (~every.labels_M).sum()))
        # A side that the schedule does not train cannot select: arms of one comparison share a recipe.
        links_select = schedule.trains_links and (select_on != "cells" or not schedule.trains_cells)
        self.selects_on_links = links_select and self.pairs is not None

    @property
    def criterion(self) -> str:
        """Name of the metric that picks the checkpoint; higher is better (cell losses are negated)."""
        return "validation/links/selection" if self.selects_on_links else "validation/cells/selection"

    @property
    def side(self) -> str | None:
        """The side that is trained and validated, but does not select: its best model is kept too."""
        if self.selects_on_links:
            return "cells" if self.batches else None
        return "links" if self.schedule.trains_links and self.pairs is not None else None

    @torch.no_grad()
    def __call__(self, model: CoTrainNetwork) -> dict[str, float]:
        """Metrics by name, in evaluation mode and over all message edges; the model's mode is restored."""
        was_training = model.training
        model.eval()
        try:
            metrics: dict[str, float] = {}
            if self.pairs is not None:
                metrics |= self.links(model)
            if self.batches:
                metrics |= self._cells(model)
            return metrics
        finally:
            model.train(was_training)

    def links(self, model: CoTrainNetwork) -> dict[str, float]:
        """Link metrics on the validation pairs with all that was learned; sets the share of it that will score."""
        assert self.pairs is not None
        genes, labels_M = model.encode_graph(), self.pairs.labels_M
        chosen, share = dict[str, float](), model.link_decoder.share
        if share is not None:
            share.fill_(0)
            evidence_M = model.link_logits(genes, self.pairs.pairs_2M)
            share.fill_(1)
        scores_M = model.link_logits(genes, self.pairs.pairs_2M)
        if share is not None:
            best = choose_share(evidence_M, scores_M, labels_M, self.pairs.pairs_2M[0])
            share.fill_(1.0 if best is None else best)
            chosen = {"validation/links/learned_share": float(share)}
        by_tf = per_tf(scores_M, labels_M, self.pairs.pairs_2M[0])
        pooled = auroc(scores_M, labels_M)
        macro = by_tf.macro_auroc if by_tf.num_tfs else float("nan")
        return {
            "validation/links/macro_auroc": macro,
            "validation/links/macro_ap": by_tf.macro_ap if by_tf.num_tfs else float("nan"),
            "validation/links/auroc": pooled,
            "validation/links/auprc": average_precision(scores_M, labels_M),
            "validation/links/selection": macro if np.isfinite(macro) else pooled,
            **chosen,
        }

    def _cells(self, model: CoTrainNetwork) -> dict[str, float]:
        genes = model.encode_graph()
        device = genes.table_GD.device
        names = frozenset(self.schedule.cell_objectives)
        tally = Tally()
        for index, batch in enumerate(self.batches):
            generator = torch_generator(self.seed, index, Purpose.VALIDATION, device=device)
            tally.add(cell_losses(model, model.objectives, genes, batch.to(device), generator, names))
        losses = {name: tally.losses[name] for name in sorted(tally.losses)}
        metrics = {f"validation/cells/{name}": value for name, value in losses.items()}
        chosen = [value for name, value in losses.items() if model.objective(name).selects] or losses.values()
        metrics["validation/cells/selection"] = -sum(chosen)
        # An objective's own metrics, such as an accuracy and the trivial one that it must be compared with.
        return metrics | {f"validation/cells/{name}": value for name, value in tally.metric_means.items()}


def _sampled(pairs: LabelledPairs, seed: int) -> LabelledPairs:
    if pairs.num_pairs <= _MAX_PAIRS:
        return pairs
    negative_N = np.flatnonzero(~pairs.labels_M)
    keep_N = np.random.default_rng((seed, 11)).choice(negative_N, size=_MAX_PAIRS, replace=False)
    keep_M = np.sort(np.concatenate([np.flatnonzero(pairs.labels_M), keep_N]))
    return LabelledPairs(pairs.pairs_2M[:, keep_M], pairs.labels_M[keep_M])
