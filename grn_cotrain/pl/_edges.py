"""Edges to draw, from whatever they come as.

Dimension letters: E edges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.data.grn import GRN
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["edge_frame", "of_tf"]


def edge_frame(source: Any, *, tfs: list[str] | None = None, top: int, top_per_tf: int | None = None) -> pd.DataFrame:
    """Edges as ``source, target, weight, sign, known``, the best first; not more than ``top`` if they come from a run.

    ``weight`` is the probability where every edge has one, else the score's rank between 0 and 1. ``known`` is empty
    for predicted edges, else the part of the split, or ``network``.
    """
    if isinstance(source, (str, Path)):
        source = predict_edges(source, tfs=tfs, top=top, top_per_tf=top_per_tf, say=lambda text: None)
    if isinstance(source, PredictedEdges):
        frame = source.frame
    elif isinstance(source, GRN):
        frame = source.edges.assign(known="network")
    elif isinstance(source, pd.DataFrame):
        frame = source
    else:
        raise UserError(
            f"edges: got {type(source).__name__}; give a run folder, PredictedEdges, a GRN or a frame of edges"
        )
    missing = [name for name in ("source", "target") if name not in frame]
    if missing:
        raise UserError(f"edges: the frame has no column {' and no '.join(missing)}; name them source, target")
    result = pd.DataFrame(
        {"source": frame["source"].astype(str).to_numpy(), "target": frame["target"].astype(str).to_numpy()}
    )
    result["weight"], result["weight_name"] = _weights(frame)
    for name, default in (("sign", 0), ("known", "")):
        result[name] = frame[name].to_numpy() if name in frame else default
    result["sign"] = np.sign(pd.to_numeric(result["sign"], errors="coerce").fillna(0)).astype(int)
    result["known"] = result["known"].fillna("").astype(str)
    return result.sort_values("weight", ascending=False, kind="stable", ignore_index=True)


def of_tf(edges: pd.DataFrame, tf: str) -> pd.DataFrame:
    """Edges of one TF, or an error that names near ones."""
    mine = edges[edges["source"] == tf]
    if mine.empty:
        names = sorted(set(edges["source"]))
        raise UserError(f"tf '{tf}': no edge leaves it here; {len(names):,} TFs have edges{did_you_mean(tf, names)}")
    return mine.reset_index(drop=True)


def _weights(frame: pd.DataFrame) -> tuple[np.ndarray, str]:
    if "probability" in frame and len(frame) and frame["probability"].notna().all():
        return frame["probability"].to_numpy(np.float64), "probability"
    for name in ("score", "weight"):
        if name in frame and frame[name].notna().any():
            ranks = frame[name].rank(method="average", pct=True).fillna(0.0)
            equal = frame[name].nunique() == 1
            return (np.ones(len(frame)) if equal else ranks.to_numpy(np.float64)), f"rank of {name}"
    return np.ones(len(frame)), ""
