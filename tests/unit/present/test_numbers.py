"""A number has one spelling in every place that prints it; a metric has one name."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest

from grn_cotrain.present import LINK_METRICS, bounds, count, measured, metric, number, percent
from grn_cotrain.present.html import typographic

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number(0.4137), "0.414"),
        (number(-0.05), "-0.050"),
        (number(-0.0001), "0.000"),
        (number(0.137, sign=True), "+0.137"),
        (number(-0.0001, sign=True), "+0.000"),
        (number(0.0315, 4), "0.0315"),
        (number(12345.6, 1), "12,345.6"),
        (number(1.0), "1.000"),
        (number(0.5, 1, sign=True), "+0.5"),
        *((number(missing), "-") for missing in (None, math.nan, math.inf, -math.inf)),
        (count(12345), "12,345"),
        (count(None), "-"),
        (percent(0.0214), "2.1 %"),
        (percent(None), "-"),
        (bounds(-0.1, 0.25), "[-0.100, 0.250]"),
        (bounds(-0.1, 0.25, sign=True), "[-0.100, +0.250]"),
        (bounds(math.nan, 0.25), ""),
        (bounds(0.1, None), ""),
        (measured(0.5, 0.4, 0.6), "0.500 [0.400, 0.600]"),
        (measured(0.5, math.nan, 0.6), "0.500"),
        (measured(None, 0.4, 0.6), "-"),
        (measured(-0.0129, -0.02, 0.001, sign=True), "-0.013 [-0.020, +0.001]"),
    ],
)
def test_one_spelling(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-", "–"),  # noqa: RUF001
        ("-0.500", "−0.500"),  # noqa: RUF001
        ("[-0.100, +0.250]", "[−0.100, +0.250]"),  # noqa: RUF001
        ("2.10e-05", "2.10e-05"),
        ("unseen-tf-seed0", "unseen-tf-seed0"),
        ("HLA-A", "HLA-A"),
    ],
)
def test_pages_set_a_minus_and_a_dash(text: str, shown: str) -> None:
    assert typographic(text) == shown


def test_no_second_function_writes_numbers() -> None:
    """``number``, ``_number``, ``signed`` and their like were defined in nine files."""
    found = []
    for package in ("grn_cotrain", "data_prep", "experiments", "tools"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if path.parts[-2] == "present":
                continue
            functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
            writers = [node for node in functions if node.returns is not None and ast.unparse(node.returns) == "str"]
            names = {node.name.lstrip("_") for node in writers}
            found += [f"{path.relative_to(ROOT)}: {name}" for name in names & {"number", "signed", "bounds", "percent"}]
            if re.search(r"""replace\(["']0\.["'], ["']\.["']|lstrip\(["']0["']\)""", text):
                found.append(f"{path.relative_to(ROOT)}: drops the zero before the point")
    assert found == []


def test_no_document_drops_the_zero() -> None:
    """A metric in running text, a generated table or a record is written as the program prints it."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "experiments" / "RESULTS.md"]
    pages += sorted((ROOT / "experiments" / "records").glob("*.json"))
    bare = re.compile(r"(?<![\w.*\])/`])[-+]?\.\d")
    wrong = [
        f"{page.relative_to(ROOT)}: {line.strip()[:80]}"
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if bare.search(line)
    ]
    assert wrong == []


def test_the_glossary_explains_every_metric() -> None:
    for name, one in LINK_METRICS.items():
        assert one.name == name
        assert one.sentence.endswith(".")
        assert one.heading
        assert one.words
    assert [name for name, one in LINK_METRICS.items() if one.direction == "lower"] == ["brier"]
    assert metric("degree_matched_auroc").heading == "matched"
    assert metric("degree_matched_auroc").words == "degree-matched AUROC"
    assert metric("of_a_plug_in").heading == "of a plug in"


def test_no_second_glossary() -> None:
    """Headings of metrics stand in the glossary alone; eight files had their own."""
    headings = ("adj. MRR", "macro AP", "AUPRC/prev", "degree-matched AUROC", "macro F1")
    wrong = []
    for package in ("grn_cotrain", "experiments", "tools"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name == "metrics.py" and path.parts[-2] == "present":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and node.value in headings:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert wrong == []
