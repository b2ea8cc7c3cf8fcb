"""The demo network's header says what the priors confirm."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path

import pytest

from data_prep.demo import blood_network, pbmc_counts
from experiments.studies.check_blood_network import confirmations, prior_pairs


@pytest.mark.real
def test_header_quotes_the_counts(real_data: Path) -> None:
    network = blood_network()
    counts = confirmations(network, prior_pairs(real_data / "grn_priors"))
    text = (importlib.resources.files("data_prep.demo") / "blood_network.tsv").read_text(encoding="utf-8")
    header = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for name, count in counts.items():
        quoted = re.search(rf"{re.escape(name)}(?: of them)? (\d+)", header)
        assert quoted is not None, name
        assert int(quoted.group(1)) == count, name
    assert f"of {len(network)} edges" in header
    assert f"the other {len(network) - counts['any']} rest" in header


@pytest.mark.real
def test_every_source_is_a_tf(real_data: Path) -> None:
    factors = set((real_data / "tf_lists" / "lambert2018.txt").read_text().split())
    assert set(blood_network()["source"]) <= factors
    assert len(factors & set(pbmc_counts().var_names)) == 33
