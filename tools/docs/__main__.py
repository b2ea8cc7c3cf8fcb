"""``python -m tools.docs tables [--write]``: compare the tables in the pages with the code, or update them."""

from __future__ import annotations

import argparse
from pathlib import Path

from grn_cotrain.files import write_text
from tools.docs.reference import ROOT, expand

__all__ = ["main", "stale_pages"]


def stale_pages(folder: Path = ROOT / "docs") -> dict[Path, str]:
    """Return the pages whose tables differ from the code, with their right text."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))}
    right = {path: expand(text) for path, text in pages.items()}
    return {path: text for path, text in right.items() if text != pages[path]}


def main() -> None:
    """List stale pages; with ``--write`` update them."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument("what", choices=["tables"], help="part of the documentation")
    parser.add_argument("--write", action="store_true", help="update the pages")
    arguments = parser.parse_args()
    stale = stale_pages()
    for path, text in stale.items():
        if arguments.write:
            write_text(path, text)
        print(f"{'updated' if arguments.write else 'stale'}: {path.relative_to(ROOT)}")
    if stale and not arguments.write:
        raise SystemExit("error: tables of the docs differ from the code; run python -m tools.docs tables --write")


if __name__ == "__main__":
    main()
