"""Sums are added and divided once; a mean of means would weigh small micro-batches too much."""

from __future__ import annotations

import pytest
import torch

from grn_cotrain.objectives import LossOutput, Sum
from grn_cotrain.train.tally import Tally


def output(total: float, count: int, accuracy: float, zeros: tuple[float, int] = (0.0, 0)) -> LossOutput:
    parts = {"error": Sum(torch.tensor(total), count), "zeros": Sum(torch.tensor(zeros[0]), zeros[1], 0.5)}
    return LossOutput(parts, count, {"accuracy": accuracy})


def test_every_item_counts_alike_over_micro_batches_and_processes() -> None:
    first, second = Tally(), Tally()
    first.add({"m": output(6.0, 2, 1.0, (3.0, 1))})
    second.add({"m": output(6.0, 10, 0.4, (5.0, 3))})
    second.add({"m": output(0.0, 0, float("nan"))})
    second.num_cells, first.num_tokens = 3, 7
    report = Tally.of([first, second]).report()
    assert report.parts == pytest.approx({"m/error": 1.0, "m/zeros": 2.0, "m/accuracy": 6 / 12})
    assert report.losses == pytest.approx({"m": 1.0 + 0.5 * 2.0})
    assert (report.num_cells, report.num_tokens) == (3, 7)


def test_a_part_without_items_is_zero() -> None:
    tally = Tally()
    tally.add({"m": output(0.0, 0, 0.0)})
    assert tally.losses == {"m": 0.0}
    assert float(output(4.0, 2, 0.0).loss) == 2.0
