"""The documentation: nothing of the code is missing in it, its links and commands exist, and it asks no other host."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from grn_cotrain.cli.listing import registries
from tests.cases.skips import extra
from tests.commands import ROOT, check_command, page_commands

extra("mkdocs")

from tools.docs import api, reference  # noqa: E402
from tools.docs.__main__ import stale_pages  # noqa: E402
from tools.docs.site import external_requests  # noqa: E402

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GENERATED = {"reference/recipe.md", "reference/cli.md", "api/index.md", "changelog.md", "contributing.md"}
COMMANDS = [(page, words) for page in PAGES for words in page_commands(page)]
_PROSE_ONLY = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def generated() -> set[str]:
    """Pages that the build adds."""
    notebooks = {f"notebooks/{path.stem}.md" for path in (DOCS / "notebooks").glob("*.ipynb")}
    return GENERATED | notebooks | {public.page for public in api.public_objects()}


# ---- what the code has is in the pages -------------------------------------------------------------------------------


def test_every_key_of_a_recipe_is_described() -> None:
    blocks = reference.recipe_keys()
    assert {"", "prep", "prep.splits", "model.table", "train.schedule"} <= set(blocks)
    assert [row.path for rows in blocks.values() for row in rows if not row.description] == []
    page = reference.recipe_page()
    for rows in blocks.values():
        for row in rows:
            assert f"| `{row.path}` |" in page


@pytest.mark.parametrize("kind", list(registries()))
def test_every_component_has_a_section_and_its_options_are_described(kind: str) -> None:
    page = (DOCS / reference.KIND_PAGES[kind]).read_text(encoding="utf-8")
    for name in registries()[kind].names():
        assert f'<a id="{kind}-{name}"></a>' in page, f"{kind} {name} is missing in {reference.KIND_PAGES[kind]}"
        undescribed = [row.path for row in reference.component_keys(kind, name) if not row.description]
        assert undescribed == [], f"{kind} {name}: add Attributes to its Config"


def test_every_command_and_option_is_on_its_page() -> None:
    page = reference.cli_page()
    for program in reference.apps():
        found = reference.commands(program)
        assert found
        for path, command in found.items():
            assert f"### {path}\n" in page
            assert command.help, path
            for parameter in command.params:
                if parameter.param_type_name == "option":
                    assert parameter.opts[0] in page
                assert getattr(parameter, "help", None), f"{path}: {parameter.name} has no help"


def test_every_public_object_has_a_page_that_says_what_it_is() -> None:
    found = {public.defined: public for public in api.public_objects()}
    index = api.api_index()
    for public in found.values():
        assert public.summary, f"{public.name} has no docstring"
        assert public.page.removeprefix("api/") in index
    for name in ("tl", "pl", "hub", "export", "card", "report"):
        module = importlib.import_module(f"grn_cotrain.{name}")
        for exported in module.__all__:
            value = getattr(module, exported)
            if callable(value) and hasattr(value, "__qualname__"):
                assert f"{value.__module__}.{value.__qualname__}" in found, f"grn_cotrain.{name}.{exported}"


def test_undescribed_key_is_noticed() -> None:
    from dataclasses import dataclass

    @dataclass
    class Config:
        """Nothing said.

        Attributes
        ----------
        first, second
            Both.
        """

        first: int
        second: float = 0.5
        third: str = "x"

    rows = {row.path: row for row in reference.key_rows(Config)}
    assert rows["first"].description == rows["second"].description == "Both."
    assert rows["first"].default == "*required*"
    assert rows["second"].default == "`0.5`"
    assert rows["third"].description == ""


def test_unknown_directive_is_an_error() -> None:
    with pytest.raises(ValueError, match="no generator 'tabel'"):
        reference.expand("<!-- generate: tabel x -->\n<!-- /generate -->\n")
    with pytest.raises(ValueError, match="is not closed"):
        reference.expand("<!-- generate: metrics -->\n")


def test_tables_of_the_pages_are_those_of_the_code() -> None:
    stale = [str(path.relative_to(ROOT)) for path in stale_pages()]
    assert stale == [], "run python -m tools.docs tables --write"


def test_a_stale_table_is_noticed_and_updated(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generate: core-dependencies -->\nold\n<!-- /generate -->\nafter\n")
    text = stale_pages(tmp_path)[page]
    assert text.startswith("before\n<!-- generate: core-dependencies -->\n\n`torch>=")
    assert text.endswith("\n\n<!-- /generate -->\nafter\n")
    page.write_text(text)
    assert stale_pages(tmp_path) == {}


def test_no_page_has_holes() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- generate: ") == text.count("<!-- /generate -->")
        assert not re.search(r"<!-- generate: [^\n]+ -->\s*<!-- /generate -->", text), page


# ---- links and commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page: Path) -> None:
    known = generated()
    for target in re.findall(r"\]\(([^)#\s]+)", _PROSE_ONLY.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path = (page.parent / target).resolve()
        assert path.is_file() or str(path.relative_to(DOCS)) in known, f"{target} in {page.name}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("nav:", 1)[1]
    listed = set(re.findall(r": ([\w/.-]+\.md)$", navigation, flags=re.MULTILINE))
    written = {str(page.relative_to(DOCS)) for page in PAGES}
    assert written <= listed
    assert listed - written <= generated()


def test_pages_show_commands() -> None:
    assert {words[0] for _, words in COMMANDS} == {"grn-prep", "grn-cotrain"}
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{p.stem}: {' '.join(w)}" for p, w in COMMANDS])
def test_commands_exist(page: Path, words: list[str]) -> None:
    del page
    check_command(words)


def test_wrong_command_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Run `grn-prep fetch` and\n\n```bash run\ngrn-cotrain export genes RUN \\\n  --fromat tsv\n```\n")
    wrong, right = page_commands(page)  # blocks come first
    check_command(right)
    with pytest.raises(AssertionError):
        check_command(wrong)


def test_figures_of_record_are_found() -> None:
    table = reference.GENERATORS["record"]("hesc_string_compare", "MB")
    assert "| schedule=joint, messages=true |" in table
    assert "MB" not in table.split("\n")[0]
    assert "command:" in table
    with pytest.raises(ValueError, match="no section 'nowhere'"):
        reference.GENERATORS["record"]("nowhere")


# ---- notebooks and the site ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pbmc_demo", "simulated_world"])
def test_notebooks_are_stored_without_outputs(name: str) -> None:
    notebook = json.loads((DOCS / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        compile("".join(cell["source"]), name, "exec")


def test_requests_to_other_hosts_are_found(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(
        '<link rel="canonical" href="https://a.b/c"><a href="https://a.b">x</a><script src="js/x.js"></script>'
        '<img src="data:image/png;base64,AA//BB==">'
    )
    (tmp_path / "good.css").write_text("@font-face { src: url(fonts/x.woff2) } a { background: url('data:x') }")
    assert external_requests(tmp_path) == []
    (tmp_path / "bad.html").write_text(
        '<script async src="https://cdn.one/x.js"></script><link href="//cdn.two/x.css" rel="stylesheet">'
        "<style>@import url('https://cdn.three/x.css')</style><img class=a src=https://cdn.four/x.png>"
    )
    (tmp_path / "bad.css").write_text("a { background: url(https://cdn.five/x.png) }")
    found = external_requests(tmp_path)
    assert len(found) == 5
    for host in ("one", "two", "three", "four", "five"):
        assert any(f"cdn.{host}" in line for line in found)
