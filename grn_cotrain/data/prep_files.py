"""The layout of a prepared folder of format 2, for those who write it and those who read it.

    prep.json            format, species, what was run, hashes and sizes of files, the TF list
    obs.parquet          a row a cell; present_<assay>, size_factor_<assay>
    assays/<name>/       features.parquet: name, id, is_token, chrom, start, end, outdated (where it was asked for)
                         meta.json: kind, modality, hash of the features
                         values.h5ad: X, CSR float32, values as stored; a row a cell, empty where the assay is absent
    alignment.json       AlignmentReport of the cells
    graph.parquet        source_space, source, target_space, target, relation, sign, weight, evidence
    graph.json           report and hash of the network
    gene_features.*      rows of other data sets and motifs; grn-prep features
    splits/ controls/    edge splits; cached control scores

Dimension letters: C cells, F features of one assay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.data.assay_kinds import ASSAY_KINDS
from grn_cotrain.data.assays import PRESENT, SIZE_FACTOR_OF, Assay
from grn_cotrain.data.cell_blocks import is_in_memory
from grn_cotrain.data.gene_features import read_gene_features
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.write_h5ad import write_h5ad, write_h5ad_rows
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, sha256_file, write_json

__all__ = [
    "ASSAYS",
    "GRAPH",
    "GRAPH_SIDECAR",
    "OBS",
    "PREPARE",
    "VALUES",
    "file_facts",
    "read_assays",
    "read_obs",
    "read_vocab",
    "write_assays",
]

OBS, ASSAYS, VALUES = "obs.parquet", "assays", "values.h5ad"
GRAPH, GRAPH_SIDECAR = "graph.parquet", "graph.json"
PREPARE = "prepare the folder again"
_FEATURES, _META = "features.parquet", "meta.json"
_META_SHAPE = {"kind": str, "modality": str, "features_hash": str, "num_values?": int}


@dataclass(frozen=True)
class _StoredAssay:
    """One folder below ``assays/``."""

    name: str
    kind: str
    modality: str
    features: pd.DataFrame


def write_assays(folder: Path, cells: CellStore, obs: pd.DataFrame) -> None:
    """Write ``obs.parquet`` and every assay; values of cells on disk are written block by block."""
    import anndata

    columns: dict[str, np.ndarray] = {}
    for name, assay in cells.assays.items():
        columns[PRESENT.format(name)] = assay.present_C
        columns[SIZE_FACTOR_OF.format(name)] = assay.size_factor_C
    obs.drop(columns=list(columns), errors="ignore").assign(**columns).to_parquet(folder / OBS)
    stored = cells.rows(np.arange(cells.num_cells)) if is_in_memory(cells) else {}
    for name, assay in cells.assays.items():
        place = folder / ASSAYS / name
        place.mkdir(parents=True)
        space = assay.space
        where = [space.intervals.get(symbol, (None, None, None)) for symbol in space.symbols]
        features = pd.DataFrame({"name": space.symbols, "id": space.ids, "is_token": space.is_token})
        features["chrom"] = pd.Series([chrom for chrom, _, _ in where], dtype="string")
        features["start"] = pd.Series([start for _, start, _ in where], dtype="Int64")
        features["end"] = pd.Series([end for _, _, end in where], dtype="Int64")
        if space.name == "gene" and cells.vocab.outdated:
            features["outdated"] = [symbol in cells.vocab.outdated for symbol in space.symbols]
        features.to_parquet(place / _FEATURES, index=False)
        meta = {
            "kind": assay.kind,
            "modality": space.name,
            "features_hash": sha256_file(place / _FEATURES),
            "num_values": int(cells.num_values(name).sum()),
        }
        write_json(place / _META, meta, checked=True)
        adata = anndata.AnnData(
            X=stored.get(name),
            obs=pd.DataFrame(index=pd.Index(obs.index.astype(str), dtype=object)),
            var=pd.DataFrame({"gene_ids": list(space.ids)}, index=pd.Index(space.symbols, dtype=object)),
        )
        if name in stored:
            write_h5ad(adata, place / VALUES, compression="gzip")
        else:
            write_h5ad_rows(adata, cells.stored_blocks(name), cells.num_values(name), place / VALUES)


def file_facts(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file of values, by its place in the folder."""
    return {
        str(path.relative_to(folder).as_posix()): {"size": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted((folder / ASSAYS).glob(f"*/{VALUES}"))
    }


def _table(path: Path, what: str) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{what} '{path}': no such file; {PREPARE}")
    with reading(f"{what} '{path}'", PREPARE):
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{what} '{path}': is damaged and cannot be read ({first}); {PREPARE}") from None


def _stored(folder: Path, names: list[str]) -> list[_StoredAssay]:
    found = []
    for name in names:
        place = folder / ASSAYS / name
        meta = read_json(place / _META, what="assay", shape=_META_SHAPE)
        features = _table(place / _FEATURES, "features")
        if sha256_file(place / _FEATURES) != meta["features_hash"]:
            raise UserError(
                f"features '{place / _FEATURES}': does not belong to the folder (another hash); a file was exchanged "
                f"or changed: {PREPARE}"
            )
        found.append(_StoredAssay(name, meta["kind"], meta["modality"], features))
    return found


def read_vocab(folder: Path, species: str, names: list[str]) -> tuple[FeatureVocab, dict[str, str]]:
    """The vocabulary, and the kind of each assay."""
    parts = _stored(folder, names)
    symbols: list[str] = []
    ids: list[str] = []
    modality: list[str] = []
    is_token: list[bool] = []
    intervals: dict[str, tuple[str, int, int]] = {}
    outdated: set[str] = set()
    for part in parts:
        table = part.features
        symbols += [str(name) for name in table["name"]]
        ids += [str(name) for name in table["id"]]
        modality += [part.modality] * len(table)
        is_token += [bool(value) for value in table["is_token"]]
        if "outdated" in table:
            outdated.update(map(str, table.loc[table["outdated"].astype(bool), "name"]))
        placed = table[table["chrom"].notna()]
        for name, chrom, start, end in zip(
            placed["name"], placed["chrom"], placed["start"], placed["end"], strict=True
        ):
            intervals[str(name)] = (str(chrom), int(start), int(end))
        if part.kind not in ASSAY_KINDS.names():
            raise UserError(f"assay '{part.name}': kind '{part.kind}'; choose from {', '.join(ASSAY_KINDS.names())}")
    vocab = FeatureVocab(
        tuple(symbols),
        tuple(ids),
        tuple(modality),
        tuple(is_token),
        species,  # type: ignore[arg-type]
        intervals,
        frozenset(outdated),
        read_gene_features(folder),
    )
    return vocab, {part.name: part.kind for part in parts}


def read_obs(folder: Path) -> pd.DataFrame:
    """``obs.parquet`` as it is stored."""
    return _table(folder / OBS, "cells")


def read_assays(
    vocab: FeatureVocab, kinds: Mapping[str, str], stored: pd.DataFrame
) -> tuple[dict[str, Assay], pd.DataFrame]:
    """Assays without their values, and the columns of ``obs`` that belong to users.

    ``present_<assay>`` stays a column of ``obs`` where there are several assays, or some cells lack theirs.
    """
    assays: dict[str, Assay] = {}
    for (name, kind), space in zip(kinds.items(), vocab.spaces, strict=True):
        try:
            depth_C = stored[SIZE_FACTOR_OF.format(name)].to_numpy(np.float64)
            present_C = stored[PRESENT.format(name)].to_numpy(bool)
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"cells '{OBS}': {PRESENT.format(name)} or {SIZE_FACTOR_OF.format(name)} is missing or holds other "
                f"values than were prepared; {PREPARE}"
            ) from None
        assays[name] = Assay(name, space, kind, depth_C, present_C)
    hidden = [SIZE_FACTOR_OF.format(name) for name in assays]
    if len(assays) == 1 and all(assay.present_C.all() for assay in assays.values()):
        hidden += [PRESENT.format(name) for name in assays]
    return assays, stored.drop(columns=hidden)
