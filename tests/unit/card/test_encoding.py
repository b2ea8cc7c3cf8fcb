"""An embedding of degree or expression alone must be called by that name."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.card.basis import curve, curves
from grn_cotrain.card.encoding import Encoding, encoding_of, norms_of
from grn_cotrain.card.vectors import nearest

G, D = 600, 12
GENERATOR = np.random.default_rng(0)
OUT = np.where(GENERATOR.random(G) < 0.1, GENERATOR.integers(1, 200, G), 0)
IN = GENERATOR.poisson(GENERATOR.gamma(1, 4, G))
EXPRESSION = GENERATOR.gamma(0.5, 1, G)
NOISE = GENERATOR.standard_normal((G, D))


def waves(*numbers: np.ndarray) -> np.ndarray:
    """Smooth curves in D dimensions of the numbers given: nothing else is in there."""
    generator = np.random.default_rng(1)
    joined = np.stack(numbers, axis=1) @ generator.standard_normal((len(numbers), D))
    return np.cos(joined + generator.uniform(0, 6, D))


def encode(values: np.ndarray, expression: np.ndarray | None = EXPRESSION, degree: np.ndarray = IN) -> Encoding:
    features = {"embedding": values, "random": np.random.default_rng(2).standard_normal(values.shape)}
    neighbours = {name: nearest(rows, 10)[0] for name, rows in features.items()}
    out = OUT if degree.any() else np.zeros(G, dtype=int)
    return encoding_of(features, neighbours, degree, out, expression, replicates=50)


def test_degree_alone_is_degree() -> None:
    found = encode(waves(np.log1p(IN)) + 0.05 * NOISE)
    assert found.verdict == "degree"
    assert found.words.startswith("MOSTLY DEGREE")
    assert found.share["degree"].value > 0.9 > 0.5 > found.share["expression"].value
    assert found.share["degree"].low <= found.share["degree"].value <= found.share["degree"].high
    assert found.neighbour_degree["embedding"] > 0.6 > 0.2 > abs(found.neighbour_degree["random"])


def test_expression_alone_is_expression() -> None:
    found = encode(waves(EXPRESSION) + 0.05 * NOISE)
    assert found.verdict == "expression"
    assert "MEAN EXPRESSION" in found.words


def test_their_mixture_is_named_so() -> None:
    values = np.concatenate([waves(np.log1p(IN)), waves(EXPRESSION)], axis=1) + 0.05 * np.concatenate([NOISE, NOISE], 1)
    values[:, :D] -= values[:, :D].mean(0)
    values[:, D:] -= values[:, D:].mean(0)
    values[:, :D] /= np.linalg.norm(values[:, :D])
    values[:, D:] /= np.linalg.norm(values[:, D:])
    found = encode(values)
    assert found.share["both"].value > 0.9
    assert found.verdict in ("degree and expression", "degree", "expression")
    alone = max(found.share["degree"].value, found.share["expression"].value)
    assert alone < 0.65 < found.share["both"].value


def test_the_mere_presence_in_the_network_is_told_apart() -> None:
    inside = np.where(np.arange(G) < 200, 3, 0)
    values = NOISE + 4 * (inside > 0)[:, None]
    features = {"embedding": values, "random": NOISE}
    neighbours = {name: nearest(rows, 10)[0] for name, rows in features.items()}
    found = encoding_of(features, neighbours, inside, np.zeros(G, dtype=int), None, replicates=20)
    assert found.share["network"].value == pytest.approx(found.share["degree"].value, abs=0.01)
    assert found.verdict == "degree"
    assert "in the training network at all explains" in found.words
    assert "network" not in encode(NOISE, None, IN + 1).share  # every gene is in it


def test_a_degree_that_sits_in_the_directions_alone_is_seen() -> None:
    """Rows of very different length hide it from the variance of rows, but cosines see it."""
    length = np.exp(3 * np.random.default_rng(8).standard_normal(G))[:, None]
    found = encode(waves(np.log1p(IN)) * length)
    assert found.share["degree"].value < 0.5
    assert found.verdict == "degree"


def test_noise_is_neither() -> None:
    found = encode(NOISE)
    assert found.verdict == "neither"
    assert all(abs(share.value) < 0.1 for share in found.share.values())
    assert found.words.startswith("Neither degree nor mean expression")


def test_degree_in_one_direction_of_many_is_readable_but_not_all() -> None:
    values = NOISE.copy()
    values[:, 0] = np.log1p(IN + OUT) - np.log1p(IN + OUT).mean()
    found = encode(values)
    assert found.verdict == "readable"
    assert found.readable["degree"]["embedding"].value > 0.9 > found.readable["degree"]["random"].value
    assert "R2" in found.words


def test_without_network_and_expression_nothing_is_judged() -> None:
    found = encode(NOISE, None, np.zeros(G, dtype=int))
    assert found.share == {}
    assert found.words.startswith("Not judged")
    alone = encode(waves(EXPRESSION), EXPRESSION, np.zeros(G, dtype=int))
    assert alone.verdict == "expression"


def test_norms() -> None:
    unit = NOISE / np.linalg.norm(NOISE, axis=1, keepdims=True)
    found = norms_of(unit * (1 + IN)[:, None], IN, EXPRESSION)
    assert found.spearman_degree > 0.99  # rounding parts genes of equal degree
    assert found.minimum == pytest.approx(1 + IN.min(), rel=1e-6)
    assert found.maximum == pytest.approx(1 + IN.max(), rel=1e-6)
    assert abs(found.spearman_expression) < 0.15
    assert np.isnan(norms_of(unit, np.zeros(G), None).spearman_degree)


def test_curves_hold_what_no_line_does() -> None:
    x = np.linspace(-1, 1, 200)
    basis = curve(x)
    fitted = basis @ np.linalg.lstsq(basis, np.abs(x) - np.abs(x).mean(), rcond=None)[0]
    assert np.corrcoef(fitted, np.abs(x))[0, 1] > 0.99
    assert curves(x, x**2).shape[1] == 2 * basis.shape[1] + 1
    np.testing.assert_array_equal(curve(np.zeros(5)), np.zeros((5, 2)))
