"""Worlds of the study: cells, a network, and what is asked of them. Each keeps at most so many genes.

Gene rule where a data set has more than the cap: TFs with edges, then targets detected in at least 5 % of the cells (a
higher share where these alone would pass the cap), then the most variable genes until the cap is reached. Highly
variable genes alone would gut the network.

Cells that judge a probe are taken out before anything is prepared: genes are chosen, and encoders trained, without
them; and nobody is shown a label.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import anndata
import numpy as np

from data_prep.selection import parse_selection, select_genes
from data_prep.splits import prepare_splits
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import SplitKind
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.data.io.size_factors import size_factors
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.linear_probe import LabelSplit, held_out_group, stratified
from grn_cotrain.files import atomic_file

__all__ = ["WORLDS", "Probe", "World", "chosen_genes", "find_worlds", "probe_split"]

_COLLECTRI = ("grn_priors/collectri_human_from_omnipath.tsv.gz", "collectri:signed")
_DETECTED = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.01)


@dataclass(frozen=True)
class Probe:
    """Labels of a world: column of ``obs``; cells of ``group`` in ``group_key`` judge, or a stratified fifth."""

    label: str
    group_key: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class World:
    """Data of one column of the table.

    Attributes
    ----------
    name, title
        For folders, and for people.
    cells, network, network_format
        Files below the folder of real data; empty: the simulated world.
    kind
        ``links``: trained jointly, judged by masked values and links; ``probe``: pre-trained on cells, judged by a
        probe; ``values``: judged by masked values alone.
    split_kind, split
        Edge split that is made, and the one that is used.
    evidence
        Closed-form evidence of the link decoder.
    probe
        Labels, for ``probe``.
    max_genes
        Cap on the vocabulary.
    share
        Share of the budget's steps that rows of this world take: cells with more genes cost more, and what is nearly
        perfect early needs no more.
    """

    name: str
    title: str
    kind: Literal["links", "probe", "values"]
    cells: str = ""
    network: str = ""
    network_format: str = "auto"
    split_kind: SplitKind = "unseen-target"
    split: str = "unseen-target-seed0"
    evidence: tuple[str, ...] = ("kernel_ridge", "target_knn", "double_knn")
    probe: Probe | None = None
    max_genes: int = 2000
    share: float = 1.0

    def prepare(self, data: Path, out: Path) -> Prep:
        """Write the prepared folder into ``out`` once, and open it."""
        folder = out / "prep"
        if not (folder / "splits" / f"{self.split}.json").is_file():
            if not self.cells:
                _simulated(folder, self, out)
            else:
                _write(self, data, out)
            prepare_splits(folder, self.split_kind, seed=0)
        return Prep.open(folder)

    def all_cells(self, out: Path) -> CountsFile:
        """Cells of training and judgement, with their labels, as :meth:`prepare` left them."""
        return load_counts(out / "all.h5ad")


def chosen_genes(cells: MemoryStore, network: GRN, *, max_genes: int) -> tuple[np.ndarray, float]:
    """Sorted indices of the genes that stay (see the module), and the share of cells that targets were asked for.

    Raises
    ------
    UserError
        TFs alone pass the cap.
    """
    everything = np.arange(cells.num_features)
    if cells.num_features <= max_genes:
        return everything, 0.0
    detected_G = Statistics(cells)[Moments()].detected_G
    sources, targets = np.unique(network.pairs_2E[0]), np.unique(network.pairs_2E[1])
    for share in _DETECTED:
        kept = np.union1d(sources, targets[detected_G[targets] >= share])
        if len(kept) <= max_genes:
            break
    else:
        raise UserError(f"world: {len(sources):,} TFs are more than {max_genes:,} genes; raise its cap")
    low, high = 0, max_genes  # the most variable genes until the cap is reached
    while low < high:
        middle = (low + high + 1) // 2
        if len(np.union1d(kept, _variable(cells, middle))) <= max_genes:
            low = middle
        else:
            high = middle - 1
    return (np.union1d(kept, _variable(cells, low)) if low else kept), share


def _variable(cells: MemoryStore, number: int) -> np.ndarray:
    none = np.empty(0, dtype=np.int64)
    return select_genes(cells, parse_selection(f"hvg:{number}"), tf_index=none, target_index=none)[0]


def probe_split(probe: Probe, obs: Any) -> LabelSplit:
    """Which cells fit and which judge, by the world's own rule."""
    if probe.group_key is not None:
        return held_out_group(list(obs[probe.group_key].astype(str)), probe.group)
    return stratified(list(obs[probe.label].astype(str)))


