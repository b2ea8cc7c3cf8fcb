"""Rows of a printed link table: what prints the same is one row that names all, on the terminal and in the report."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from grn_cotrain.evaluate.link_rows import link_rows
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.report.sections.links import Source, _main_table
from tests.unit.compare.tables import link_table

SAME = ("adamic_adar", "common_neighbours", "knn_both", "knn_expression", "knn_family", "matrix_factorisation")


def table(**changes: tuple[str, float]) -> LinkTable:
    values = {"joint": ("model", 0.8), "best": ("control", 0.9), **dict.fromkeys(SAME, ("control", 0.5))}
    return link_table({**values, "random": ("control", 0.4), **changes})


def labels(found: LinkTable) -> list[str]:
    return [row.label for row in link_rows([("", found.frame)], "all")]


def text_of(found: LinkTable, *, terminal: bool = False, width: int = 200) -> str:
    stream = io.StringIO()
    found.render(Console(file=stream, force_terminal=terminal, width=width, color_system=None))
    return stream.getvalue()


def test_equal_controls_are_one_row_that_names_all() -> None:
    assert labels(table()) == ["joint (model)", "best", f"{', '.join(SAME)} (6 equal)", "random"]
    assert link_rows([("", table().frame)], "all")[2].names == SAME


def test_what_differs_in_a_printed_digit_keeps_its_row() -> None:
    found = table()
    frame = found.frame.copy()
    here = (frame["scorer"] == "knn_both") & (frame["metric"] == "auprc")
    frame.loc[here, "high"] += 0.001  # the end of one interval
    apart = dataclasses.replace(found, frame=frame)
    assert "knn_both" in labels(apart)
    assert f"{', '.join(name for name in SAME if name != 'knn_both')} (5 equal)" in labels(apart)
    frame.loc[here, "high"] -= 0.001 - 1e-7  # no reader sees this
    assert labels(dataclasses.replace(found, frame=frame)) == labels(found)


def test_minus_nothing_and_nothing_are_printed_alike() -> None:
    assert labels(link_table({"a": ("control", -0.0), "b": ("control", 0.0)})) == ["a, b (2 equal)"]


def test_missing_values_are_equal_to_missing_values_alone() -> None:
    found = link_table({"a": ("control", np.nan), "b": ("control", np.nan), "c": ("control", 0.5)})
    assert labels(found) == ["c", "a, b (2 equal)"]


@pytest.mark.parametrize("kind", ["model", "ablation", "read-out"])
def test_models_are_never_folded(kind: str) -> None:
    found = table(other=(kind, 0.5), same=(kind, 0.5))
    assert [name for name in labels(found) if kind in name and "joint" not in name] == [
        f"other ({kind})",
        f"same ({kind})",
    ]


def test_controls_of_several_runs_appear_once_and_models_carry_their_run() -> None:
    rows = link_rows([("A", table().frame), ("B", table().frame)], "all")
    assert [row.label for row in rows][:3] == ["A: joint (model)", "B: joint (model)", "best"]
    assert rows[3].names == SAME


def test_command_line_and_report_show_the_same_rows() -> None:
    found = table()
    plain = text_of(found)
    body = plain.splitlines()
    start = next(i for i, line in enumerate(body) if line.startswith("adamic_adar"))
    words = " ".join(line.strip().split("  ")[0] for line in body[start : start + 4])
    assert words.startswith(f"{', '.join(SAME)} (6 equal)")
    assert body[start].count("[0.480, 0.520]") == 4, "the numbers stand on the row's first line"
    assert len([line for line in body if line.count("[0.480, 0.520]") == 4]) == 1
    assert all(len(line) < 160 for line in body[1 : start + 5]), "folded names do not push the numbers aside"
    shown = [str(row.cells[0].text) for row in _main_table([Source("", found)], "all").rows]
    assert shown == labels(found)


def test_the_star_of_the_best_control_is_on_the_folded_row() -> None:
    found = link_table({"a": ("control", 0.7), "b": ("control", 0.7), "c": ("control", 0.6)})
    (row,) = [row for row in _main_table([Source("", found)], "all").rows if "equal" in str(row.cells[0].text)]
    assert all(cell.star == "best control" for cell in row.cells[1:5])
    assert re.search(r"^a, b \(2 equal\) +0\.700 \[0\.680, 0\.720\]\*", text_of(found), flags=re.MULTILINE)


@pytest.mark.parametrize(("width", "tables"), [(200, 1), (130, 1), (110, 1), (80, 2), (60, 4)])
def test_no_number_is_cut_on_a_narrow_terminal(width: int, tables: int) -> None:
    lines = [line for line in text_of(table(), terminal=True, width=width).splitlines() if line[:1] in "┏┃┡│└"]
    assert max(len(line) for line in lines) <= width
    assert sum(line.startswith("┏") for line in lines) == tables
    shown = "\n".join(lines)
    assert "…" not in shown
    assert len(re.findall(r"\[0\.880, 0\.920\]\*", shown)) == 4
    assert shown.count("0.400") == 5, "one row of the worst control, with its five values"
    for name in SAME:
        assert shown.count(name) == tables


def test_matched_stands_beside_the_headline() -> None:
    from grn_cotrain.evaluate.link_rows import PRINTED

    for candidates in ("all", "known_regulator"):
        assert list(PRINTED[candidates])[:3] == [
            "macro_auroc",
            "degree_matched_auroc",
            "residual_auroc",
        ]
