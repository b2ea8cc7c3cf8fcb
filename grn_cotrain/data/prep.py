"""The prepared folder: one copy of its layout, for those who write it and those who read it.

prep.json            format, species, what was run, hashes, counts-or-log, totals, the TF list
vocab.json           FeatureVocab
cells.h5ad           X CSR float32 in vocabulary order; obs["size_factor"]
alignment.json       AlignmentReport of the cells
grn.parquet grn.json edges and their report
splits/ controls/    edge splits; cached control scores
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.alignment import REPORT_SHAPE, name_some
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN, EdgeReport
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.stored_matrix import read_stored, read_table
from grn_cotrain.data.io.writable import writable_frame
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.data.obs import obs_hashes
from grn_cotrain.data.vocab import AlignmentReport, FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import atomic_file, atomic_folder, read_json, write_json

__all__ = ["FORMAT_VERSION", "Prep", "check_output", "write_grn", "write_prep", "write_split"]

FORMAT_VERSION = 1
_SIZE_FACTOR = "size_factor"
_UNS = "grn_cotrain_prep"
_PREPARE = "prepare the folder again"
_SHAPE = {
    "format_version?": None,  # another version has other keys: it is said by its number first
    **{f"{name}?": str for name in ("kind", "species", "vocab_hash", "cells_hash")},
    **{f"{name}?": int for name in ("num_cells", "num_genes", "num_values")},
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
    """A prepared folder, opened: hashes are checked at once, matrices are read when first asked for.

    Attributes
    ----------
    folder
        Where it lies.
    meta
        ``prep.json``.
    vocab
        Its features.
    """

    def __init__(self, folder: Path, meta: dict[str, Any], vocab: FeatureVocab) -> None:
        self.folder = folder
        self.meta = meta
        self.vocab = vocab

    @classmethod
    def open(cls, folder: str | Path) -> Prep:
        """Open a folder that ``grn-prep counts`` made.

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
            raise UserError(
                f"prepared folder '{folder}': has format {version}, not {FORMAT_VERSION} as read here; prepare it anew"
            )
        vocab = FeatureVocab.load(folder / "vocab.json")
        prep = cls(folder, meta, vocab)
        prep._belongs("vocab.json", meta.get("vocab_hash"), vocab.content_hash)
        prep._belongs("cells.h5ad", _uns_hash(folder / "cells.h5ad"), vocab.content_hash)
        return prep

    def _belongs(self, file: str, found: str | None, expected: str | None) -> None:
        if found != expected:
            raise UserError(
                f"prepared folder '{self.folder}': {file} does not belong to it (hash {found}, expected {expected}); "
                "a file was exchanged or changed: prepare the folder anew"
            )

    @property
    def kind(self) -> str:
        """``counts`` or ``log``."""
        return str(self.meta["kind"])

    @cached_property
    def cells(self) -> CellMatrix:
        """The cells, in vocabulary order."""
        import h5py

        what = f"cells '{self.folder / 'cells.h5ad'}'"
        with reading(what, _PREPARE), h5py.File(self.folder / "cells.h5ad", "r") as file:
            obs, names = read_table(file, "obs"), list(read_table(file, "var").index)
            values_CG, _ = read_stored(file["X"], (len(obs), len(names)), f"{what}: X")
            size_factor_C = obs.pop(_SIZE_FACTOR).to_numpy(np.float64)
        if names != list(self.vocab.symbols):
            raise UserError(
                f"prepared folder '{self.folder}': the columns of cells.h5ad are not the vocabulary's features; "
                "prepare the folder anew"
            )
        cells = CellMatrix.build(
            self.vocab,
            values_CG,
            kind=self.meta["kind"],
            obs=obs,
            size_factor_C=size_factor_C,
        )
        self._belongs("cells.h5ad", cells.content_hash, self.meta["cells_hash"])
        self._same_obs(obs)
        return cells

    def _same_obs(self, obs: pd.DataFrame) -> None:
        """Refuse names and columns of cells that are not as they were prepared; columns may be added."""
        recorded: Mapping[str, str] = self.meta.get("obs_hashes", {})  # earlier versions recorded none
        found = obs_hashes(obs[[name for name in obs if name in recorded]])
        changed = [name or "the names of the cells" for name, value in recorded.items() if found.get(name) != value]
        if changed:
            raise UserError(
                f"prepared folder '{self.folder}': obs of cells.h5ad is not as it was prepared ({name_some(changed)});"
                " a new column may be added, but to change one, prepare the folder again"
            )

    def cell_names(self) -> list[str]:
        """Barcodes of the cells, without reading their values."""
        import h5py
        from anndata.io import read_elem

        path = self.folder / "cells.h5ad"
        with reading(f"cells '{path}'", _PREPARE), h5py.File(path, "r") as file:
            return [str(name) for name in read_elem(file["obs"]).index]

    @property
    def has_grn(self) -> bool:
        """Whether a network was added."""
        return (self.folder / "grn.json").is_file()

    @cached_property
    def grn(self) -> GRN:
        """The network; a :class:`UserError` that names the command where none was added."""
        if not self.has_grn:
            raise UserError(
                f"prepared folder '{self.folder}': holds no network; add one: grn-prep grn EDGES --prep {self.folder}"
            )
        sidecar = read_json(self.folder / "grn.json", what="network", shape=_GRN_SHAPE)
        try:
            edges = pd.read_parquet(self.folder / "grn.parquet")
            report = EdgeReport.from_dict(sidecar["report"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"prepared folder '{self.folder}': the network cannot be read ({error}); add it anew with grn-prep grn"
            ) from None
        grn = GRN.from_symbols(edges, self.vocab, report)
        self._belongs("grn.parquet", grn.content_hash, sidecar.get("grn_hash"))
        return grn

    @cached_property
    def tf_index(self) -> np.ndarray:
        """int64, sorted: gene indices of the network's TFs and of the TF list."""
        listed = [self.vocab.index(name) for name in self.meta.get("tfs", [])]
        sources = self.grn.source_index.tolist() if self.has_grn else []
        return np.unique(np.asarray(listed + sources, dtype=np.int64))

    @property
    def alignment(self) -> AlignmentReport:
        """What became of the names in the raw file."""
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
                "make it anew with grn-prep splits"
            )
        return split

    @property
    def content_hash(self) -> str:
        """16 hex digits of vocabulary, cells, TF list and network; splits have their own."""
        file, shape = self.folder / "grn.json", _GRN_SHAPE
        grn_hash = read_json(file, what="network", shape=shape)["grn_hash"] if self.has_grn else None
        keys = ("vocab_hash", "cells_hash", "kind", "tfs")
        return canonical_hash([*(self.meta.get(key) for key in keys), grn_hash])


