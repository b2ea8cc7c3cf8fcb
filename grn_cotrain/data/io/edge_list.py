"""Edges as read from any file: one frame with five columns, and lines to report about it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["EDGE_COLUMNS", "RELATION_COLUMNS", "EdgeList", "merge_pairs"]

RELATION_COLUMNS = ("relation", "source_space", "target_space")
EDGE_COLUMNS = ("source", "target", "weight", "sign", "evidence")


@dataclass
class EdgeList:
    """Edges as read: ``frame`` with :data:`EDGE_COLUMNS`, one row a distinct pair, in the file's order.

    Where the file has them, ``relation``, ``source_space`` and ``target_space`` are columns too, and pairs are distinct
    within a relation and their spaces.

    Attributes
    ----------
    format
        Name of the parser.
    notes
        Lines to report: what was detected, dropped, expanded.
    counts
        The same as numbers: ``rows``, ``duplicates``, ``conflicting_signs``, ``complexes``, ...
    conflicts
        Pairs whose rows hold both activation and repression; their sign is 0.
    complexes
        Names of complexes that were dropped or expanded.
    """

    frame: pd.DataFrame
    format: str
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    conflicts: list[tuple[str, ...]] = field(default_factory=list)
    complexes: list[str] = field(default_factory=list)


def merge_pairs(
    frame: pd.DataFrame, *, keys: tuple[str, ...] = ("source", "target")
) -> tuple[pd.DataFrame, int, list[tuple[Any, ...]]]:
    """Merge rows of one pair: largest weight, agreeing sign (contradiction: 0), evidence joined by ``;``.

    ``keys`` may name more than the pair: rows are merged where all of these agree.

    A ``conflict`` column marks rows that contradict themselves already.

    Returns
    -------
    merged frame in order of first occurrence, number of rows merged away, pairs with conflicting signs
    """
    columns = [name for name in frame.columns if name not in (*keys, "conflict")]
    conflict = frame["conflict"] if "conflict" in frame else pd.Series(False, index=frame.index)
    twice = frame.duplicated(list(keys), keep=False)
    odd = set(frame.loc[conflict, list(keys)].itertuples(index=False, name=None))
    if not twice.any():
        return frame[[*keys, *columns]].reset_index(drop=True), 0, sorted(odd)
    rows = frame[twice].assign(_up=frame["sign"] > 0, _down=frame["sign"] < 0)
    groups = rows.groupby(list(keys), sort=False)
    how: dict[Hashable, Any] = {"weight": "max", "sign": "first", "evidence": _join}
    merged = groups.agg({name: how.get(name, "first") for name in columns} | {"_up": "any", "_down": "any"})
    odd |= set(merged.index[merged["_up"] & merged["_down"]])
    merged["sign"] = (merged.pop("_up").astype(np.int8) - merged.pop("_down").astype(np.int8)).astype(np.int8)
    merged = merged.reset_index()
    first = frame.loc[twice & ~frame.duplicated(list(keys)), :].index  # groupby(sort=False) keeps this order
    merged.index = first
    result = pd.concat([frame.loc[~twice, [*keys, *columns]], merged[[*keys, *columns]]]).sort_index()
    if odd:
        clash = pd.MultiIndex.from_frame(result[list(keys)]).isin(list(odd))
        result.loc[clash, "sign"] = np.int8(0)
    return result.reset_index(drop=True), len(frame) - len(result), sorted(odd)


def _join(values: pd.Series) -> str:
    parts = [part for value in values for part in str(value).split(";") if part]
    return ";".join(dict.fromkeys(parts))
