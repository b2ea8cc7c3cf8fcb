"""Axes given and made, SVG as a page takes it in, and no colour that a page could not replace."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grn_cotrain import pl
from grn_cotrain.pl import theme
from tests.unit.pl.test_attention import edges as attention_edges
from tests.unit.pl.test_sparsity import levels

DRAW: dict[str, Callable[..., Axes]] = {
    "losses": lambda run, **o: pl.losses(run, **o),
    "controls": lambda run, **o: pl.controls(run, **o),
    "roc": lambda run, **o: pl.link_curves(run, **o),
    "pr": lambda run, **o: pl.link_curves(run, kind="pr", **o),
    "calibration": lambda run, **o: pl.link_curves(run, kind="calibration", **o),
    "gene_embedding": lambda run, **o: pl.gene_embedding(run, basis="pca", **o),
    "regulon": lambda run, **o: pl.regulon(edges(), "A", **o),
    "network": lambda run, **o: pl.network(edges(), **o),
    "attention": lambda run, **o: pl.attention(attention_edges(), "TF", **o),
    "sparsity": lambda run, **o: pl.sparsity(levels(), **o),
    "power": lambda run, **o: pl.power(run, **o),
}


def edges() -> pd.DataFrame:
    """Two TFs, four targets, every sign, known and new."""
    return pd.DataFrame(
        {
            "source": ["A", "A", "A", "B", "B"],
            "target": ["x", "y", "B", "y", "z"],
            "probability": [0.9, 0.5, 0.4, 0.3, 0.1],
            "sign": [1, -1, 0, 1, -1],
            "known": ["train", "", "test", "", ""],
        }
    )


def test_every_function_is_drawn_here() -> None:
    functions = set(pl.__all__) - {"to_svg", "embedding_coordinates", "link_curves"}
    assert functions == set(DRAW) - {"roc", "pr", "calibration"}


@pytest.mark.parametrize("name", DRAW)
def test_axes_that_are_given_are_drawn_on_and_returned(name: str, evaluated: Path) -> None:
    figure = Figure(figsize=(4, 3))
    left, right = figure.subplots(1, 2)
    assert DRAW[name](evaluated, ax=right) is right
    assert right.has_data()
    assert not left.has_data()


@pytest.mark.parametrize("name", DRAW)
def test_svg_is_one_element_with_text_as_text_and_the_same_every_time(name: str, evaluated: Path) -> None:
    svg = pl.to_svg(DRAW[name](evaluated))
    assert svg.startswith("<svg")
    root = ET.fromstring(svg)
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert len(texts) >= 5
    assert pl.to_svg(DRAW[name](evaluated)) == svg
    # Black and white would stay as they are on a dark page.
    assert not re.search(r"(fill|stroke): ?#(000000|ffffff|000|fff)\b", svg)
    assert theme.INK in svg


@pytest.mark.parametrize("name", DRAW)
def test_figures_are_transparent_and_not_those_of_pyplot(name: str, evaluated: Path) -> None:
    ax = DRAW[name](evaluated)
    figure = ax.figure
    assert isinstance(figure, Figure)
    assert figure.get_facecolor()[3] == 0
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", ["regulon", "network", "controls", "losses", "roc"])
def test_no_text_lies_on_another(name: str, evaluated: Path) -> None:
    ax = DRAW[name](evaluated)
    figure = ax.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    renderer = figure._get_renderer()  # type: ignore[union-attr]
    texts = [text for text in [*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels()] if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_visible()]
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            overlap = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(overlap) < 1.5, (texts[i].get_text(), overlap)


def test_neutral_colours_are_their_own() -> None:
    names = [value for name, value in vars(theme).items() if name.isupper() and isinstance(value, str)]
    hexes = [value for value in names if value.startswith("#")]
    assert set(theme.THEME.values()) <= set(hexes)
    for colour in theme.THEME.values():
        assert hexes.count(colour) == 1
        assert len({colour[i : i + 2] for i in (1, 3, 5)}) > 1  # no plain grey, which others use too


def test_with_a_window_the_figure_is_shown_by_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    monkeypatch.setattr(mpl, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    with theme.style():
        ax = theme.new_axes(3, 2)
    assert plt.get_fignums() == [ax.figure.number]  # type: ignore[union-attr]
    np.testing.assert_allclose(ax.figure.get_size_inches(), (3, 2))  # type: ignore[union-attr]
    plt.close(ax.figure)  # type: ignore[arg-type]
