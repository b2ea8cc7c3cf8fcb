"""Frames of edges as people give them: typed columns, features of both ends, the relation of every edge.

Dimension letters: E edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.data.relations import REGULATES
from grn_cotrain.data.vocab import MODALITIES, FeatureVocab, name_some
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["align_ends", "name_relations", "standard_frame"]

_ENDS = ("source", "target")
_TEXTS = ("relation", "source_space", "target_space")
_SAME_AS_REGULATES = frozenset((REGULATES, "regulate", "regulated", "regulation", "transcriptional regulation"))


def standard_frame(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Ends, weight, sign, evidence, relation and spaces, typed; missing columns filled.

    Raises
    ------
    UserError
        No ends, no edges, a weight that is not a finite number, a sign other than -1, 0 and 1.
    """
    missing = [name for name in ("source", "target") if name not in frame.columns]
    if missing:
        raise UserError(f"{what}: no column '{missing[0]}'; give source and target")
    if frame.empty:
        raise UserError(f"{what}: holds no edges; give at least one")
    result = pd.DataFrame({end: frame[end].astype(str).to_numpy(dtype=object) for end in ("source", "target")})
    defaults: dict[str, Any] = {"weight": 1.0, "sign": 0, "evidence": "", **dict.fromkeys(_TEXTS, "")}
    for name, default in defaults.items():
        result[name] = frame[name].to_numpy() if name in frame.columns else default
    weight = pd.to_numeric(result["weight"], errors="coerce").to_numpy(np.float32)
    if not np.isfinite(weight).all():
        row = int(np.flatnonzero(~np.isfinite(weight))[0])
        raise UserError(
            f"{what}: weight '{result['weight'].iloc[row]}' in row {row + 1} is not a finite number; repair it"
        )
    sign = pd.to_numeric(result["sign"], errors="coerce")
    if not sign.isin((-1, 0, 1)).all():
        strange = result["sign"][~sign.isin((-1, 0, 1))].iloc[0]
        raise UserError(f"{what}: sign '{strange}' is not a sign; give -1, 0 or 1")
    texts = {name: result[name].fillna("").astype(str) for name in _TEXTS}
    return result.assign(weight=weight, sign=sign.to_numpy(np.int8), evidence=result["evidence"].astype(str), **texts)


def align_ends(
    given: pd.DataFrame, vocab: FeatureVocab, *, min_mapped: float, what: str
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Feature index of both ends of every edge, -1 where there is none, and the names that were renamed.

    A name without a space in an edge of regulation is the name of a gene, or that of a peak where it is an interval: a
    surface protein is not found by the name of its gene.

    Raises
    ------
    UserError
        An unknown space, names of another species, or fewer than ``min_mapped`` of the names without a space.
    """
    spaces = pd.unique(pd.concat([given["source_space"], given["target_space"]]))
    index_2E = np.full((2, len(given)), -1, dtype=np.int64)
    renamed: list[Any] = []
    for space in spaces:
        if space and space not in MODALITIES:
            raise UserError(
                f"{what}: space '{space}' is unknown{did_you_mean(space, MODALITIES)}; choose from"
                f" {', '.join(MODALITIES)}"
            )
        at = {end: (given[f"{end}_space"] == space).to_numpy() for end in _ENDS}
        names = pd.unique(pd.concat([given.loc[at[end], end] for end in _ENDS]))
        alignment = vocab.align(
            names,
            min_mapped=min_mapped if not space else 0.0,
            what=f"{space or 'gene'}s of the {what}",
            repeats="keep",
            modality=space or None,
        )
        index_of = dict(zip(names, alignment.index_N.tolist(), strict=True))
        for row, end in enumerate(_ENDS):
            index_2E[row, at[end]] = given.loc[at[end], end].map(index_of).to_numpy(np.int64)
        renamed += alignment.report.renamed
    if vocab.num_genes:
        only_names = ~np.isin(np.asarray(vocab.modality, dtype=object), ("gene", "peak"))
        regulates = _is_regulation(given["relation"]) | (given["relation"].str.strip() == "").to_numpy()
        for row, end in enumerate(_ENDS):
            plain = regulates & (given[f"{end}_space"] == "").to_numpy() & (index_2E[row] >= 0)
            index_2E[row, plain & only_names[index_2E[row]]] = -1
    return index_2E[0], index_2E[1], renamed


def _is_regulation(relation: pd.Series) -> np.ndarray:
    """Relations that are other words for regulation, bool ``[E]``."""
    return relation.astype(str).str.strip().str.lower().isin(_SAME_AS_REGULATES).to_numpy()


def name_relations(indexed: pd.DataFrame, vocab: FeatureVocab, what: str) -> tuple[np.ndarray, list[str]]:
    """The relation of every edge, and lines to report about those that had none.

    Between genes an edge without a relation is regulation, as in every plain edge list. Between other spaces it is
    named by them.

    Raises
    ------
    UserError
        Regulation of or by a feature that is not a gene.
    """
    modality_F = np.asarray(vocab.modality, dtype=object)
    space = {end: modality_F[indexed[f"{end}_index"].to_numpy(np.int64)] for end in _ENDS}
    # In a vocabulary without genes, its features stand for genes.
    is_gene = {end: (space[end] == "gene") | (vocab.num_genes == 0) for end in _ENDS}
    between_genes = is_gene["source"] & is_gene["target"]
    relation = indexed["relation"].astype(str).str.strip().to_numpy(dtype=object)
    folded = _is_regulation(indexed["relation"])
    relation[folded] = REGULATES
    wrong = np.flatnonzero(folded & ~between_genes)
    if wrong.size:
        edge = indexed.iloc[wrong[0]]
        raise UserError(
            f"{what}: {wrong.size:,} edges of relation '{REGULATES}' have an end that is not a gene"
            f" ({edge['source']} -> {edge['target']}); give these another relation, such as"
            f" {space['source'][wrong[0]]}_{space['target'][wrong[0]]}"
        )
    empty = relation == ""
    only = sorted(set(relation[between_genes & ~empty]))
    notes = []
    if not folded.any() and not (empty & between_genes).any() and len(only) == 1:
        notes.append(f"relation '{only[0]}' is the only one between genes, and is taken for {REGULATES}")
        relation[between_genes] = REGULATES
    relation[empty & between_genes] = REGULATES
    unnamed = empty & ~between_genes
    relation[unnamed] = [f"{a}_{b}" for a, b in zip(space["source"][unnamed], space["target"][unnamed], strict=True)]
    if unnamed.any():
        counted = pd.Series(relation[unnamed]).value_counts()
        told = name_some([f"{count:,} {name}" for name, count in counted.items()], 4)
        notes.append(f"edges between other spaces than genes are relations of their own, named by the spaces: {told}")
    return relation, notes
