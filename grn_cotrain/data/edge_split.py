"""One edge split: who is trained on, who is scored, among which candidates. Files with guards, not a seed's effect.

Dimension letters: G genes, E edges, M and N pairs, S sources, T targets.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from grn_cotrain.data.hidden import hidden_genes
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys, sorted_pairs
from grn_cotrain.data.rewire import exchange_targets
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, read_json, write_json

__all__ = [
    "SPLIT_KINDS",
    "EdgeSplit",
    "LabelledPairs",
    "Part",
    "Side",
    "SplitKind",
    "Track",
]

logger = logging.getLogger(__name__)

SplitKind = Literal["random", "unseen-tf", "unseen-target", "unseen-both", "published", "transfer"]
Track = Literal["hidden", "visible"]
Part = Literal["train", "validation", "test"]
Side = Literal["none", "source", "target", "both"]
SPLIT_KINDS: tuple[str, ...] = get_args(SplitKind)
_HELD_OUT: dict[str, Side] = {
    "random": "none",
    "unseen-tf": "source",
    "unseen-target": "target",
    "unseen-both": "both",
}

_FORMAT = 1
_SHAPE = {
    **dict.fromkeys(("name", "kind", "track", "vocab_hash", "grn_hash", "content_hash"), str),
    "seed": int,
    "fold": (int, type(None)),
    "num_genes": int,
    "labelled": [str],
}
_PAIRS = ("train_2E", "validation_2E", "test_2E", "withheld_2E")
_NEGATIVES = ("train_negatives_2N", "validation_negatives_2N", "test_negatives_2N")
_GENES = (
    "train_sources_S",
    "train_targets_N",
    "validation_sources_S",
    "validation_targets_N",
    "test_sources_S",
    "test_targets_N",
    "hidden_sources_S",
    "hidden_targets_N",
)


@dataclass(frozen=True)
class LabelledPairs:
    """Candidate pairs ``pairs_2M`` (int64, row 0 sources, row 1 targets) and their ``labels_M`` (bool)."""

    pairs_2M: np.ndarray
    labels_M: np.ndarray

    @property
    def num_pairs(self) -> int:
        """M."""
        return int(self.labels_M.size)

    @property
    def prevalence(self) -> float:
        """Share of positives; NaN where there is no pair."""
        return float(self.labels_M.mean()) if self.labels_M.size else float("nan")


@dataclass(frozen=True, eq=False)
class EdgeSplit:
    """Positives of three parts and the candidate universe of each, as gene indices of one vocabulary.

    Attributes
    ----------
    name, kind, track, seed, fold
        ``kind`` is one of :data:`SPLIT_KINDS`; ``track`` states whether the *other* edges of a held-out gene (in-edges
        of a held-out TF, out-edges of a held-out target) stay in training (``visible``) or not (``hidden``).
    num_genes, vocab_hash, grn_hash
        G, and the hashes of the vocabulary and of the network that the split was made from.
    train_2E, validation_2E, test_2E
        int64 positives, sorted, distinct, disjoint.
    train_negatives_2N, validation_negatives_2N, test_negatives_2N
        Labelled negatives (published splits), else None.
    train_sources_S, train_targets_N
        Gene indices allowed as sources and targets of training negatives.
    validation_sources_S, validation_targets_N, test_sources_S, test_targets_N
        Candidate universes: their product, less self-pairs and positives of other parts.
    hidden_sources_S, hidden_targets_N
        Genes that have no out-edges (in-edges) in training *by construction*: those of validation and test together.
        A degree of 0 carries no information about them, so scorers must use a prior instead. Imported splits derive
        them from their pairs, see :func:`~grn_cotrain.data.hidden.hidden_genes`.
    withheld_2E
        Positives that belong to no part: reversed copies of held-out edges, in-edges of held-out TFs on the hidden
        track, the mixed quadrants of ``unseen-both``. Neither trained on, nor messages, nor scored.
    """

    name: str
    kind: SplitKind
    track: Track
    seed: int
    fold: int | None
    num_genes: int
    vocab_hash: str
    grn_hash: str
    train_2E: np.ndarray
    validation_2E: np.ndarray
    test_2E: np.ndarray
    train_sources_S: np.ndarray
    train_targets_N: np.ndarray
    validation_sources_S: np.ndarray
    validation_targets_N: np.ndarray
    test_sources_S: np.ndarray
    test_targets_N: np.ndarray
    hidden_sources_S: np.ndarray
    hidden_targets_N: np.ndarray
    withheld_2E: np.ndarray
    train_negatives_2N: np.ndarray | None = None
    validation_negatives_2N: np.ndarray | None = None
    test_negatives_2N: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in (*_PAIRS, *_NEGATIVES):
            value = getattr(self, name)
            if value is not None:
                self._check_range(name, value)
                object.__setattr__(self, name, _frozen(sorted_pairs(value, self.num_genes)))
        for name in _GENES:
            self._check_range(name, getattr(self, name))
            object.__setattr__(self, name, _frozen(np.unique(np.asarray(getattr(self, name), dtype=np.int64))))

    def _check_range(self, name: str, index: np.ndarray) -> None:
        # Keys would turn an index outside the vocabulary into another pair, silently.
        if index.size and (index.min() < 0 or index.max() >= self.num_genes):
            raise UserError(
                f"split '{self.name}': {name} holds indices {index.min()} to {index.max()}, the vocabulary has "
                f"{self.num_genes} genes; the split belongs to another vocabulary"
            )

    @property
    def labelled(self) -> bool:
        """Whether candidates are labelled pairs from files (published splits)."""
        return self.test_negatives_2N is not None

    @property
    def held_out(self) -> Side:
        """Which end of every test pair is new to training by construction; of imported splits, as their pairs show."""
        if self.kind in _HELD_OUT:
            return _HELD_OUT[self.kind]
        source, target = (
            bool(test.size) and bool(np.isin(test, hidden).all())
            for test, hidden in (
                (self.test_sources_S, self.hidden_sources_S),
                (self.test_targets_N, self.hidden_targets_N),
            )
        )
        return "both" if source and target else "source" if source else "target" if target else "none"

    def positives(self, part: Part) -> np.ndarray:
        """Positives of a part, int64 ``[2, E]``."""
        return getattr(self, f"{_checked(part)}_2E")

    def negatives(self, part: Part) -> np.ndarray | None:
        """Labelled negatives of a part, or None."""
        return getattr(self, f"{_checked(part)}_negatives_2N")

    def universe(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Sources ``[S]`` and targets ``[N]`` whose product holds the candidates of a part."""
        return getattr(self, f"{_checked(part)}_sources_S"), getattr(self, f"{part}_targets_N")

    def all_positives(self) -> np.ndarray:
        """Every known positive, withheld ones included, int64 ``[2, E]``."""
        return np.concatenate([getattr(self, name) for name in _PAIRS], axis=1)

    def pairs(self, part: Part) -> LabelledPairs:
        """Return the candidates of a part with their labels, sorted by source, then target.

        Published splits: exactly the labelled pairs. Otherwise validation and test: the universe without self-pairs and
        without the positives of other parts. Train: the training universe without self-pairs; positives of the other
        parts stay among its unlabelled pairs, because leaving them out would reveal which pairs are positives.
        """
        positive_M = pair_keys(self.positives(part), self.num_genes)
        negatives_2N = self.negatives(part)
        if negatives_2N is not None:
            keys_M = np.union1d(positive_M, pair_keys(negatives_2N, self.num_genes))
        else:
            keys_M = self._universe_keys(part)
        labels_M = np.zeros(keys_M.size, dtype=bool)
        # Keys are sorted: millions of candidates are labelled by looking up thousands of positives.
        at_E = _positions(keys_M, positive_M)
        labels_M[at_E[at_E >= 0]] = True
        return LabelledPairs(pairs_from_keys(keys_M, self.num_genes), labels_M)

    def _universe_keys(self, part: Part) -> np.ndarray:
        sources_S, targets_N = self.universe(part)
        keys_SN = sources_S[:, None] * np.int64(self.num_genes) + targets_N[None, :]
        return keys_SN[self._universe_mask(part)]

    def _universe_mask(self, part: Part) -> np.ndarray:
        sources_S, targets_N = self.universe(part)
        keep_SN = sources_S[:, None] != targets_N[None, :]
        if part != "train":
            mine = f"{part}_2E"
            others_2E = np.concatenate([getattr(self, name) for name in _PAIRS if name != mine], axis=1)
            row_E = _positions(sources_S, others_2E[0])
            column_E = _positions(targets_N, others_2E[1])
            inside_E = (row_E >= 0) & (column_E >= 0)
            keep_SN[row_E[inside_E], column_E[inside_E]] = False
        return keep_SN

    def matched_pairs(self, part: Part, seed: int = 0) -> LabelledPairs:
        """Return a degree-matched 1:1 variant: every TF and every target is in as many negatives as positives.

        Negatives are the part's positives with their targets exchanged (swaps that make no known positive, no self-pair
        and no duplicate), so any score that is a sum of a TF term and a target term has an AUROC near .5 on it.
        Positives for which no exchange exists (a hub that regulates every gene) leave with their slot.

        Returns
        -------
        LabelledPairs
            As many negatives as positives, sorted by key; empty where no exchange exists.
        """
        positives_2E = self.positives(part)
        known_E = np.unique(pair_keys(self.all_positives(), self.num_genes))
        allowed_M = None
        if self.negatives(part) is not None:
            allowed_M = pair_keys(self.negatives(part), self.num_genes)  # type: ignore[arg-type]
        targets_E, solved_E = exchange_targets(
            positives_2E, self.num_genes, np.random.default_rng(seed), forbidden=known_E, allowed=allowed_M
        )
        negatives_2E = np.stack([positives_2E[0], targets_E])[:, solved_E]
        keys_M = np.concatenate([pair_keys(p, self.num_genes) for p in (positives_2E[:, solved_E], negatives_2E)])
        labels_M = np.arange(keys_M.size) < solved_E.sum()
        order_M = np.argsort(keys_M, kind="stable")
        return LabelledPairs(pairs_from_keys(keys_M[order_M], self.num_genes), labels_M[order_M])

    def counts(self, part: Part) -> tuple[int, int]:
        """Number of positives and of candidate pairs of a part."""
        negatives_2N = self.negatives(part)
        num_positives = self.positives(part).shape[1]
        if negatives_2N is not None:
            return num_positives, num_positives + negatives_2N.shape[1]
        return num_positives, int(self._universe_mask(part).sum())

    def prevalence(self, part: Part) -> float:
        """Share of positives among the candidates of a part; NaN where there is none."""
        num_positives, num_pairs = self.counts(part)
        return num_positives / num_pairs if num_pairs else float("nan")

    @property
    def content_hash(self) -> str:
        """SHA-256 (first 16 hex digits) of everything but the name; equal content has equal hashes in any order."""
        digest = hashlib.sha256(
            json.dumps(
                [_FORMAT, self.kind, self.track, self.seed, self.fold, self.num_genes, self.vocab_hash, self.grn_hash]
            ).encode()
        )
        for name in (*_PAIRS, *_NEGATIVES, *_GENES):
            value = getattr(self, name)
            digest.update(f"{name}:{'-' if value is None else value.shape}".encode())
            if value is not None:
                digest.update(np.ascontiguousarray(value, dtype="<i8").tobytes())
        return digest.hexdigest()[:16]

    def summary(self) -> str:
        """One line: counts, prevalence, hash."""
        parts = []
        for part in get_args(Part):
            num_positives, num_pairs = self.counts(part)
            share = f"{num_positives / num_pairs:.4f}" if num_pairs else "-"
            parts.append(f"{part} {num_positives:,} of {num_pairs:,} ({share})")
        return f"{self.name}: {'; '.join(parts)}; withheld {self.withheld_2E.shape[1]:,}; hash {self.content_hash}"

    def save(self, folder: str | Path) -> Path:
        """Write ``NAME.parquet`` (role, source, target) and its sidecar ``NAME.json``, atomically; return its path."""
        folder = Path(folder)
        frames = [
            pd.DataFrame({"role": name, "source": value[0], "target": value[1]})
            for name in (*_PAIRS, *_NEGATIVES)
            if (value := getattr(self, name)) is not None
        ]
        frames += [
            pd.DataFrame({"role": name, "source": getattr(self, name), "target": np.int64(-1)}) for name in _GENES
        ]
        frame = pd.concat(frames, ignore_index=True).astype({"role": "category"})
        path = folder / f"{self.name}.parquet"
        # The sidecar is replaced last: a split whose sidecar is there has its pairs there.
        with atomic_file(path) as temporary:
            frame.to_parquet(temporary, index=False)
        write_json(path.with_suffix(".json"), self._sidecar(), checked=True)
        return path

    def _sidecar(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*_PAIRS, *_NEGATIVES, *_GENES)}
        counts = {part: dict(zip(("positives", "pairs"), self.counts(part), strict=True)) for part in get_args(Part)}
        return {
            "format_version": _FORMAT,
            **plain,
            "labelled": [name for name in _NEGATIVES if getattr(self, name) is not None],
            "content_hash": self.content_hash,
            "counts": {**counts, "withheld": {"positives": self.withheld_2E.shape[1]}},
            "prevalence": {part: (c["positives"] / c["pairs"] if c["pairs"] else None) for part, c in counts.items()},
        }

    @classmethod
    def load(cls, folder: str | Path, name: str) -> EdgeSplit:
        """Read a saved split; :class:`UserError` where a file is missing, cut short, or no longer what was saved."""
        path = Path(folder) / f"{name}.json"
        if not path.is_file():
            raise UserError(f"split '{name}': no file {path}; make it with grn-prep splits")
        try:
            sidecar = read_json(path, what="split", shape=_SHAPE)
            frame = pd.read_parquet(path.with_suffix(".parquet"))
            by_role = {str(role): part for role, part in frame.groupby("role", observed=True)}
            values: dict[str, Any] = {}
            for role in (*_PAIRS, *_NEGATIVES):
                part = by_role.get(role, frame.iloc[:0])
                present = role in _PAIRS or role in sidecar["labelled"]
                values[role] = part[["source", "target"]].to_numpy(np.int64).T if present else None
            for role in _GENES:
                values[role] = by_role.get(role, frame.iloc[:0])["source"].to_numpy(np.int64)
            plain = {f.name: sidecar[f.name] for f in fields(cls) if f.name not in values}
            split, saved_hash = cls(**plain, **values), sidecar["content_hash"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise UserError(
                f"split '{name}': cannot read {path} ({error}); make it again with grn-prep splits"
            ) from error
        if split.content_hash != saved_hash:
            raise UserError(
                f"split '{name}': {path.with_suffix('.parquet').name} holds {split.content_hash}, its sidecar expects "
                f"{saved_hash}; the files do not belong together: make the split again with grn-prep splits"
            )
        if split.labelled:
            split._warn_of_unmarked()
        return split

    def _warn_of_unmarked(self) -> None:
        """Labelled splits of version 0.1 did not name the genes that they hold out."""
        trained_2M, positive_2E = self.pairs("train").pairs_2M, self.train_2E
        held = [self.pairs(part).pairs_2M for part in ("validation", "test")]
        for side, marked, what in ((0, self.hidden_sources_S, "TFs"), (1, self.hidden_targets_N, "targets")):
            derived = hidden_genes(trained_2M[side], positive_2E[side], *(pairs_2M[side] for pairs_2M in held))
            unmarked = np.setdiff1d(derived, marked)
            if unmarked.size:
                logger.warning(
                    "split '%s': %d %s are held out of training but not marked, so controls count their degree as 0;"
                    " make the split again with grn-prep splits", self.name, unmarked.size, what
                )  # fmt: skip


def _checked(part: str) -> str:
    if part not in get_args(Part):
        raise UserError(f"part '{part}': no such part; choose from {', '.join(get_args(Part))}")
    return part


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def _positions(sorted_values: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Index of each query in a sorted array of distinct values, -1 where absent."""
    if sorted_values.size == 0:
        return np.full(queries.shape, -1, dtype=np.int64)
    position = np.minimum(np.searchsorted(sorted_values, queries), sorted_values.size - 1)
    return np.where(sorted_values[position] == queries, position, -1)
