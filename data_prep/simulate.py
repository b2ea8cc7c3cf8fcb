"""A small two-omics world whose regulation is known: for tests, teaching, and the question "does it help?".

The world holds what the project's hypothesis is about, so that a failure here would count: rates
depend on TF activities through Hill functions and co-factors (not linearly), an activity is seen only through a few
noisy transcripts, and counts are sparse. Unseen genes are predictable in principle, since their expression follows
their regulators; unseen TFs too, since their transcripts follow their activity and their family shares targets. A model
that reads cells well can therefore gain over linear controls; nothing here makes sure that a particular model does.

With ``signal=False`` the same cells are dealt to other genes (TFs among TFs): network, marginals of the cells, families
and degrees are the same, and expression carries no information about regulation. A gain there is an artefact.
``docs/decisions/0002-simulated-world.md`` describes how the defaults were chosen, before any model was trained on them.

Dimension letters: C cells, S TFs, G genes, E edges, P peaks.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.data.prep import check_output, write_prep
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, atomic_folder

from .simulate_dynamics import SimulatedCells, SimulatedPeaks, simulate_cells, simulate_peaks
from .simulate_network import SimulatedNetwork, simulate_network

__all__ = ["TRUTH_FILES", "SimulateConfig", "SimulatedWorld", "simulate", "simulate_world"]

logger = logging.getLogger(__name__)

TRUTH_FILES = ("truth.parquet", "truth_activity.parquet", "truth_log_rate.parquet")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Size and noise of the world.

    Attributes
    ----------
    num_genes, num_tfs, num_cells, num_types
        Genes (TFs included), TFs, cells, cell types.
    num_programs, num_signals
        Programs of genes that share promoters; external signals that drive the TFs.
    cofactor_share
        Share of edges that act only while another regulator of the same gene is active.
    median_counts
        Median number of counts of a cell.
    dispersion
        Squared coefficient of variation of a gene's rate beyond its regulation (gamma).
    peaks_per_gene
        Largest number of peaks of a gene.
    signal
        False: expression comes from a network whose genes are exchanged, so it carries no information on this one.
    """

    num_genes: int = 500
    num_tfs: int = 60
    num_cells: int = 2500
    num_types: int = 5
    num_programs: int = 12
    num_signals: int = 10
    cofactor_share: float = 0.4
    median_counts: float = 300.0
    dispersion: float = 0.3
    peaks_per_gene: int = 3
    signal: bool = True

    def __post_init__(self) -> None:
        for name, least in (("num_tfs", 10), ("num_cells", 20), ("num_types", 1), ("num_programs", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: got {getattr(self, name)}; give at least {least}")
        for name in ("num_signals", "peaks_per_gene"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: got {getattr(self, name)}; give at least 1")
        if self.num_genes < 2 * self.num_tfs:
            raise UserError(f"num_genes: got {self.num_genes} for {self.num_tfs} TFs; give at least {2 * self.num_tfs}")
        if not 0 <= self.cofactor_share <= 1:
            raise UserError(f"cofactor_share: got {self.cofactor_share}; give a share from 0 to 1")
        for name in ("median_counts", "dispersion"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: got {getattr(self, name)}; give a positive number")


@dataclass(frozen=True)
class SimulatedWorld:
    """Everything that :func:`simulate` writes.

    ``truth`` has one row an edge *that acted* (source, target, weight, sign, threshold, cofactor, peak): the network
    itself, or the exchanged one of a world without signal. ``activity`` ``[C, S]`` and ``log_rate`` ``[C, G]`` are free
    of noise.
    """

    vocab: FeatureVocab
    cells: MemoryStore
    grn: GRN
    tf_symbols: tuple[str, ...]
    peaks: anndata.AnnData
    truth: pd.DataFrame
    activity: pd.DataFrame
    log_rate: pd.DataFrame


def simulate_world(seed: int = 0, config: SimulateConfig | None = None) -> SimulatedWorld:
    """Simulate in memory; the same seed and settings give the same world, bit for bit."""
    config = config or SimulateConfig()
    # One stream per stage: more cells, for example, must not change the network.
    network_rng, cells_rng, peaks_rng, exchange_rng = (np.random.default_rng([seed, stage]) for stage in range(4))
    network = simulate_network(
        config.num_genes,
        config.num_tfs,
        network_rng,
        num_programs=config.num_programs,
        cofactor_share=config.cofactor_share,
    )
    cells = simulate_cells(
        network,
        config.num_cells,
        cells_rng,
        num_types=config.num_types,
        num_signals=config.num_signals,
        median_counts=config.median_counts,
        dispersion=config.dispersion,
    )
    peaks = simulate_peaks(network, cells, peaks_rng, peaks_per_gene=config.peaks_per_gene)
    # played_by_G[i]: the gene of the dynamics whose cells gene i shows.
    played_by_G = np.arange(config.num_genes)
    if not config.signal:
        tfs, others = np.split(played_by_G, [config.num_tfs])
        played_by_G = np.concatenate([exchange_rng.permutation(tfs), exchange_rng.permutation(others)])
    return _assemble(network, cells, peaks, played_by_G)


def _assemble(
    network: SimulatedNetwork, cells: SimulatedCells, peaks: SimulatedPeaks, played_by_G: np.ndarray
) -> SimulatedWorld:
    num_genes, num_tfs, symbols = len(network.symbols), network.num_tfs, np.array(network.symbols)
    vocab = FeatureVocab(
        symbols=network.symbols,
        ids=("",) * num_genes,
        modality=("gene",) * num_genes,
        is_token=(True,) * num_genes,
        species="simulated",
    )
    names = pd.Index([f"cell{i}" for i in range(cells.cell_type_C.size)])
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"type{k}" for k in cells.cell_type_C]),
            "pseudotime": cells.pseudotime_C.astype(np.float32),
        },
        index=names,
    )
    matrix = MemoryStore.build(vocab, sparse.csr_matrix(cells.counts_CG[:, played_by_G]), kind="counts", obs=obs)
    frame = pd.DataFrame(
        {
            "source": symbols[network.source_E],
            "target": symbols[network.target_E],
            "weight": network.weight_E.astype(np.float32),
            "sign": network.sign_E,
            "evidence": "simulated",
        }
    )
    role_G = np.argsort(played_by_G)  # inverse: the gene that shows what a gene of the dynamics did
    peak_frame, order_P = _peak_frame(peaks, role_G, symbols)
    name_P = np.empty(order_P.size, dtype=object)
    name_P[order_P] = peak_frame.index
    truth = pd.DataFrame(
        {
            "source": symbols[role_G[network.source_E]],
            "target": symbols[role_G[network.target_E]],
            "weight": network.weight_E.astype(np.float32),
            "sign": network.sign_E,
            "threshold": network.threshold_E.astype(np.float32),
            "cofactor": np.where(network.cofactor_E >= 0, symbols[role_G[network.cofactor_E]], ""),
            "peak": name_P[peaks.peak_E],
        }
    )
    return SimulatedWorld(
        vocab=vocab,
        cells=matrix,
        grn=GRN.from_frame(frame, vocab, what="simulated network"),
        tf_symbols=network.symbols[:num_tfs],
        peaks=anndata.AnnData(
            X=sparse.csr_matrix(peaks.open_CP[:, order_P]), obs=obs.copy(), var=peak_frame, uns={"modality": "peak"}
        ),
        truth=truth,
        activity=pd.DataFrame(
            cells.activity_CS[:, played_by_G[:num_tfs]].astype(np.float32),
            index=names,
            columns=network.symbols[:num_tfs],
        ),
        log_rate=pd.DataFrame(
            cells.log_rate_CG[:, played_by_G].astype(np.float32), index=names, columns=network.symbols
        ),
    )


