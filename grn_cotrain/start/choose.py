"""Settings for a first run, each with the reason why it was chosen.

Dimension letters: E edges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grn_cotrain.data.edge_split import EdgeSplit, SplitKind
from grn_cotrain.data.splits import make_split
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import MIN_TFS

if TYPE_CHECKING:
    import pandas as pd

    from grn_cotrain.data.grn import GRN

__all__ = ["Choice", "choose_genes", "choose_split", "choose_tokens", "roles_of_columns"]

MOST_GENES = 5000
"""With more genes, variable ones are chosen: training time grows with the genes that cells show."""
VARIABLE_GENES = 2000
_KINDS: tuple[SplitKind, ...] = ("unseen-target", "unseen-tf", "random")  # the hardest question first
_TOKENS = (64, 128, 256, 512, 1024)
_MOST_VALUES = 100  # a column with more values is an identifier, not a group
_ROLES = {
    "batch": re.compile(
        r"batch|donor|sample|patient|replicate|library|lane|dataset|source_file|study|plate|individual"
    ),
    "condition": re.compile(r"condition|stim|treat|perturb|disease|time|group|genotype|dose|guide"),
    "cell type": re.compile(r"cell.?type|annot|label|cluster|louvain|leiden|lineage|cell.?line"),
}


@dataclass(frozen=True)
class Choice:
    """A setting: its ``value`` as the recipe writes it, and ``why`` in a sentence."""

    value: str
    why: str


def choose_split(grn: GRN, given: SplitKind | None = None) -> tuple[SplitKind, Choice]:
    """Choose the edges that are held out: targets, else TFs, else random edges; counts of tested TFs decide.

    Parameters
    ----------
    grn
        The network.
    given
        The kind of split, where the caller has chosen.

    Returns
    -------
    tuple
        The kind, and the name of the split with the reason.

    Raises
    ------
    UserError
        The network is too small for any split, or for the given one.
    """
    made: dict[SplitKind, EdgeSplit] = {}
    problem: UserError | None = None
    for kind in _KINDS if given is None else (given,):
        try:
            made[kind] = make_split(grn, kind)[0]
        except UserError as error:
            problem = error
    tested = {kind: np.unique(split.positives("test")[0]).size for kind, split in made.items()}
    tested = {kind: number for kind, number in tested.items() if number}
    if not tested:
        raise UserError(f"EDGES: the network cannot be split ({problem}); give a larger network")
    enough = [kind for kind in tested if tested[kind] >= MIN_TFS]
    chosen = enough[0] if enough else max(tested, key=lambda kind: tested[kind])
    others = ", ".join(f"{kind}: {number:,}" for kind, number in tested.items() if kind != chosen)
    targets = np.unique(made[chosen].positives("test")[1]).size
    why = f"{tested[chosen]:,} TFs are tested on {targets:,} targets"
    if chosen == "unseen-target":
        why += " without a known regulator"
    elif chosen == "unseen-tf":
        why += ", none of which is known in training"
    if others:
        why += f" (tested TFs of other splits: {others})"
    if not enough:
        why += f"; fewer than {MIN_TFS} TFs support no claim"
    return chosen, Choice(made[chosen].name, why)


def choose_genes(num_genes: int, num_network_genes: int) -> Choice:
    """Choose between all genes and variable ones with the genes of the network."""
    if num_genes <= MOST_GENES:
        return Choice("all", f"there are {num_genes:,}, at most {MOST_GENES:,}")
    return Choice(
        f"hvg:{VARIABLE_GENES}+tf+targets",
        f"the {VARIABLE_GENES:,} most variable of {num_genes:,} genes and all {num_network_genes:,} genes of the"
        " network: variable genes alone would lose most edges",
    )


def choose_tokens(values_per_cell: Sequence[int]) -> Choice:
    """Choose the number of values of a cell that the encoder reads, from the number of values that each cell has."""
    median = int(np.median(np.asarray(values_per_cell)))
    chosen = next((size for size in _TOKENS if size > median), _TOKENS[-1])
    return Choice(str(chosen), f"a cell has {median:,} values (median)")


def roles_of_columns(obs: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of ``obs`` that group cells, by role; those whose name shows none are under ``other``.

    Each is written as ``name (number of values)``. Nothing is decided from them.
    """
    found: dict[str, list[str]] = {}
    for name in obs.columns:
        column = obs[name]
        number = int(column.nunique())
        if (
            not 2 <= number <= _MOST_VALUES
            or str(column.dtype).startswith("float")
            or str(name).startswith(("has_", "present_"))
        ):
            continue
        role = next((role for role, pattern in _ROLES.items() if pattern.search(str(name).lower())), "other")
        found.setdefault(role, []).append(f"{name} ({number})")
    return found
