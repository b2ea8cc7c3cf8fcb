"""Audit of a split and of what training does with it. The trainer and the evaluator call it; nobody has to remember.

Every check returns offending pairs or genes; none means that it passed. An ``error`` stops the run. A ``note`` is
printed: a property of files that are what they are (published splits hold reversed test edges), or of a control graph
that is meant to differ from the training edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import sparse

from grn_cotrain.data.edge_split import EdgeSplit, Part
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys
from grn_cotrain.data.relations import RelationEdges
from grn_cotrain.errors import UserError

__all__ = ["Finding", "LeakReport", "assert_no_leak", "audit"]

Severity = Literal["error", "note"]

_MAX_EXAMPLES = 3
_IN_RELATION = "held-out-in-relation"
_PARTS: tuple[Part, ...] = ("train", "validation", "test")
_HELD: tuple[Part, ...] = ("validation", "test")
# Findings in published files that are printed with their figures instead of refusing them.
_NOTES_OF_FILES = ("reversed-edge", "candidate-without-edge", "reversed-message")


@dataclass(frozen=True)
class Finding:
    """One kind of leak: ``count`` offenders, a few of them as gene indices or symbols, and what it means."""

    name: str
    severity: Severity
    count: int
    examples: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class LeakReport:
    """Result of an audit; ``checked`` names every check that ran."""

    split: str
    split_hash: str
    checked: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error (notes are allowed)."""
        return not any(finding.severity == "error" for finding in self.findings)

    def summary(self) -> str:
        """Lines to print with a table: a verdict, then one line a finding."""
        notes = sum(finding.severity == "note" for finding in self.findings)
        verdict = "no leak" if self.ok else "LEAK"
        lines = [
            f"audit of {self.split} ({self.split_hash}): {verdict}; {len(self.checked)} checks, "
            f"{len(self.findings) - notes} errors, {notes} notes"
        ]
        lines += [
            f"  {f.severity}: {f.name}: {f.count:,} ({', '.join(f.examples)}): {f.meaning}" for f in self.findings
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``links.json`` and run records."""
        return {**asdict(self), "ok": self.ok}


def audit(
    split: EdgeSplit,
    message_2E: np.ndarray | None = None,
    *,
    supervision_2P: np.ndarray | None = None,
    control_graph: bool = False,
    others: RelationEdges | None = None,
    vocab_hash: str | None = None,
    grn_hash: str | None = None,
    symbols: Sequence[str] | None = None,
) -> LeakReport:
    """Check a split, and what is done with it, for every leak this project knows.

    Parameters
    ----------
    split
        The split.
    message_2E
        Edges that carry messages (before reverses are added), or None.
    supervision_2P
        Positives that are supervised in the same step as ``message_2E`` carries messages, or None.
    control_graph
        ``message_2E`` is a rewired or random graph: its edges need not be training positives.
    others
        Message edges of other relations than regulation (indices of features, genes first), or None.
    vocab_hash, grn_hash
        Hashes of the vocabulary and of the network in use; compared with the split's where given.
    symbols
        Gene symbols, for examples.

    Returns
    -------
    LeakReport
        Findings, worst first.
    """
    auditor = _Auditor(split, symbols)
    checks = [*auditor.parts(), *auditor.candidates(), *auditor.held_out(), *auditor.hashes(vocab_hash, grn_hash)]
    if message_2E is not None:
        checks += auditor.messages(np.asarray(message_2E, dtype=np.int64), supervision_2P, control_graph)
    if others is not None and others:
        checks += auditor.others(others, control_graph)
    findings = [finding for finding in checks if finding.count]
    if split.kind == "published":
        findings = [replace(f, severity="note") if f.name in _NOTES_OF_FILES else f for f in findings]
    findings.sort(key=lambda finding: (finding.severity != "error", finding.name))
    checked = tuple(dict.fromkeys(finding.name for finding in checks))
    return LeakReport(split.name, split.content_hash, checked, tuple(findings))


def assert_no_leak(split: EdgeSplit, message_2E: np.ndarray | None = None, **options: Any) -> LeakReport:
    """Run :func:`audit` and raise :class:`UserError` on any error; return the report, whose notes are to be printed."""
    report = audit(split, message_2E, **options)
    if not report.ok:
        errors = [finding for finding in report.findings if finding.severity == "error"]
        told = "; ".join(f"{f.name}: {f.count:,} ({', '.join(f.examples)}): {f.meaning}" for f in errors)
        in_split = any(finding.name != _IN_RELATION for finding in errors)
        fix = "Make the split again with grn-prep splits" if in_split else "Remove these edges, or set graph.relations"
        raise UserError(f"split '{split.name}': leaks: {told}. {fix}")
    return report


class _Auditor:
    """The checks; each yields a :class:`Finding`, with count 0 where nothing is wrong."""

    def __init__(self, split: EdgeSplit, symbols: Sequence[str] | None) -> None:
        self.split = split
        self.symbols = symbols
        self.keys = {part: self._keys(split.positives(part)) for part in _PARTS}
        self.reversed = {part: self._keys(split.positives(part)[::-1]) for part in _PARTS}

    def _keys(self, pairs_2M: np.ndarray) -> np.ndarray:
        return pair_keys(pairs_2M, self.split.num_genes)

    def _name(self, gene: int) -> str:
        inside = self.symbols is not None and 0 <= gene < len(self.symbols)
        return str(self.symbols[gene]) if inside and self.symbols is not None else str(gene)

    def _genes(self, name: str, genes: np.ndarray, meaning: str, severity: Severity = "error") -> Finding:
        examples = tuple(self._name(int(gene)) for gene in genes[:_MAX_EXAMPLES])
        return Finding(name, severity, int(genes.size), examples, meaning)

    def _pairs(self, name: str, keys: np.ndarray, meaning: str, severity: Severity = "error") -> Finding:
        first = pairs_from_keys(keys[:_MAX_EXAMPLES], self.split.num_genes)
        examples = tuple(f"{self._name(int(s))} -> {self._name(int(t))}" for s, t in first.T)
        return Finding(name, severity, int(keys.size), examples, meaning)

    def parts(self) -> Iterator[Finding]:
        """Positives of the three parts against each other."""
        for part in _PARTS:
            pairs_2E = self.split.positives(part)
            loops_E = self.keys[part][pairs_2E[0] == pairs_2E[1]]
            yield self._pairs("self-pair", loops_E, f"{part}: a gene is its own target")
        for held in ("test", "validation"):
            for earlier in _PARTS[: _PARTS.index(held)]:
                both = np.intersect1d(self.keys[held], self.keys[earlier])
                yield self._pairs("duplicated-edge", both, f"a {held} positive is a {earlier} positive too")
                turned = np.intersect1d(self.keys[held], self.reversed[earlier])
                yield self._pairs("reversed-edge", turned, f"the reverse of a {held} positive is a {earlier} positive")

    def candidates(self) -> Iterator[Finding]:
        """Labels and universes of what is scored."""
        known_S = np.unique(self.split.all_positives()[0])
        for part in _HELD:
            candidates = self.split.pairs(part)
            keys_M = self._keys(candidates.pairs_2M)
            # Candidates are sorted and may be millions: the few thousand positives are looked up among them.
            at_E, known_E = _look_up(keys_M, self.keys["train"])
            wrong = self.keys["train"][known_E][~candidates.labels_M[at_E[known_E]]]
            yield self._pairs("train-positive-as-negative", wrong, f"scored as a {part} negative")
            missing = self.keys[part][~_look_up(keys_M, self.keys[part])[1]]
            yield self._pairs("positive-outside-candidates", missing, f"{part}: a positive that is never scored")
            idle_S = np.setdiff1d(self.split.universe(part)[0], known_S)
            yield self._genes("candidate-without-edge", idle_S, f"{part}: a TF without an edge in the full network")
        labelled_2N = self.split.negatives("train")
        if labelled_2N is not None:
            labelled_N = self._keys(labelled_2N)
            for part in _HELD:
                contradicted = np.intersect1d(labelled_N, self.keys[part])
                yield self._pairs("positive-as-train-negative", contradicted, f"a {part} positive, trained on as none")
                test_2N = self.split.negatives(part)
                if test_2N is not None:
                    shared = np.intersect1d(labelled_N, self._keys(test_2N))
                    yield self._pairs("negative-in-training", shared, f"a {part} negative, trained on")

    def held_out(self) -> Iterator[Finding]:
        """Held-out TFs and genes must be absent from training."""
        split = self.split
        yield from self._held_out_edges("training edge", split.train_2E)
        sources_S = np.intersect1d(split.train_sources_S, split.hidden_sources_S)
        yield self._genes("held-out-tf-in-training-negatives", sources_S, "a held-out TF is a source of negatives")
        targets_N = np.intersect1d(split.train_targets_N, split.hidden_targets_N)
        yield self._genes("hidden-gene-in-training-negatives", targets_N, "a hidden gene is a target of negatives")
        if split.kind in ("unseen-tf", "unseen-both"):
            seen_S = np.setdiff1d(split.test_sources_S, split.hidden_sources_S)
            yield self._genes("test-tf-not-held-out", seen_S, "an unseen-TF split scores a TF that training knows")
        if split.kind in ("unseen-target", "unseen-both"):
            seen_N = np.setdiff1d(split.test_targets_N, split.hidden_targets_N)
            yield self._genes(
                "test-gene-not-hidden", seen_N, "an unseen-target split scores a gene that training knows"
            )

    def _held_out_edges(self, what: str, edges_2E: np.ndarray) -> Iterator[Finding]:
        split = self.split
        out_E = np.isin(edges_2E[0], split.hidden_sources_S)
        yield self._pairs("held-out-tf-reachable", self._keys(edges_2E[:, out_E]), f"{what} out of a held-out TF")
        in_E = np.isin(edges_2E[1], split.hidden_targets_N)
        yield self._pairs("hidden-gene-reachable", self._keys(edges_2E[:, in_E]), f"{what} into a hidden gene")
        if split.track == "hidden":
            # On this track a held-out gene has no edge of either direction.
            in_E = np.isin(edges_2E[1], split.hidden_sources_S)
            yield self._pairs("held-out-tf-reachable", self._keys(edges_2E[:, in_E]), f"{what} into a held-out TF")
            if split.kind != "unseen-tf":
                out_E = np.isin(edges_2E[0], split.hidden_targets_N)
                yield self._pairs(
                    "hidden-gene-reachable", self._keys(edges_2E[:, out_E]), f"{what} out of a hidden gene"
                )

    def messages(
        self, message_2E: np.ndarray, supervision_2P: np.ndarray | None, control_graph: bool
    ) -> Iterator[Finding]:
        """Message edges against training positives, held-out positives and the step's supervision."""
        outside_2E = (message_2E < 0) | (message_2E >= self.split.num_genes)
        yield self._genes("index-out-of-range", message_2E[outside_2E], "message edges of no gene of the vocabulary")
        message_2E = message_2E[:, ~outside_2E.any(axis=0)]
        keys_E = self._keys(message_2E)
        distinct_E, count_E = np.unique(keys_E, return_counts=True)
        yield self._pairs("duplicated-message", distinct_E[count_E > 1], "an edge carries its message twice")
        by_chance: Severity = "note" if control_graph else "error"
        foreign = np.setdiff1d(distinct_E, self.keys["train"])
        yield self._pairs("message-not-in-training", foreign, "message edges that are no training positives", by_chance)
        for part in _HELD:
            held = np.intersect1d(distinct_E, self.keys[part])
            yield self._pairs("held-out-message", held, f"a {part} positive carries messages", by_chance)
            turned = np.intersect1d(distinct_E, self.reversed[part])
            yield self._pairs("reversed-message", turned, f"a reversed {part} positive carries messages", by_chance)
        yield from self._held_out_edges("message", message_2E)
        if supervision_2P is not None:
            supervised_2P = np.asarray(supervision_2P, dtype=np.int64)
            both = np.union1d(self._keys(supervised_2P), self._keys(supervised_2P[::-1]))
            shared = np.intersect1d(distinct_E, both)
            yield self._pairs(
                "supervision-is-message", shared, "supervised while its message passes, in either direction"
            )

    def others(self, others: RelationEdges, control_graph: bool) -> Iterator[Finding]:
        """Edges of other relations: none may be a held-out edge under another name; ways around one are counted.

        A way from a TF to a gene through a peak or a protein is prior knowledge that a user gave. It is legitimate, and
        whoever reads the figures must know how many held-out positives have one.
        """
        num_genes = self.split.num_genes
        by_chance: Severity = "note" if control_graph else "error"
        between_2E = others.pairs_2E[:, (others.pairs_2E < num_genes).all(axis=0)]
        direct_E = np.unique(np.concatenate([self._keys(between_2E), self._keys(between_2E[::-1])]))
        through = _ways_through(others.pairs_2E, num_genes)
        named = ", ".join(others.names)
        for part in _HELD:
            same = np.intersect1d(direct_E, self.keys[part])
            yield self._pairs(
                _IN_RELATION, same, f"a {part} positive is an edge of another relation ({named})", by_chance
            )
            source_E, target_E = self.split.positives(part)
            joined_E = np.asarray(through[source_E].multiply(through[target_E]).sum(axis=1)).ravel() > 0
            yield self._pairs(
                "path-around-held-out",
                self.keys[part][joined_E],
                f"{part} positives whose TF and target share a neighbour in other relations ({named}): prior knowledge",
                "note",
            )
        reached_N = np.intersect1d(
            others.pairs_2E, np.union1d(self.split.hidden_sources_S, self.split.hidden_targets_N)
        )
        yield self._genes(
            "relation-reaches-held-out", reached_N, f"held-out genes with an edge of another relation ({named})", "note"
        )

    def hashes(self, vocab_hash: str | None, grn_hash: str | None) -> Iterator[Finding]:
        """The split must belong to the vocabulary and the network in use."""
        for name, given, own in (
            ("vocabulary-mismatch", vocab_hash, self.split.vocab_hash),
            ("network-mismatch", grn_hash, self.split.grn_hash),
        ):
            if given is not None:
                differs = given != own
                examples = (f"split {own}, in use {given}",) if differs else ()
                yield Finding(name, "error", int(differs), examples, "the split was made from another one")


def _ways_through(pairs_2E: np.ndarray, num_genes: int) -> sparse.csr_matrix:
    """Genes x features: 1 where an edge joins them, in either direction, as messages pass."""
    both_2E = np.concatenate([pairs_2E, pairs_2E[::-1]], axis=1)
    both_2E = both_2E[:, both_2E[0] < num_genes]
    size = int(max(num_genes, pairs_2E.max(initial=0) + 1))
    ones_E = np.ones(both_2E.shape[1], dtype=np.float32)
    return sparse.csr_matrix((ones_E, (both_2E[0], both_2E[1])), shape=(num_genes, size))


def _look_up(sorted_keys: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each key in ``sorted_keys``, and whether it is there."""
    if sorted_keys.size == 0:
        return np.zeros(keys.shape, dtype=np.int64), np.zeros(keys.shape, dtype=bool)
    at = np.minimum(np.searchsorted(sorted_keys, keys), sorted_keys.size - 1)
    return at, sorted_keys[at] == keys
