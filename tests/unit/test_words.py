"""Plain English: phrases of the word list stay out of docs, docstrings, help texts, messages and comments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.words import ALLOWED, READ, ROOT, RULES, allowed, hits, reading_files


def test_texts_are_plain_english() -> None:
    found = []
    for path in reading_files():
        found += [str(hit) for hit in hits(path) if not allowed(hit)]
    assert not found, "\n".join(found)


def test_every_exception_is_needed_and_has_a_reason() -> None:
    for (name, text), reason in ALLOWED.items():
        assert reason, text
        found = [hit for hit in hits(ROOT / name) if allowed(hit) and text in hit.text]
        assert found, f"no hit in {name} needs the exception '{text}'"


def test_all_rooms_are_read() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in reading_files()}
    assert {"README.md", "CONTRIBUTING.md", "docs/own-data.md", "grn_cotrain/recipe.py", "tools/tutorial.py"} <= names
    assert "CHANGELOG.md" not in names
    assert all((ROOT / name).exists() for name in READ)


HIT = {
    "anew": '"""The table is made\n    anew at each call."""',
    "whoever": "# a RUN is taken wherever one is asked for",
    "beside": 'print(f"{value} beside the controls")',
    "told": 'raise ValueError("the names do not tell which")',
    "said": '"""The first lines say what was found."""',
    "hear": "# lines that a user must\n# hear",
    "is no": 'message = f"{name} is no mapping"',
    "is none": '"""It looks like a test and is none."""',
    "lies": 'help = "where the file lies"',
    "aloud": "# stated aloud",
    "nought": 'text = "a value of nought"',
    "at hand": '"""The torch at hand is kept."""',
    "as it stands": "# read as they stand",
    "but for": 'text = "the same but for the seed"',
    "goes on": 'text = "the command that goes on"',
    "None where": '"""The folder; None where it is gone."""',
    "another hand": 'text = "changed by another hand"',
    "hang on": '"""Results are hung on cells."""',
    "Of": '"""Train.\n\n    Parameters\n    ----------\n    seed\n        Of every draw.\n    """',
    "of": 'option(help="of every draw")',
    "What": '"""What the table holds."""',
}
MISS = (
    'beside = tell(lies["beside"], say=says)',
    '"""Call ``say`` with :func:`~tests.tell`; there is no table, and that is no longer so."""',
    '"""Report.\n\n    Parameters\n    ----------\n    say\n        A function.\n    told : bool\n        A switch."""',
    '"""Example::\n\n        say("is no file")\n\n    >>> say("beside")\n    """',
    "if value is None: pass  # None of these; of course there is none",
    'text = f"{done} of {total}"; more = f" of {total}"',
    '"""What is the share of genes?"""',
)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tests.words.ROOT", tmp_path)
    return tmp_path / "source.py"


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_a_phrase_is_found(rule: str, written: Path) -> None:
    written.write_text(HIT[rule] + "\n")
    assert {hit.rule.name for hit in hits(written, written.parent)} == {rule}


@pytest.mark.parametrize("source", MISS)
def test_names_code_and_plain_uses_are_left_alone(source: str, written: Path) -> None:
    written.write_text(source + "\n")
    assert hits(written, written.parent) == []


def test_markdown_is_read_without_its_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n`say` it in [a page](told.md)\n\n```\nbeside\n```\n\nThe row is printed\nbeside it.\n")
    (hit,) = hits(page, tmp_path)
    assert (hit.rule.name, hit.line) == ("beside", 10)
