"""The prepared folder: opened for those who read it, written whole for those who make it.

Its layout is that of :mod:`grn_cotrain.data.prep_files`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.alignment import REPORT_SHAPE, name_some
from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN, EdgeReport
from grn_cotrain.data.io.writable import writable_frame
from grn_cotrain.data.obs import obs_hashes
from grn_cotrain.data.prep_files import (
    ASSAYS,
    GRAPH,
    GRAPH_SIDECAR,
    OBS,
    PREPARE,
    VALUES,
    file_facts,
    read_assays,
    read_obs,
    read_vocab,
    write_assays,
)
from grn_cotrain.data.rows import StoredRows
from grn_cotrain.data.store import IN_MEMORY_VALUES, CellStore
from grn_cotrain.data.vocab import AlignmentReport, FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import atomic_file, atomic_folder, read_json, refuse_file, sha256_file, write_json

if TYPE_CHECKING:
    import anndata

__all__ = ["FORMAT_VERSION", "Prep", "check_output", "write_grn", "write_prep", "write_split"]

FORMAT_VERSION = 2

_SHAPE = {
    "format_version?": None,  # another version has other keys, so its number is reported first
    **{f"{name}?": str for name in ("kind", "species", "vocab_hash", "cells_hash")},
    **{f"{name}?": int for name in ("num_cells", "num_genes", "num_features", "num_values")},
    "assays?": [str],
    "files?": {str: {"size": int, "sha256": str}},
    "tfs?": [str],
    "notes?": [str],
    "source?": {str: None},
    "obs_hashes?": {str: str},
}
_GRN_SHAPE = {
    "report": {
        **{f"{entry.name}?": int if isinstance(entry.default, int) else [str] for entry in fields(EdgeReport)},
        "renamed?": [[str]],
    },
    "grn_hash": str,
}


class Prep:
    """A prepared folder, opened: names and sizes are checked at once, values are read when they are asked for.

    Attributes
    ----------
    folder
        Place of the folder.
    meta
        ``prep.json``.
    vocab
        Its features.
    """

    def __init__(self, folder: Path, meta: dict[str, Any], vocab: FeatureVocab, kinds: dict[str, str]) -> None:
        self.folder = folder
        self.meta = meta
        self.vocab = vocab
        self._kinds = kinds
        self._stores: dict[str, CellStore] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Prep:
        """Open a folder that ``grn-prep counts`` made.

        The hash of the vocabulary and the sizes of the files of values are checked; the values themselves are checked
        when all of them are read (:meth:`verify`).

        Raises
        ------
        UserError
            No such folder, no prepared folder, one of another format, or files that do not belong together.
        """
        folder = Path(folder)
        if not (folder / "prep.json").is_file():
            what = "holds no prep.json" if folder.is_dir() else "no such folder"
            raise UserError(f"prepared folder '{folder}': {what}; make it with grn-prep counts IN --out {folder}")
        meta = read_json(folder / "prep.json", what="prepared folder", shape=_SHAPE)
        version = meta.get("format_version") if isinstance(meta, dict) else None
        if version != FORMAT_VERSION:
            fix = f"convert it: grn-prep convert {folder} --out NEW" if version == 1 else PREPARE
            raise UserError(
                f"prepared folder '{folder}': has format {version}, this version reads format {FORMAT_VERSION}; {fix}"
            )
        vocab, kinds = read_vocab(folder, str(meta.get("species", "unknown")), list(meta.get("assays", [])))
        prep = cls(folder, meta, vocab, kinds)
        prep._belongs(f"{ASSAYS}/", vocab.content_hash, meta.get("vocab_hash"))
        for name, facts in meta.get("files", {}).items():
            if not (folder / name).is_file():
                raise UserError(f"cells '{folder / name}': no such file; {PREPARE}")
            if (folder / name).stat().st_size != facts["size"]:
                prep._belongs(name, f"size {(folder / name).stat().st_size:,}", f"size {facts['size']:,}")
        return prep

    def _belongs(self, file: str, found: str | None, expected: str | None) -> None:
        if found != expected:
            raise UserError(
                f"prepared folder '{self.folder}': {file} does not belong to it (hash {found}, expected {expected}); "
                f"a file was exchanged, changed or damaged: {PREPARE}"
            )

    @property
    def kind(self) -> str:
        """Kind of the genes' values, or of the first assay where there are no genes."""
        return str(self.meta["kind"])

    @property
    def cells(self) -> CellStore:
        """The cells: in memory, or on disk where they have more than :data:`IN_MEMORY_VALUES` values."""
        return self.store()

    def store(self, how: str = "auto") -> CellStore:
        """The cells, in vocabulary order.

        Parameters
        ----------
        how
            ``memory``: read whole and checked; ``backed``: rows are read from disk when they are asked for; ``auto``:
            the first up to :data:`IN_MEMORY_VALUES` stored values.
        """
        if how == "auto":
            how = "memory" if int(self.meta["num_values"]) <= IN_MEMORY_VALUES else "backed"
        if how not in self._stores:
            self._stores[how] = self._read(how)
        return self._stores[how]

    def _read(self, how: str) -> CellStore:
        stored = read_obs(self.folder)
        assays, obs = read_assays(self.vocab, self._kinds, stored)
        self._same_obs(obs)
        sources = {
            name: StoredRows(self.folder / ASSAYS / name / VALUES, (len(obs), len(assay.space)))
            for name, assay in assays.items()
        }
        backed = BackedStore(self.vocab, obs, assays, sources, self.meta["cells_hash"], self.verify)
        if how == "backed":
            return backed
        self.verify()
        cells = backed.take(np.arange(len(obs)))
        vars(cells)["content_hash"] = self.meta["cells_hash"]  # verified above, so it is not computed again
        return cells

    def verify(self) -> None:
        """Check the files of values against the hashes that were recorded; reads them whole, once.

        Raises
        ------
        UserError
            A file was exchanged, changed or damaged.
        """
        if self._verified:
            return
        for name, facts in self.meta.get("files", {}).items():
            self._belongs(name, sha256_file(self.folder / name), facts["sha256"])
        self._verified = True

    _verified = False

    def _same_obs(self, obs: pd.DataFrame) -> None:
        """Refuse names and columns of cells that are not as they were prepared; columns may be added."""
        recorded: Mapping[str, str] = self.meta.get("obs_hashes", {})  # earlier versions recorded none
        found = obs_hashes(obs[[name for name in obs if name in recorded]])
        changed = [name or "the names of the cells" for name, value in recorded.items() if found.get(name) != value]
        if changed:
            raise UserError(
                f"prepared folder '{self.folder}': {OBS} is not as it was prepared ({name_some(changed)});"
                " a new column may be added, but to change one, prepare the folder again"
            )

    def to_anndata(self) -> anndata.AnnData:
        """The cells as an AnnData in memory: values as stored, ``obs`` with the size factors of the first assay.

        Every command that takes cells can read it.
        """
        import anndata

        cells = self.cells
        stored = list(cells.rows(np.arange(cells.num_cells)).values())
        var = pd.DataFrame(
            {"gene_ids": self.vocab.ids, "modality": self.vocab.modality, "is_token": self.vocab.is_token},
            index=pd.Index(self.vocab.symbols, dtype=object),
        )
        obs = cells.obs.assign(size_factor=cells.size_factor_C)
        return anndata.AnnData(
            X=stored[0] if len(stored) == 1 else sparse.hstack(stored, format="csr"), obs=obs, var=var
        )

    def cell_names(self) -> list[str]:
        """Barcodes of the cells, without reading their values."""
        return [str(name) for name in read_obs(self.folder).index]

    @property
    def has_grn(self) -> bool:
        """Whether a network was added."""
        return (self.folder / GRAPH_SIDECAR).is_file()

    @cached_property
    def grn(self) -> GRN:
        """The network; a :class:`UserError` that names the command where none was added."""
        if not self.has_grn:
            raise UserError(
                f"prepared folder '{self.folder}': holds no network; add one: grn-prep grn EDGES --prep {self.folder}"
            )
        sidecar = read_json(self.folder / GRAPH_SIDECAR, what="network", shape=_GRN_SHAPE)
        try:
            edges = pd.read_parquet(self.folder / GRAPH)
            report = EdgeReport.from_dict(sidecar["report"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"prepared folder '{self.folder}': the network cannot be read ({error}); add it again with grn-prep grn"
            ) from None
        grn = GRN.from_symbols(edges, self.vocab, report)
        self._belongs(GRAPH, grn.content_hash, sidecar.get("grn_hash"))
        return grn

    @cached_property
    def tf_index(self) -> np.ndarray:
        """int64, sorted: gene indices of the network's TFs and of the TF list."""
        listed = [self.vocab.index(name) for name in self.meta.get("tfs", [])]
        sources = self.grn.source_index.tolist() if self.has_grn else []
        return np.unique(np.asarray(listed + sources, dtype=np.int64))

    @property
    def alignment(self) -> AlignmentReport:
        """Outcome of aligning the names in the raw file."""
        file = self.folder / "alignment.json"
        return AlignmentReport.from_dict(read_json(file, what="alignment report", shape=REPORT_SHAPE))

    def split_names(self) -> list[str]:
        """Names of the edge splits, sorted."""
        return sorted(path.stem for path in (self.folder / "splits").glob("*.json"))

    def split(self, name: str) -> EdgeSplit:
        """Read an edge split, which must be of this folder's vocabulary and network."""
        names = self.split_names()
        if name not in names:
            choices = f"choose from {', '.join(names)}{did_you_mean(name, names)}" if names else "none were made"
            raise UserError(f"split '{name}': not in '{self.folder}'; {choices}; make splits with grn-prep splits")
        split = EdgeSplit.load(self.folder / "splits", name)
        stale = split.vocab_hash != self.vocab.content_hash
        if split.kind not in ("published", "transfer"):  # those bring edges of their own
            stale = stale or split.grn_hash != self.grn.content_hash
        if stale:
            raise UserError(
                f"split '{name}': was made for another vocabulary or network than '{self.folder}' now holds; "
                "make it again with grn-prep splits"
            )
        return split

    @property
    def content_hash(self) -> str:
        """16 hex digits of vocabulary, cells, TF list, network and features of genes; splits have their own."""
        file, shape = self.folder / GRAPH_SIDECAR, _GRN_SHAPE
        grn_hash = read_json(file, what="network", shape=shape)["grn_hash"] if self.has_grn else None
        keys = ("vocab_hash", "cells_hash", "kind", "tfs")
        known = [*(self.meta.get(key) for key in keys), grn_hash]
        return canonical_hash([*known, self.vocab.side_hash] if self.vocab.side_hash else known)


def check_output(folder: str | Path) -> bool:
    """Whether ``folder`` is a prepared folder that would be replaced; anything else in the way is refused.

    Raises
    ------
    UserError
        A file, or a folder with content that is no prepared folder: it may be someone's work.
    """
    folder = Path(folder)
    if folder.is_dir():
        if (folder / "prep.json").is_file():
            return True
        if any(folder.iterdir()):
            raise UserError(f"--out '{folder}': is a folder with other content; give a new folder or a prepared one")
    refuse_file(folder)
    return False


def write_prep(
    folder: str | Path,
    vocab: FeatureVocab,
    cells: MemoryStore | BackedStore,
    *,
    report: AlignmentReport | None = None,
    grn: GRN | None = None,
    tfs: Iterable[str] = (),
    meta: Mapping[str, Any] | None = None,
    beside: Iterable[Path] = (),
) -> Prep:
    """Write a prepared folder whole, or not at all; an earlier one at this place is replaced.

    Parameters
    ----------
    report
        Alignment of the raw file's names; by default every feature maps to itself.
    grn
        Network over ``vocab``, added at once.
    tfs
        Symbols of further TFs (a TF list), all in ``vocab``.
    meta
        More keys for ``prep.json``: ``source``, ``command``, ``notes``.
    beside
        Folders to copy into it: splits and cached scores of the same cells and network.
    """
    check_output(folder)
    if cells.vocab.content_hash != vocab.content_hash:
        raise UserError("cells: were built over another vocabulary; give the vocabulary of the cells")
    obs, changed = writable_frame(cells.obs)
    meta = dict(meta or {})
    if changed:
        meta["notes"] = [*meta.get("notes", []), *changed]
    content = {
        **meta,
        "format_version": FORMAT_VERSION,
        "species": vocab.species,
        "kind": cells.kind,
        "assays": list(cells.assays),
        "num_cells": cells.num_cells,
        "num_genes": vocab.num_genes,
        "num_features": vocab.num_features,
        "num_values": sum(int(cells.num_values(name).sum()) for name in cells.assays),
        "vocab_hash": vocab.content_hash,
        "cells_hash": cells.content_hash,
        "obs_hashes": obs_hashes(obs),
        "tfs": [vocab.symbols[i] for i in sorted({vocab.index(name) for name in tfs})],
    }
    with atomic_folder(folder) as temporary:
        write_assays(temporary, cells, obs)
        default = AlignmentReport(num_given=vocab.num_features, mapped=vocab.num_features)
        write_json(temporary / "alignment.json", (report or default).to_dict(), checked=True)
        content["files"] = file_facts(temporary)
        write_json(temporary / "prep.json", content, checked=True)
        if grn is not None:
            write_grn(temporary, grn)
        for extra in beside:
            shutil.copytree(extra, temporary / extra.name)
    return Prep.open(folder)


def write_grn(folder: str | Path, grn: GRN) -> None:
    """Add a network to a prepared folder; the sidecar with its hash comes last, so a half-written one is noticed."""
    folder = Path(folder)
    vocab_hash = read_json(folder / "prep.json", what="prepared folder", shape=_SHAPE)["vocab_hash"]
    if grn.vocab.content_hash != vocab_hash:
        raise UserError(f"network: is over another vocabulary than '{folder}'; build it over Prep.open(...).vocab")
    with atomic_file(folder / GRAPH) as temporary:
        grn.to_frame().to_parquet(temporary, index=False)
    sidecar = {
        "grn_hash": grn.content_hash,
        "vocab_hash": vocab_hash,
        "num_edges": grn.num_edges,
        "num_sources": int(grn.source_index.size),
        "report": grn.report.to_dict(),
    }
    write_json(folder / GRAPH_SIDECAR, sidecar, checked=True)


def write_split(folder: str | Path, split: EdgeSplit) -> Path:
    """Add one edge split to a prepared folder; returns the parquet file."""
    prep = Prep.open(folder)
    if split.vocab_hash != prep.vocab.content_hash:
        raise UserError(f"split '{split.name}': is over another vocabulary than '{folder}'; make it from this folder")
    return split.save(prep.folder / "splits")
