"""How much of the demo's literature network do public priors confirm? Prints the counts that its header quotes.

Run ``python -m experiments.studies.check_blood_network`` with ``GRN_COTRAIN_DATA`` set; the folder must hold
``grn_priors`` and ``tf_lists``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_prep.demo import MIN_TARGETS, blood_network, pbmc_counts
from grn_cotrain.config import expand_environment

__all__ = ["confirmations", "main", "prior_pairs"]


def prior_pairs(folder: Path) -> dict[str, set[tuple[str, str]]]:
    """(TF, target) pairs of each prior, upper case: DoRothEA down to confidence C, TRRUST of both species."""
    collectri = pd.read_csv(folder / "collectri_human_from_omnipath.tsv.gz", sep="\t", dtype=str)
    dorothea = pd.read_csv(folder / "dorothea_hs.tsv.gz", sep="\t", dtype=str)
    human = pd.read_csv(folder / "trrust_v2_human.tsv.gz", sep="\t", dtype=str)
    mouse = pd.read_csv(folder / "trrust_v2_mouse.tsv.gz", sep="\t", dtype=str)
    dorothea = dorothea[dorothea["confidence"].isin(["A", "B", "C"])]

    def pairs(frame: pd.DataFrame, source: str, target: str) -> set[tuple[str, str]]:
        kept = frame[[source, target]].dropna()
        return set(zip(kept[source].str.upper(), kept[target].str.upper(), strict=True))

    return {
        "CollecTRI": pairs(collectri, "source_symbol", "target_symbol"),
        "DoRothEA A-C": pairs(dorothea, "tf", "target"),
        "TRRUST (human or mouse)": pairs(human, "TF", "target") | pairs(mouse, "TF", "target"),
    }


def confirmations(network: pd.DataFrame, priors: dict[str, set[tuple[str, str]]]) -> dict[str, int]:
    """Number of edges of ``network`` in each prior, and in any of them (key ``any``)."""
    pairs = list(zip(network["source"], network["target"], strict=True))
    counts = {name: sum(pair in known for pair in pairs) for name, known in priors.items()}
    counts["any"] = sum(any(pair in known for known in priors.values()) for pair in pairs)
    return counts


def main() -> None:
    """Print counts by prior, TFs by number of targets, and the edges that no prior holds."""
    data = Path(expand_environment("${GRN_COTRAIN_DATA}"))
    network = blood_network()
    priors = prior_pairs(data / "grn_priors")
    counts = confirmations(network, priors)
    for name, count in counts.items():
        print(f"{name}: {count} of {len(network)} edges")

    genes = set(pbmc_counts().var_names)
    factors = set((data / "tf_lists" / "lambert2018.txt").read_text().split())
    outside = sorted(set(network["source"]) - factors)
    by_factor = network["source"].value_counts()
    print(
        f"genes: {len(genes)}, of them {len(genes & factors)} TFs of Lambert 2018; sources outside that list: {outside}"
    )
    print(f"TFs with at least {MIN_TARGETS} targets: {(by_factor >= MIN_TARGETS).sum()} of {len(by_factor)}")
    known = set().union(*priors.values())
    for row in network.itertuples():
        if (row.source, row.target) not in known:
            print(f"only in the paper: {row.source} -> {row.target} ({row.reference})")


if __name__ == "__main__":
    main()
