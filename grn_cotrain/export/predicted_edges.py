"""The network that a run predicts, as a table of edges with what is known of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from grn_cotrain.apply import RunIdentity
from grn_cotrain.data.grn import GRN, EdgeReport
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.export.edge_ranking import LOW_SHARE, OVERLAP, RankBy
from grn_cotrain.export.known_edges import PARTS
from grn_cotrain.present import percent

__all__ = ["COLUMNS", "PredictedEdges"]

COLUMNS = (
    "source",
    "target",
    "score",
    "probability",
    "sign",
    "sign_source",
    "correlation",
    "known",
    "evidence",
    "shared_by",
    "target_mean",
    "evidence_rank",
    "channels",
)

_SIGNS = ((1, "activating"), (-1, "repressing"), (0, "unknown"))


@dataclass(frozen=True)
class PredictedEdges:
    """Edges of a run, the best first (``rank_by``).

    Attributes
    ----------
    frame
        ``source, target``: symbols. ``score``: logit. ``probability``: calibrated on validation pairs of the same
        kind (which of the two genes training held out), NaN where the run has none. ``sign``: int8 -1, 0 (unknown), 1,
        and ``sign_source``: ``network`` (a training edge's own),
        ``correlation`` (of TF and target over the cells, where it differs from 0 at p < .05) or empty.
        ``correlation``: float32, NaN without cells. ``known``: ``train``, ``validation``, ``test``, ``withheld`` (in
        the network, in no part) or empty (new). ``evidence``: the network's evidence of a known edge. ``shared_by``:
        number of TFs of this table that have the target. ``target_mean``: mean score of the target over the TFs of the
        run. ``evidence_rank``: rank of the target among the TF's by the pairs' own evidence, 1 is the best; 0 without
        evidence. ``channels``: what each channel of evidence adds to the score of this pair, the largest first. With
        ``explain``, ``neighbours`` and ``data_sets`` as :func:`~grn_cotrain.export.explain.explain` has them.

        The score of a *training* edge is a fit, not a prediction.
    vocab
        Genes of the model.
    identity
        Name and hashes of the run; no path.
    scorer
        Arm of the run, as in its link table.
    num_candidates
        Pairs that were scored, self-pairs left out.
    labels
        Where ``known`` comes from: ``split``, ``graph`` (training edges only) or ``none``.
    num_train
        Training edges of the run.
    prevalence, num_calibration
        Share of positives, and number, of the validation pairs that ``probability`` is calibrated on (of the kind with
        the most of them); None without.
    uncalibrated
        Number of edges without a probability, by kind of pair.
    withheld
        Kind of pair whose calibration failed on validation pairs that it was not fitted on -> the reason.
    rank_by
        ``score``, or ``specific``: the order of the rows, and what was kept.
    pair_share
        Share of the variance of all scores that is neither the TF's mean nor the target's; None if unknown.
    overlap
        Share of a TF's list that another TF's list holds too; NaN of one TF.
    """

    frame: pd.DataFrame
    vocab: FeatureVocab
    identity: RunIdentity
    scorer: str
    num_candidates: int
    labels: Literal["split", "graph", "none"]
    num_train: int
    prevalence: float | None
    num_calibration: int | None
    uncalibrated: Mapping[str, int] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    rank_by: RankBy = "score"
    pair_share: float | None = None
    overlap: float = math.nan

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def vocab_hash(self) -> str:
        """Hash of the vocabulary that the run was trained on."""
        return self.vocab.content_hash

    @property
    def has_probability(self) -> bool:
        """Whether every edge has a calibrated probability."""
        return self.prevalence is not None and not self.uncalibrated

    def weights(self) -> np.ndarray:
        """Weight in (0, 1] of each edge: its probability or, where any edge has none, the sigmoid of its score."""
        if self.has_probability:
            weights_M = self.frame["probability"].to_numpy(np.float64)
        else:
            weights_M = 1 / (1 + np.exp(-self.frame["score"].to_numpy(np.float64)))
        return np.maximum(weights_M, np.finfo(np.float32).tiny)  # a weight of 0 would read as no edge

    def to_grn(self) -> GRN:
        """Return the network with :meth:`weights`, signs and evidence, sorted by TF and target."""
        edges = self.frame[["source", "target", "sign", "evidence"]].assign(weight=self.weights())
        return GRN.from_symbols(edges, self.vocab, EdgeReport(num_given=len(edges)))

    def networks(self) -> dict[str, GRN]:
        """Group of cells -> network with the weights of that group; a single one of empty name without groups."""
        if "group" not in self.frame:
            return {"": self.to_grn()}
        found = {}
        for name, frame in self.frame.groupby("group", sort=False):
            kept = frame[frame["conditioned"] > 0]
            edges = kept[["source", "target", "sign", "evidence"]].assign(weight=kept["conditioned"])
            found[str(name)] = GRN.from_symbols(edges, self.vocab, EdgeReport(num_given=len(edges)))
        return found

    def provenance(self) -> dict[str, str | int | float]:
        """Where the edges come from and, with probabilities, for which prevalence they are calibrated."""
        found: dict[str, str | int | float] = {
            **self.identity.to_dict(),
            "scorer": self.scorer,
            "num_candidates": self.num_candidates,
            "labels": self.labels,
            "rank_by": self.rank_by,
        }
        if self.prevalence is not None and self.num_calibration is not None:
            found |= {"prevalence": self.prevalence, "num_calibration": self.num_calibration}
        return found

    def counts(self) -> dict[str, int]:
        """Edges by part (``new`` for those that are no edge of the network), TFs and targets."""
        parts = self.frame["known"].value_counts()
        found = {name or "new": int(parts.get(name, 0)) for name in PARTS}
        genes = {"tfs": self.frame["source"].nunique(), "targets": self.frame["target"].nunique()}
        return {"edges": len(self), **genes, **found}

    def summary(self) -> str:
        """Lines for the user, one fact a line."""
        count, frame = self.counts(), self.frame
        lines = [
            f"{len(self):,} of {self.num_candidates:,} scored pairs: {count['tfs']:,} TFs, {count['targets']:,} targets"
        ]
        if self.labels == "none":
            lines.append("known edges: unknown (no prepared folder)")
        else:
            known = [f"{count[name]:,} {name}" for name in PARTS[1:] if count[name]]
            also = " or validation or test" if self.labels == "graph" else ""
            lines.append(f"known: {', '.join(known) or 'no edge'}; {count['new']:,} new{also}")
            if count["train"]:
                lines.append("the scores of training edges are a fit, not a prediction (column known)")
        signs = [
            f"{int((frame['sign'] == sign).sum()):,} {what}" for sign, what in _SIGNS if (frame["sign"] == sign).any()
        ]
        sources = frame["sign_source"].value_counts()
        told = [f"{int(sources[name]):,} by {name}" for name in ("network", "correlation") if name in sources]
        lines.append(f"signs: {', '.join(signs) or 'none'}" + (f" ({', '.join(told)})" if told else ""))
        if self.prevalence is not None and sum(self.uncalibrated.values()) < len(self):
            lines.append(
                f"probability: calibrated on {self.num_calibration:,} validation pairs, for a prevalence of"
                f" {self.prevalence:.3%}; it holds for pairs drawn like those"
            )
        elif self.prevalence is None and not self.withheld:
            lines.append("no probability: the run's split has no validation pairs to calibrate on")
        for kind, number in self.uncalibrated.items():
            if kind not in self.withheld:
                lines.append(f"{number:,} edges have no probability: no validation pairs are of their kind ({kind})")
        lines += self.warnings()
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """Lines about lists that are not a TF's own, and about probabilities that are withheld."""
        found = [f"warning: {reason}" for reason in self.withheld.values()]
        if self.overlap > OVERLAP:
            what = "new edges" if not (self.frame["known"] != "").any() else "edges"
            found.append(
                f"warning: {len(self):,} {what} are {self.frame['target'].nunique():,} targets; on average a target is"
                f" in {percent(self.overlap, 0)} of the other lists"
            )
        if self.pair_share is not None and self.pair_share < LOW_SHARE:
            found.append(
                f"warning: the pairs explain {percent(self.pair_share)} of the scores' variance: the lists are hardly"
                " specific to their TFs"
            )
        return found
