"""Probe: can a linear map recognise the members of a pathway from gene vectors, when some members are left out?

Dimension letters: G genes, K pathways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from grn_cotrain.card.inputs import CardInputs
from grn_cotrain.card.probes.base import NotRun, Probe
from grn_cotrain.card.ridge import fold_numbers

__all__ = ["pathway_probe"]

_NAME, _TITLE = "pathways", "Pathway membership, genes left out"
_QUESTION = "Is the gene a member of the pathway? Fitted on some members, tested on others; mean over pathways."
_LEAST = 10  # members among the genes of the card
_LARGEST = 0.5  # share of the genes: larger sets are not pathways
_MOST = 200


def pathway_probe(inputs: CardInputs, pathways: Mapping[str, Sequence[int]] | None, *, seed: int = 0) -> Probe | NotRun:
    """The probe.

    Parameters
    ----------
    pathways
        Name -> gene indices of the vocabulary; None if no file was given.
    """
    if pathways is None:
        return NotRun(_NAME, _TITLE, _QUESTION, "give --pathways FILE.gmt")
    labels = {name: np.isin(inputs.feature_G, np.asarray(members)) for name, members in pathways.items()}
    fitting = {
        name: label_G for name, label_G in labels.items() if _LEAST <= label_G.sum() <= _LARGEST * inputs.num_genes
    }
    if not fitting:
        return NotRun(
            _NAME, _TITLE, _QUESTION, f"none of {len(labels):,} pathways has {_LEAST} members among the card's genes"
        )
    names = sorted(fitting, key=lambda name: (-int(fitting[name].sum()), name))[:_MOST]
    notes = []
    if len(labels) > len(fitting):
        notes.append(
            f"{len(labels) - len(fitting):,} of {len(labels):,} pathways have fewer than {_LEAST} members here"
        )
    if len(fitting) > _MOST:
        notes.append(f"the {_MOST} largest of {len(fitting):,}")
    folds_G = fold_numbers(np.zeros(inputs.num_genes), seed=seed)
    labels_GK = np.stack([fitting[name] for name in names], axis=1)
    return Probe(_NAME, _TITLE, _QUESTION, "claim", names, labels_GK, folds_G, notes=notes)
