"""Edges whose genes go by other names than the cells': old symbols, or genes of the other species."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.diagnosis import diagnose, respell
from grn_cotrain.data.io.edge_list import EdgeList
from grn_cotrain.data.io.names import AliasTable, OrthologTable, TargetSpecies
from grn_cotrain.data.vocab import FeatureVocab, detect_species
from grn_cotrain.errors import UserError

__all__ = ["rename_edges"]


def rename_edges(
    edges: EdgeList,
    vocab: FeatureVocab,
    *,
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    policy: str = "one2one",
    what: str = "edge list",
) -> tuple[EdgeList, list[tuple[str, str]]]:
    """Give the ends of edges the names of the vocabulary's genes: orthologs first, then aliases, then spelling.

    Parameters
    ----------
    edges
        A parsed file.
    vocab
        Genes of the cells.
    aliases
        Names that are no gene of ``vocab`` take the gene that means the same by this table, whichever is the older.
    orthologs, policy
        Genes of the other species take their orthologs' names; edges with an end that has none leave.

    Returns
    -------
    EdgeList, list of (str, str)
        The edges, what changed in ``notes``; and every changed name with its new one.

    Raises
    ------
    UserError
        No edge has orthologs at both ends.
    """
    renamed: list[tuple[str, str]] = []
    if orthologs is not None:
        edges, pairs = _to_orthologs(edges, vocab, orthologs, policy, what)
        renamed += pairs
    if aliases is not None:
        edges, pairs = _to_features(edges, vocab, aliases, what)
        renamed += pairs
    edges, pairs = _to_spelling(edges, vocab)
    return edges, renamed + pairs


def _to_spelling(edges: EdgeList, vocab: FeatureVocab) -> tuple[EdgeList, list[tuple[str, str]]]:
    """``HLA-A`` is found as ``HLA.A``, and the other way round, where only one gene can be meant."""
    unknown = [name for name in _names(edges.frame) if vocab.get(name) is None]
    found = respell(unknown, vocab.symbols)
    if not found:
        return edges, []
    pairs = [f"{old} -> {new}" for old, new in found.items()]
    note = f"{len(found):,} genes were found with dots for dashes, as R's make.names writes them: {name_some(pairs, 3)}"
    mapped = _mapped(edges, lambda name: found.get(name, name))
    return replace(mapped, notes=[*edges.notes, note]), list(found.items())


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in pd.unique(pd.concat([frame["source"], frame["target"]]))]


def _to_orthologs(
    edges: EdgeList, vocab: FeatureVocab, orthologs: OrthologTable, policy: str, what: str
) -> tuple[EdgeList, list[tuple[str, str]]]:
    names = _names(edges.frame)
    target: TargetSpecies | None = vocab.species if vocab.species in ("human", "mouse") else None
    result = orthologs.convert(names, source=detect_species(names)[0], target=target, policy=policy, what=what)
    if result.unchanged:
        return replace(edges, notes=[*edges.notes, *result.notes]), []
    new = dict(zip(names, result.names, strict=True))
    inside = edges.frame["source"].map(new).notna() & edges.frame["target"].map(new).notna()
    if not inside.any():
        known = [name for pair in orthologs.pairs for name in pair]
        unknown = [name for name, found in new.items() if found is None]
        why = diagnose(unknown, known, list(orthologs.ids), here="the network", there="the table of orthologs")
        raise UserError(f"{what}: no edge has an ortholog at both ends; {why}")
    lost = sorted({name for name, found in new.items() if found is None})
    notes = [*edges.notes, *result.notes]
    if not inside.all():
        notes.append(f"{int((~inside).sum()):,} edges have an end without an ortholog: {name_some(lost)}")
    kept = _mapped(replace(edges, frame=edges.frame[inside].reset_index(drop=True)), lambda name: new.get(name) or name)
    return replace(kept, notes=notes), [(old, now) for old, now in new.items() if now is not None and old != now]


def _to_features(
    edges: EdgeList, vocab: FeatureVocab, aliases: AliasTable, what: str
) -> tuple[EdgeList, list[tuple[str, str]]]:
    aliases.check_species(vocab.symbols, "the prepared folder")
    unknown = [name for name in _names(edges.frame) if vocab.get(name, "gene") is None]
    genes = [symbol for symbol, kind in zip(vocab.symbols, vocab.modality, strict=True) if kind == "gene"]
    found = aliases.match(unknown, genes)
    if not found:
        return edges, []
    pairs = [f"{old} -> {new}" for old, new in found.items()]
    note = f"{len(found):,} genes were found by alias: {name_some(pairs, 3)}"
    mapped = _mapped(edges, lambda name: found.get(name, name))
    return replace(mapped, notes=[*edges.notes, note]), list(found.items())


def _mapped(edges: EdgeList, new: Callable[[str], str]) -> EdgeList:
    frame = edges.frame.assign(source=edges.frame["source"].map(new), target=edges.frame["target"].map(new))
    return replace(edges, frame=frame, conflicts=[(new(a), new(b), *rest) for a, b, *rest in edges.conflicts])
