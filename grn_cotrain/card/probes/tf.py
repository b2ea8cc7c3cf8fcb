"""Probe: is a gene a transcription factor?

A gene with out-edges in the training graph *is* a TF, so among all genes the graph has shown most of the answer, as the
control ``degree`` proves. The second probe asks only about genes without a training out-edge.

Dimension letters: G genes.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.card.probes.base import NotRun, Probe
from grn_cotrain.card.ridge import fold_numbers

__all__ = ["tf_probes"]

_LEAST = 10  # TFs and other genes; fewer cannot be divided into folds that mean anything


def tf_probes(inputs: CardInputs, *, seed: int = 0) -> list[Probe | NotRun]:
    """Both probes; one that has too few TFs reports it."""
    notes = []
    if "tf_family" in inputs.features:
        notes.append(
            "the model was given gene families by symbol (tf_family), which nearly name TFs: the control "
            '"model\'s inputs" shows what they predict alone'
        )
    everyone_G = np.ones(inputs.num_genes, dtype=bool)
    return [
        _probe(
            inputs,
            "tf",
            "TF or not",
            "Is the gene a known TF? (all genes; out-edges of the training graph name TFs, see the control degree.)",
            everyone_G,
            notes,
            seed,
        ),
        _probe(
            inputs,
            "tf_unseen",
            "TF or not, no training out-edge",
            "Is the gene a known TF? (only genes without an out-edge in training: the graph did not show it.)",
            inputs.out_degree_G == 0,
            notes,
            seed,
        ),
    ]


def _probe(
    inputs: CardInputs,
    name: str,
    title: str,
    question: str,
    eligible_G: np.ndarray,
    notes: list[str],
    seed: int,
) -> Probe | NotRun:
    num_tfs, num_others = int((inputs.tf_G & eligible_G).sum()), int((~inputs.tf_G & eligible_G).sum())
    if min(num_tfs, num_others) < _LEAST:
        return NotRun(name, title, question, f"{num_tfs} TFs and {num_others} others; {_LEAST} of each are needed")
    folds_G = np.full(inputs.num_genes, -1, dtype=np.int64)
    folds_G[eligible_G] = fold_numbers(inputs.tf_G[eligible_G], seed=seed)
    return Probe(name, title, question, "claim", ["TF"], inputs.tf_G[:, None], folds_G, notes=notes, is_single=True)
