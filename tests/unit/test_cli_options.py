"""Options that several commands share say the same everywhere."""

from __future__ import annotations

import pytest

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.errors import UserError
from grn_cotrain.options import pair

SEEDED = {
    "generate": ("generate", "RUN", "c.h5ad", "--out", "o.h5ad"),
    "perturb": ("perturb", "RUN", "--gene", "A", "--out", "o.tsv"),
    "evaluate attention": ("evaluate", "attention", "RUN", "--out", "o"),
    "finetune": ("finetune", "RUN", "c.h5ad", "--label", "type", "--out", "o"),
    "extend": ("extend", "RUN", "--out", "o"),
    "card": ("card", "RUN"),
}


@pytest.mark.parametrize("command", SEEDED)
@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_out_of_range_is_one_line(command: str, seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, [*SEEDED[command], "--seed", seed]) == 2
    assert capsys.readouterr().err == f"error: --seed '{seed}': give 0 to 4294967295\n"


def test_a_pair_is_a_column_and_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert pair("cell_type=B=2") == ("cell_type", "B=2")
    for text in ("cell_type", "=B", "cell_type=", ""):
        with pytest.raises(UserError, match=r"^give COLUMN=VALUE"):
            pair(text)
        assert run_app(app, ["perturb", "RUN", "--gene", "A", "--out", "o.tsv", "--only", text]) == 2
        assert capsys.readouterr().err.startswith(f"error: --only '{text}': give COLUMN=VALUE")
