"""``--controls``: what the words mean, and what bad words say."""

from __future__ import annotations

import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls.select import cost_estimate, parse_controls
from grn_cotrain.errors import UserError
from tests.cases.toy_links import toy_split


def test_words() -> None:
    default, everything = ({control.name for control in parse_controls(word)} for word in ("default", "all"))
    assert everything == set(CONTROLS.names())
    assert default == {c.name for c in CONTROLS.components() if c.cls.cost == "default"}
    assert {"random", "target_degree", "additive_logistic", "pearson"} <= default
    assert parse_controls("none") == []
    chosen = parse_controls("pearson, target-degree", seed=4)
    assert [control.name for control in chosen] == ["pearson", "target_degree"]
    assert chosen[0].seed == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [("pearsn", "did you mean 'pearson'"), ("pearson,pearson", "given twice"), ("pearson,,random", "missing")],
)
def test_bad_words(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_controls(text)


def test_cost_is_told_for_costly_controls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    (random,) = parse_controls("random")
    assert cost_estimate([random], [toy_split()]) is None
    monkeypatch.setattr(type(random), "cost", "costly")
    assert "random ?" in (cost_estimate([random], [toy_split()]) or "")
    monkeypatch.setattr(type(random), "estimate_seconds", lambda *_: 150.0)
    assert "random 5 min; together about 5 min" in (cost_estimate([random], [toy_split()] * 2) or "").replace(
        ", ", "; "
    )
