"""MkDocs hook: generated pages, blocks that run, notebooks, equations. Named in ``mkdocs.yml``.

``GRN_COTRAIN_DOCS=fast`` leaves blocks and notebooks unexecuted, for a quick look at the prose and for tests.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])

from mkdocs.structure.files import File, Files  # noqa: E402

from tools.docs import api, mathml, reference  # noqa: E402
from tools.docs.notebooks import NOTEBOOKS, executed, page_of  # noqa: E402
from tools.docs.run_blocks import CACHE, Output, blocks_of, run_page, with_outputs  # noqa: E402
from tools.docs.site import external_requests  # noqa: E402

_FAST = os.environ.get("GRN_COTRAIN_DOCS") == "fast"
#: Pages of the repository that the site shows too.
_INCLUDED = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_config(config: Any) -> Any:
    """Fill the navigation's ``Python API`` with a page per object."""
    by_group: dict[str, list[dict[str, str]]] = {}
    for public in api.public_objects():
        by_group.setdefault(public.group, []).append({public.name.removeprefix("grn_cotrain."): public.page})
    pages = [{"All objects": "api/index.md"}, *({group: listed} for group, listed in by_group.items())]
    _fill(config.nav, "Python API", pages)
    return config


def _fill(nav: list[Any], title: str, pages: list[Any]) -> None:
    for entry in nav:
        for name, inner in entry.items() if isinstance(entry, dict) else ():
            if name == title:
                entry[name] = pages
            elif isinstance(inner, list):
                _fill(inner, title, pages)


def on_files(files: Files, config: Any) -> Files:
    """Add generated pages; nothing is written into ``docs``."""
    pages: dict[str, str | bytes] = {
        "reference/recipe.md": reference.recipe_page(),
        "reference/cli.md": reference.cli_page(),
        "api/index.md": api.api_index(),
    }
    for public in api.public_objects():
        pages[public.page] = api.api_page(public)
    for page, source in _INCLUDED.items():
        pages[page] = _linked_to_repository((ROOT / source).read_text(encoding="utf-8"))
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        body, pictures = page_of(notebook if _FAST else executed(notebook))
        note = f"*This page is a notebook, executed when the site was built: `docs/notebooks/{notebook.name}`.*\n"
        title, _, rest = body.partition("\n")
        pages[f"notebooks/{notebook.stem}.md"] = f"{title}\n\n{note}\n{rest}"
        for name, data in pictures.items():
            pages[f"notebooks/{name}"] = data
        stored = files.get_file_from_path(f"notebooks/{notebook.name}")
        if stored is not None:
            files.remove(stored)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def _linked_to_repository(markdown: str) -> str:
    """Links to files of the repository become their names: the site does not hold them."""
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)[^)]+\)", r"`\1`", markdown)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Run the page's blocks; its tables are in it, and a test keeps them equal to the code."""
    try:
        blocks = blocks_of(markdown)
        if blocks:
            outputs = [Output("")] * len(blocks) if _FAST else run_page(markdown, cache=CACHE)
            markdown = with_outputs(markdown, outputs)
    except Exception as error:
        raise RuntimeError(f"{page.file.src_uri}: {error}") from error
    return markdown


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Equations as MathML."""
    try:
        html = mathml.convert_page(html)
    except mathml.TexError as error:
        raise RuntimeError(f"{page.file.src_uri}: {error}") from error
    return html


def on_post_build(config: Any) -> None:
    """Refuse a site that would fetch anything from another host."""
    found = external_requests(Path(config.site_dir))
    if found:
        raise RuntimeError("the site would fetch from other hosts:\n" + "\n".join(found[:20]))
