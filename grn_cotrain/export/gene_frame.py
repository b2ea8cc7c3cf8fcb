"""Gene embeddings as one table: the record that every gene exporter writes.

Dimension letters: G rows (genes, or genes x groups), D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grn_cotrain.apply.identity import RunIdentity
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["GeneEmbeddings", "tell_apart"]


@dataclass(frozen=True, eq=False)
class GeneEmbeddings:
    """Embeddings of genes, with their names.

    Attributes
    ----------
    frame
        ``symbol, id, modality`` and, for contextual ones, ``group`` (empty without ``by``) and ``n`` (cells in which
        the gene is a token), then one float32 column ``d0, d1, ...`` a dimension.
    kind
        ``static``, ``graph``, ``contextual`` or ``regulation``.
    vocab_hash
        Hash of the vocabulary that they belong to.
    identity
        The run they came from; None for a table made by hand.
    species
        Species of the vocabulary: names are aligned within it.
    notes
        Lines to report: genes without an embedding.
    """

    frame: pd.DataFrame
    kind: str
    vocab_hash: str
    identity: RunIdentity | None = None
    species: str = "unknown"
    notes: tuple[str, ...] = ()

    @property
    def dimensions(self) -> list[str]:
        """Names of the embedding's columns."""
        return [name for name in self.frame.columns if name[0] == "d" and name[1:].isdigit()]

    def matrix(self) -> np.ndarray:
        """The vectors, float32 ``[G, D]``, in the order of ``frame``; a copy, C-contiguous.

        pandas gives columns one after the other, and safetensors would write that order under the shape of the rows.
        """
        return np.array(self.frame[self.dimensions], dtype=np.float32, order="C", copy=True)

    def annotation(self) -> pd.DataFrame:
        """``frame`` without the vectors."""
        return self.frame.drop(columns=self.dimensions)

    def names(self) -> list[str]:
        """A unique name a row: the symbol, ``SYMBOL|GROUP`` where there are groups.

        A protein or peak that shares its name with a gene is ``SYMBOL|MODALITY``.
        """
        modality = self.frame["modality"].astype(str)
        symbol = self.frame["symbol"].astype(str)
        groups = self.frame["group"].astype(str) if "group" in self.frame else pd.Series("", index=self.frame.index)
        taken = set(zip(symbol[modality == "gene"], groups[modality == "gene"], strict=True))
        names = [
            "|".join(
                [name, *([kind] if kind != "gene" and (name, group) in taken else []), *([group] if group else [])]
            )
            for name, kind, group in zip(symbol, modality, groups, strict=True)
        ]
        return tell_apart(names)

    def vocab(self) -> FeatureVocab:
        """The genes of the table as a vocabulary, in order of first appearance, to align other people's names to."""
        genes = self.frame.drop_duplicates(["modality", "symbol"])
        return FeatureVocab.from_symbols(
            genes["symbol"], genes["id"], modality=list(genes["modality"]), species=self.species
        )

    def metadata(self) -> dict[str, str]:
        """Kind, hashes and origin as text by name; ``vocab_hash`` is the table's own."""
        origin = {} if self.identity is None else self.identity.to_dict()
        return {**origin, "kind": self.kind, "species": self.species, "vocab_hash": self.vocab_hash}


def tell_apart(names: Sequence[str]) -> list[str]:
    """Unique names: later bearers of a repeated one get ``|2``, ``|3``, ..."""
    repeated = {name for name, count in Counter(names).items() if count > 1}
    if not repeated:
        return list(names)
    taken, seen, result = set(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        if seen[name] > 1:
            number = seen[name]
            while f"{name}|{number}" in taken:
                number += 1
            name = f"{name}|{number}"
            taken.add(name)
        result.append(name)
    return result
