"""The bars: controls on real networks over seeds, compared with the figures they are known to reach.

Example: ``python -m experiments.studies.bars --network collectri --split unseen-target --seeds 0,1,2`` with
``GRN_COTRAIN_DATA`` set. Genes whose symbol the annotation does not know leave the candidates (``--outdated keep``
keeps them), and controls read features of other data sets and motifs (``--features none`` takes them away). Macro
metrics are means over TFs with at least three test positives; the folds of one seed are put together. ``--record``
writes the table to ``experiments/records``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from experiments.records import RECORDS, make_study_record, write_record
from grn_cotrain.config import expand_environment
from grn_cotrain.controls import CONTROLS
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import SplitKind, Track
from grn_cotrain.data.gene_features import GeneFeatures
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.io.name_lists import read_names
from grn_cotrain.data.motifs import motif_similarity, read_motifs
from grn_cotrain.data.set_rows import set_rows
from grn_cotrain.data.split_candidates import Outdated
from grn_cotrain.data.splits import make_split
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.metrics.links import auroc as auroc_of
from grn_cotrain.metrics.links import per_tf
from grn_cotrain.present.metrics import metric

__all__ = [
    "CURRENT",
    "KNOWN",
    "NETWORKS",
    "SETS",
    "Features",
    "World",
    "load_world",
    "main",
    "measure_control",
    "table",
]

_KANG = "kang_ifnb_harmony/kang_ifnb_2000cells_counts.h5ad"
_HESC = "beeline_genelink/expression/hESC_TFs+500.h5ad"
_ANNOTATION = "gene_annotation/hg38_genes.tsv.gz"
_MOTIFS = "tf_motifs_jaspar_muon/jaspar2020_core_pfms.zip"

# Other data sets of human genes: name -> file. A network's own cells are never among them twice.
SETS = {
    "kang": _KANG,
    "pbmc3k": "pbmc3k_labelled/pbmc3k_2000hvg_counts.h5ad",
    "mixology": "sc_mixology_celllines/sc_mixology_5batches.h5ad",
    "cite10k": "pbmc_cite_scvi_test/pbmc_10k_protein_v3.h5ad",
    "cite5k": "pbmc_cite_scvi_test/pbmc_5k_protein_v3.h5ad",
    "h1": "h1_snareseq_paired/h1_snareseq.h5mu",
    "multiome": "pbmc_multiome_40cells_fullfeatures/pbmc_multiome_40cells.h5mu",
}
_BEELINE = "beeline_genelink/networks/edges.tsv.gz"

# Network -> (cells, edges, format of the edges).
NETWORKS = {
    "collectri": (_KANG, "grn_priors/collectri_human_from_omnipath.tsv.gz", "collectri:signed"),
    "dorothea": (_KANG, "grn_priors/dorothea_hs.tsv.gz", "dorothea:ABC"),
    "trrust": (_KANG, "grn_priors/trrust_v2_human.tsv.gz", "trrust"),
    "hesc-string": (_HESC, f"{_BEELINE}:string/hESC/TFs+500", "beeline"),
    "hesc-specific": (_HESC, f"{_BEELINE}:specific_chipseq/hESC/TFs+500", "beeline"),
    "hesc-nonspecific": (_HESC, f"{_BEELINE}:nonspecific_chipseq/hESC/TFs+500", "beeline"),
}

# Macro AUROC that an independent implementation reached: (network, split) -> control -> figure. All genes are
# candidates, features are those of one data set, and symbols are not read (``--outdated keep --features none``).
KNOWN: dict[tuple[str, str], dict[str, float]] = {
    ("collectri", "unseen-target"): {
        "random": 0.502,
        "pearson": 0.530,
        "adamic_adar": 0.585,
        "boosting_graph": 0.597,
        "target_knn": 0.599,
        "kernel_ridge": 0.604,
        "logistic_combination": 0.634,
        "boosting_gene": 0.641,
        "double_knn": 0.644,
        "gae": 0.678,
    },
    ("dorothea", "unseen-target"): {"boosting_gene": 0.587},
    ("trrust", "unseen-target"): {"boosting_gene": 0.684},
    ("hesc-string", "unseen-target"): {"boosting_gene": 0.759},
}
# The same with current symbols, features of all sets and stems of symbols: the defaults of this study.
CURRENT: dict[tuple[str, str], dict[str, float]] = {
    ("collectri", "unseen-target"): {"boosting_all": 0.815},
    ("dorothea", "unseen-target"): {"boosting_all": 0.778},
    ("trrust", "unseen-target"): {"boosting_all": 0.828},
    ("hesc-string", "unseen-target"): {"boosting_all": 0.848},
}
_DEFAULT = (
    "random", "pearson", "adamic_adar", "boosting_graph", "target_knn", "kernel_ridge", "logistic_combination",
    "boosting_gene", "double_knn", "knn_target_stem", "boosting_all",
)  # fmt: skip


Features = Literal["all", "none"]


@dataclass(frozen=True)
class World:
    """Cells and a network over the same genes."""

    cells: MemoryStore
    grn: GRN


def load_world(data: Path, network: str, *, features: Features = "none") -> World:
    """Read the cells and edges of one of :data:`NETWORKS`, with marked symbols and features of genes."""
    if network not in NETWORKS:
        raise UserError(
            f"--network '{network}': unknown; choose from {', '.join(NETWORKS)}{did_you_mean(network, NETWORKS)}"
        )
    cells_file, edges_file, edge_format = NETWORKS[network]
    counts = load_counts(data / cells_file)
    vocab = FeatureVocab.from_symbols(list(counts.adata.var_names))
    known = {name.casefold() for name in read_names(data / _ANNOTATION, what="current symbols")}
    vocab = replace(vocab, outdated=frozenset(name for name in vocab.symbols if name.casefold() not in known))
    if features == "all":
        vocab = replace(vocab, features=_features(data, cells_file, vocab))
    cells = MemoryStore.build(vocab, counts.adata.X, kind=counts.kind, obs=counts.adata.obs)
    return World(cells, GRN.from_file(data / edges_file, vocab, format=edge_format))


def _features(data: Path, own_file: str, vocab: FeatureVocab) -> GeneFeatures:
    """Rows of the other data sets of :data:`SETS`, and motifs."""
    sets = {}
    for name, file in SETS.items():
        if file != own_file:
            counts = load_counts(data / file, modality="rna" if file.endswith("h5mu") else None)
            genes = (counts.adata.var["modality"] == "gene").to_numpy()
            other = FeatureVocab.from_symbols(list(counts.adata.var_names[genes]))
            cells = MemoryStore.build(other, counts.adata.X[:, np.flatnonzero(genes)], kind=counts.kind)
            row = {symbol: i for i, symbol in enumerate(other.symbols)}
            sets[name] = set_rows(cells, rank=50).take(np.array([row.get(symbol, -1) for symbol in vocab.symbols]))
    of_gene: dict[str, list[np.ndarray]] = {}
    for name, motifs in read_motifs(data / _MOTIFS).items():
        found = vocab.get(name)
        if found is not None:
            of_gene.setdefault(vocab.symbols[found], []).extend(motifs)
    return GeneFeatures(vocab.symbols, sets, *motif_similarity(of_gene))


def measure_control(
    world: World,
    name: str,
    kind: SplitKind,
    *,
    seed: int,
    track: Track = "visible",
    outdated: Outdated = "leave-out",
) -> dict[str, float]:
    """Fit and score one control on the splits of one seed; means over the TFs of all folds."""
    auroc, precision, pooled, matched, seconds = [], [], [], [], 0.0
    for split in make_split(world.grn, kind, seed=seed, track=track, outdated=outdated):
        start = time.perf_counter()
        control = CONTROLS.build(name, seed=seed).fit(split, world.cells)
        pairs = split.pairs("test")
        scores_M = control.score(pairs.pairs_2M)
        seconds += time.perf_counter() - start
        found = per_tf(scores_M, pairs.labels_M, pairs.pairs_2M[0])
        auroc.append(found.auroc_S)
        precision.append(found.average_precision_S)
        pooled.append(per_tf(scores_M, pairs.labels_M, np.zeros_like(pairs.pairs_2M[0])).macro_auroc)
        even = split.matched_pairs("test", 0)
        matched.append(auroc_of(control.score(even.pairs_2M), even.labels_M) if even.num_pairs else np.nan)
    auroc_S, precision_S = np.concatenate(auroc), np.concatenate(precision)
    return {
        "macro_auroc": float(auroc_S.mean()),
        "macro_ap": float(precision_S.mean()),
        "auroc": float(np.mean(pooled)),
        "matched": float(np.nanmean(matched)),
        "num_tfs": float(len(auroc_S)),
        "seconds": seconds,
    }


def table(
    world: World,
    names: Sequence[str],
    kind: SplitKind,
    seeds: Sequence[int],
    track: Track = "visible",
    outdated: Outdated = "leave-out",
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each control's figures, one row a seed."""
    for name in names:
        rows = [measure_control(world, name, kind, seed=seed, track=track, outdated=outdated) for seed in seeds]
        yield name, pd.DataFrame(rows, index=pd.Index(list(seeds), name="seed"))


