"""Draw every figure of ``grn_cotrain.pl`` for a run, as SVG on a light and a dark page: ``gallery.py RUN --out DIR``.

Look at the page after a change of :mod:`grn_cotrain.pl`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes

from grn_cotrain import pl
from grn_cotrain.errors import UserError
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.pl.theme import THEME

__all__ = ["main"]

_DARK = {"ink": "#e8eaee", "muted": "#9aa3b0", "faint": "#5a626e", "grid": "#343a44", "paper": "#15181d"}
_PAGE = """<!doctype html><meta charset="utf-8"><title>Figures</title><style>
body {{ margin: 0; background: {paper}; color: {ink}; font: 14px sans-serif }}
figure {{ display: inline-block; margin: 12px; vertical-align: top }} figcaption {{ color: {muted} }}
</style>{figures}"""


def figures(run: Path, tf: str) -> dict[str, Callable[[], Axes]]:
    """Drawings, by the text under them."""
    return {
        "losses": lambda: pl.losses(run),
        "controls": lambda: pl.controls(run),
        "controls, macro AP, top 8": lambda: pl.controls(run, metric="macro_ap", top=8),
        "ROC": lambda: pl.link_curves(run),
        "precision and recall": lambda: pl.link_curves(run, kind="pr"),
        "calibration": lambda: pl.link_curves(run, kind="calibration"),
        "genes by degree": lambda: pl.gene_embedding(run),
        "genes by expression": lambda: pl.gene_embedding(run, color="expression"),
        "genes by TF": lambda: pl.gene_embedding(run, color="tf"),
        f"genes by regulon {tf}": lambda: pl.gene_embedding(run, color=f"regulon:{tf}"),
        "genes by degree, PCA": lambda: pl.gene_embedding(run, basis="pca"),
        "power by cells": lambda: pl.power(run),
        "power by depth": lambda: pl.power(run, by="depth"),
        f"regulon {tf}": lambda: pl.regulon(run, tf),
        f"regulon {tf}, 50": lambda: pl.regulon(run, tf, top=50),
        "network": lambda: pl.network(run),
        "network, known": lambda: pl.network(
            predict_edges(run, top_per_tf=4, top=40, known="only", say=lambda text: None)
        ),
    }


def main() -> None:
    """Write ``light.html``, ``dark.html`` and one SVG a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tf", default="STAT1", help="TF whose regulon is drawn")
    parser.add_argument("--only", default="", help="text that a figure's name must hold")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for name, draw in figures(given.run, given.tf).items():
        if given.only in name:
            try:
                drawn[name] = pl.to_svg(draw())
            except UserError as error:
                print(f"{name}: {error}")
    for theme, colours in {"light": THEME, "dark": _DARK}.items():
        parts = []
        for name, svg in drawn.items():
            for key, colour in THEME.items():
                svg = svg.replace(colour, colours[key])
            (given.out / f"{theme}-{name.replace(' ', '_').replace(',', '')}.svg").write_text(svg, encoding="utf-8")
            parts.append(f"<figure>{svg}<figcaption>{name}</figcaption></figure>")
        (given.out / f"{theme}.html").write_text(_PAGE.format(figures="\n".join(parts), **colours), encoding="utf-8")
    print(f"{len(drawn)} figures: {given.out / 'light.html'}, {given.out / 'dark.html'}")


if __name__ == "__main__":
    main()
