"""Edges read off attention, in any of the edge formats: one network a cell type.

Dimension letters: M pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.attention_run import REPORT_FILES
from grn_cotrain.export.edge_formats import EDGE_FORMATS, EdgeFormat
from grn_cotrain.export.edges import edge_rows
from grn_cotrain.export.known_edges import known_edges
from grn_cotrain.export.predicted_edges import PredictedEdges
from grn_cotrain.files import staged_files

__all__ = ["attention_network", "check_names", "export_attention"]

_LEAST = 1e-12  # a weight of 0 has no logarithm


def attention_network(
    run: str | Path | OpenRun, edges: pd.DataFrame, group: str, *, prep: str | Path | None = None
) -> PredictedEdges:
    """Edges of one cell type as a table that every edge format can write.

    Parameters
    ----------
    run
        Run folder that was read.
    edges
        As :func:`~grn_cotrain.evaluate.attention_run.attention_edges` gives them, of any number of groups.
    group
        Cell type.
    prep
        The run's prepared folder, where it has moved.

    Returns
    -------
    PredictedEdges
        ``score`` is ``ln(weight / expected)``: 0 where attention is what popularity explains. The weight that formats
        write, its sigmoid, is ``weight / (weight + expected)``: above .5 for more than expected. It is not a
        probability, and none is given. Signs come from the network or from correlation over all cells, never from
        attention, which has none.

    Raises
    ------
    UserError
        No edge of such a group; names that the run does not know.
    """
    groups = [str(name) for name in dict.fromkeys(edges["group"])]
    if group not in groups:
        raise UserError(f"group '{group}': not read; choose from {', '.join(groups)}{did_you_mean(group, groups)}")
    opened = OpenRun.of(run, prep=prep)
    model = opened.model
    known, _ = known_edges(opened)
    mine = edges[edges["group"] == group]
    pairs_2M = np.array([_indices(model.vocab, mine[end]) for end in ("source", "target")], dtype=np.int64)
    weight_M, expected_M = (mine[name].to_numpy(np.float64).clip(min=_LEAST) for name in ("weight", "expected"))
    score_M = np.log(weight_M / expected_M)
    order_M = np.argsort(-score_M, kind="stable")
    return PredictedEdges(
        frame=edge_rows(model.vocab, pairs_2M[:, order_M], score_M[order_M], known, None),
        vocab=model.vocab,
        identity=opened.identity,
        scorer=f"attention, {group}",
        num_candidates=len(mine),
        labels=known.origin,
        num_train=int(known.train_sources.size),
        prevalence=None,
        num_calibration=None,
    )


def _indices(vocab: FeatureVocab, names: pd.Series) -> list[int]:
    index = {name: vocab.index(str(name)) for name in names.unique()}
    return [index[name] for name in names]


def check_names(format: str, groups: Sequence[str], genes: Iterable[str]) -> None:
    """Refuse, before anything is read, cell types and genes that a format's files could not be named after or hold.

    Parameters
    ----------
    format
        Name of the edge format.
    groups
        Cell types, one file each.
    genes
        Genes that edges may have.

    Raises
    ------
    UserError
        Unknown format; names that it cannot hold; two cell types that would share a file.
    """
    writer: EdgeFormat = EDGE_FORMATS.build(format)
    writer.refuse_names(genes)
    _file_names(groups, writer.suffix)


def _file_names(groups: Sequence[str], suffix: str) -> dict[str, str]:
    """File of each cell type."""
    stems = {group: re.sub(r"[^A-Za-z0-9._+-]+", "_", group) for group in groups}
    if len(set(stems.values())) < len(stems):
        twice = next(stem for stem in stems.values() if list(stems.values()).count(stem) > 1)
        raise UserError(f"group: several cell types would be written to 'attention_{twice}'; rename them in obs")
    names = {group: f"attention_{stem}.{suffix}" for group, stem in stems.items()}
    taken = [group for group, name in names.items() if name in REPORT_FILES]
    if taken:
        raise UserError(
            f"group '{taken[0]}': its edges would be written over the table '{names[taken[0]]}'; rename it in obs, or"
            " take another format"
        )
    return names


def export_attention(
    run: str | Path | OpenRun,
    edges: pd.DataFrame,
    format: str,
    out: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    prep: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Write one file a cell type into the folder ``out``, all of them or none: ``attention_GROUP.SUFFIX``.

    Raises
    ------
    UserError
        Unknown format or option; names that the format cannot hold; two cell types that would share a file.
    """
    writer: EdgeFormat = EDGE_FORMATS.build(format, options)
    groups = [str(name) for name in dict.fromkeys(edges["group"])]
    names = _file_names(groups, writer.suffix)
    notes, opened = [], OpenRun.of(run, prep=prep)
    with staged_files(out) as folder:
        for group in groups:
            network = attention_network(opened, edges, group)
            writer.check_names(network)
            notes += [f"{group}: {note}" for note in writer.write(network, folder / names[group])]
    for note in notes:
        say(note)
    return [Path(out) / name for name in names.values()]