def _peak_frame(peaks: SimulatedPeaks, role_G: np.ndarray, symbols: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Places and genes of the peaks, along a made-up chromosome on which genes are in the order of the vocabulary."""
    gene_P = role_G[peaks.gene_P]
    order_P = np.argsort(gene_P, kind="stable")
    gene_P = gene_P[order_P]
    start_P = 1000 + 50_000 * gene_P + 2000 * (np.arange(gene_P.size) - np.searchsorted(gene_P, gene_P))
    frame = pd.DataFrame({"chrom": "chrS", "start": start_P, "end": start_P + 500, "gene": symbols[gene_P]})
    frame = frame.astype({"chrom": "category", "gene": "category"})
    frame.index = pd.Index([f"chrS:{start}-{start + 500}" for start in start_P])
    return frame, order_P


def simulate(
    out: str | Path,
    *,
    seed: int = 0,
    num_genes: int = 500,
    num_tfs: int = 60,
    num_cells: int = 2500,
    signal: bool = True,
    config: SimulateConfig | None = None,
) -> Path:
    """Simulate a world and write it as a prepared folder; return the folder.

    In addition to the files of every prepared folder it holds ``peaks.h5ad`` (same cells; ``var["gene"]`` links each
    peak to its gene), ``truth.parquet`` (the edges that acted), ``truth_activity.parquet`` and
    ``truth_log_rate.parquet``, which only :class:`~data_prep.simulate_oracle.OracleScorer` and people read.

    Parameters
    ----------
    out
        Folder to write; an earlier prepared folder there is replaced as a whole.
    seed
        Random seed.
    num_genes, num_tfs, num_cells, signal
        See :class:`SimulateConfig`.
    config
        All settings at once; the four above are ignored then.

    Raises
    ------
    UserError
        A number is out of range, or ``out`` holds something that is no prepared folder.
    """
    out = Path(out)
    check_output(out)
    if config is None:
        config = SimulateConfig(num_genes=num_genes, num_tfs=num_tfs, num_cells=num_cells, signal=signal)
    world = simulate_world(seed, config)
    with atomic_folder(out) as folder:
        meta = {"source": {"simulate": {"seed": seed, **asdict(config)}}}
        write_prep(folder, world.vocab, world.cells, grn=world.grn, tfs=world.tf_symbols, meta=meta)
        with atomic_file(folder / "peaks.h5ad") as temporary:
            write_h5ad(world.peaks, temporary, compression="gzip")
        for name, frame in zip(TRUTH_FILES, (world.truth, world.activity, world.log_rate), strict=True):
            frame.to_parquet(folder / name)
    values = world.cells.values_CG
    logger.info(
        "simulated %d cells x %d genes (%.1f %% non-zero), %d TFs, %d edges, %d peaks; %s",
        *values.shape,
        100 * values.nnz / np.prod(values.shape),
        len(world.tf_symbols),
        world.grn.num_edges,
        world.peaks.n_vars,
        "with signal" if config.signal else "without any signal between expression and regulation",
    )
    return out
