"""Regulons and networks: arrows by sign, dashes by novelty, width by weight, the same picture every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch

from grn_cotrain import pl
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.pl._arrows import box_size
from grn_cotrain.pl.theme import BLUE, MUTED, VERMILION


def edges(**changes) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    frame = pd.DataFrame(
        {
            "source": ["A", "A", "A", "B", "B", "C"],
            "target": ["x", "y", "B", "y", "z", "w"],
            "probability": [0.9, 0.5, 0.4, 0.3, 0.2, 0.1],
            "sign": [1, -1, 0, 1, -1, 1],
            "known": ["train", "", "test", "", "", "validation"],
        }
    )
    return frame.assign(**changes)


def arrows(ax) -> list[FancyArrowPatch]:  # type: ignore[no-untyped-def]
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def hexes(patches) -> list[str]:  # type: ignore[no-untyped-def]
    from matplotlib.colors import to_hex

    return [to_hex(patch.get_edgecolor()) for patch in patches]


def legend(ax) -> list[str]:  # type: ignore[no-untyped-def]
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_sign_is_head_and_colour_novelty_is_dashes_weight_is_width() -> None:
    ax = pl.regulon(edges(), "A")
    drawn = arrows(ax)
    assert hexes(drawn) == [BLUE, VERMILION, MUTED]
    assert len({type(patch.get_arrowstyle()).__name__ for patch in drawn}) == 3
    assert [patch.get_linestyle() == "-" for patch in drawn] == [True, False, True]
    widths = [patch.get_linewidth() for patch in drawn]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[-1]
    assert {"activation", "repression", "sign unknown", "known edge", "predicted edge"} <= set(legend(ax))
    assert {"probability 0.9", "probability 0.4"} <= set(legend(ax))
    assert {text.get_text() for text in ax.texts} == {"A", "x", "y", "B"}
    assert ax.get_title(loc="left") == "A: 3 targets"


def test_legend_says_only_what_is_drawn() -> None:
    ax = pl.regulon(edges(sign=1, known="train"), "B", top=1)
    assert legend(ax) == ["activation", "known edge"]
    assert ax.get_title(loc="left") == "B: 1 best of 2 targets"


def test_best_targets_come_first_clockwise_from_the_top() -> None:
    frame = pd.DataFrame({"source": "T", "target": [f"g{i}" for i in range(8)], "score": np.arange(8.0)})
    ax = pl.regulon(frame, "T", top=4)
    names = [text.get_text() for text in ax.texts[1:]]
    assert names == ["g7", "g6", "g5", "g4"]
    places = np.array([text.xy for text in ax.texts[1:]])  # type: ignore[attr-defined]
    np.testing.assert_allclose(places, [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-9)


def test_names_turn_where_there_are_many() -> None:
    frame = pd.DataFrame({"source": "T", "target": [f"gene{i}" for i in range(60)]})
    ax = pl.regulon(frame, "T", top=60)
    turned = [text.get_rotation() % 360 for text in ax.texts[1:]]
    assert len(set(turned)) > 20
    assert all(not 90 < angle < 270 for angle in turned), "no name is upside down"


def test_a_run_a_network_and_a_frame_are_all_taken(tiny_run: Path, tiny_world: Path) -> None:
    grn = Prep.open(tiny_world).grn
    tf = grn.edges["source"].value_counts().index[0]
    predicted = predict_edges(tiny_run, tfs=[tf], top=7, say=lambda text: None)
    from_run = pl.regulon(tiny_run, tf, top=7)
    from_edges = pl.regulon(predicted, tf, top=7)
    assert pl.to_svg(from_run) == pl.to_svg(from_edges)
    known = (predicted.frame["known"] != "").to_numpy()
    assert [patch.get_linestyle() == "-" for patch in arrows(from_run)] == list(known)
    ax = pl.regulon(grn, tf, top=80)
    mine = grn.edges[grn.edges["source"] == tf]
    assert len(arrows(ax)) == len(mine)
    assert all(patch.get_linestyle() == "-" for patch in arrows(ax))


def test_network_draws_every_edge_once_between_its_nodes() -> None:
    ax = pl.network(edges())
    assert len(arrows(ax)) == 6
    assert ax.get_title(loc="left") == "6 edges: 3 TFs, 4 other targets"
    names = {text.get_text() for text in ax.texts if text.get_text()}
    assert names == {"A", "B", "C", "x", "y", "z", "w"}
    assert pl.to_svg(ax) == pl.to_svg(pl.network(edges().sample(frac=1, random_state=0)))
    assert len(arrows(pl.network(edges(), top=2))) == 2
    assert pl.network(edges(), top=2).get_title(loc="left") == "2 best of 6 edges: 1 TF, 2 other targets"
    assert len(arrows(pl.network(edges(), top_per_tf=1))) == 3


def test_boxes_of_tfs_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    names = [f"FACTOR{i}" for i in range(25)]
    frame = pd.DataFrame(
        {"source": rng.choice(names, 60), "target": rng.choice([*names, "t1", "t2", "t3"], 60), "score": rng.random(60)}
    ).drop_duplicates(["source", "target"])
    ax = pl.network(frame, top=60)
    figure = ax.figure
    renderer = figure._get_renderer()  # type: ignore[union-attr]
    boxes = [
        text.get_bbox_patch().get_window_extent(renderer)  # type: ignore[union-attr]
        for text in ax.texts
        if text.get_text() in set(frame["source"])
    ]
    assert len(boxes) == frame[frame["source"] != frame["target"]]["source"].nunique()
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            width, height = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(width, height) < 2


def test_a_run_shows_several_tfs(tiny_run: Path) -> None:
    ax = pl.network(tiny_run, top=12)
    assert len(arrows(ax)) == 12
    count = pd.Series([round(float(a._posA_posB[0][0]), 6) for a in arrows(ax)]).value_counts()  # type: ignore[attr-defined]
    assert count.max() <= 4


def test_size_of_a_box_is_that_of_its_text() -> None:
    from matplotlib.figure import Figure

    figure = Figure(dpi=72)
    text = figure.text(0.5, 0.5, "STAT1", fontsize=20, fontweight="bold")
    across, _ = box_size("STAT1", 20, 0.0)
    assert 2 * across == pytest.approx(text.get_window_extent(figure._get_renderer()).width, rel=0.1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: pl.regulon(edges(), "D"), "tf 'D': no edge leaves it here; 3 TFs have edges"),
        (lambda: pl.regulon(edges(), "A", top=0), "top '0': give 1 to 80"),
        (lambda: pl.regulon(edges().rename(columns={"source": "tf"}), "A"), "the frame has no column source"),
        (lambda: pl.regulon(5, "A"), "edges: got int"),
        (lambda: pl.regulon(pd.DataFrame({"source": ["A"], "target": ["A"]}), "A"), "no target but itself"),
        (lambda: pl.network(edges(), top=301), "top '301': give 1 to 300"),
        (lambda: pl.network(edges(), top_per_tf=0), "top_per_tf '0'"),
        (lambda: pl.network(edges().head(0)), "there is none to draw"),
    ],
)
def test_bad_input_is_refused(draw, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=said):
        draw()


def test_an_unknown_tf_of_a_run_is_named(tiny_run: Path) -> None:
    with pytest.raises(UserError, match="none of 1 names is a gene of the model"):
        pl.regulon(tiny_run, "NOBODY")
    with pytest.raises(UserError, match="no run folder"):
        pl.regulon(tiny_run / "nowhere", "A")
