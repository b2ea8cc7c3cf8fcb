"""A real training process that kills itself with SIGKILL after a given step: ``python -m ... RECIPE OUT STEP``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from grn_cotrain.recipe import load_recipe
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.run import train


class _Killer(LogReporter):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, step: int, record: dict[str, Any]) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    train(load_recipe(sys.argv[1]), sys.argv[2], resume=True, reporter=_Killer(int(sys.argv[3])))