def _uns_hash(path: Path) -> str | None:
    """Vocabulary hash inside cells.h5ad, without reading its matrix."""
    import h5py

    if not path.is_file():
        raise UserError(f"cells '{path}': no such file; {_PREPARE}")
    with reading(f"cells '{path}'", _PREPARE), h5py.File(path, "r") as file:
        value = file[f"uns/{_UNS}/vocab_hash"][()]
    return value.decode() if isinstance(value, bytes) else str(value)


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
    elif folder.exists():
        raise UserError(f"--out '{folder}': is a file; give a folder")
    return False


def write_prep(
    folder: str | Path,
    vocab: FeatureVocab,
    cells: CellMatrix,
    *,
    report: AlignmentReport | None = None,
    grn: GRN | None = None,
    tfs: Iterable[str] = (),
    meta: Mapping[str, Any] | None = None,
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
        "num_cells": cells.num_cells,
        "num_genes": cells.num_features,
        "num_values": int(cells.values_CG.nnz),
        "vocab_hash": vocab.content_hash,
        "cells_hash": cells.content_hash,
        "obs_hashes": obs_hashes(obs),
        "tfs": [vocab.symbols[i] for i in sorted({vocab.index(name) for name in tfs})],
    }
    with atomic_folder(folder) as temporary:
        vocab.save(temporary / "vocab.json")
        _write_cells(temporary / "cells.h5ad", vocab, replace(cells, obs=obs))
        default = AlignmentReport(num_given=vocab.num_features, mapped=vocab.num_features)
        write_json(temporary / "alignment.json", (report or default).to_dict(), checked=True)
        write_json(temporary / "prep.json", content, checked=True)
        if grn is not None:
            write_grn(temporary, grn)
    return Prep.open(folder)


def _write_cells(path: Path, vocab: FeatureVocab, cells: CellMatrix) -> None:
    import anndata

    var = pd.DataFrame(
        {"gene_ids": vocab.ids, "modality": vocab.modality, "is_token": vocab.is_token},
        index=pd.Index(vocab.symbols, dtype=object),
    )
    obs = cells.obs.assign(**{_SIZE_FACTOR: cells.size_factor_C})
    adata = anndata.AnnData(X=cells.values_CG, obs=obs, var=var)
    adata.uns[_UNS] = {"vocab_hash": vocab.content_hash, "kind": cells.kind}
    write_h5ad(adata, path, compression="gzip")


def write_grn(folder: str | Path, grn: GRN) -> None:
    """Add a network to a prepared folder; the sidecar with its hash comes last, so a half-written one is noticed."""
    folder = Path(folder)
    vocab_hash = FeatureVocab.load(folder / "vocab.json").content_hash
    if grn.vocab.content_hash != vocab_hash:
        raise UserError(f"network: is over another vocabulary than '{folder}'; build it over Prep.open(...).vocab")
    with atomic_file(folder / "grn.parquet") as temporary:
        grn.edges[["source", "target", "weight", "sign", "evidence"]].to_parquet(temporary, index=False)
    sidecar = {
        "grn_hash": grn.content_hash,
        "vocab_hash": vocab_hash,
        "num_edges": grn.num_edges,
        "num_sources": int(grn.source_index.size),
        "report": grn.report.to_dict(),
    }
    write_json(folder / "grn.json", sidecar, checked=True)


def write_split(folder: str | Path, split: EdgeSplit) -> Path:
    """Add one edge split to a prepared folder; returns the parquet file."""
    prep = Prep.open(folder)
    if split.vocab_hash != prep.vocab.content_hash:
        raise UserError(f"split '{split.name}': is over another vocabulary than '{folder}'; make it from this folder")
    return split.save(prep.folder / "splits")
