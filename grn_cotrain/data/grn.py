"""A gene regulatory network over a vocabulary: distinct TF -> target pairs, edges of other relations, and a report.

Dimension letters: G genes, E edges.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from grn_cotrain.data import grn_convert
from grn_cotrain.data.edge_report import EdgeReport
from grn_cotrain.data.grn_frame import align_ends, name_relations, standard_frame
from grn_cotrain.data.io.edge_list import EDGE_COLUMNS, EdgeList, merge_pairs
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.data.relations import REGULATES, RelationEdges
from grn_cotrain.data.vocab import FeatureVocab, name_some
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    import anndata
    import networkx

__all__ = ["GRN", "EdgeReport", "OnTrouble"]

logger = logging.getLogger(__name__)

OnTrouble = Literal["ignore", "warn", "error"]
_ENDS = ("source", "target")
_INDEXED = (*EDGE_COLUMNS[:2], "source_index", "target_index", *EDGE_COLUMNS[2:])
_SPACES = ("source_space", "target_space")
_KEYS = ("source_index", "target_index", "relation")


@dataclass(frozen=True, eq=False)
class GRN:
    """Distinct directed edges between genes of one vocabulary, without self-loops, sorted by source, then target.

    Attributes
    ----------
    vocab
        The vocabulary that gene indices refer to.
    edges
        Regulation between genes: ``source, target`` (symbols of the vocabulary), ``source_index, target_index`` int64,
        ``weight`` float32, ``sign`` int8 (-1 repression, 0 unknown, 1 activation), ``evidence`` text. These alone are
        split, supervised and scored.
    report
        Report of what was merged, dropped or renamed.
    other_edges
        Edges of other relations, between features of any spaces: the same columns, and ``relation``. They may pass
        messages.
    """

    vocab: FeatureVocab
    edges: pd.DataFrame
    report: EdgeReport
    other_edges: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*_INDEXED, "relation"]))

    # -- making one --------------------------------------------------------------------------------------------------

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        vocab: FeatureVocab,
        *,
        on_duplicates: OnTrouble = "ignore",
        on_self_loops: OnTrouble = "ignore",
        on_unknown: OnTrouble = "ignore",
        on_reciprocal: OnTrouble = "ignore",
        min_mapped: float = 0.0,
        num_merged: int = 0,
        what: str = "edge list",
    ) -> GRN:
        """Align a frame of edges to the vocabulary.

        Parameters
        ----------
        frame
            ``source`` and ``target`` (symbols or Ensembl ids), optionally ``weight``, ``sign``, ``evidence``;
            ``relation`` (``regulates`` between genes; without one, edges between other spaces are named by these, such
            as ``peak_gene``), ``source_space`` and ``target_space`` (``gene``, ``peak``, ``protein``, where a name
            occurs in several).
        vocab
            Edges with an end outside it are dropped, counted and named.
        on_duplicates, on_self_loops, on_unknown, on_reciprocal
            Reaction to each problem in addition to reporting it: nothing, a logged warning, an error.
        min_mapped
            Least share of the frame's genes that must be in the vocabulary. The default asks for one edge only, since
            a small panel rightly keeps a small part of a genome-wide network.
        num_merged
            Rows that a reader has merged into others already; they count as given and as repeated.

        Raises
        ------
        UserError
            Missing columns, weights that are no finite numbers, names of another species, regulation of or by a
            feature that is not a gene, no edge of regulation left.
        """
        given = standard_frame(frame, what)
        source, target, renamed = align_ends(given, vocab, min_mapped=min_mapped, what=what)
        inside = (source >= 0) & (target >= 0)
        loops = inside & (source == target)
        report = EdgeReport(
            num_given=len(given) + num_merged,
            outside_edges=int((~inside).sum()),
            unknown_sources=sorted(set(given["source"][source < 0])),
            unknown_targets=sorted(set(given["target"][target < 0])),
            self_loops=sorted({vocab.symbols[i] for i in source[loops]}),
            renamed=renamed,
        )
        kept = inside & ~loops
        indexed = given[kept].assign(source_index=source[kept], target_index=target[kept])
        indexed["relation"], named = name_relations(indexed, vocab, what)
        merged, report.duplicates, conflicts = merge_pairs(
            indexed.drop(columns=["source", "target", *_SPACES]), keys=_KEYS
        )
        report.duplicates += num_merged
        report.conflicting_signs = [f"{vocab.symbols[a]}->{vocab.symbols[b]}" for a, b, _ in conflicts]
        if not (merged["relation"] == REGULATES).any():
            if not merged.empty:
                counted = ", ".join(f"{count:,} {name}" for name, count in merged["relation"].value_counts().items())
                raise UserError(
                    f"{what}: no edge regulates a gene (its relations: {counted}); write '{REGULATES}' in the column"
                    " relation for edges from a TF to its target gene"
                )
            raise UserError(
                f"{what}: no edge has both ends among the data's {vocab.num_features:,} features "
                f"({len(given):,} edges given; TFs not found: {name_some(report.unknown_sources, 3) or 'none'}); "
                f"{_why_empty(report, vocab)}"
            )
        report.notes = [*named, *_hints(report, given, vocab)]
        grn = cls._from_indexed(merged, vocab, report)
        grn.check(
            duplicates=on_duplicates, self_loops=on_self_loops, unknown=on_unknown, reciprocal=on_reciprocal, what=what
        )
        return grn

    @classmethod
    def _from_indexed(cls, merged: pd.DataFrame, vocab: FeatureVocab, report: EdgeReport) -> GRN:
        """Sort, name and type merged edges, and fill in the counts of the report."""
        typed = merged.assign(source="", target="").astype(
            {"source_index": np.int64, "target_index": np.int64, "weight": np.float32, "sign": np.int8}
        )
        symbols = np.asarray(vocab.symbols, dtype=object)
        for end in _ENDS:
            typed[end] = symbols[typed[f"{end}_index"]]
        typed = typed.sort_values(list(_KEYS), ignore_index=True)
        regulates = typed["relation"] == REGULATES
        edges = typed.loc[regulates, list(_INDEXED)].reset_index(drop=True)
        others = typed.loc[~regulates, [*_INDEXED, "relation"]].reset_index(drop=True)
        keys = edges["source_index"] * vocab.num_features + edges["target_index"]
        report.reciprocal = int(keys.isin(edges["target_index"] * vocab.num_features + edges["source_index"]).sum())
        report.num_edges = len(edges)
        report.num_sources, report.num_targets = edges["source_index"].nunique(), edges["target_index"].nunique()
        report.num_candidates = report.num_sources * ((vocab.num_genes or vocab.num_features) - 1)
        counted = others["relation"].value_counts().sort_index()
        report.other_relations = [f"{name}: {count:,} edges" for name, count in counted.items()]
        return cls(vocab, edges, report, others)

    @classmethod
    def from_symbols(cls, edges: pd.DataFrame, vocab: FeatureVocab, report: EdgeReport) -> GRN:
        """Rebuild a network that :meth:`to_frame` gave, with the report it was saved with."""
        spaces = {end: edges.get(f"{end}_space", pd.Series("", index=edges.index)) for end in _ENDS}
        index = {
            f"{end}_index": [vocab.index(*key) for key in zip(edges[end], spaces[end].replace("", None), strict=True)]
            for end in _ENDS
        }
        relation = edges.get("relation", REGULATES)
        return cls._from_indexed(edges.assign(**index, relation=relation), vocab, report)

    def to_frame(self) -> pd.DataFrame:
        """Every edge: ``source_space, source, target_space, target, relation, sign, weight, evidence``."""
        frame = pd.concat([self.edges.assign(relation=REGULATES), self.other_edges], ignore_index=True)
        space = np.asarray(self.vocab.modality, dtype=object)
        for end in _ENDS:
            frame[f"{end}_space"] = space[frame[f"{end}_index"].to_numpy(np.int64)]
        return frame[["source_space", "source", "target_space", "target", "relation", "sign", "weight", "evidence"]]

    @classmethod
    def from_edge_list(cls, edges: EdgeList, vocab: FeatureVocab, **options: Any) -> GRN:
        """Align a parsed file (see :func:`~grn_cotrain.data.io.edges.load_edges`); its counts join the report."""
        grn = cls.from_frame(edges.frame, vocab, num_merged=edges.counts.get("duplicates", 0), **options)
        ends = {(vocab.get(source), vocab.get(target)) for source, target, *_ in edges.conflicts}
        if ends:
            index_E = pd.MultiIndex.from_frame(grn.edges[["source_index", "target_index"]])
            clashes = [f"{vocab.symbols[a]}->{vocab.symbols[b]}" for a, b in index_E if (a, b) in ends]
            grn.report.conflicting_signs = sorted({*grn.report.conflicting_signs, *clashes})
        grn.report.complexes = list(edges.complexes)
        grn.report.notes = [*edges.notes, *grn.report.notes]
        return grn

    @classmethod
    def from_file(cls, path: str | Path, vocab: FeatureVocab, *, format: str = "auto", **options: Any) -> GRN:
        """Read and align an edge list of any format."""
        return cls.from_edge_list(load_edges(path, format), vocab, **{"what": f"edge list '{path}'", **options})

    @classmethod
    def from_networkx(cls, graph: networkx.DiGraph, vocab: FeatureVocab, **options: Any) -> GRN:
        """Edges of a directed graph whose nodes are gene names; see :mod:`grn_cotrain.data.grn_convert`."""
        return cls.from_frame(grn_convert.frame_from_networkx(graph), vocab, **{"what": "networkx graph", **options})

    @classmethod
    def from_adata_varp(cls, adata: anndata.AnnData, vocab: FeatureVocab, *, key: str = "grn", **options: Any) -> GRN:
        """Edges of a gene x gene matrix ``adata.varp[key]``, row = TF, column = target."""
        frame = grn_convert.frame_from_varp(adata, key)
        return cls.from_frame(frame, vocab, **{"what": f"adata.varp['{key}']", **options})

    # -- looking at it -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.edges)

    @property
    def num_edges(self) -> int:
        """E."""
        return len(self.edges)

    @property
    def num_genes(self) -> int:
        """G: genes of the vocabulary, with or without edges."""
        return self.vocab.num_genes or self.vocab.num_features

    @cached_property
    def pairs_2E(self) -> np.ndarray:
        """int64 ``[2, E]``, row 0 sources, row 1 targets; read-only."""
        pairs = np.ascontiguousarray(self.edges[["source_index", "target_index"]].to_numpy(np.int64).T)
        pairs.flags.writeable = False
        return pairs

    @property
    def sign_E(self) -> np.ndarray:
        """int8 ``[E]``: -1 repression, 0 unknown, 1 activation."""
        return self.edges["sign"].to_numpy(np.int8)

    @property
    def weight_E(self) -> np.ndarray:
        """float32 ``[E]``."""
        return self.edges["weight"].to_numpy(np.float32)

    @cached_property
    def source_index(self) -> np.ndarray:
        """int64, sorted: the genes that have out-edges."""
        return np.unique(self.pairs_2E[0])

    @cached_property
    def others(self) -> RelationEdges:
        """Edges of other relations than regulation, by indices of features."""
        names = tuple(sorted(self.other_edges["relation"].unique()))
        frame = self.other_edges
        return RelationEdges(
            names,
            np.ascontiguousarray(frame[["source_index", "target_index"]].to_numpy(np.int64).T),
            frame["relation"].map({name: i for i, name in enumerate(names)}).to_numpy(np.int64),
            frame["sign"].to_numpy(np.int64),
            frame["weight"].to_numpy(np.float32),
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (first 16 hex digits) of vocabulary, relations, pairs, signs and weights; evidence does not count."""
        digest = hashlib.sha256(self.vocab.content_hash.encode())
        digest.update(self.pairs_2E.astype("<i8").tobytes())
        digest.update(self.sign_E.tobytes())
        digest.update(self.weight_E.astype("<f4").tobytes())
        if self.others:  # a network of regulation alone has the hash that it always had
            digest.update("|".join(self.others.names).encode())
            for name, kind in (("pairs_2E", "<i8"), ("relation_E", "<i8"), ("sign_E", "i1"), ("weight_E", "<f4")):
                digest.update(getattr(self.others, name).astype(kind).tobytes())
        return digest.hexdigest()[:16]

    def check(
        self,
        *,
        duplicates: OnTrouble = "warn",
        self_loops: OnTrouble = "warn",
        unknown: OnTrouble = "warn",
        reciprocal: OnTrouble = "warn",
        what: str = "network",
    ) -> list[str]:
        """Return the troubles found, one line each; log or raise those that are asked for.

        Raises
        ------
        UserError
            For a kind of trouble set to ``"error"``.
        """
        report = self.report
        outside = list(dict.fromkeys(report.unknown_sources + report.unknown_targets))
        kinds: list[tuple[str, OnTrouble, int, str]] = [
            ("duplicates", duplicates, report.duplicates, "repeated edges, merged"),
            ("self_loops", self_loops, len(report.self_loops), f"self-loops, dropped ({name_some(report.self_loops)})"),
            (
                "unknown",
                unknown,
                report.outside_edges,
                f"edges with an end outside the vocabulary, dropped ({name_some(outside)})",
            ),
            ("reciprocal", reciprocal, report.reciprocal, "edges whose reverse is an edge too"),
        ]
        found = []
        for kind, level, count, text in kinds:
            if level not in ("ignore", "warn", "error"):
                raise UserError(f"{kind} '{level}': choose from ignore, warn, error")
            if not count:
                continue
            line = f"{what}: {count:,} {text}"
            found.append(line)
            if level == "error":
                raise UserError(f"{line}; mend the list, or set on_{kind} to warn or ignore")
            if level == "warn":
                logger.warning("%s", line)
        return found

    # -- giving it away ----------------------------------------------------------------------------------------------

    def to_tsv(self, path: str | Path) -> None:
        """Write ``source, target, weight, sign, evidence``, and where there are other relations all columns of
        :meth:`to_frame`, atomically; reads back as format ``tsv``."""
        frame = self.to_frame() if self.others else self.edges[list(EDGE_COLUMNS)]
        with atomic_file(path) as temporary:
            write_delimited(frame, temporary)

    def to_decoupler(self) -> pd.DataFrame:
        """Return decoupler's frame ``source, target, weight``; weights carry signs, unknown ones as positive."""
        signs_E = np.where(self.sign_E == 0, 1, self.sign_E)
        return self.edges[["source", "target"]].assign(weight=self.weight_E * signs_E)

    def to_networkx(self) -> networkx.DiGraph:
        """Directed graph over symbols; genes without edges are left out."""
        return grn_convert.to_networkx(self)

    def to_graphml(self, path: str | Path) -> None:
        """Write GraphML (Cytoscape, Gephi), atomically."""
        grn_convert.to_graphml(self, path)

    def to_pyg(self) -> Any:
        """``torch_geometric.data.Data`` over all G genes: edge_index, edge_weight, edge_sign, node_names."""
        return grn_convert.to_pyg(self)

    def to_dgl(self) -> Any:
        """``dgl.DGLGraph`` over all G genes with edata ``weight`` and ``sign``."""
        return grn_convert.to_dgl(self)

    def to_adata_varp(self, adata: anndata.AnnData, *, key_added: str = "grn") -> None:
        """Write ``adata.varp[key_added]`` (weights) and ``varp[key_added + "_sign"]``; row = TF, column = target."""
        grn_convert.to_adata_varp(self, adata, key_added)


def _why_empty(report: EdgeReport, vocab: FeatureVocab) -> str:
    """Describe the end that is not found, and the data."""
    for end, lost in (("the TFs", report.unknown_sources), ("the targets", report.unknown_targets)):
        if lost:
            return vocab.diagnose(lost, f"the column of {end.removeprefix('the ')}")
    return "all edges are of a gene with itself; give edges between genes"


def _hints(report: EdgeReport, given: pd.DataFrame, vocab: FeatureVocab) -> list[str]:
    """Why most TFs, or most targets, are not found, where the names show it."""
    notes = []
    for what, end, lost in (("TFs", "source", report.unknown_sources), ("targets", "target", report.unknown_targets)):
        if lost and 2 * len(lost) > given[end].nunique():
            cause = vocab.find_cause(lost, f"the column of {what}")
            notes += [f"most {what} are not found: {cause}"] if cause else []
    return notes
