"""Blocks become escaped, valid HTML; tables have what keyboards and screen readers need."""

from __future__ import annotations

import pytest

from grn_cotrain.present import Cell, Column, Row, Table, figure
from grn_cotrain.report.blocks import (
    Block,
    Checks,
    Code,
    Columns,
    Details,
    Facts,
    Heading,
    Missing,
    Names,
    Points,
    Section,
    Text,
)
from grn_cotrain.report.inputs import without_paths
from grn_cotrain.report.page import Page, render_page
from grn_cotrain.report.sections.recipe import flatten
from tests.unit.report.html_checks import Parsed, external_resources

EVIL = "<script>alert(1)</script>"


def page(*blocks: Block, title: str = "title") -> str:
    return render_page(Page(title, "subtitle", [Section("part", "Part", "Part", blocks)], version="1"))


def table(**changes: object) -> Table:
    options: dict[str, object] = {
        "name": "t",
        "caption": "what it shows",
        "columns": [Column("gene", numeric=False), Column("score")],
        "rows": [Row([Cell("STAT1"), figure(0.5)]), Row([Cell("IRF1"), figure(None)], tone="model")],
    }
    return Table(**{**options, **changes})  # type: ignore[arg-type]


def test_every_block_escapes_its_strings() -> None:
    blocks: list[Block] = [
        Text(EVIL),
        Heading(EVIL),
        Missing(EVIL, EVIL),
        Facts([(EVIL, EVIL)]),
        Names(EVIL, [EVIL], EVIL),
        Points([EVIL]),
        Checks([(EVIL, 2, "note", EVIL)]),
        Code(EVIL, EVIL),
        Details(EVIL, [Text(EVIL)]),
        Columns([(EVIL, [Text(EVIL)])]),
        table(
            caption=EVIL,
            columns=[Column(EVIL, numeric=False, title=EVIL), Column(EVIL)],
            rows=[Row([Cell(EVIL, EVIL), Cell(EVIL, EVIL)])],
            filter=EVIL,
        ),
    ]
    html = page(*blocks, title=EVIL)
    assert html.count("<script") == 1, "the page's own"
    assert html.count("&lt;script&gt;") >= 20
    parsed = Parsed(html)
    assert parsed.unbalanced == []
    assert not external_resources(html)


def test_a_block_without_a_macro_would_be_seen() -> None:
    kinds = {cls.kind for cls in Block.__subclasses__()}
    from importlib.resources import files

    template = files("grn_cotrain.report").joinpath("templates", "blocks.html").read_text(encoding="utf-8")
    assert {kind for kind in kinds if f'block.kind == "{kind}"' not in template} == set()


def test_page_has_language_title_viewport_skip_link_and_named_sections() -> None:
    parsed = Parsed(page(Text("words")))
    tags = dict(parsed.elements)
    assert tags["html"]["lang"] == "en"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [a for _, a in parsed.elements]
    assert ("title", "title") in parsed.texts
    assert any(a.get("href") == "#content" for t, a in parsed.elements if t == "a")
    assert parsed.references <= parsed.ids.keys()
    assert max(parsed.ids.values()) == 1
    assert parsed.headings == [1, 2]


def test_table_markup_for_keyboard_and_screen_reader() -> None:
    parsed = Parsed(page(table(sorted_by=(1, "descending"), filter="Find")))
    headers = [a for t, a in parsed.elements if t == "th"]
    assert [a.get("scope") for a in headers] == ["col", "col", "row", "row"]
    assert [a.get("aria-sort") for a in headers[:2]] == [None, "descending"]
    buttons = [a for t, a in parsed.elements if t == "button" and a.get("class") == "sort"]
    assert len(buttons) == 2
    assert all(a["type"] == "button" and "disabled" in a for a in buttons), "a script enables them"
    assert parsed.tags["caption"] == 1
    region = next(a for t, a in parsed.elements if t == "div" and (a.get("class") or "").startswith("scroll"))
    assert (region["role"], region["tabindex"]) == ("region", "0")
    box = next(a for t, a in parsed.elements if t == "input")
    assert any(t == "label" and a.get("for") == box["id"] for t, a in parsed.elements)


def test_a_table_that_does_not_sort_has_no_buttons() -> None:
    parsed = Parsed(page(table(sortable=False)))
    assert not [a for t, a in parsed.elements if t == "button" and a.get("class") == "sort"]


def test_numbers_carry_their_sort_value_and_missing_ones_none() -> None:
    html = page(table())
    assert 'data-value="0.5"' in html
    assert html.count("data-value") == 1


def test_rows_of_another_width_are_a_defect() -> None:
    with pytest.raises(ValueError, match="1 cells, not 2"):
        table(rows=[Row([Cell("a")])])


def test_ids_of_equal_tables_differ() -> None:
    parsed = Parsed(page(table(), table(), table(name="t-2")))
    assert max(parsed.ids.values()) == 1
    assert parsed.references <= parsed.ids.keys()


def test_headings_inside_columns_go_one_level_down() -> None:
    html = page(Heading("a"), Columns([("run", [Heading("b")])]))
    assert Parsed(html).headings == [1, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/someone/data/cells.h5ad", "…/cells.h5ad"),
        ("prepared folder '/a/b/c': gone", "prepared folder '…/c': gone"),
        ("~/data/x.tsv and /b/c/", "…/x.tsv and …/"),
        ("C:\\Users\\me\\cells.h5ad", "…/cells.h5ad"),
        ("prepared/kang", "prepared/kang"),
        ("AUPRC / prevalence, 1/3, and/or", "AUPRC / prevalence, 1/3, and/or"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_paths_are_shortened(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_recipe_is_flattened_to_every_leaf() -> None:
    nested = {"a": {"b": 1, "c": {}}, "d": [1, 2], "e": [{"f": 1}, {"f": 2}], "g": None}
    assert flatten(nested) == {"a.b": 1, "a.c": {}, "d": [1, 2], "e[0].f": 1, "e[1].f": 2, "g": None}
