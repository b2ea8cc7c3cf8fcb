"""TeX -> MathML: well-formed, complete for what the docstrings and pages use, and strict about the rest."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from grn_cotrain.cli.listing import registries
from tests.cases.skips import extra
from tests.commands import ROOT

extra("latex2mathml")

from tools.docs.mathml import TexError, convert_page, to_mathml  # noqa: E402
from tools.docs.text import parse_docstring, to_markdown  # noqa: E402

_DISPLAY = re.compile(r"\$\$\n(.*?)\n\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\$`])\$([^$\n`]+)\$(?!\$)")


def tree(tex: str, *, display: bool = False) -> ElementTree.Element:
    found = ElementTree.fromstring(to_mathml(tex, display=display))
    for element in found.iter():
        element.tag = element.tag.rpartition("}")[2]
    return found


def text(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def test_fraction_takes_single_digits_and_groups() -> None:
    fraction = tree(r"\tfrac12 \frac1{|P|}")
    first, second = fraction.iter("mfrac")
    assert [text(part) for part in first] == ["1", "2"]
    assert [text(part) for part in second] == ["1", "|P|"]


def test_scripts_and_limits() -> None:
    assert [text(part) for part in next(tree(r"x_{ab}^2").iter("msubsup"))] == ["x", "ab", "2"]
    assert [text(part) for part in next(tree(r"\sum_{k=1}^{n} k", display=True).iter("munderover"))] == [
        "∑",
        "k=1",
        "n",
    ]
    assert [text(part) for part in next(tree(r"\max_i z").iter("msub"))] == ["max", "i"]
    assert text(next(tree("x'_v").iter("msubsup"))) == "xv\N{PRIME}"


def test_a_function_stands_apart_from_its_argument() -> None:
    assert [element.tag for element in next(tree(r"\log p").iter("mrow"))] == ["mi", "mspace", "mi"]
    for tex in (r"\log(p)", r"\max_i z", r"\log^2 p"):
        assert not list(tree(tex).iter("mspace")), tex


def test_numbers_text_and_cases() -> None:
    assert [text(n) for n in tree(r"0.05 + 12.5 x").iter("mn")] == ["0.05", "12.5"]
    assert next(tree(r"u \text{ of type } r").iter("mtext")).text == "\xa0of\xa0type\xa0"
    rows = list(tree(r"f = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}").iter("mtr"))
    assert [[text(cell) for cell in row] for row in rows] == [["1", "x>0"], ["0", "x≤0"]]


def test_display_breaks_at_wide_spaces() -> None:
    made = tree(r"a = b, \qquad c = d", display=True)
    assert [text(equation) for equation in made] == ["a=b", "c=d"]


@pytest.mark.parametrize("tex", [r"\unknown x", r"\frac{a}", r"{a", "a & b", r"x_{a", "a } b"])
def test_what_is_not_known_is_an_error(tex: str) -> None:
    with pytest.raises(TexError):
        to_mathml(tex)


def test_page_conversion_leaves_the_rest_alone() -> None:
    html = '<p>a <span class="arithmatex">\\(x &lt; 1\\)</span> b</p><div class="arithmatex">\\[\\sigma(x)\\]</div>'
    made = convert_page(html)
    assert "arithmatex" not in made
    assert made.startswith("<p>a <math")
    assert re.search(r'<div class="equation"><math [^>]*display="block"', made)
    assert 'alttext="x &lt; 1"' in made
    assert "&lt;" in made


def test_every_equation_of_docstrings_and_pages_converts() -> None:
    count = 0
    sources = [parse_docstring(c.cls).text for registry in registries().values() for c in registry.components()]
    sources += [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md"))]
    for source in sources:
        for display in _DISPLAY.findall(source):
            tree(display, display=True)
            count += 1
        for inline in _INLINE.findall(_DISPLAY.sub("", source)):
            tree(inline)
            count += 1
    assert count > 60


def test_docstrings_become_markdown() -> None:
    source = (
        "Sum :class:`~a.b.C` of :math:`x_1`.\n\n.. math:: z = 1 +\n    2\n\n"
        "where\n\n.. math::\n    a\n    b\n\nend.\n\n"
        "====  ====\nkey   what\n====  ====\n``a``  one\n       two\nb     three\n====  ====\n"
    )
    made = to_markdown(source)
    assert "Sum `C` of $x_1$." in made
    assert "$$\nz = 1 + 2\n$$" in made
    assert "$$\na\nb\n$$\n\nend." in made
    assert "| ``a`` | one two |" in made
    assert "| b | three |" in made
    assert "====" not in made
