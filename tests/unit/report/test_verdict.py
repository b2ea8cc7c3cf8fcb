"""The sentence that a report begins with says what the interval says, and no more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.evaluate.bootstrap import MIN_TFS
from grn_cotrain.evaluate.link_table import COLUMNS, LinkTable
from grn_cotrain.report.verdict import split_in_words, verdicts


def table(change: float, *, spread: float = 0.01, num_tfs: int = 40, controls: bool = True) -> LinkTable:
    """A model that is ``change`` above its control, with replicates of the difference within ``spread``."""
    scorers = [("joint", "model", 0.7 + change), ("kernel_ridge", "control", 0.7), ("random", "control", 0.5)]
    scorers = scorers if controls else scorers[:1]
    rows = [
        {
            **dict.fromkeys(COLUMNS, ""),
            "split": "unseen-tf-visible-seed0-fold0",
            "scorer": name,
            "kind": kind,
            "metric": "macro_auroc",
            "value": value,
            "low": value,
            "high": value,
            "num_tfs": num_tfs,
            "num_pairs": 100,
            "prevalence": 0.1,
            "seconds": 0.0,
            "seed": 0,
            "candidates": "all",
        }
        for name, kind, value in scorers
    ]
    noise_B = np.linspace(-spread, spread, 101)
    replicates_LB = np.stack([value + (noise_B if kind == "model" else 0 * noise_B) for _, kind, value in scorers])
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    split = "unseen-tf-visible-seed0-fold0"
    return LinkTable(frame, replicates_LB, {split: "key"}, two_way=False, headline_split=split)


@pytest.mark.parametrize(
    ("change", "num_tfs", "outcome", "words"),
    [
        (0.05, 40, "better", "beats its best control"),
        (-0.05, 40, "worse", "does not beat its best control: it is worse"),
        (0.005, 40, "level", "does not beat its best control: the two cannot be distinguished"),
        (0.05, MIN_TFS - 1, "open", "scores above its best control, but on too few TFs for a claim"),
        (-0.05, MIN_TFS - 1, "open", "does not beat its best control: it scores below it, on too few TFs for a claim"),
        (0.005, MIN_TFS - 1, "open", "does not beat its best control: the two cannot be distinguished"),
    ],
)
def test_verdict_follows_the_paired_interval(change: float, num_tfs: int, outcome: str, words: str) -> None:
    (verdict,) = verdicts(table(change, num_tfs=num_tfs))
    assert verdict.outcome == outcome
    assert f"<strong>{words}</strong>" in verdict.sentence
    assert f"{0.7 + change:.3f} against 0.700 of kernel_ridge" in verdict.sentence
    assert any("so few TFs" in caveat for caveat in verdict.caveats) == (num_tfs < MIN_TFS)
    assert any("3 seeds" in caveat for caveat in verdict.caveats) == (outcome == "better"), "one run is no claim"


def test_only_a_clear_gain_looks_good() -> None:
    tones = [verdicts(table(change))[0].tone for change in (0.05, 0.005, -0.05)]
    assert tones == ["good", "caution", "bad"]


def test_without_controls_nothing_is_said() -> None:
    (verdict,) = verdicts(table(0.05, controls=False))
    assert verdict.outcome == "open"
    assert "no verdict" in verdict.sentence


def test_the_split_is_told_in_words() -> None:
    assert split_in_words("unseen-target-seed0") == "genes none of whose regulators were trained on"
    assert split_in_words("unseen-tf-visible-seed0-5folds") == "TFs none of whose links were trained on"
    assert split_in_words("mine") == "held-out links"
