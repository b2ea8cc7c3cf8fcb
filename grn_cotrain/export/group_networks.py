"""One network for each group of cells: predicted edges, with the probability that each acts in these cells.

The equation is that of :mod:`grn_cotrain.export.acting`.

Dimension letters: C cells, E edges, G genes, M pairs, T TFs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.apply import OpenRun
from grn_cotrain.controls.pair_rows import score_by_rows
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.rewire import rewired
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError
from grn_cotrain.export.acting import BetaUniform, acting, exceedance, regulon_activity
from grn_cotrain.export.known_edges import KnownEdges, known_edges
from grn_cotrain.export.predicted_edges import PredictedEdges
from grn_cotrain.jobs.edges import EdgeOptions
from grn_cotrain.jobs.read import ReadOptions

__all__ = ["GROUP_COLUMNS", "GroupFit", "GroupNetworks", "group_networks", "networks_of_groups"]

GROUP_COLUMNS = (
    "group",
    "conditioned",
    "acts",
    "co_expression",
    "activity",
    "source_shift",
    "source_detected",
    "target_detected",
)
"""Columns that a network of a group has in addition to those of the network without cells."""

_REWIRED_EDGES = 2
_REWIRED_REGULONS = 10
_BOOTSTRAP = 1000


@dataclass(frozen=True)
class GroupFit:
    """Facts about one group.

    Attributes
    ----------
    group, num_cells
        Label and number of cells.
    pairs, tfs
        Mixtures that were fitted on training edges and on TFs.
    auroc, low, high
        Macro AUROC over TFs of training edges against rewired ones, by absolute partial correlation, with the 95 %
        bootstrap interval over TFs: 0.5 is chance.
    undetected_tfs, undetected_targets
        Symbols of the network that are not detected in the group.
    """

    group: str
    num_cells: int
    pairs: BetaUniform
    tfs: BetaUniform
    auroc: float
    low: float
    high: float
    undetected_tfs: tuple[str, ...]
    undetected_targets: tuple[str, ...]

    def lines(self) -> list[str]:
        """Lines for the user."""
        found = [
            f"group '{self.group}', {self.num_cells:,} cells: co-expression distinguishes training edges from rewired"
            f" ones with a macro AUROC of {self.auroc:.3f} [{self.low:.3f}, {self.high:.3f}];"
            f" exponents {self.pairs.shape:.2f} (edges), {self.tfs.shape:.2f} (TFs), 1 without evidence"
        ]
        if not self.low > 0.5:
            found.append(
                f"warning: group '{self.group}': for the average TF, co-expression here is no better than chance"
            )
        if self.pairs.shape == self.tfs.shape == 1:
            found.append(f"warning: group '{self.group}': conditioning keeps the order of the network without cells")
        for what, names in (("TFs", self.undetected_tfs), ("targets", self.undetected_targets)):
            if names:
                found.append(f"group '{self.group}': {len(names):,} {what} are not detected: {name_some(names)}")
        return found


@dataclass(frozen=True, eq=False)
class GroupNetworks:
    """Networks of groups of cells.

    Attributes
    ----------
    edges
        Its ``frame`` has a row for each edge and group, by group and falling ``conditioned``. In addition to the
        columns of :class:`~grn_cotrain.export.predicted_edges.PredictedEdges`: ``group``; ``conditioned``, the weight
        of the edge without cells (probability, or sigmoid of the score) times ``acts``; ``acts``, the probability that
        an edge of this kind acts in these cells; ``co_expression``, partial correlation in these cells given depth;
        ``activity``, t statistic of the TF's regulon against all other cells; ``source_shift``, the TF's own mean minus
        that in the other cells, in standard deviations, which ``acts`` does not read; ``source_detected`` and
        ``target_detected``, shares of the group's cells. What the cells do not measure is NaN.
    fits
        Facts about each group.
    """

    edges: PredictedEdges
    fits: tuple[GroupFit, ...]

    def provenance(self) -> list[dict[str, Any]]:
        """Facts about the groups as plain values."""
        return [
            {"group": fit.group, "num_cells": fit.num_cells, "edge_share": fit.pairs.share,
             "edge_shape": fit.pairs.shape, "tf_shape": fit.tfs.shape, "auroc": fit.auroc, "low": fit.low,
             "high": fit.high}
            for fit in self.fits
        ]  # fmt: skip


def networks_of_groups(
    opened: OpenRun, edges: PredictedEdges, options: EdgeOptions, *, say: Callable[[str], None] = print
) -> GroupNetworks:
    """Condition the predicted edges of a run on each group of ``options.by``, in the run's own cells or others.

    Raises
    ------
    UserError
        No cells; no such column; no group with enough cells; a run without known training edges.
    """
    assert options.by is not None
    known, _ = known_edges(opened)
    if options.cells is None:
        if known.cells is None:
            raise UserError(f"--by '{options.by}': the cells of the run are not found; give --prep or --cells")
        cells, measured_G = known.cells, None
    else:
        applied = opened.apply_to(options.cells, ReadOptions(min_mapped=options.min_mapped))
        applied.tell(say)
        cells, measured_G = applied.cells, applied.measured_G
    labels = as_labels(obs_column(cells.obs, options.by, "--by"))
    found = group_networks(edges, known, cells, labels, measured_G=measured_G, least=options.min_cells, say=say)
    for fit in found.fits:
        for line in fit.lines():
            say(line)
    return found


def group_networks(
    edges: PredictedEdges,
    known: KnownEdges,
    cells: CellStore,
    labels: pd.Series,
    *,
    measured_G: np.ndarray | None = None,
    least: int = 30,
    say: Callable[[str], None] = print,
) -> GroupNetworks:
    """Condition edges on groups of cells.

    Parameters
    ----------
    edges
        Network without cells.
    known
        Training edges, on which the mixtures are fitted.
    cells, labels
        Cells in the model's vocabulary, and the group of each; cells without a label are in no group.
    measured_G
        bool: features that the cells have; default all. Evidence about others is missing, not negative.
    least
        Fewest cells of a group; smaller groups are named and left out.
    say
        Receives notes.
    """
    train_2E, sign_E = _training(known)
    genes = cells.genes()
    size = genes.num_features
    measured_G = np.ones(size, dtype=bool) if measured_G is None else measured_G[:size]
    groups = _groups(labels, least, say)
    if len(groups) == 1:
        say("one group: no TF's activity can be compared with other cells, so co-expression is used alone")
    whole = Statistics(genes)
    pairs_2M = _pairs(edges)
    null_2E = np.concatenate([rewired(train_2E, seed) for seed in range(_REWIRED_EDGES)], axis=1)
    frames, fits = [], []
    for group, rows_C in groups.items():
        one = _Group(group, Statistics(genes, rows_C), measured_G)
        fit, columns = one.condition(whole if len(groups) > 1 else None, pairs_2M, (train_2E, sign_E), null_2E, edges)
        conditioned_M = edges.weights() * columns["acts"]
        frame = edges.frame.assign(group=group, conditioned=conditioned_M, **columns)
        frames.append(frame.sort_values("conditioned", ascending=False, kind="stable"))
        fits.append(fit)
    ordered = pd.concat(frames, ignore_index=True)
    first = ["group", "source", "target", "conditioned"]
    ordered = ordered[[*first, *(name for name in ordered if name not in first)]]
    return GroupNetworks(replace(edges, frame=ordered), tuple(fits))


@dataclass(frozen=True, eq=False)
class _Group:
    name: str
    statistics: Statistics
    measured_G: np.ndarray

    def condition(
        self,
        whole: Statistics | None,
        pairs_2M: np.ndarray,
        train: tuple[np.ndarray, np.ndarray],
        null_2E: np.ndarray,
        edges: PredictedEdges,
    ) -> tuple[GroupFit, dict[str, np.ndarray]]:
        """Fit of the group, and its columns for the pairs."""
        moments, number = self.statistics[Moments()], self.statistics.num_cells
        share_G = np.where(self.measured_G, moments.detected_G, np.nan)
        seen_G = ~(share_G * number < max(3.0, 0.01 * number))  # not measured: not known to be absent
        usable_G = seen_G & self.measured_G
        train_2E, sign_E = train
        together = np.concatenate([pairs_2M, train_2E, null_2E], axis=1)
        r_M, r_E, r_N = np.split(self._partial(together), np.cumsum([pairs_2M.shape[1], train_2E.shape[1]]))
        r_M, (fit_E, fit_N) = np.where(usable_G[pairs_2M].all(axis=0), r_M, np.nan), (
            usable_G[train_2E].all(axis=0), usable_G[null_2E].all(axis=0)
        )  # fmt: skip
        null_N = np.abs(r_N[fit_N])
        mixture = BetaUniform.fit(exceedance(np.abs(r_E[fit_E]), null_N), train_2E[0, fit_E])
        shift_G = self._shift(whole)
        activity_T, v_T, tfs = self._activity(shift_G, train_2E, sign_E, len(seen_G))
        acts_M = acting(mixture, exceedance(np.abs(r_M), null_N), tfs, v_T[pairs_2M[0]], seen_G[pairs_2M].all(axis=0))
        symbols = np.asarray(edges.vocab.symbols, dtype=object)
        missing = [tuple(map(str, symbols[np.unique(ends_M[~seen_G[ends_M]])])) for ends_M in pairs_2M]
        fit = GroupFit(
            self.name, number, mixture, tfs,
            *_macro_auroc(np.abs(r_E[fit_E]), train_2E[0, fit_E], null_N, null_2E[0, fit_N]), *missing,
        )  # fmt: skip
        columns = {
            "acts": acts_M,
            "co_expression": r_M.astype(np.float32),
            "activity": activity_T[pairs_2M[0]].astype(np.float32),
            "source_shift": shift_G[pairs_2M[0]].astype(np.float32),
            "source_detected": share_G[pairs_2M[0]].astype(np.float32),
            "target_detected": share_G[pairs_2M[1]].astype(np.float32),
        }
        return fit, columns

    def _partial(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Correlation of each pair given the log depth of the cells, float64 ``[M]``."""
        genes_U, index_2M = np.unique(pairs_2M, return_inverse=True)
        index_2M = index_2M.reshape(2, -1)
        r_M = score_by_rows(index_2M, lambda s: correlations(self.statistics, genes_U[s], genes_U))
        depth_U = self._with_depth()[genes_U]
        a_M, b_M = depth_U[index_2M[0]], depth_U[index_2M[1]]
        scale_M = np.sqrt(np.maximum((1 - a_M**2) * (1 - b_M**2), 1e-6))
        return np.clip((r_M - a_M * b_M) / scale_M, -1.0, 1.0)

    def _with_depth(self) -> np.ndarray:
        """Correlation of each gene with the log depth, float64 ``[G]``; zeros where all depths are alike."""
        moments = self.statistics[Moments()]
        depth_C = np.log(np.maximum(self.statistics.cells.size_factor_C[self.statistics.rows_C], 1e-9))
        spread = float(depth_C.std())
        total_G, start = np.zeros(self.statistics.num_features), 0
        if spread < 1e-6:
            return total_G
        z_C = (depth_C - depth_C.mean()) / spread
        for block in self.statistics.blocks():
            stop = start + block.values_BG.shape[0]
            total_G += block.values_BG.T @ z_C[start:stop]
            start = stop
        std_G = moments.std_of_cells_G
        return np.divide(total_G / len(z_C), std_G, out=np.zeros_like(total_G), where=std_G > 0)

    def _shift(self, whole: Statistics | None) -> np.ndarray:
        """Mean of each gene in the group minus that in the other cells, in standard deviations of all, float64 ``[G]``.

        NaN for genes that are constant or not measured, and for all genes where there is one group.
        """
        mine = self.statistics[Moments()]
        shift_G = np.full(len(self.measured_G), np.nan)
        if whole is None:
            return shift_G
        every, number, inside = whole[Moments()], whole.num_cells, self.statistics.num_cells
        rest_G = (every.mean_of_cells_G * number - mine.mean_of_cells_G * inside) / max(number - inside, 1)
        std_G = every.std_of_cells_G
        used_G = (std_G > 0) & self.measured_G
        shift_G[used_G] = (mine.mean_of_cells_G - rest_G)[used_G] / std_G[used_G]
        return shift_G

    def _activity(
        self, shift_G: np.ndarray, train_2E: np.ndarray, sign_E: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray, BetaUniform]:
        """Activity of each gene as a TF, its share of rewired regulons at least as active, and the mixture of TFs."""
        activity_G, share_G = np.full(size, np.nan), np.full(size, np.nan)
        sources_T = np.unique(train_2E[0])
        t_T = regulon_activity(shift_G, train_2E, sign_E, sources_T)
        null = [
            regulon_activity(shift_G, rewired(train_2E, seed), sign_E, sources_T) for seed in range(_REWIRED_REGULONS)
        ]
        pool = np.concatenate(null)
        v_T = exceedance(t_T, pool[~np.isnan(pool)])
        activity_G[sources_T], share_G[sources_T] = t_T, v_T
        return activity_G, share_G, BetaUniform.fit(v_T[~np.isnan(v_T)], sources_T[~np.isnan(v_T)])


