"""What probabilities promise and what is seen, said in a sentence that is computed from the bins."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from grn_cotrain.evaluate.calibration import calibration_sentence, wilson
from grn_cotrain.report.inputs import ReportInputs
from grn_cotrain.report.sections import curves as section
from tests.unit.compare.tables import link_table


def bins(*rows: tuple[float, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["x", "y", "n"])


def test_wilson_is_the_interval_of_statsmodels() -> None:
    # proportion_confint(3, 50, method="wilson") and (0, 20)
    low, high = wilson(np.array([3 / 50, 0.0]), np.array([50, 20]))
    np.testing.assert_allclose(low, [0.020617, 0.0], atol=1e-5)
    np.testing.assert_allclose(high, [0.162191, 0.161130], atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [(0.01, 0.004, 10_000), (0.05, 0.02, 1_000), (0.14, 0.07, 500)],
            "Probabilities of joint are above what is seen in every bin: they are too high. "
            "Over all pairs 0.019 is promised and 0.0083 is seen; in the highest bin 0.14 is promised and 0.07 is "
            "seen. 3 of the 3 bins differ by more than chance (95 % intervals).",
        ),
        (
            [(0.01, 0.02, 10_000), (0.1, 0.2, 1_000)],
            "Probabilities of joint are below what is seen in every bin: they are too low. "
            "Over all pairs 0.018 is promised and 0.036 is seen; in the highest bin 0.1 is promised and 0.2 is seen. "
            "2 of the 2 bins differ by more than chance (95 % intervals).",
        ),
        (
            [(0.011, 0.01, 100), (0.11, 0.1, 20)],
            "Probabilities of joint are above what is seen in every bin, but by no more than chance explains. "
            "Over all pairs 0.028 is promised and 0.025 is seen; in the highest bin 0.11 is promised and 0.1 is seen.",
        ),
        (
            [(0.01, 0.011, 1000), (0.1, 0.095, 200)],
            "Probabilities of joint agree with what is seen: no bin differs by more than chance (95 % intervals). "
            "Over all pairs 0.025 is promised and 0.025 is seen; in the highest bin 0.1 is promised and 0.095 is seen.",
        ),
        (
            [(0.01, 0.05, 1000), (0.1, 0.1, 200), (0.5, 0.1, 200)],
            "Probabilities of joint agree with what is seen in 1 of 3 bins; they are too high in 1 and too low in 1 "
            "(95 % intervals). Over all pairs 0.093 is promised and 0.064 is seen; in the highest bin 0.5 is promised "
            "and 0.1 is seen.",
        ),
    ],
)
def test_the_sentence_follows_the_bins(rows: list[tuple[float, float, int]], said: str) -> None:
    assert calibration_sentence(bins(*rows), "joint") == said
    assert calibration_sentence(bins(*rows[::-1]), "joint") == said, "whatever order the bins come in"


def test_most_bins_beyond_chance_on_one_side_are_enough() -> None:
    said = calibration_sentence(bins((0.001, 0.0011, 9000), (0.05, 0.02, 1_000), (0.14, 0.07, 500)))
    assert said.startswith("Probabilities are above what is seen in 2 of 3 bins: they are too high.")
    assert "2 of the 3 bins differ by more than chance" in said


def test_many_bins_within_chance_add_up() -> None:
    rows = [(0.02, 0.012, 500)] * 10
    assert "they are too high" in calibration_sentence(bins(*rows))
    assert "0 of the 10 bins differ" in calibration_sentence(bins(*rows))
    assert "by no more than chance" in calibration_sentence(bins(*rows[:1]))


def test_nothing_is_said_of_nothing() -> None:
    assert calibration_sentence(bins()) == ""
    assert calibration_sentence(bins((0.1, 0.1, 0))) == ""


def test_terminal_and_report_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("s", "joint", "model", "calibration", *row) for row in ((0.01, 0.004, 10_000), (0.14, 0.07, 500))]
    rows.append(("s", "ridge", "control", "calibration", 0.5, 0.1, 1000))
    frame = pd.DataFrame(rows, columns=["split", "scorer", "kind", "curve", "x", "y", "n"])
    table = dataclasses.replace(link_table({"joint": ("model", 0.8), "ridge": ("control", 0.5)}), curves=frame)
    (said,) = table.calibration()
    assert "0.14 is promised and 0.07 is seen" in said
    out = io.StringIO()
    table.render(Console(file=out, width=200))
    assert said in out.getvalue().splitlines()
    monkeypatch.setattr(section, "draw", lambda plot, **words: section.Text("figure"))
    blocks = section.section(ReportInputs([], [("t", table)])).blocks
    columns = next(block for block in blocks if block.kind == "columns")
    assert [block.text for _, inside in columns.items for block in inside] == ["figure", said]  # type: ignore[attr-defined]
    assert dataclasses.replace(table, curves=None).calibration() == []
