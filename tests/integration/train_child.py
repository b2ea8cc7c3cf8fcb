"""Training processes that kill themselves with SIGKILL: ``python -m tests.integration.train_child``.

Reads a request a line, ``{"recipe": PATH, "out": PATH, "step": N}``, and forks a process that trains (or resumes) and
kills itself after step N; answers with the signal that ended it. What takes seconds to import is imported once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
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


def main() -> None:
    """Serve until there are no more requests."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                train(load_recipe(request["recipe"]), request["out"], resume=True, reporter=_Killer(request["step"]))
            except BaseException:
                traceback.print_exc()
            os._exit(1)  # it should not have come so far
        _, status = os.waitpid(child, 0)
        print(json.dumps({"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None}), flush=True)


if __name__ == "__main__":
    main()
