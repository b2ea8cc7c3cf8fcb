"""Features of genes from elsewhere: rows of other data sets, and motifs of TFs, by gene symbol.

A correlation between two genes that one data set shows by chance is rarely shown by several. Controls, evidence and the
inductive features of the table read these rows; no label of a link enters them.

Dimension letters: G genes, N genes of the table, R rank, S TFs, T TFs with a motif.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, read_json, sha256_file, write_json

__all__ = ["SUMMARY", "GeneFeatures", "SetRows", "read_gene_features", "write_gene_features"]

SUMMARY = ("mean", "deviation", "detected")
"""Columns of :attr:`SetRows.summary_G3`."""

_TABLE, _SIDECAR, _MOTIFS = "gene_features.parquet", "gene_features.json", "motif_similarity.parquet"
_SHAPE = {
    "sets": [{"name": str, "rank": int, "cells_hash": str, "report": str}],
    "files": {str: str},
}


@dataclass(frozen=True, eq=False)
class SetRows:
    """One data set's rows.

    Attributes
    ----------
    summary_G3
        float32 mean and deviation of normalised values, and share of cells that express the gene.
    loadings_GR
        float32 loadings on the leading expression components.
    present_G
        bool; whether the set holds the gene. Rows of the others are 0.
    """

    summary_G3: np.ndarray
    loadings_GR: np.ndarray
    present_G: np.ndarray

    def take(self, row_G: np.ndarray) -> SetRows:
        """Rows at ``row_G``; -1 asks for a gene that the set does not hold."""
        known_G = row_G >= 0
        present_G = known_G & self.present_G[row_G]
        summary_G3, loadings_GR = (
            array[row_G] * present_G[:, None].astype(np.float32) for array in (self.summary_G3, self.loadings_GR)
        )
        return SetRows(summary_G3, loadings_GR, present_G)


@dataclass(frozen=True, eq=False)
class GeneFeatures:
    """Rows of several data sets for the genes of one vocabulary, and motifs of its TFs, found by symbol.

    Attributes
    ----------
    symbols
        ``N`` genes of the table.
    sets
        Name of a set -> its rows.
    motif_tfs
        Genes that have a motif.
    motif_TT
        float32 similarity of their motifs, see :func:`~grn_cotrain.data.motifs.motif_similarity`.
    """

    symbols: tuple[str, ...]
    sets: dict[str, SetRows]
    motif_tfs: tuple[str, ...] = ()
    motif_TT: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    @cached_property
    def _row(self) -> dict[str, int]:
        return {symbol: row for row, symbol in enumerate(self.symbols)}

    def of(self, symbols: Sequence[str]) -> dict[str, SetRows]:
        """Rows of these genes, in their order; a gene that the table does not hold is in no set."""
        row_G = np.array([self._row.get(symbol, -1) for symbol in symbols], dtype=np.int64)
        return {name: rows.take(row_G) for name, rows in self.sets.items()}

    def motif_similarity(self, symbols: Sequence[str]) -> np.ndarray:
        """Similarity of the motifs of these genes, float32 ``[S, S]``; 0 where one has no motif."""
        row = {symbol: row for row, symbol in enumerate(self.motif_tfs)}
        at_S = np.array([row.get(symbol, -1) for symbol in symbols], dtype=np.int64)
        known_K = np.flatnonzero(at_S >= 0)
        similarity_SS = np.zeros((len(at_S), len(at_S)), dtype=np.float32)
        similarity_SS[np.ix_(known_K, known_K)] = self.motif_TT[np.ix_(at_S[known_K], at_S[known_K])]
        return similarity_SS

    def permuted(self, symbols: Sequence[str], source_G: np.ndarray) -> GeneFeatures:
        """The same rows under exchanged names: ``symbols[i]`` gets the row of ``symbols[source_G[i]]``."""
        moved = {symbols[i]: symbols[int(source)] for i, source in enumerate(source_G)}
        rows = self.of([moved.get(symbol, symbol) for symbol in self.symbols])
        return replace(self, sets=rows)

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits of names and values."""
        digest = hashlib.sha256("\n".join(self.symbols).encode())
        for name, rows in self.sets.items():
            digest.update(f"|{name}".encode())
            for array in (rows.summary_G3, rows.loadings_GR):
                digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
            digest.update(np.packbits(rows.present_G).tobytes())
        if self.motif_tfs:
            digest.update("|".join(("", *self.motif_tfs)).encode())
            digest.update(np.ascontiguousarray(self.motif_TT, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]


def write_gene_features(folder: Path, features: GeneFeatures, sets: Sequence[dict[str, object]]) -> None:
    """Store the rows in a prepared folder; the sidecar with the hash comes last.

    Parameters
    ----------
    sets
        For each set ``name``, ``rank``, ``cells_hash`` and ``report``, the outcome of aligning its genes.
    """
    columns: dict[str, np.ndarray] = {}
    for name, rows in features.sets.items():
        columns[f"{name}:present"] = rows.present_G
        columns |= {f"{name}:{what}": rows.summary_G3[:, i] for i, what in enumerate(SUMMARY)}
        columns |= {f"{name}:loading_{r}": rows.loadings_GR[:, r] for r in range(rows.loadings_GR.shape[1])}
    tables = {_TABLE: pd.DataFrame(columns, index=pd.Index(features.symbols, name="gene", dtype=object))}
    if features.motif_tfs:
        tables[_MOTIFS] = pd.DataFrame(
            features.motif_TT, columns=list(features.motif_tfs), index=pd.Index(features.motif_tfs, name="tf")
        )
    for name, frame in tables.items():
        with atomic_file(folder / name) as temporary:
            frame.to_parquet(temporary)
    files = {name: sha256_file(folder / name) for name in tables}
    write_json(folder / _SIDECAR, {"sets": list(sets), "files": files}, checked=True)


def read_gene_features(folder: Path) -> GeneFeatures | None:
    """Read features as :func:`write_gene_features` stored them; None if the folder has none.

    Raises
    ------
    UserError
        The table is missing, or is not the one that was written.
    """
    if not (folder / _SIDECAR).is_file():
        return None
    sidecar = read_json(folder / _SIDECAR, what="gene features", shape=_SHAPE)
    for name, expected in sidecar["files"].items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != expected:
            raise UserError(f"gene features '{path}': missing or changed; make them again: grn-prep features {folder}")
    frame = pd.read_parquet(folder / _TABLE)
    sets = {}
    for entry in sidecar["sets"]:
        name, rank = entry["name"], entry["rank"]
        sets[name] = SetRows(
            frame[[f"{name}:{what}" for what in SUMMARY]].to_numpy(np.float32),
            frame[[f"{name}:loading_{r}" for r in range(rank)]].to_numpy(np.float32),
            frame[f"{name}:present"].to_numpy(bool),
        )
    features = GeneFeatures(tuple(map(str, frame.index)), sets)
    if _MOTIFS in sidecar["files"]:
        motifs = pd.read_parquet(folder / _MOTIFS)
        features = replace(features, motif_tfs=tuple(map(str, motifs.index)), motif_TT=motifs.to_numpy(np.float32))
    return features
