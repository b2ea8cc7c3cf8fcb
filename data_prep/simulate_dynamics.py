"""Dynamics of the cells of the simulated world: signals, TF dynamics, transcription, counting, open chromatin.

Dimension letters: C cells, S TFs, G genes, E edges, P peaks, K cell types, L signals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .simulate_network import SimulatedNetwork

__all__ = ["SimulatedCells", "SimulatedPeaks", "hill", "simulate_cells", "simulate_peaks"]

_HILL_EXPONENT = 4.0
_EULER_STEPS, _EULER_STEP = 20, 0.25


@dataclass(frozen=True)
class SimulatedCells:
    """``activity_CS`` in [0, 1] and ``log_rate_CG`` are the noise-free truth; ``counts_CG`` is what is measured."""

    cell_type_C: np.ndarray
    pseudotime_C: np.ndarray
    activity_CS: np.ndarray
    log_rate_CG: np.ndarray
    counts_CG: np.ndarray


@dataclass(frozen=True)
class SimulatedPeaks:
    """Open chromatin: ``open_CP`` is 0 or 1; each peak is near ``gene_P`` and is bound by the TFs of its edges."""

    open_CP: np.ndarray
    gene_P: np.ndarray
    peak_E: np.ndarray


def hill(activity: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    """Response in [0, 1) of a promoter to an activity, half of it at ``threshold``."""
    power: np.ndarray = activity**_HILL_EXPONENT
    return np.asarray(power / (power + np.asarray(threshold) ** _HILL_EXPONENT))


def simulate_cells(
    network: SimulatedNetwork,
    num_cells: int,
    rng: np.random.Generator,
    *,
    num_types: int,
    num_signals: int,
    median_counts: float,
    dispersion: float,
) -> SimulatedCells:
    """Signals drive TFs, TFs drive TFs to their steady state, TFs drive transcription, transcripts are counted.

    1. A cell has a type and a pseudotime; both set its external signals, with noise of its own.
    2. Activities follow ``dx/dt = sigmoid(drive + regulation) - x`` from 0.5, where regulation is the sum of signed
       Hill responses of the TF-TF edges, each times that of its co-factor where it has one.
    3. The log rate of a gene is a base level plus the same sum over its regulators (a TF's own transcripts follow its
       activity), plus two nuisance programs (think of cell cycle and stress) that no edge explains.
    4. Counts are Poisson with gamma-distributed rates (shape ``1 / dispersion``), a log-normal number per cell.
    """
    num_genes, num_tfs = len(network.symbols), network.num_tfs
    cell_type_C = rng.integers(num_types, size=num_cells)
    pseudotime_C = rng.random(num_cells)
    type_KL = rng.normal(0, 1.0, (num_types, num_signals))
    course_KL = rng.normal(0, 1.0, (num_types, num_signals))
    signal_CL = type_KL[cell_type_C] + (pseudotime_C[:, None] - 0.5) * 2 * course_KL[cell_type_C]
    signal_CL += rng.normal(0, 0.7, signal_CL.shape)
    # Members of a family answer to partly the same signals, as paralogues do.
    family_FL = rng.normal(0, 1, (int(network.family_S.max()) + 1, num_signals))
    loading_SL = 0.5 * family_FL[network.family_S] + 0.87 * rng.normal(0, 1, (num_tfs, num_signals))
    drive_CS = signal_CL @ loading_SL.T * (1.4 / np.sqrt(num_signals)) + rng.normal(0, 1.0, (num_cells, num_tfs))
    activity_CS = _steady_state(network, drive_CS)
    log_rate_CG = rng.normal(0, 1.0, num_genes) + _regulation(network, activity_CS)
    log_rate_CG[:, :num_tfs] = rng.normal(-0.3, 0.5, num_tfs) + 2.5 * (activity_CS - activity_CS.mean(axis=0))
    nuisance_C2, nuisance_2G = rng.normal(size=(num_cells, 2)), rng.normal(0, 0.35, (2, num_genes))
    log_rate_CG += nuisance_C2 @ nuisance_2G
    share_CG = np.exp(log_rate_CG)
    share_CG *= rng.gamma(1 / dispersion, dispersion, share_CG.shape)
    share_CG /= share_CG.sum(axis=1, keepdims=True)
    total_C = rng.lognormal(np.log(median_counts), 0.4, num_cells)
    counts_CG = rng.poisson(total_C[:, None] * share_CG).astype(np.float32)
    return SimulatedCells(cell_type_C, pseudotime_C, activity_CS, log_rate_CG, counts_CG)


def _edge_effects(network: SimulatedNetwork, activity_CS: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Signed effect of each of ``edges`` in each cell, centred on half a response so that rates stay in range."""
    effect_CE = hill(activity_CS[:, network.source_E[edges]], network.threshold_E[edges]) - 0.5
    cofactor_E = network.cofactor_E[edges]
    needs_E = cofactor_E >= 0
    effect_CE[:, needs_E] *= hill(activity_CS[:, cofactor_E[needs_E]], 0.4)
    return effect_CE * (network.sign_E[edges] * network.weight_E[edges])


