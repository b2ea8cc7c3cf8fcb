"""The checks that other tests rest on can fail."""

from __future__ import annotations

import pytest

from tests.unit.report.html_checks import Parsed, external_resources


def test_parser_sees_unbalanced_tags_and_double_ids() -> None:
    assert Parsed("<p>a<br>b</p>").unbalanced == []
    assert Parsed("<div><p>a</div>").unbalanced
    assert Parsed("<p>a").unbalanced == ["p"]
    assert Parsed('<p id="a"></p><p id="a"></p>').ids["a"] == 2


@pytest.mark.parametrize(
    "html",
    [
        '<img src="https://example.org/a.png">',
        '<link rel="stylesheet" href="style.css">',
        "<style>body { background: url(//example.org/a.png); }</style>",
        "<style>@import 'a.css';</style>",
        "<script>fetch('a')</script>",
    ],
)
def test_external_resources_are_found(html: str) -> None:
    assert external_resources(html)


def test_fragments_and_inline_images_are_no_resources() -> None:
    assert not external_resources(
        '<a href="#a">a</a><img src="data:image/png;base64,AAAA"><p style="clip-path: url(#b)">b</p>'
    )