def _line(name: str, frame: pd.DataFrame, known: float | None) -> str:
    mean = frame.mean()
    by_seed = " ".join(f"{value:.3f}" for value in frame["macro_auroc"])
    beside = "   -         -" if known is None else f"{known:.3f}  {mean['macro_auroc'] - known:+.3f}"
    return (
        f"{name:22s} {mean['macro_auroc']:.4f}  {beside}   {mean['macro_ap']:.4f}  {mean['auroc']:.4f}  "
        f"{mean['matched']:.4f} {mean['num_tfs']:6.1f} {mean['seconds']:8.1f}   {by_seed}"
    )


def _body(rows: list[dict[str, Any]], known: Mapping[str, float], note: str) -> dict[str, Any]:
    """Body of a study's record: means over seeds, a row a control."""
    means = pd.DataFrame(rows).groupby("control", sort=False).mean()
    shown = ("macro_auroc", "macro_ap", "matched", "num_tfs")
    table = [
        [str(name), *(f"{row[what]:.3f}" for what in shown), f"{known[str(name)]:.3f}" if name in known else "-"]
        for name, row in means.iterrows()
    ]
    words = (metric(name).words for name in ("macro_auroc", "macro_ap", "degree_matched_auroc"))
    columns = ["control", *words, "TFs", "bar, macro AUROC"]
    return {"header": columns, "table": table, "rows": rows, "notes": [note]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.bars", description=__doc__)
    parser.add_argument("--network", default="collectri", help=", ".join(NETWORKS))
    parser.add_argument("--split", default="unseen-target", choices=get_args(SplitKind)[:4])
    parser.add_argument("--track", default="visible", choices=get_args(Track))
    parser.add_argument("--seeds", default="0,1,2,3,4", help="Numbers, separated by commas.")
    parser.add_argument("--features", default="all", choices=get_args(Features), help="Features of other data sets.")
    parser.add_argument("--outdated", default="leave-out", choices=get_args(Outdated))
    parser.add_argument("--record", help="Name of the record to write.")
    parser.add_argument("--controls", default=",".join(_DEFAULT), help="Names, separated by commas.")
    given = parser.parse_args(arguments)
    try:
        seeds = [int(seed) for seed in given.seeds.split(",")]
        data = Path(expand_environment("${GRN_COTRAIN_DATA}"))
        world = load_world(data, given.network, features=given.features)
        figures = {("none", "keep"): KNOWN, ("all", "leave-out"): CURRENT}.get((given.features, given.outdated), {})
        known = figures.get((given.network, given.split), {}) if given.track == "visible" else {}
        grn = world.grn
        marked = int(grn.vocab.outdated_G.sum())
        header = (
            f"{given.network}: {grn.num_edges:,} edges, {len(grn.source_index):,} TFs, {grn.num_genes:,} genes, "
            f"{marked:,} outdated ({given.outdated}); hash {grn.content_hash}; {given.split}, {given.track} track, "
            f"seeds {given.seeds}; features {given.features}"
        )
        head = (
            f"{'control':22s} macro   known   diff    macro   pooled  matched   TFs  seconds   macro AUROC by seed\n"
            f"{'':22s} AUROC   AUROC           AP      AUROC   AUROC          (fit + score, mean of a seed)"
        )
        print(f"{header}\n{head}", flush=True)
        lines, rows = [], []
        for name, frame in table(world, given.controls.split(","), given.split, seeds, given.track, given.outdated):
            lines.append(_line(name, frame, known.get(name)))
            records = frame.reset_index().to_dict(orient="records")
            rows += [{"control": name, **{str(key): value for key, value in row.items()}} for row in records]
            print(lines[-1], flush=True)
        if given.record:
            write_record(make_study_record(given.record, _body(rows, known, header)), RECORDS)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
