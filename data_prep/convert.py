"""A prepared folder of format 1 -> format 2: ``grn-prep convert``.

Format 1 kept all modalities in one matrix, ``cells.h5ad``, with one kind of values and one size factor a cell, those of
its genes. Names, cells, network and splits of a folder of genes keep their hashes, so that a run that was trained on it
finds the converted folder and gives the same scores.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import REPORT_SHAPE, AlignmentReport
from grn_cotrain.data.assay_kinds import ASSAY_KINDS, modality_of
from grn_cotrain.data.assays import kind_for
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.grn import GRN, EdgeReport
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.stored_matrix import read_stored, read_table
from grn_cotrain.data.prep import Prep, check_output, write_prep
from grn_cotrain.data.spaces import intervals_of
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json

__all__ = ["convert_prep"]

_AGAIN = "prepare the folder again with grn-prep counts"
_SHAPE = {
    "format_version?": None,
    **{f"{name}?": str for name in ("kind", "species", "vocab_hash", "cells_hash")},
    "tfs?": [str],
    "notes?": [str],
    "source?": {str: None},
}
_GRN_SHAPE = {
    "report": {
        **{f"{entry.name}?": int if isinstance(entry.default, int) else [str] for entry in fields(EdgeReport)},
        "renamed?": [[str]],
    },
    "grn_hash": str,
}
_OWN = ("format_version", "species", "kind", "num_cells", "num_genes", "num_values", "vocab_hash", "cells_hash")


def convert_prep(source: str | Path, out: str | Path) -> Prep:
    """Write a prepared folder of format 1 again in format 2, with its network, splits and cached scores of controls.

    Parameters
    ----------
    source
        Folder of format 1; it stays as it is.
    out
        Folder to write; an earlier prepared folder there is replaced.

    Returns
    -------
    Prep
        The new folder, opened. ``meta["notes"]`` lists what could not be carried over.

    Raises
    ------
    UserError
        ``source`` is not a folder of format 1, or is damaged; ``out`` is ``source``, or holds something else.
    """
    source, out = Path(source), Path(out)
    if not (source / "prep.json").is_file():
        raise UserError(f"PREP '{source}': holds no prep.json; give a prepared folder of format 1")
    meta = read_json(source / "prep.json", what="prepared folder", shape=_SHAPE)
    version = meta.get("format_version")
    if version != 1:
        fix = "it needs no conversion" if version == 2 else _AGAIN
        raise UserError(f"PREP '{source}': has format {version}; convert takes format 1: {fix}")
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise UserError(f"--out '{out}': is the folder to convert, or inside it; give a new folder")
    check_output(out)
    vocab = FeatureVocab.load(source / "vocab.json")
    _belongs(source, "vocab.json", vocab.content_hash, meta.get("vocab_hash"))
    cells, notes = _cells(source, vocab, meta)
    genes_alone = cells.vocab is vocab and set(vocab.modality) == {"gene"}
    if genes_alone:
        _belongs(source, "cells.h5ad", cells.content_hash, meta.get("cells_hash"))
    network = _network(source, cells.vocab, check=genes_alone)
    kept = {key: value for key, value in meta.items() if key not in (*_OWN, "tfs", "obs_hashes", "checksum")}
    kept["notes"] = [*meta.get("notes", []), "converted from format 1", *notes]
    splits = sorted((source / "splits").glob("*.json"))
    if splits and not genes_alone:
        names = ", ".join(path.stem for path in splits)
        kept["notes"].append(f"splits of several modalities must be made again (grn-prep splits): {names}")
    report = AlignmentReport.from_dict(
        read_json(source / "alignment.json", what="alignment report", shape=REPORT_SHAPE)
    )
    extra = [source / name for name in ("splits", "controls") if genes_alone and (source / name).is_dir()]
    return write_prep(
        out, cells.vocab, cells, report=report, grn=network, tfs=meta.get("tfs", []), meta=kept, beside=extra
    )


def _belongs(source: Path, file: str, found: str, expected: str | None) -> None:
    if found != expected:
        raise UserError(
            f"prepared folder '{source}': {file} does not belong to it (hash {found}, expected {expected}); a file was "
            f"exchanged or changed: {_AGAIN}"
        )


def _cells(source: Path, given: FeatureVocab, meta: Mapping[str, Any]) -> tuple[MemoryStore, list[str]]:
    """The one matrix, taken apart: each assay with its own kind, depth and presence."""
    import h5py

    what = f"cells '{source / 'cells.h5ad'}'"
    if not (source / "cells.h5ad").is_file():
        raise UserError(f"{what}: no such file; {_AGAIN}")
    with reading(what, _AGAIN), h5py.File(source / "cells.h5ad", "r") as file:
        obs, names = read_table(file, "obs"), list(read_table(file, "var").index)
        values_CG, _ = read_stored(file["X"], (len(obs), len(names)), f"{what}: X")
    if names != list(given.symbols) or "size_factor" not in obs:
        raise UserError(f"{what}: its columns are not the vocabulary's features; {_AGAIN}")
    size_factor_C = obs.pop("size_factor").to_numpy(np.float64)
    vocab, order = given.ordered()
    values_CG = sparse.csr_matrix(values_CG, dtype=np.float32)
    values_CG = values_CG if vocab is given else values_CG[:, order]
    places = intervals_of(pd.DataFrame({"modality": vocab.modality}, index=list(vocab.symbols)))
    vocab = replace(vocab, intervals=places) if places else vocab
    kinds: dict[str, str] = {}
    depth: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    notes = []
    for space in vocab.spaces:
        assay = modality_of(space.name).assay
        part = values_CG[:, space.columns]
        first = space is vocab.spaces[0]
        kind = str(meta["kind"])
        kinds[assay] = kind if first and space.name == "gene" else kind_for(space.name, kind, part)
        depth[assay] = size_factor_C if first else ASSAY_KINDS.get(kinds[assay]).depth(part)
        column = f"has_{space.name}"
        if column in obs:
            present[assay] = obs.pop(column).to_numpy(bool)
            lacking = int((~present[assay]).sum())
            notes += [f"{assay}: not measured in {lacking:,} cells"] if lacking else []
    if len(kinds) > 1:
        notes.append(
            "each assay has its own size factors now: " + ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        )
    cells = MemoryStore.build(vocab, values_CG, kind=kinds, obs=obs, size_factor_C=depth, present=present)
    return cells, notes


def _network(source: Path, vocab: FeatureVocab, *, check: bool) -> GRN | None:
    if not (source / "grn.json").is_file():
        return None
    sidecar = read_json(source / "grn.json", what="network", shape=_GRN_SHAPE)
    try:
        edges = pd.read_parquet(source / "grn.parquet")
        network = GRN.from_symbols(edges, vocab, EdgeReport.from_dict(sidecar["report"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"prepared folder '{source}': the network cannot be read ({error}); {_AGAIN}") from None
    if check:
        _belongs(source, "grn.parquet", network.content_hash, sidecar["grn_hash"])
    return network
