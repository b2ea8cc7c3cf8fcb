"""B3 at quick sizes: both sides compute one function, and a difference would be told."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from experiments.benchmarks import b03_masked_tokens as b03
from experiments.benchmarks.harness import AgreementError, Context


@pytest.mark.slow
def test_rivals_agree_and_a_changed_weight_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = b03.run(Context(quick=True, threads=1))
    if importlib.util.find_spec("transformers") is None:
        assert [row.name for row in rows] == ["BertForMaskedLM"]
        assert "absent" in rows[0].note
        return
    timed = [row for row in rows if row.seconds is not None]
    assert len(timed) >= 4
    assert all(row.ratio is not None and row.ratio > 0 for row in timed if row.name.startswith("Bert"))
    assert all("equal to" in row.note for row in timed if row.name.startswith("packed"))
    build = b03._peer_of

    def spoilt(*arguments: object) -> object:
        peer = build(*arguments)  # type: ignore[arg-type]
        with torch.no_grad():
            peer.bert.encoder.layer[0].output.dense.weight.mul_(2)
        return peer

    monkeypatch.setattr(b03, "_peer_of", spoilt)
    with pytest.raises(AgreementError, match=r"gradient of the names|loss"):
        b03.run(Context(quick=True, threads=1))