def _regulation(network: SimulatedNetwork, activity_CS: np.ndarray) -> np.ndarray:
    """Sum of the effects of a gene's regulators, ``[C, G]``, damped where there are many (promoters saturate)."""
    num_genes = len(network.symbols)
    total_CG = np.zeros((activity_CS.shape[0], num_genes))
    in_degree_G = np.bincount(network.target_E, minlength=num_genes)
    for target in np.flatnonzero(in_degree_G):
        edges = np.flatnonzero(network.target_E == target)
        total_CG[:, target] = (
            _edge_effects(network, activity_CS, edges).sum(axis=1) / max(1, in_degree_G[target]) ** 0.25
        )
    return total_CG


def _steady_state(network: SimulatedNetwork, drive_CS: np.ndarray) -> np.ndarray:
    activity_CS = np.full(drive_CS.shape, 0.5)
    edges = np.flatnonzero(network.target_E < network.num_tfs)
    into_ES = (network.target_E[edges][:, None] == np.arange(network.num_tfs)).astype(np.float64)
    for _ in range(_EULER_STEPS):
        regulation_CS = _edge_effects(network, activity_CS, edges) @ into_ES
        activity_CS += _EULER_STEP * (1 / (1 + np.exp(-(drive_CS + regulation_CS))) - activity_CS)
    return activity_CS


def simulate_peaks(
    network: SimulatedNetwork, cells: SimulatedCells, rng: np.random.Generator, *, peaks_per_gene: int
) -> SimulatedPeaks:
    """Every gene has one to ``peaks_per_gene`` peaks; each edge acts through one of them and opens it when active.

    A repressor binds open chromatin too, so opening does not depend on the sign of an edge. A peak is seen open with a
    probability that falls with the cell's sequencing depth.
    """
    num_genes = len(network.symbols)
    num_peaks_G = rng.integers(1, peaks_per_gene + 1, size=num_genes)
    gene_P = np.repeat(np.arange(num_genes), num_peaks_G)
    first_G = np.cumsum(num_peaks_G) - num_peaks_G
    peak_E = first_G[network.target_E] + rng.integers(0, num_peaks_G[network.target_E])
    logit_CP = np.tile(rng.normal(-2.5, 0.8, gene_P.size), (cells.activity_CS.shape[0], 1))
    bound_CE = hill(cells.activity_CS[:, network.source_E], network.threshold_E)
    for peak in np.unique(peak_E):
        logit_CP[:, peak] += 1.5 * bound_CE[:, peak_E == peak].sum(axis=1)
    depth_C = rng.lognormal(0.0, 0.3, size=(cells.activity_CS.shape[0],))
    chance_CP = np.clip(0.6 * depth_C[:, None], 0, 1) / (1 + np.exp(-logit_CP))
    return SimulatedPeaks((rng.random(logit_CP.shape) < chance_CP).astype(np.float32), gene_P, peak_E)