def _training(known: KnownEdges) -> tuple[np.ndarray, np.ndarray]:
    chosen_E = known.part_E == 1
    if not chosen_E.any():
        raise UserError("--by: the training edges of the run cannot be determined; give --prep")
    keys_E = known.keys_E[chosen_E]
    pairs_2E = np.stack([keys_E // known.num_genes, keys_E % known.num_genes])
    other_E = pairs_2E[0] != pairs_2E[1]
    return pairs_2E[:, other_E], known.sign_E[chosen_E][other_E]


def _groups(labels: pd.Series, least: int, say: Callable[[str], None]) -> dict[str, np.ndarray]:
    codes, names = pd.factorize(labels, sort=True)
    rows = {str(name): np.flatnonzero(codes == place) for place, name in enumerate(names)}
    small = [f"{name} ({len(rows_C):,})" for name, rows_C in rows.items() if len(rows_C) < least]
    kept = {name: rows_C for name, rows_C in rows.items() if len(rows_C) >= least}
    if not kept:
        raise UserError(f"--by: no group has {least:,} cells: {name_some(small)}; give a smaller --min-cells")
    if small:
        say(f"warning: groups with fewer than {least:,} cells have no network: {name_some(small)}")
    lacking = int((codes < 0).sum())
    if lacking:
        say(f"{lacking:,} cells have no label and are in no group")
    return kept


def _pairs(edges: PredictedEdges) -> np.ndarray:
    index = {symbol: place for place, symbol in enumerate(edges.vocab.symbols)}
    ends: Sequence[Any] = [edges.frame[end].map(index).to_numpy(np.int64) for end in ("source", "target")]
    return np.stack(ends)


def _macro_auroc(
    value_E: np.ndarray, source_E: np.ndarray, null_N: np.ndarray, source_N: np.ndarray, *, least: int = 5
) -> tuple[float, float, float]:
    """Mean over TFs of the AUROC of edges against rewired edges of the same TF, with its bootstrap interval."""
    found = []
    for source in np.unique(source_E):
        mine, other = value_E[source_E == source], np.sort(null_N[source_N == source])
        if len(mine) >= least and len(other) >= least:
            ranks = np.searchsorted(other, mine, "left") + np.searchsorted(other, mine, "right")
            found.append(float(ranks.mean()) / (2 * len(other)))
    if not found:
        return float("nan"), float("nan"), float("nan")
    values_T = np.asarray(found)
    draws = np.random.default_rng(0).integers(len(values_T), size=(_BOOTSTRAP, len(values_T)))
    low, high = np.quantile(values_T[draws].mean(axis=1), [0.025, 0.975])
    return float(values_T.mean()), float(low), float(high)
