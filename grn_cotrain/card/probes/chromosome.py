"""Probe and negative control: on which chromosome is a gene?

Neither expression nor regulation should predict it. Families of genes that are neighbours and look alike can
(zinc fingers on chromosome 19, HLA and histones on 6), so a value a little above .5, like the controls, is not a leak;
a value above the controls is.

Dimension letters: G genes, K chromosomes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.card.probes.base import NotRun, Probe
from grn_cotrain.card.ridge import fold_numbers

__all__ = ["chromosome_probe"]

_NAME, _TITLE = "chromosome", "Chromosome (negative control)"
_QUESTION = "On which chromosome is the gene? One against the rest, mean over chromosomes; chance is .5."
_LEAST = 20  # genes; smaller chromosomes are left out
_MITOCHONDRIAL = re.compile(r"(chr)?mt?", re.IGNORECASE)


def chromosome_probe(inputs: CardInputs, chromosomes: Mapping[int, str] | None, *, seed: int = 0) -> Probe | NotRun:
    """The probe.

    Parameters
    ----------
    chromosomes
        Gene index of the vocabulary -> chromosome; None if no annotation was given.
    """
    if chromosomes is None:
        return NotRun(_NAME, _TITLE, _QUESTION, "give --annotation FILE.tsv with columns gene, chrom")
    names_G = np.array([chromosomes.get(int(feature), "") for feature in inputs.feature_G], dtype=object)
    counts = {name: int((names_G == name).sum()) for name in sorted(set(names_G) - {""}, key=_natural)}
    kept = [name for name, count in counts.items() if count >= _LEAST and not _MITOCHONDRIAL.fullmatch(name)]
    if len(kept) < 2:
        return NotRun(
            _NAME, _TITLE, _QUESTION, f"fewer than 2 chromosomes have {_LEAST} genes of the card in the annotation"
        )
    eligible_G = np.isin(names_G, kept)
    folds_G = np.full(inputs.num_genes, -1, dtype=np.int64)
    folds_G[eligible_G] = fold_numbers(names_G[eligible_G].astype(str), seed=seed)
    left_out = [f"{name} ({count})" for name, count in counts.items() if name not in kept]
    notes = [f"{int((names_G == '').sum()):,} of {inputs.num_genes:,} genes are not in the annotation"]
    if left_out:
        notes.append(
            f"left out: {', '.join(left_out)} (fewer than {_LEAST} genes, or mitochondrial, which expression predicts)"
        )
    labels_GK = names_G[:, None] == np.array(kept, dtype=object)[None, :]
    return Probe(_NAME, _TITLE, _QUESTION, "negative control", kept, labels_GK, folds_G, notes=notes)


def _natural(name: str) -> tuple[int, str]:
    """Sort chr2 before chr10."""
    digits = re.search(r"\d+", name)
    return (int(digits.group()) if digits else 1000, name)
