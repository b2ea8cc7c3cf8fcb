"""Golden losses: the first steps of tiny runs, kept in ``losses.json``; ``python -m tests.golden.regenerate``.

A refactoring must give the same losses. Regenerate only where numbers are meant to change, and say why in the commit.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from grn_cotrain.train.run import train
from tests.worlds import make_world, tiny_recipe

__all__ = ["FILE", "GOLDEN", "losses"]

FILE = Path(__file__).with_name("losses.json")

#: Name -> what departs from the tiny recipe.
GOLDEN: dict[str, dict[str, Any]] = {
    "joint": {},
    "link_only": {"train": {"schedule": {"name": "link_only"}}},
    "mlm_only": {"train": {"schedule": {"name": "mlm_only"}}},
    "coupling=shared": {"model": {"coupling": "shared"}},
    "coupling=residual": {"model": {"coupling": {"name": "residual", "gain": 0.5}}},
    "coupling=gated": {"model": {"coupling": "gated"}},
    "coupling=attention_bias": {"model": {"coupling": "attention_bias"}},
    "graph_encoder=gatv2": {"model": {"graph_encoder": "gatv2"}},
    "link_decoder=residual": {"model": {"link_decoder": "residual"}},
    "loss=ranking": {"objectives": {"masked_value": {}, "link_prediction": {"loss": "ranking"}}},
    "weights": {"graph": {"weights": True}},
    "weights, graph_encoder=gcn": {"graph": {"weights": True}, "model": {"graph_encoder": "gcn"}},
    "weights, graph_encoder=gatv2": {"graph": {"weights": True}, "model": {"graph_encoder": "gatv2"}},
}
#: The simulated network has weights; without them, the losses are those of before weights reached training.
_BASE = {"graph": {"weights": False}}
_STEPS = 4


def losses(world: Path, folder: Path, name: str) -> list[dict[str, float]]:
    """Losses of the first steps of one tiny run in fp32 on one thread, by objective."""
    changes = GOLDEN[name]
    schedule = {**changes.get("train", {}), "max_steps": _STEPS, "validate_every": _STEPS, "threads": 1}
    run = train(tiny_recipe(world, **{**_BASE, **changes, "train": schedule}), folder)
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key.removeprefix("loss/"): value for key, value in record.items() if key.startswith("loss/")}
        for record in records
        if record["kind"] == "train"
    ]


def main() -> None:
    """Write ``losses.json`` again."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        world = make_world(folder / "prep")
        golden = {name: losses(world, folder / f"run{i}", name) for i, name in enumerate(GOLDEN)}
    FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    print(f"written: {FILE.name}, {len(golden)} runs of {_STEPS} steps")


if __name__ == "__main__":
    main()