def _write(world: World, data: Path, out: Path) -> None:
    counts = load_counts(data / world.cells)
    adata = counts.adata
    if world.probe is not None:
        with atomic_file(out / "all.h5ad") as temporary:
            anndata.read_h5ad(data / world.cells).write_h5ad(temporary)
        kept_C = probe_split(world.probe, adata.obs).train_C
        counts = CountsFile(**{**vars(counts), "adata": adata[kept_C].copy()})
        adata = counts.adata
    vocab = FeatureVocab.from_symbols(list(adata.var_names), list(adata.var["gene_ids"]), species="human")
    factors_C, notes = size_factors(counts)
    # Labels stay out of the prepared folder: what is not there cannot be learned from.
    obs = adata.obs[[]]
    cells = MemoryStore.build(vocab, adata.X, kind=counts.kind, obs=obs, size_factor_C=factors_C)
    network = GRN.from_file(data / world.network, vocab, format=world.network_format)
    kept, share = chosen_genes(cells, network, max_genes=world.max_genes)
    if len(kept) < cells.num_features:
        rule = f"targets that {share:.0%} of the cells show" if share <= 1 else "no target for being one"
        notes.append(f"genes: {len(kept):,} of {cells.num_features:,}: TFs, {rule}, the most variable genes")
        inside_E = np.isin(network.pairs_2E, kept).all(axis=0)
        vocab = vocab.select(kept)
        cells = MemoryStore.build(
            vocab, cells.values_CG[:, kept], kind=cells.kind, obs=obs, size_factor_C=cells.size_factor_C
        )
        network = GRN.from_symbols(network.edges.iloc[np.flatnonzero(inside_E)], vocab, network.report)
    write_prep(out / "prep", vocab, cells, grn=network, meta={"notes": notes})


def _simulated(folder: Path, world: World, out: Path) -> None:
    """A small world with everything the real ones have; its probe cells were seen in training, as nobody claims."""
    from data_prep.simulate import simulate

    simulate(folder, num_genes=80, num_tfs=16, num_cells=160)
    if world.probe is not None:
        with atomic_file(out / "all.h5ad") as temporary:
            Prep.open(folder).to_anndata().write_h5ad(temporary)


_WORLDS = (
    World(
        "kang",
        "Kang PBMCs, CollecTRI, unseen targets",
        "links",
        "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad",
        *_COLLECTRI,
    ),
    World(
        "hesc",
        "hESC (BEELINE), STRING, unseen TFs (fold 0 of 5)",
        "links",
        "beeline_genelink/expression/hESC_TFs+500.h5ad",
        "beeline_genelink/networks/edges.tsv.gz:string/hESC/TFs+500",
        "beeline",
        split_kind="unseen-tf",
        split="unseen-tf-visible-seed0-fold0",
        evidence=("kernel_ridge", "knn_family", "knn_expression"),
        share=1 / 4,
    ),
    World(
        "mixology",
        "sc_mixology cell lines, held-out batch sc_dropseq",
        "probe",
        "sc_mixology_celllines/sc_mixology_5batches.h5ad",
        *_COLLECTRI,
        probe=Probe("cell_line", "batch", "sc_dropseq"),
        max_genes=800,  # these cells detect 5,000 genes each: 2,000 would fill 1,024 tokens, at three times the cost
        share=1 / 6,
    ),
    World(
        "pbmc3k",
        "PBMC 3k cell types, a stratified fifth",
        "probe",
        "pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad",
        *_COLLECTRI,
        probe=Probe("cell_type"),
        share=1 / 2,
    ),
    World(
        "kang_full",
        "Kang PBMCs, 9,015 genes",
        "values",
        "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad",
        *_COLLECTRI,
        max_genes=100_000,
    ),
    World("simulated", "simulated: a smoke test", "links", evidence=("kernel_ridge",)),
    World("simulated_probe", "simulated: a smoke test", "probe", probe=Probe("cell_type")),
)
WORLDS: Mapping[str, World] = MappingProxyType({world.name: world for world in _WORLDS})
"""By name; the study of encoders takes the real ones of at most 2,000 genes."""


def find_worlds(text: str) -> list[World]:
    """``all`` (the real ones of the study of encoders), or names separated by commas.

    Raises
    ------
    UserError
        An unknown name.
    """
    real = [name for name, world in WORLDS.items() if world.cells and world.kind != "values"]
    names = real if text == "all" else [word.strip() for word in text.split(",")]
    for name in names:
        if name not in WORLDS:
            raise UserError(f"--worlds '{name}': unknown{did_you_mean(name, WORLDS)}; choose from {', '.join(WORLDS)}")
    return [WORLDS[name] for name in names]
