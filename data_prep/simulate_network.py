"""A made-up regulatory network: families of TFs that share target preferences, programs of genes, signs, co-factors.

Dimension letters: S TFs, G genes, E edges, F families, Q programs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["SimulatedNetwork", "simulate_network"]

_CONSONANTS = "BDFGKLMNPRSTVZ"
_VOWELS = "AEIOU"


@dataclass(frozen=True)
class SimulatedNetwork:
    """Genes ``0..S-1`` are the TFs.

    Attributes
    ----------
    symbols
        G made-up names: TFs are family stem + number (``KELA1``, ``KELA2``), other genes words without a number.
    family_S, program_G
        Family of each TF, program of each gene.
    source_E, target_E, sign_E, weight_E
        Edges, sorted; signs are -1 or 1, weights positive effects on the log rate.
    threshold_E
        Activity at which half of the effect is reached.
    cofactor_E
        TF that must be active too for the edge to act, -1 where none is needed.
    """

    symbols: tuple[str, ...]
    num_tfs: int
    family_S: np.ndarray
    program_G: np.ndarray
    source_E: np.ndarray
    target_E: np.ndarray
    sign_E: np.ndarray
    weight_E: np.ndarray
    threshold_E: np.ndarray
    cofactor_E: np.ndarray


def simulate_network(
    num_genes: int, num_tfs: int, rng: np.random.Generator, *, num_programs: int, cofactor_share: float
) -> SimulatedNetwork:
    """Draw a network in which an unseen TF resembles its family, and an unseen gene its program.

    The affinity of a TF to a promoter is a sum of four normal terms: how much the TF's family likes the gene's program
    (the motif), how much it likes this gene, how much this TF differs from its family here, and how promiscuous the
    gene is. A TF takes a log-normal number of targets (median 24) among all genes, TFs included, by affinity with
    Gumbel noise. So targets overlap within families, in-degrees are skewed, and TFs are targets as often as other
    genes are.
    """
    family_S = _families(num_tfs, rng)
    num_families = int(family_S.max()) + 1
    program_G = rng.integers(num_programs, size=num_genes)
    motif_QF = rng.normal(0, 1.2, (num_programs, num_families))
    promoter_GF = motif_QF[program_G] + rng.normal(0, 0.7, (num_genes, num_families))
    affinity_SG = promoter_GF[:, family_S].T + rng.normal(0, 0.6, (num_tfs, num_genes)) + rng.normal(0, 0.5, num_genes)
    affinity_SG[np.arange(num_tfs), np.arange(num_tfs)] = -np.inf
    largest = max(6, num_genes // 5)
    num_targets_S = np.clip(np.rint(rng.lognormal(np.log(24), 0.55, num_tfs)), 6, largest).astype(np.int64)
    ranked_SG = np.argsort(-(affinity_SG + rng.gumbel(0, 0.5, affinity_SG.shape)), axis=1)
    source_E = np.repeat(np.arange(num_tfs), num_targets_S)
    target_E = np.concatenate([np.sort(ranked_SG[s, :n]) for s, n in enumerate(num_targets_S)])
    num_edges = source_E.size
    main_sign_S = np.where(rng.random(num_tfs) < 0.7, 1, -1)
    sign_E = main_sign_S[source_E] * np.where(rng.random(num_edges) < 0.85, 1, -1)
    return SimulatedNetwork(
        symbols=_symbols(family_S, num_genes, rng),
        num_tfs=num_tfs,
        family_S=family_S,
        program_G=program_G,
        source_E=source_E,
        target_E=target_E,
        sign_E=sign_E.astype(np.int8),
        weight_E=rng.lognormal(np.log(1.5), 0.4, num_edges),
        threshold_E=rng.uniform(0.3, 0.7, num_edges),
        cofactor_E=_cofactors(source_E, target_E, cofactor_share, rng),
    )


def _families(num_tfs: int, rng: np.random.Generator) -> np.ndarray:
    """Families of one to five members, in a row."""
    sizes: list[int] = []
    while sum(sizes) < num_tfs:
        sizes.append(int(rng.choice([1, 2, 3, 4, 5], p=[0.15, 0.2, 0.25, 0.25, 0.15])))
    return np.repeat(np.arange(len(sizes)), sizes)[:num_tfs]


def _cofactors(source_E: np.ndarray, target_E: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """For a share of the edges, another regulator of the same target: regulators meet on a promoter."""
    cofactor_E = np.full(source_E.size, -1, dtype=np.int64)
    wanted_E = rng.random(source_E.size) < share
    for target in np.unique(target_E):
        edges = np.flatnonzero(target_E == target)
        if edges.size > 1:
            # A shift of a random order gives every edge a partner that is not itself.
            order = rng.permutation(edges)
            cofactor_E[order] = source_E[np.roll(order, 1)]
    cofactor_E[~wanted_E] = -1
    return cofactor_E


def _symbols(family_S: np.ndarray, num_genes: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Pronounceable names: four letters and a number for TFs, six letters for other genes; no two alike."""
    stems = _words(int(family_S.max()) + 1, 4, rng)
    member_S = np.arange(family_S.size) - np.searchsorted(family_S, family_S) + 1
    tfs = [f"{stems[family]}{member}" for family, member in zip(family_S, member_S, strict=True)]
    return (*tfs, *_words(num_genes - len(tfs), 6, rng))


def _words(number: int, length: int, rng: np.random.Generator) -> list[str]:
    words: dict[str, None] = {}
    while len(words) < number:
        letters = [_CONSONANTS if i % 2 == 0 else _VOWELS for i in range(length)]
        words["".join(alphabet[rng.integers(len(alphabet))] for alphabet in letters)] = None
    return list(words)
