"""Facts that a user must know before trusting embeddings of new cells: how much of them the model sees, and what it
was made of.

Dimension letters: C cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import FeatureVocab, detect_species
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig
from grn_cotrain.run_folder import RunFolder

__all__ = ["Coverage", "in_kinds_of", "model_kinds", "trained_on", "training_cells", "values_and_species"]

_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_FEW_GENES = 0.5  # share of the model's genes; below it the model reads cells unlike those it was trained on
_SAME_DATA = 0.5  # of the barcodes: chance overlap of two 10x runs is far below


@dataclass(frozen=True, eq=False)
class Coverage:
    """How much of the model the file has, and how much of each cell the model sees.

    Attributes
    ----------
    features
        Modality -> its features that can be tokens, and those of them that no cell of the file has a value of; of the
        assays that were measured in some cell. What was not measured is not missing, and no model reads it as zero.
    tokens_C
        int64 values of each cell that become tokens (CLS and sampled zeros not counted).
    cut
        Cells with more values than ``max_tokens`` has room for: they keep their highest ones.
    share_C
        Share of each cell's total that is in features known to the model.
    """

    features: dict[str, tuple[int, int]]
    tokens_C: np.ndarray
    cut: int
    max_tokens: int
    share_C: np.ndarray

    @classmethod
    def of(cls, counts: CountsFile, aligned: CellStore, tokens: TokenConfig) -> Coverage:
        """Compare the file as read with the same cells in the model's vocabulary."""
        statistics = Statistics(aligned)
        shown_G = statistics[Moments()].count_G > 0
        known_C = np.sum([aligned.num_values(name, tokens=True) for name in aligned.assays], axis=0)
        room = tokens.max_values
        total_C = counts.of_cells(lambda part_BG: np.asarray(part_BG.sum(axis=1, dtype=np.float64)).ravel())
        seen_C = np.zeros(aligned.num_cells)
        for block in statistics.blocks():
            for raw_BF in block.raw.values():
                seen_C[block.rows_B] += np.asarray(raw_BF.sum(axis=1, dtype=np.float64)).ravel()
        features = {}
        for assay in aligned.assays.values():
            if assay.present_C.any():
                token_F, shown_F = assay.space.is_token_F, shown_G[assay.space.columns]
                features[assay.space.name] = (int(token_F.sum()), int((token_F & ~shown_F).sum()))
        return cls(
            features=features,
            tokens_C=np.minimum(known_C, room),
            cut=int((known_C > room).sum()),
            max_tokens=tokens.max_tokens,
            share_C=seen_C / np.where(total_C > 0, total_C, 1.0),
        )

    def notes(self) -> list[str]:
        """Lines to print."""
        low, five, median, most, high = np.quantile(self.tokens_C, _QUANTILES)
        said = [
            f"{name}s of the model: {number - missing:,} of {number:,} ({(number - missing) / max(1, number):.0%}) have"
            " values in these cells"
            for name, (number, missing) in self.features.items()
        ]
        said += [
            f"tokens a cell: median {median:,.0f}, 5 to 95 % {five:,.0f} to {most:,.0f}, least {low:,.0f}, most"
            f" {high:,.0f}; they hold {np.median(self.share_C):.0%} of a cell's total (median)",
        ]
        if self.cut:
            said.append(f"{self.cut:,} cells have more values than max_tokens {self.max_tokens}: the highest were kept")
        return said

    def warnings(self) -> list[str]:
        """Reasons against using the embeddings."""
        found = []
        for name, (number, missing) in self.features.items():
            share = missing / max(1, number)
            # Panels of proteins and sets of peaks differ from file to file, so they are judged only without genes.
            if share > 1 - _FEW_GENES and (name == "gene" or "gene" not in self.features):
                found.append(
                    f"{share:.0%} of the model's {name}s have no value in any of these cells: it reads them all as zero"
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Numbers for ``uns``."""
        return {
            "model_genes": sum(number for number, _ in self.features.values()),
            "model_genes_without_values": sum(missing for _, missing in self.features.values()),
            "tokens_quantiles": [float(value) for value in np.quantile(self.tokens_C, _QUANTILES)],
            "quantiles": list(_QUANTILES),
            "share_of_total_median": float(np.median(self.share_C)),
            "cells_cut_to_max_tokens": self.cut,
        }


def trained_on(folder: RunFolder, config: dict[str, Any], vocab: FeatureVocab) -> str:
    """Data that the model was trained on, from what a published run holds."""
    record = folder.record() if folder.record_file.is_file() else {}
    meta = config["meta"]
    cells = f"{record['num_cells']:,} cells x " if "num_cells" in record else ""
    hashes = {
        "cells": record.get("cells_hash"),
        "vocabulary": vocab.content_hash,
        "split": meta.get("split_hash"),
        "recipe": meta.get("recipe_hash"),
    }
    listed = ", ".join(f"{name} {value}" for name, value in hashes.items() if value)
    return (
        f"the model was trained on {cells}{vocab.counted}, {vocab.species},"
        f" {meta.get('values', 'values of unknown kind')} ({listed})"
    )


def model_kinds(config: dict[str, Any], vocab: FeatureVocab) -> dict[str, str]:
    """Assay -> kind of the values that the model was trained on; those of its genes alone where the run is older."""
    meta = config["meta"]
    first = {modality_of(vocab.spaces[0].name).assay: meta["values"]} if meta.get("values") else {}
    return {**first, **meta.get("kinds", {})}


def in_kinds_of(counts: CountsFile, kinds: dict[str, str]) -> tuple[CountsFile, list[str]]:
    """The file with its whole numbers taken as what the model was trained on, and lines about what changed.

    Whether whole numbers are counts or binary is not seen in every file: in a few cells all counts may be 1.
    """
    taken = {
        name: kinds[name] if name in kinds and "log" not in (kind, kinds[name]) else kind
        for name, kind in counts.kinds.items()
    }
    notes = [
        f"{name}: taken as {kind}, as the model was trained; the file alone looked like {counts.kinds[name]}"
        for name, kind in taken.items()
        if kind != counts.kinds[name]
    ]
    return replace(counts, kinds=taken), notes


def values_and_species(counts: CountsFile, config: dict[str, Any], vocab: FeatureVocab) -> list[str]:
    """Warnings where the file's values or species are not the model's."""
    found = []
    kinds = model_kinds(config, vocab)
    for name, kind in counts.kinds.items():
        if kinds.get(name, kind) != kind:
            which = "these values are" if len(kinds) == 1 else f"the values of {name} are"
            found.append(f"{which} {kind}, the model was trained on {kinds[name]}: scales may differ")
    species, evidence = detect_species(list(map(str, counts.adata.var_names)))
    if species is not None and vocab.species in ("human", "mouse") and species != vocab.species:
        found.append(f"the genes look like {species} ({evidence}), the model was trained on {vocab.species}")
    return found


def training_cells(folder: RunFolder, names: list[str]) -> tuple[int | None, str]:
    """How many barcodes are also in the run's prepared folder, and a sentence; None if that folder is not available.

    Cells that the run held out count too: a result on them is not a result on data of another origin.
    """
    known = _prepared_names(folder)
    if known is None:
        return None, ""
    shared = [name for name in names if name in known]
    if not shared:
        return 0, ""
    text = f"{len(shared):,} of {len(names):,} barcodes are also in the data that the run was made from"
    if len(shared) >= _SAME_DATA * len(names):
        text += ": these are its own cells, training cells among them"
    return len(shared), text


def _prepared_names(folder: RunFolder) -> set[str] | None:
    """Barcodes of the run's prepared folder, if it is still the one that the run was trained on."""
    expected = folder.record().get("cells_hash") if folder.record_file.is_file() else None
    try:
        prep = None if expected is None else folder.find_prep()
        if prep is None:
            return None
        return set(prep.cell_names()) if prep.meta.get("cells_hash") == expected else None
    except UserError:  # a recipe of another version, a folder that was damaged since: no reason to refuse new cells
        return None
